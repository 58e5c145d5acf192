/* The table of kernels that one instruction set offers; dispatch.c owns one table per set. */
#ifndef SONOD_KERNELS_H
#define SONOD_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    void (*envelope)(const float *iq, float *out, size_t count);
} sonod_kernels;

/* The table in use. */
const sonod_kernels *sonod_kernels_current(void);
/* Names of the sets this build and this processor offer; returns how many. */
int sonod_kernels_available(const char **names, int capacity);
/* Selects a set by name; returns 0, or -1 when it is not available. */
int sonod_kernels_select(const char *name);

#endif
