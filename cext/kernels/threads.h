/* A small persistent pool of workers over which kernels run bands of their output. Idle workers sleep. */
#ifndef SONOD_THREADS_H
#define SONOD_THREADS_H

#include <stddef.h>

/* Calls work(context, index) once for each index below count, on the caller and on the workers; returns when all are
   done. Runs on the caller alone when another thread has the pool. */
void sonod_parallel(size_t count, void (*work)(void *context, size_t index), void *context);
/* The same for the indices below the last one of `ends (threads)`, where each of so many threads begins with those from the
   end before up to its own; with another number of threads shares are even. */
void sonod_parallel_shares(size_t threads, const size_t *ends, void (*work)(void *context, size_t index), void *context);
/* Round calls that follow each other at once, all by one thread: workers wait for the next one awake, for a bounded time.
   The pool is the caller's until the end. May be nested. */
void sonod_series_begin(void);
void sonod_series_end(void);
/* Sets how many threads work, the caller included; returns 0, or an errno value. Not within a series. */
int sonod_threads_set(int count);
int sonod_threads_count(void);
/* Memory of the calling thread that only grows, aligned to 64 bytes; valid until its next call. NULL without memory. */
void *sonod_scratch(size_t bytes);

#endif
