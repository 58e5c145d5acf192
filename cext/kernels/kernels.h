/* The table of kernels that one instruction set offers; dispatch.c owns one table per set. */
#ifndef SONOD_KERNELS_H
#define SONOD_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* -- simulation ------------------------------------------------------------------------------------------------- */

/* Entries of the sine tables for one turn. */
#define SIMULATE_TURN 1024

/* Elements in the x-z plane, padded with deaf ones to a multiple of 8; tables over cosine and over distance. */
typedef struct {
    int count, padded;
    const float *x, *z, *normal_x, *normal_z, *listening;
    const float *directivity;
    int directivity_count;
    const float *decay;
    int decay_count;
    float decay_per_m;
} sonod_simulated_array;

/* Moving reflectors as one transmit meets them; times in samples. */
typedef struct {
    int count;
    const float *x, *z, *amplitude, *arrival, *incoming, *smooth, *rough;
    float axis_x, axis_z, samples_per_m;
    const float *lobe;
    float lobe_scale, lobe_last;
    const float *pulse;
    int taps;
} sonod_simulated_motion;

typedef struct {
    void (*field)(const sonod_simulated_array *array, const float *x, const float *z, size_t points,
                  const float *delay_turns, const float *apodization, size_t transmits, float turns_per_m,
                  const float *cosine, const float *sine, float *scratch, float *out);
    void (*deposit)(const sonod_simulated_array *array, const float *x, const float *z, size_t points,
                    const float *arrival, const float *amplitude, size_t transmits, float fine_per_m, float *scratch,
                    float *grid, size_t fine);
    void (*convolve)(const float *grid, size_t rows, size_t fine, const float *pulse, size_t taps, float *scratch,
                     float *out, size_t samples);
    void (*frame)(const sonod_simulated_array *array, const sonod_simulated_motion *motion, const float *background,
                  const float *noise, const int32_t *noise_start, float noise_level, float level, const float *gain,
                  float limit, float *scratch, int16_t *out, size_t samples);
} sonod_simulate_kernels;

/* -- the table of one instruction set ---------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    void (*envelope)(const float *iq, float *out, size_t count);
    sonod_simulate_kernels simulate;
} sonod_kernels;

/* The table in use. */
const sonod_kernels *sonod_kernels_current(void);
/* Names of the sets this build and this processor offer; returns how many. */
int sonod_kernels_available(const char **names, int capacity);
/* Selects a set by name; returns 0, or -1 when it is not available. */
int sonod_kernels_select(const char *name);

#endif
