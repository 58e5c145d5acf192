#include "transfer_ring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

/* libusb's own declaration (libusb.h, unchanged since 1.0.0), repeated so that no header is needed to build. */
typedef struct transfer {
    void *handle;
    uint8_t flags;
    unsigned char endpoint, type;
    unsigned int timeout;
    int status, length, actual_length;
    void (*callback)(struct transfer *transfer);
    void *user_data;
    unsigned char *buffer;
    int packets;
} transfer;

enum { COMPLETED, ERROR, TIMED_OUT, CANCELLED, STALL, NO_DEVICE, OVERFLOW };
enum { BULK = 2 };
/* So many failed one after the other are no accident any more. */
enum { MOST_FAILURES = 16 };
static const double PATIENCE_S = 5.0;
/* Above every ordinary thread, below what an administrator has made more urgent. */
enum { URGENT = 5 };

typedef struct {
    sonod_ring *ring;
    transfer *transfer;
    size_t filled;
    uint64_t ns;
    int flying;
} slot;

struct sonod_ring {
    sonod_usb_calls calls;
    void *context;
    size_t transfer_bytes;
    int depth, slot_count, policy;
    slot *slots;
    uint8_t *memory;
    int *ready, *idle; /* slots in order of arrival from ready[0] on; slots without bytes */
    int ready_count, idle_count, in_flight;
    size_t read, available, promised, wanted;
    int stopping, gone, halted, failed, failures, parked, running;
    sonod_ring_counters counters;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct timespec after(double seconds) {
    uint64_t when = now_ns() + (uint64_t)(seconds > 0 ? seconds * 1e9 : 0);
    struct timespec at = {(time_t)(when / 1000000000u), (long)(when % 1000000000u)};
    return at;
}

/* -- slots, with the lock held ------------------------------------------------------------------------------------- */

static void forget_ready(sonod_ring *ring, int place) {
    ring->idle[ring->idle_count++] = ring->ready[place];
    memmove(ring->ready + place, ring->ready + place + 1, (size_t)(ring->ready_count - place - 1) * sizeof(int));
    ring->ready_count--;
}

/* The oldest bytes go that the reader has not been promised; 0 when all are. */
static int drop_oldest(sonod_ring *ring) {
    size_t before = 0;
    for (int place = 0; place < ring->ready_count; place++) {
        const slot *oldest = &ring->slots[ring->ready[place]];
        const size_t bytes = oldest->filled - (place == 0 ? ring->read : 0);
        if (before >= ring->promised) {
            ring->counters.overruns++;
            ring->counters.overrun_bytes += bytes;
            ring->available -= bytes;
            if (place == 0)
                ring->read = 0;
            forget_ready(ring, place);
            return 1;
        }
        before += bytes;
    }
    return 0;
}

static int done(const sonod_ring *ring) {
    return ring->stopping || ring->gone || ring->halted || ring->failed;
}

/* -- transfers ----------------------------------------------------------------------------------------------------- */

/* Submits until `depth` are in flight or no slot is free; the first error, or 0. libusb is called without the lock. */
static int submit(sonod_ring *ring) {
    for (;;) {
        pthread_mutex_lock(&ring->lock);
        if (done(ring) || ring->in_flight >= ring->depth) {
            pthread_mutex_unlock(&ring->lock);
            return 0;
        }
        if (!ring->idle_count && !(ring->policy == SONOD_RING_DROP_OLDEST && drop_oldest(ring))) {
            if (!ring->parked)
                ring->counters.parks++;
            ring->parked = 1;
            pthread_mutex_unlock(&ring->lock);
            return 0;
        }
        ring->parked = 0;
        slot *next = &ring->slots[ring->idle[--ring->idle_count]];
        next->flying = 1;
        ring->in_flight++;
        pthread_mutex_unlock(&ring->lock);
        const int error = ring->calls.submit_transfer(next->transfer);
        if (error) {
            pthread_mutex_lock(&ring->lock);
            next->flying = 0;
            ring->in_flight--;
            ring->idle[ring->idle_count++] = (int)(next - ring->slots);
            if (error == -4)
                ring->gone = 1;
            else if (!ring->in_flight)
                ring->failed = 1;
            pthread_cond_broadcast(&ring->changed);
            pthread_mutex_unlock(&ring->lock);
            return error;
        }
    }
}

/* On whichever thread handles libusb's events. */
static void completed(transfer *finished) {
    slot *own = finished->user_data;
    sonod_ring *ring = own->ring;
    pthread_mutex_lock(&ring->lock);
    own->flying = 0;
    ring->in_flight--;
    own->filled = finished->status == OVERFLOW ? 0 : (size_t)finished->actual_length;
    own->ns = now_ns();
    if (finished->status == COMPLETED || finished->status == TIMED_OUT) {
        ring->failures = 0;
    } else if (finished->status == NO_DEVICE) {
        ring->gone = 1;
    } else if (finished->status == STALL) {
        if (!ring->halted)
            ring->counters.halts++;
        ring->halted = 1;
    } else if (finished->status != CANCELLED) {
        ring->counters.errors++;
        if (++ring->failures >= MOST_FAILURES)
            ring->failed = 1;
    }
    const int index = (int)(own - ring->slots);
    if (own->filled) {
        ring->counters.transfers++;
        ring->counters.bytes += own->filled;
        ring->ready[ring->ready_count++] = index;
        ring->available += own->filled;
    } else {
        ring->idle[ring->idle_count++] = index;
    }
    if (ring->available >= ring->wanted || done(ring))
        pthread_cond_broadcast(&ring->changed);
    pthread_mutex_unlock(&ring->lock);
    submit(ring);
}

static int flying(sonod_ring *ring) {
    pthread_mutex_lock(&ring->lock);
    const int count = ring->in_flight;
    pthread_mutex_unlock(&ring->lock);
    return count;
}

static int is_stopping(sonod_ring *ring) {
    pthread_mutex_lock(&ring->lock);
    const int stopping = ring->stopping;
    pthread_mutex_unlock(&ring->lock);
    return stopping;
}

/* A device that finds no transfer waiting loses bytes, and submitting the next takes microseconds: this thread goes before
   all others where the system permits it (root, or a limit on real-time priority), else it is one of them. */
static void go_first(void) {
    const struct sched_param urgent = {.sched_priority = URGENT};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &urgent);
}

static void *handle_events(void *argument) {
    sonod_ring *ring = argument;
    go_first();
    uint64_t limit = 0;
    for (;;) {
        if (is_stopping(ring)) {
            if (!limit)
                limit = now_ns() + (uint64_t)(PATIENCE_S * 1e9);
            if (!flying(ring) || now_ns() > limit)
                return NULL;
        }
        struct timeval moment = {0, 100000};
        if (ring->calls.handle_events_timeout_completed(ring->context, &moment, NULL) < 0) {
            const struct timespec pause = {0, 1000000};
            nanosleep(&pause, NULL);
        }
        /* There may be room again since the last transfer ended. */
        submit(ring);
    }
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

static void free_memory(sonod_ring *ring) {
    for (int i = 0; ring->slots && i < ring->slot_count; i++)
        if (ring->slots[i].transfer)
            ring->calls.free_transfer(ring->slots[i].transfer);
    free(ring->slots);
    free(ring->memory);
    free(ring->ready);
    free(ring->idle);
    pthread_cond_destroy(&ring->changed);
    pthread_mutex_destroy(&ring->lock);
    free(ring);
}

sonod_ring *sonod_ring_new(const sonod_usb_calls *calls, void *context, void *handle, uint8_t endpoint,
                           size_t transfer_bytes, int depth, int slots, int policy) {
    sonod_ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return NULL;
    ring->calls = *calls;
    ring->context = context;
    ring->transfer_bytes = transfer_bytes;
    ring->depth = depth;
    ring->slot_count = slots;
    ring->policy = policy;
    ring->slots = calloc((size_t)slots, sizeof *ring->slots);
    ring->ready = calloc((size_t)slots, sizeof *ring->ready);
    ring->idle = calloc((size_t)slots, sizeof *ring->idle);
    if (posix_memalign((void **)&ring->memory, 4096, (size_t)slots * transfer_bytes))
        ring->memory = NULL;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&ring->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&ring->lock, NULL);
    int whole = ring->slots && ring->ready && ring->idle && ring->memory;
    for (int i = 0; whole && i < slots; i++) {
        slot *own = &ring->slots[i];
        own->ring = ring;
        own->transfer = calls->alloc_transfer(0);
        whole = own->transfer != NULL;
        if (!whole)
            break;
        own->transfer->handle = handle;
        own->transfer->endpoint = endpoint;
        own->transfer->type = BULK;
        own->transfer->timeout = 0;
        own->transfer->length = (int)transfer_bytes;
        own->transfer->callback = completed;
        own->transfer->user_data = own;
        own->transfer->buffer = ring->memory + (size_t)i * transfer_bytes;
        ring->idle[slots - 1 - i] = i;
    }
    ring->idle_count = slots;
    if (!whole) {
        free_memory(ring);
        return NULL;
    }
    /* Pages that are touched for the first time while streaming would cost time then. */
    memset(ring->memory, 0, (size_t)slots * transfer_bytes);
    return ring;
}

int sonod_ring_start(sonod_ring *ring) {
    const int error = submit(ring);
    if (pthread_create(&ring->thread, NULL, handle_events, ring))
        return EAGAIN;
    ring->running = 1;
    return error;
}

int sonod_ring_free(sonod_ring *ring) {
    pthread_mutex_lock(&ring->lock);
    ring->stopping = 1;
    pthread_mutex_unlock(&ring->lock);
    /* Newest first: a device may otherwise fill the one behind the one just cancelled. */
    for (int i = ring->slot_count - 1; i >= 0; i--) {
        pthread_mutex_lock(&ring->lock);
        const int in_flight = ring->slots[i].flying;
        pthread_mutex_unlock(&ring->lock);
        if (in_flight)
            ring->calls.cancel_transfer(ring->slots[i].transfer);
    }
    if (ring->running) {
        ring->calls.interrupt_event_handler(ring->context);
        pthread_join(ring->thread, NULL);
    }
    if (flying(ring))
        return -1;
    free_memory(ring);
    return 0;
}

/* -- the reader's side --------------------------------------------------------------------------------------------- */

static int outcome(sonod_ring *ring, size_t count) {
    if (ring->available >= count) {
        ring->promised = count;
        return SONOD_RING_READY;
    }
    if (ring->gone)
        return SONOD_RING_GONE;
    if (ring->failed)
        return SONOD_RING_FAILED;
    if (ring->halted && !ring->in_flight)
        return SONOD_RING_HALTED;
    return SONOD_RING_TIMEOUT;
}

int sonod_ring_ready(sonod_ring *ring, size_t count) {
    pthread_mutex_lock(&ring->lock);
    const int result = outcome(ring, count);
    pthread_mutex_unlock(&ring->lock);
    return result;
}

int sonod_ring_wait(sonod_ring *ring, size_t count, double timeout_s) {
    const struct timespec limit = after(timeout_s);
    pthread_mutex_lock(&ring->lock);
    ring->wanted = count;
    /* What has come already belongs to a message that is being waited for. */
    ring->promised = count;
    int result, late = 0;
    while ((result = outcome(ring, count)) == SONOD_RING_TIMEOUT && !late)
        late = pthread_cond_timedwait(&ring->changed, &ring->lock, &limit) == ETIMEDOUT;
    ring->wanted = 0;
    pthread_mutex_unlock(&ring->lock);
    return result;
}

size_t sonod_ring_available(sonod_ring *ring) {
    pthread_mutex_lock(&ring->lock);
    const size_t available = ring->available;
    pthread_mutex_unlock(&ring->lock);
    return available;
}

uint64_t sonod_ring_byte_ns(sonod_ring *ring) {
    pthread_mutex_lock(&ring->lock);
    const uint64_t ns = ring->ready_count ? ring->slots[ring->ready[0]].ns : 0;
    pthread_mutex_unlock(&ring->lock);
    return ns;
}

int sonod_ring_copy(sonod_ring *ring, size_t offset, size_t count, uint8_t *out) {
    pthread_mutex_lock(&ring->lock);
    if (offset + count > ring->available) {
        pthread_mutex_unlock(&ring->lock);
        return -1;
    }
    if (ring->promised < offset + count)
        ring->promised = offset + count;
    /* Promised slots are left alone by every other thread: the bytes can be copied without the lock. */
    int place = 0;
    size_t at = ring->read + offset;
    while (count) {
        const slot *own = &ring->slots[ring->ready[place]];
        if (at >= own->filled) {
            at -= own->filled;
            place++;
            continue;
        }
        const size_t part = own->filled - at < count ? own->filled - at : count;
        const uint8_t *from = own->transfer->buffer + at;
        pthread_mutex_unlock(&ring->lock);
        memcpy(out, from, part);
        pthread_mutex_lock(&ring->lock);
        out += part;
        count -= part;
        at += part;
    }
    pthread_mutex_unlock(&ring->lock);
    return 0;
}

int sonod_ring_skip(sonod_ring *ring, size_t count) {
    pthread_mutex_lock(&ring->lock);
    if (count > ring->available) {
        pthread_mutex_unlock(&ring->lock);
        return -1;
    }
    ring->available -= count;
    ring->promised -= count < ring->promised ? count : ring->promised;
    ring->read += count;
    while (ring->ready_count && ring->read >= ring->slots[ring->ready[0]].filled) {
        ring->read -= ring->slots[ring->ready[0]].filled;
        forget_ready(ring, 0);
    }
    const int parked = ring->parked && ring->idle_count;
    if (parked)
        ring->parked = 0;
    pthread_mutex_unlock(&ring->lock);
    /* The events' thread goes on: this one might be held up in the middle, with a lock that the other one needs. */
    if (parked)
        ring->calls.interrupt_event_handler(ring->context);
    return 0;
}

void sonod_ring_resume(sonod_ring *ring) {
    pthread_mutex_lock(&ring->lock);
    ring->halted = 0;
    if (++ring->failures >= MOST_FAILURES)
        ring->failed = 1;
    pthread_mutex_unlock(&ring->lock);
    submit(ring);
}

void sonod_ring_count(sonod_ring *ring, sonod_ring_counters *out) {
    pthread_mutex_lock(&ring->lock);
    *out = ring->counters;
    pthread_mutex_unlock(&ring->lock);
}

int sonod_ring_in_flight(sonod_ring *ring) {
    return flying(ring);
}
