/* Bulk IN transfers kept in flight on a handle that somebody else opened, and their bytes in order. No Python here. */
#ifndef SONOD_TRANSFER_RING_H
#define SONOD_TRANSFER_RING_H

#include <stddef.h>
#include <stdint.h>

/* Entry points of the libusb that pyusb has loaded. */
typedef struct {
    void *(*alloc_transfer)(int packets);
    void (*free_transfer)(void *transfer);
    int (*submit_transfer)(void *transfer);
    int (*cancel_transfer)(void *transfer);
    int (*handle_events_timeout_completed)(void *context, void *timeval, int *completed);
    void (*interrupt_event_handler)(void *context);
} sonod_usb_calls;

/* What to do when bytes come and every slot holds some that nobody has read. */
enum { SONOD_RING_DROP_OLDEST, SONOD_RING_PARK };

/* Why a wait ended. */
enum { SONOD_RING_READY, SONOD_RING_TIMEOUT, SONOD_RING_GONE, SONOD_RING_HALTED, SONOD_RING_FAILED };

typedef struct {
    uint64_t transfers, bytes, errors, halts, overruns, overrun_bytes, parks;
} sonod_ring_counters;

typedef struct sonod_ring sonod_ring;

/* NULL without memory. Nothing is submitted yet. */
sonod_ring *sonod_ring_new(const sonod_usb_calls *calls, void *context, void *handle, uint8_t endpoint,
                           size_t transfer_bytes, int depth, int slots, int policy);
/* Submits `depth` transfers and starts the event thread: 0, libusb's negative error, or a positive errno. */
int sonod_ring_start(sonod_ring *ring);
/* Until `count` bytes are there, or the time is over; those bytes are then safe from being dropped. */
int sonod_ring_wait(sonod_ring *ring, size_t count, double timeout_s);
/* The same without waiting: SONOD_RING_READY or SONOD_RING_TIMEOUT. */
int sonod_ring_ready(sonod_ring *ring, size_t count);
size_t sonod_ring_available(sonod_ring *ring);
uint64_t sonod_ring_byte_ns(sonod_ring *ring);
/* Copies available bytes; 0, or -1 when they are not there. */
int sonod_ring_copy(sonod_ring *ring, size_t offset, size_t count, uint8_t *out);
int sonod_ring_skip(sonod_ring *ring, size_t count);
/* After a halt has been cleared: submit again. */
void sonod_ring_resume(sonod_ring *ring);
void sonod_ring_count(sonod_ring *ring, sonod_ring_counters *out);
int sonod_ring_in_flight(sonod_ring *ring);
/* Cancels, waits until nothing is in flight, ends the thread and frees everything; 0, or -1 when transfers would not
   end, in which case their memory stays allocated, because the system may still write to it. */
int sonod_ring_free(sonod_ring *ring);

#endif
