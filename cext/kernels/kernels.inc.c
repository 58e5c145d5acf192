/* Compiled once per instruction set with -DSONOD_ISA=<name>. */
#include <math.h>
#include "kernels.h"

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)

#include "simulate.inc.c"

static void envelope(const float *restrict iq, float *restrict out, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const float re = iq[2 * i], im = iq[2 * i + 1];
        out[i] = sqrtf(re * re + im * im);
    }
}

const sonod_kernels JOIN(sonod_kernels_, SONOD_ISA) = {
    .name = TEXT(SONOD_ISA),
    .envelope = envelope,
    .simulate = {simulate_field, simulate_deposit, simulate_convolve, simulate_frame},
};
