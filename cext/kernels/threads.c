/* The persistent worker pool over which kernels run bands of an image.

   Workers sleep. Only in a series of jobs they look for the next one for a bounded time before they do, for to be woken
   takes longer than many a job. Nobody waits for a worker that comes too late. */
#ifdef __linux__
#define _GNU_SOURCE
#include <sched.h>
#endif
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define MOST_WORKERS 255
/* How long a thread looks for what it waits for, and how often between two looks at the clock. */
#define LOOK_NS 100000
#define LOOKS 32

/* Held by whoever uses or resizes the pool, for a job or a series of them. */
static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER;
/* Of the calling thread: how many series it has begun, and whether it holds the pool for them. */
static _Thread_local int series_depth, holds_pool;
static atomic_int in_series;

static pthread_t workers[MOST_WORKERS];
static unsigned births[MOST_WORKERS];
static atomic_int worker_count;
/* There is a processor for every thread: who looks keeps nobody from working. */
static atomic_int may_look;

#ifdef __linux__
/* Those that the process may use, and which of them is left to the caller. */
static cpu_set_t processors;
static int callers_processor = -1;
#endif

/* Those who sleep do so under this lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_cond_t finished = PTHREAD_COND_INITIALIZER;
static atomic_int sleeping_workers, sleeping_owner;
static unsigned wakes;
static int stopping;

/* Odd while a job is open: then workers may begin with it. */
static atomic_uint job;
static atomic_int busy_workers;
static void (*job_work)(void *, size_t);
static void *job_context;
/* Each thread begins with a share of its own, the same for every job of as many indices, so that what it wrote for the last
   one is still in the caches of its core; then it helps others with theirs. */
typedef struct {
    _Alignas(64) atomic_size_t next;
    size_t end;
} share;
static share shares[MOST_WORKERS + 1];
static size_t share_count;

static pthread_key_t scratch_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

typedef struct {
    size_t bytes;
    void *memory;
} scratch;

static void free_scratch(void *held) {
    free(((scratch *)held)->memory);
    free(held);
}

/* A forked child has no workers, whatever the parent had. */
static void after_fork(void) {
    pthread_mutex_init(&owner, NULL);
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&wake, NULL);
    pthread_cond_init(&finished, NULL);
    worker_count = stopping = holds_pool = 0;
    atomic_store(&in_series, 0);
    atomic_store(&sleeping_workers, 0);
    atomic_store(&sleeping_owner, 0);
    atomic_store(&busy_workers, 0);
    atomic_store(&job, 0);
}

static void set_up(void) {
    pthread_key_create(&scratch_key, free_scratch);
    pthread_atfork(NULL, NULL, after_fork);
}

void *sonod_scratch(size_t bytes) {
    pthread_once(&once, set_up);
    scratch *own = pthread_getspecific(scratch_key);
    if (!own) {
        own = calloc(1, sizeof *own);
        if (!own || pthread_setspecific(scratch_key, own)) {
            free(own);
            return NULL;
        }
    }
    if (own->bytes < bytes) {
        free(own->memory);
        own->bytes = (bytes + 4095) / 4096 * 4096;
        own->memory = aligned_alloc(64, own->bytes);
        if (!own->memory)
            own->bytes = 0;
    }
    return own->memory;
}

/* -- waiting -------------------------------------------------------------------------------------------------------- */

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void rest(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Looks for a bounded time whether something has come. */
static void look_for(int (*come)(unsigned last), unsigned last) {
    const int64_t end = now_ns() + LOOK_NS;
    do
        for (int looks = 0; looks < LOOKS; looks++) {
            if (come(last))
                return;
            rest();
        }
    while (now_ns() < end);
}

static int all_done(unsigned unused) {
    (void)unused;
    return !atomic_load(&busy_workers);
}

static int is_new(unsigned last) {
    const unsigned now = atomic_load(&job);
    return now % 2 && now != last;
}

static int is_new_or_over(unsigned last) { return is_new(last) || !atomic_load(&in_series); }

/* Keeps workers off the processor of whoever calls them, where there is another one for each: a kernel may wake them there
   though others are idle, and then they wait until the caller's work is done. */
static void leave_to_caller(void) {
#ifdef __linux__
    const int processor = may_look ? sched_getcpu() : -1;
    if (processor < 0 || processor == callers_processor || !CPU_ISSET(processor, &processors))
        return;
    cpu_set_t others = processors;
    CPU_CLR(processor, &others);
    for (int i = 0; i < worker_count; i++)
        pthread_setaffinity_np(workers[i], sizeof others, &others);
    callers_processor = processor;
#endif
}

static void wake_workers(void) {
    if (!atomic_load(&sleeping_workers))
        return;
    leave_to_caller();
    pthread_mutex_lock(&lock);
    wakes++;
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&lock);
}

/* Until there is a job after `last`, or a series begins; 0 when the pool ends. */
static int sleep_till_woken(unsigned last) {
    pthread_mutex_lock(&lock);
    const unsigned before = wakes;
    /* First this, then the look at the job: who opens one does the reverse. */
    atomic_fetch_add(&sleeping_workers, 1);
    while (wakes == before && !is_new(last) && !stopping)
        pthread_cond_wait(&wake, &lock);
    atomic_fetch_sub(&sleeping_workers, 1);
    const int going_on = !stopping;
    pthread_mutex_unlock(&lock);
    return going_on;
}

static void wait_for_workers(void) {
    if (may_look)
        look_for(all_done, 0);
    if (all_done(0))
        return;
    pthread_mutex_lock(&lock);
    atomic_store(&sleeping_owner, 1);
    while (!all_done(0))
        pthread_cond_wait(&finished, &lock);
    atomic_store(&sleeping_owner, 0);
    pthread_mutex_unlock(&lock);
}

/* -- working -------------------------------------------------------------------------------------------------------- */

static void take_indices(size_t thread) {
    for (size_t k = 0; k < share_count; k++) {
        share *own = shares + (thread + k) % share_count;
        for (;;) {
            const size_t index = atomic_fetch_add_explicit(&own->next, 1, memory_order_relaxed);
            if (index >= own->end)
                break;
            job_work(job_context, index);
        }
    }
}

/* Works on the open job, if there is still one after `last`; which one that was. */
static unsigned help(size_t thread, unsigned last) {
    /* Once this is counted, an open job stays what it is. */
    atomic_fetch_add(&busy_workers, 1);
    const unsigned now = atomic_load(&job);
    if (now % 2 && now != last)
        take_indices(thread);
    last = now % 2 ? now : last;
    if (atomic_fetch_sub(&busy_workers, 1) == 1 && atomic_load(&sleeping_owner)) {
        pthread_mutex_lock(&lock);
        pthread_cond_signal(&finished);
        pthread_mutex_unlock(&lock);
    }
    return last;
}

static void *worker(void *number) {
    const size_t own = (size_t)number;
    unsigned last = births[own];
    for (;;) {
        if (may_look && atomic_load(&in_series))
            look_for(is_new_or_over, last);
        if (is_new(last))
            last = help(own + 1, last);
        else if (!sleep_till_woken(last))
            return NULL;
    }
}

static void work_alone(size_t count, void (*work)(void *context, size_t index), void *context) {
    for (size_t index = 0; index < count; index++)
        work(context, index);
}

/* `ends`: of the shares, or NULL for even ones. */
static void work_together(const size_t *ends, size_t count, void (*work)(void *context, size_t index), void *context) {
    job_work = work;
    job_context = context;
    share_count = (size_t)worker_count + 1;
    for (size_t i = 0, begin = 0; i < share_count; i++) {
        shares[i].end = ends ? ends[i] : (i + 1) * count / share_count;
        atomic_store_explicit(&shares[i].next, begin, memory_order_relaxed);
        begin = shares[i].end;
    }
    atomic_fetch_add(&job, 1);
    wake_workers();
    take_indices(0);
    atomic_fetch_add(&job, 1);
    wait_for_workers();
}

void sonod_parallel_shares(size_t threads, const size_t *ends, void (*work)(void *context, size_t index), void *context) {
    const size_t count = ends[threads - 1];
    const int held = holds_pool;
    if (count <= 1 || worker_count == 0 || (!held && pthread_mutex_trylock(&owner) != 0)) {
        work_alone(count, work, context);
        return;
    }
    /* What is called from within works alone. */
    holds_pool = 0;
    work_together(threads == (size_t)worker_count + 1 ? ends : NULL, count, work, context);
    holds_pool = held;
    if (!held)
        pthread_mutex_unlock(&owner);
}

void sonod_parallel(size_t count, void (*work)(void *context, size_t index), void *context) {
    sonod_parallel_shares(1, &count, work, context);
}

void sonod_series_begin(void) {
    if (series_depth++ || worker_count == 0 || pthread_mutex_trylock(&owner) != 0)
        return;
    holds_pool = 1;
    if (may_look) {
        atomic_store(&in_series, 1);
        wake_workers();
    }
}

void sonod_series_end(void) {
    if (!series_depth || --series_depth || !holds_pool)
        return;
    holds_pool = 0;
    atomic_store(&in_series, 0);
    pthread_mutex_unlock(&owner);
}

/* -- size ----------------------------------------------------------------------------------------------------------- */

static int find_processors(void) {
#ifdef __linux__
    callers_processor = -1;
    if (sched_getaffinity(0, sizeof processors, &processors) == 0)
        return CPU_COUNT(&processors);
#endif
    return 1;
}

int sonod_threads_set(int count) {
    if (count < 1 || count > MOST_WORKERS + 1)
        return EINVAL;
    if (series_depth)
        return EBUSY;
    pthread_once(&once, set_up);
    int error = 0;
    pthread_mutex_lock(&owner);
    if (count - 1 < worker_count) {
        pthread_mutex_lock(&lock);
        stopping = 1;
        pthread_cond_broadcast(&wake);
        pthread_mutex_unlock(&lock);
        for (int i = 0; i < worker_count; i++)
            pthread_join(workers[i], NULL);
        worker_count = stopping = 0;
    }
    may_look = count <= find_processors();
    while (worker_count < count - 1 && !error) {
        births[worker_count] = atomic_load(&job);
        error = pthread_create(&workers[worker_count], NULL, worker, (void *)(size_t)worker_count);
        if (!error)
            worker_count++;
    }
    pthread_mutex_unlock(&owner);
    return error;
}

int sonod_threads_count(void) { return worker_count + 1; }
