/* A small persistent pool of workers over which kernels run bands of their output. Idle workers sleep. */
#ifndef SONOD_THREADS_H
#define SONOD_THREADS_H

#include <stddef.h>

/* Calls work(context, index) once for each index below count, on the caller and on the workers; returns when all are
   done. Runs on the caller alone when another thread has the pool. */
void sonod_parallel(size_t count, void (*work)(void *context, size_t index), void *context);
/* Sets how many threads work, the caller included; returns 0, or an errno value. */
int sonod_threads_set(int count);
int sonod_threads_count(void);
/* Memory of the calling thread that only grows, aligned to 64 bytes; valid until its next call. NULL without memory. */
void *sonod_scratch(size_t bytes);

#endif
