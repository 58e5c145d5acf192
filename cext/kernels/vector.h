/* Eight floats at a time, the same bits on every instruction set. Include inside a translation unit of kernels only. */
#ifndef SONOD_VECTOR_H
#define SONOD_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__FMA__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef float v8f __attribute__((vector_size(32)));
typedef int32_t v8i __attribute__((vector_size(32)));
/* The same eight floats at an address that is only aligned to a float. */
typedef float v8f_loose __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t v8i_loose __attribute__((vector_size(32), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE v8f load8(const float *from) { return *(const v8f_loose *)from; }
INLINE void store8(float *to, v8f value) { *(v8f_loose *)to = value; }
INLINE v8f splat8(float x) { return (v8f){x, x, x, x, x, x, x, x}; }

#if !defined(__FMA__) && !defined(__aarch64__)
/* a * b + c rounded once, without the instruction: the sum in double rounded to odd, then to float (S. Boldo and
   G. Melquiond, IEEE Trans. Computers 57(4), 2008). The product of two floats is exact in double. */
INLINE float fma_exact(float a, float b, float c) {
    const double product = (double)a * b, addend = c, sum = product + addend;
    const double back = sum - product, error = (product - (sum - back)) + (addend - back);
    int64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    const int inexact = (error > 0) | (error < 0), even = !(bits & 1), outward = (error > 0) == (sum > 0);
    bits += (inexact & even) ? (outward ? 1 : -1) : 0;
    double odd;
    memcpy(&odd, &bits, sizeof odd);
    return (float)odd;
}
#endif

/* Without the instruction it is a long way round, and worth a call: inlined everywhere it takes minutes to compile. */
#if defined(__FMA__) || defined(__aarch64__)
#define FMA8 INLINE
#else
#define FMA8 static __attribute__((noinline))
#endif

/* a * b + c with one rounding. */
FMA8 v8f fma8(v8f a, v8f b, v8f c) {
#if defined(__FMA__)
    return (v8f)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    v8f out;
    float32x4_t part[2];
    for (int half = 0; half < 2; half++)
        part[half] = vfmaq_f32(vld1q_f32((const float *)&c + 4 * half), vld1q_f32((const float *)&a + 4 * half),
                               vld1q_f32((const float *)&b + 4 * half));
    memcpy(&out, part, sizeof out);
    return out;
#else
    v8f out;
    for (int i = 0; i < 8; i++)
        out[i] = fma_exact(a[i], b[i], c[i]);
    return out;
#endif
}

INLINE v8f sqrt8(v8f x) {
#if defined(__AVX__)
    return (v8f)_mm256_sqrt_ps((__m256)x);
#else
    v8f out;
    for (int i = 0; i < 8; i++)
        out[i] = sqrtf(x[i]);
    return out;
#endif
}

/* Keeps a value in a register: the compiler would else read a constant or a sample again from memory for every use,
   and the two load ports are what the inner loop has least of. */
#if defined(__AVX__)
#define KEEP8(value) __asm__("" : "+x"(value))
#else
#define KEEP8(value) (void)(value)
#endif

/* Where the mask is set (all ones) `yes`, else `no`. */
INLINE v8f select8(v8i mask, v8f yes, v8f no) { return (v8f)((mask & (v8i)yes) | (~mask & (v8i)no)); }
INLINE v8f min8(v8f a, v8f b) { return select8(a < b, a, b); }
INLINE v8f max8(v8f a, v8f b) { return select8(a > b, a, b); }

/* Nearest whole number for |x| < 2^22. */
INLINE v8f round8(v8f x) {
    const v8f magic = splat8(12582912.0f);
    return (x + magic) - magic;
}

/* Rows to columns. */
INLINE void transpose8(v8f v[8]) {
    v8f t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = __builtin_shuffle(v[i], v[i + 1], (v8i){0, 8, 1, 9, 4, 12, 5, 13});
        t[i + 1] = __builtin_shuffle(v[i], v[i + 1], (v8i){2, 10, 3, 11, 6, 14, 7, 15});
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            v[i + 2 * j] = __builtin_shuffle(t[i + j], t[i + j + 2], (v8i){0, 1, 8, 9, 4, 5, 12, 13});
            v[i + 2 * j + 1] = __builtin_shuffle(t[i + j], t[i + j + 2], (v8i){2, 3, 10, 11, 6, 7, 14, 15});
        }
    for (int i = 0; i < 4; i++) {
        t[i] = __builtin_shuffle(v[i], v[i + 4], (v8i){0, 1, 2, 3, 8, 9, 10, 11});
        t[i + 4] = __builtin_shuffle(v[i], v[i + 4], (v8i){4, 5, 6, 7, 12, 13, 14, 15});
    }
    for (int i = 0; i < 8; i++)
        v[i] = t[i];
}

/* A sample as float; NaN and infinities become 0. */
INLINE float finite_or_zero(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7f800000u) == 0x7f800000u ? 0.0f : x;
}

/* sin and cos of 2 pi p for |p| <= 0.5, by half angles and Taylor polynomials; error below 4e-7. */
INLINE void turn(float p, float *restrict sine, float *restrict cosine) {
    const float x = 3.14159265f * p, y = x * x;
    const float s =
        x * (1.0f + y * (-1.66666667e-1f +
                         y * (8.33333333e-3f + y * (-1.98412698e-4f + y * (2.75573192e-6f + y * -2.50521084e-8f)))));
    const float c =
        1.0f + y * (-0.5f + y * (4.16666667e-2f +
                                 y * (-1.38888889e-3f + y * (2.48015873e-5f + y * (-2.75573192e-7f + y * 2.08767570e-9f)))));
    *sine = 2.0f * s * c;
    *cosine = 1.0f - 2.0f * s * s;
}

#endif
