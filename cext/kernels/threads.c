/* The persistent worker pool over which kernels run bands of an image. */
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MOST_WORKERS 255

/* Held by whoever uses or resizes the pool. */
static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_cond_t finished = PTHREAD_COND_INITIALIZER;
static pthread_t workers[MOST_WORKERS];
static int worker_count;
static int busy_workers;
static int stopping;
static unsigned generation;

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
static unsigned births[MOST_WORKERS];

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
    worker_count = busy_workers = stopping = 0;
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

static void *worker(void *number) {
    const size_t own = (size_t)number;
    unsigned seen = births[own];
    pthread_mutex_lock(&lock);
    for (;;) {
        while (generation == seen && !stopping)
            pthread_cond_wait(&wake, &lock);
        if (stopping)
            break;
        seen = generation;
        pthread_mutex_unlock(&lock);
        take_indices(own + 1);
        pthread_mutex_lock(&lock);
        if (--busy_workers == 0)
            pthread_cond_signal(&finished);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

void sonod_parallel(size_t count, void (*work)(void *context, size_t index), void *context) {
    if (count <= 1 || worker_count == 0 || pthread_mutex_trylock(&owner) != 0) {
        for (size_t index = 0; index < count; index++)
            work(context, index);
        return;
    }
    pthread_mutex_lock(&lock);
    job_work = work;
    job_context = context;
    share_count = (size_t)worker_count + 1;
    for (size_t i = 0; i < share_count; i++) {
        atomic_store_explicit(&shares[i].next, i * count / share_count, memory_order_relaxed);
        shares[i].end = (i + 1) * count / share_count;
    }
    busy_workers = worker_count;
    generation++;
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&lock);
    take_indices(0);
    pthread_mutex_lock(&lock);
    while (busy_workers)
        pthread_cond_wait(&finished, &lock);
    pthread_mutex_unlock(&lock);
    pthread_mutex_unlock(&owner);
}

int sonod_threads_set(int count) {
    if (count < 1 || count > MOST_WORKERS + 1)
        return EINVAL;
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
    while (worker_count < count - 1 && !error) {
        births[worker_count] = generation;
        error = pthread_create(&workers[worker_count], NULL, worker, (void *)(size_t)worker_count);
        if (!error)
            worker_count++;
    }
    pthread_mutex_unlock(&owner);
    return error;
}

int sonod_threads_count(void) { return worker_count + 1; }
