/* Sixteen 16-bit integers at a time, eight pairs (I, Q); integer arithmetic, so the same bits everywhere. */
#ifndef SONOD_VECTOR16_H
#define SONOD_VECTOR16_H

#include "vector.h"

#if defined(__SSE2__) && !defined(__AVX2__)
#include <emmintrin.h>
#endif

typedef int16_t v16s __attribute__((vector_size(32)));
/* The same at an address that is only aligned to a pair. */
typedef int16_t v16s_loose __attribute__((vector_size(32), aligned(4), may_alias));
typedef int16_t v8s __attribute__((vector_size(16)));
typedef int16_t v8s_loose __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t v8i_loose __attribute__((vector_size(32), aligned(4), may_alias));

INLINE v8i load8i(const int32_t *from) { return *(const v8i_loose *)from; }
INLINE void store8i(int32_t *to, v8i value) { *(v8i_loose *)to = value; }
INLINE v8i splat8i(int32_t x) { return (v8i){x, x, x, x, x, x, x, x}; }

/* a b / 2^15, rounded to nearest, halves up. Not for both -2^15. */
INLINE v16s scaled16(v16s a, v16s b) {
#if defined(__AVX2__)
    return (v16s)_mm256_mulhrs_epi16((__m256i)a, (__m256i)b);
#elif defined(__aarch64__)
    v16s out;
    for (int half = 0; half < 2; half++)
        vst1q_s16((int16_t *)&out + 8 * half,
                  vqrdmulhq_s16(vld1q_s16((const int16_t *)&a + 8 * half), vld1q_s16((const int16_t *)&b + 8 * half)));
    return out;
#elif defined(__SSE2__)
    v16s out;
    for (int half = 0; half < 2; half++) {
        const __m128i x = ((const __m128i *)&a)[half], y = ((const __m128i *)&b)[half];
        const __m128i high = _mm_mulhi_epi16(x, y), low = _mm_mullo_epi16(x, y);
        const __m128i doubled = _mm_add_epi16(_mm_add_epi16(high, high), _mm_srli_epi16(low, 15));
        const __m128i rounding = _mm_srli_epi16(_mm_slli_epi16(low, 1), 15);
        ((__m128i *)&out)[half] = _mm_add_epi16(doubled, rounding);
    }
    return out;
#else
    v16s out;
    for (int i = 0; i < 16; i++)
        out[i] = (int16_t)(((int32_t)a[i] * b[i] + 0x4000) >> 15);
    return out;
#endif
}

/* For each pair the sum of the two products. */
INLINE v8i paired16(v16s a, v16s b) {
#if defined(__AVX2__)
    return (v8i)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__aarch64__)
    v8i out;
    for (int half = 0; half < 2; half++) {
        const int16x8_t x = vld1q_s16((const int16_t *)&a + 8 * half), y = vld1q_s16((const int16_t *)&b + 8 * half);
        const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y)), high = vmull_high_s16(x, y);
        vst1q_s32((int32_t *)&out + 4 * half, vpaddq_s32(low, high));
    }
    return out;
#elif defined(__SSE2__)
    v8i out;
    for (int half = 0; half < 2; half++)
        ((__m128i *)&out)[half] = _mm_madd_epi16(((const __m128i *)&a)[half], ((const __m128i *)&b)[half]);
    return out;
#else
    v8i out;
    for (int i = 0; i < 8; i++)
        out[i] = (int32_t)a[2 * i] * b[2 * i] + (int32_t)a[2 * i + 1] * b[2 * i + 1];
    return out;
#endif
}

/* (c, -s) to (s, c). */
INLINE v16s turned16(v16s a) {
#if defined(__AVX2__)
    const __m256i swap = _mm256_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2, 13, 12, 15, 14, 9, 8, 11,
                                         10, 5, 4, 7, 6, 1, 0, 3, 2);
    return (v16s)_mm256_sign_epi16(_mm256_shuffle_epi8((__m256i)a, swap), _mm256_set1_epi32(0x0001ffff));
#else
    /* As 32-bit numbers: the low half is c, the high half -s. */
    const v8i pair = (v8i)a;
    const v8i low = splat8i(0) - (pair >> 16);
    return (v16s)((low & splat8i(0xffff)) | (pair << 16));
#endif
}

/* The low 16 bits of every number twice, as pairs. */
INLINE v8i twice16(v8i x) {
#if defined(__AVX2__)
    const __m256i twice = _mm256_set_epi32(0x0d0c0d0c, 0x09080908, 0x05040504, 0x01000100, 0x0d0c0d0c, 0x09080908, 0x05040504,
                                           0x01000100);
    return (v8i)_mm256_shuffle_epi8((__m256i)x, twice);
#else
    return (x & splat8i(0xffff)) | (x << 16);
#endif
}

/* Numbers brought to 0 .. most. */
INLINE v8i bounded8i(v8i x, int32_t most) {
#if defined(__AVX2__)
    return (v8i)_mm256_max_epi32(_mm256_min_epi32((__m256i)x, _mm256_set1_epi32(most)), _mm256_setzero_si256());
#else
    const v8i less = x < splat8i(most), bounded = (less & x) | (~less & splat8i(most));
    return bounded & (bounded > splat8i(0));
#endif
}

INLINE v8i gather8i(const int32_t *from, v8i index) {
#if defined(__AVX2__)
    return (v8i)_mm256_i32gather_epi32(from, (__m256i)index, 4);
#else
    /* Put together in registers: through memory a wide load would wait for the narrow stores. */
    return (v8i){from[index[0]], from[index[1]], from[index[2]], from[index[3]],
                 from[index[4]], from[index[5]], from[index[6]], from[index[7]]};
#endif
}

/* -- the widest pairs of this instruction set: WIDE at a time -- */

#if defined(__AVX512BW__) && defined(__AVX512VNNI__)

#define WIDE 16
typedef int16_t wide16 __attribute__((vector_size(64)));
typedef int32_t wide32 __attribute__((vector_size(64)));
typedef float widef __attribute__((vector_size(64)));
typedef int16_t wide16_loose __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t wide32_loose __attribute__((vector_size(64), aligned(4), may_alias));
typedef float widef_loose __attribute__((vector_size(64), aligned(4), may_alias));

INLINE wide16 wide_splat(int32_t pair) { return (wide16)_mm512_set1_epi32(pair); }
INLINE wide16 wide_scaled(wide16 a, wide16 b) { return (wide16)_mm512_mulhrs_epi16((__m512i)a, (__m512i)b); }
INLINE wide32 wide_add_paired(wide32 sum, wide16 a, wide16 b) {
    return (wide32)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}
INLINE wide16 wide_turned(wide16 a) {
    const __m512i swapped = _mm512_rol_epi32((__m512i)a, 16);
    return (wide16)_mm512_mask_sub_epi16(swapped, 0x55555555u, _mm512_setzero_si512(), swapped);
}
/* Single 16-bit numbers from an address as pairs of twice the same. */
INLINE wide16 wide_doubled(const int32_t *from) {
    const __m512i number = _mm512_cvtepi16_epi32(*(const __m256i_u *)from);
    return (wide16)_mm512_or_si512(_mm512_and_si512(number, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32(number, 16));
}
INLINE wide16 wide_gather(const int32_t *from, wide32 index) { return (wide16)_mm512_i32gather_epi32((__m512i)index, from, 4); }
INLINE widef wide_least(widef a, float b) { return (widef)_mm512_min_ps((__m512)a, _mm512_set1_ps(b)); }
INLINE widef wide_most(widef a, float b) { return (widef)_mm512_max_ps((__m512)a, _mm512_set1_ps(b)); }
/* Whether places are within 32 from the first one on: such are loaded whole and permuted. */
INLINE int wide_is_near(wide32 index) {
    const __m512i first = _mm512_broadcastd_epi32(_mm512_castsi512_si128((__m512i)index));
    return _mm512_cmplt_epu32_mask(_mm512_sub_epi32((__m512i)index, first), _mm512_set1_epi32(32)) == 0xffff;
}
INLINE wide16 wide_near(const int32_t *from, wide32 index) {
    const int32_t *at = from + index[0];
    const __m512i places = _mm512_sub_epi32((__m512i)index, _mm512_broadcastd_epi32(_mm512_castsi512_si128((__m512i)index)));
    return (wide16)_mm512_permutex2var_epi32(*(const __m512i_u *)at, places, *(const __m512i_u *)(at + 16));
}
INLINE wide32 wide_bounded(wide32 x, int32_t most) {
    return (wide32)_mm512_max_epi32(_mm512_min_epi32((__m512i)x, _mm512_set1_epi32(most)), _mm512_setzero_si512());
}
INLINE widef wide_fma(widef a, widef b, widef c) { return (widef)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE widef wide_float(float x) { return (widef)_mm512_set1_ps(x); }
INLINE widef wide_sqrt(widef x) { return (widef)_mm512_sqrt_ps((__m512)x); }
/* Of numbers that cannot be compared the second. */
INLINE widef wide_lesser(widef a, widef b) { return (widef)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE widef wide_greater(widef a, widef b) { return (widef)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE widef wide_where_not_less(widef x, widef limit, widef yes, widef no) {
    return (widef)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)x, (__m512)limit, _CMP_GE_OQ), (__m512)no, (__m512)yes);
}
/* Firsts and seconds of pairs, in the order of PARTED. */
static const uint8_t PARTED[WIDE] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
INLINE void wide_part(const float *from, widef *first, widef *second) {
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512 a = *(const __m512_u *)from, b = *(const __m512_u *)(from + 16);
    *first = (widef)_mm512_permutex2var_ps(a, even, b);
    *second = (widef)_mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b);
}
/* Stores numbers of both by turns. */
INLINE void wide_store_paired(float *to, widef first, widef second) {
    const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    *(widef_loose *)to = (widef)_mm512_permutex2var_ps((__m512)first, low, (__m512)second);
    *(widef_loose *)(to + 16) = (widef)_mm512_permutex2var_ps((__m512)first, high, (__m512)second);
}
/* The low 16 bits of every number twice, as pairs. */
INLINE wide32 wide_twice(wide32 x) {
    const __m512i twice = _mm512_set4_epi32(0x0d0c0d0c, 0x09080908, 0x05040504, 0x01000100);
    return (wide32)_mm512_shuffle_epi8((__m512i)x, twice);
}
/* Two times eight numbers side by side. */
INLINE wide32 wide_of_eights(const v8i *eights) {
    return (wide32)_mm512_inserti64x4(_mm512_castsi256_si512((__m256i)eights[0]), (__m256i)eights[1], 1);
}
/* A fourth as many numbers, each four times; four pairs from each of as many places. */
INLINE wide32 wide_fourfold(const int32_t *from) {
    const __m512i numbers = _mm512_castsi128_si512(*(const __m128i_u *)from);
    return (wide32)_mm512_permutexvar_epi32(_mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0), numbers);
}
INLINE wide16 wide_fours(const int32_t *from, const int32_t *places) {
    __m512i out = _mm512_castsi128_si512(*(const __m128i_u *)(from + places[0]));
    out = _mm512_inserti32x4(out, *(const __m128i_u *)(from + places[1]), 1);
    out = _mm512_inserti32x4(out, *(const __m128i_u *)(from + places[2]), 2);
    return (wide16)_mm512_inserti32x4(out, *(const __m128i_u *)(from + places[3]), 3);
}
#define WIDE_KEEP(value) __asm__("" : "+v"(value))
/* Shifted right by so many bits, in all the same; nearest whole numbers, halves to even, for |x| < 2^31; pairs of them to 16-bit numbers, firsts and seconds; eight words
   from every fourth start. Below these follow the same for the other sets. */
INLINE wide32 wide_rows(const int16_t *words, const int32_t *starts) {
    const __m128i_u *row[4];
    for (int i = 0; i < 4; i++)
        row[i] = (const __m128i_u *)(words + starts[4 * i]);
    __m512i out = _mm512_inserti32x4(_mm512_castsi128_si512(*row[0]), *row[1], 1);
    out = _mm512_inserti32x4(out, *row[2], 2);
    return (wide32)_mm512_inserti32x4(out, *row[3], 3);
}
INLINE wide32 wide_shifted(wide32 x, wide32 by) { return (wide32)_mm512_srav_epi32((__m512i)x, (__m512i)by); }
INLINE wide32 wide_larger(wide32 a, wide32 b) { return (wide32)_mm512_max_epi32((__m512i)a, (__m512i)b); }
INLINE wide32 wide_nearest(widef x) { return (wide32)_mm512_cvtps_epi32((__m512)x); }
INLINE void wide_store_words(int16_t *to, wide32 x) { *(__m256i_u *)to = _mm512_cvtepi32_epi16((__m512i)x); }
INLINE void wide_split(wide32 a, wide32 b, int16_t *restrict first, int16_t *restrict second) {
    /* Words number 0, 4, 8 .. of both, then 2, 6, 10 .. */
    const __m512i words = _mm512_set_epi64(0x003e003a00360032, 0x002e002a00260022, 0x001e001a00160012, 0x000e000a00060002,
                                           0x003c003800340030, 0x002c002800240020, 0x001c001800140010, 0x000c000800040000);
    const __m512i both = _mm512_permutex2var_epi16((__m512i)a, words, (__m512i)b);
    *(__m256i_u *)first = _mm512_castsi512_si256(both);
    *(__m256i_u *)second = _mm512_extracti64x4_epi64(both, 1);
}
/* Within quarters: the first halves of both by turns, in numbers and in pairs of them; the second halves. */
INLINE wide32 wide_low_pairs(wide32 a, wide32 b) { return (wide32)_mm512_unpacklo_epi32((__m512i)a, (__m512i)b); }
INLINE wide32 wide_high_pairs(wide32 a, wide32 b) { return (wide32)_mm512_unpackhi_epi32((__m512i)a, (__m512i)b); }
INLINE wide32 wide_low_quads(wide32 a, wide32 b) { return (wide32)_mm512_unpacklo_epi64((__m512i)a, (__m512i)b); }
INLINE wide32 wide_high_quads(wide32 a, wide32 b) { return (wide32)_mm512_unpackhi_epi64((__m512i)a, (__m512i)b); }

#else

#define WIDE 8
typedef v16s wide16;
typedef v8i wide32;
typedef v8f widef;
typedef v16s_loose wide16_loose;
typedef v8i_loose wide32_loose;
typedef v8f_loose widef_loose;

INLINE wide16 wide_splat(int32_t pair) { return (wide16)splat8i(pair); }
INLINE wide16 wide_scaled(wide16 a, wide16 b) { return scaled16(a, b); }
INLINE wide32 wide_add_paired(wide32 sum, wide16 a, wide16 b) { return sum + paired16(a, b); }
INLINE wide16 wide_turned(wide16 a) { return turned16(a); }
INLINE wide16 wide_doubled(const int32_t *from) {
    return (wide16)twice16(__builtin_convertvector(*(const v8s_loose *)from, v8i));
}
INLINE wide16 wide_gather(const int32_t *from, wide32 index) { return (wide16)gather8i(from, index); }
INLINE widef wide_least(widef a, float b) { return min8(a, splat8(b)); }
INLINE widef wide_most(widef a, float b) { return max8(a, splat8(b)); }
/* Whether places are within 16 from the first one on: such are loaded whole and permuted, where there is an instruction. */
INLINE int wide_is_near(wide32 index) {
#if defined(__AVX2__)
    return _mm256_testz_si256((__m256i)(index - splat8i(index[0])), _mm256_set1_epi32(~15));
#else
    return (void)index, 0;
#endif
}
INLINE wide16 wide_near(const int32_t *from, wide32 index) {
#if defined(__AVX2__)
    const int32_t *at = from + index[0];
    const __m256i places = (__m256i)(index - splat8i(index[0]));
    const __m256i low = _mm256_permutevar8x32_epi32((__m256i)load8i(at), places);
    const __m256i high = _mm256_permutevar8x32_epi32((__m256i)load8i(at + 8), places);
    return (wide16)_mm256_blendv_ps((__m256)low, (__m256)high, (__m256)_mm256_slli_epi32(places, 28));
#else
    return wide_gather(from, index);
#endif
}
INLINE wide32 wide_bounded(wide32 x, int32_t most) { return bounded8i(x, most); }
INLINE widef wide_fma(widef a, widef b, widef c) { return fma8(a, b, c); }
INLINE widef wide_float(float x) { return splat8(x); }
INLINE widef wide_sqrt(widef x) { return sqrt8(x); }
INLINE widef wide_lesser(widef a, widef b) { return min8(a, b); }
INLINE widef wide_greater(widef a, widef b) { return max8(a, b); }
INLINE widef wide_where_not_less(widef x, widef limit, widef yes, widef no) { return select8(x >= limit, yes, no); }
/* So that nothing leaves its half. */
static const uint8_t PARTED[WIDE] = {0, 1, 4, 5, 2, 3, 6, 7};
INLINE void wide_part(const float *from, widef *first, widef *second) {
    const widef a = *(const widef_loose *)from, b = *(const widef_loose *)(from + 8);
    *first = __builtin_shuffle(a, b, (v8i){0, 2, 8, 10, 4, 6, 12, 14});
    *second = __builtin_shuffle(a, b, (v8i){1, 3, 9, 11, 5, 7, 13, 15});
}
INLINE void wide_store_paired(float *to, widef first, widef second) {
    *(widef_loose *)to = __builtin_shuffle(first, second, (v8i){0, 8, 1, 9, 2, 10, 3, 11});
    *(widef_loose *)(to + 8) = __builtin_shuffle(first, second, (v8i){4, 12, 5, 13, 6, 14, 7, 15});
}
INLINE wide32 wide_twice(wide32 x) { return twice16(x); }
INLINE wide32 wide_of_eights(const v8i *eights) { return eights[0]; }
INLINE wide32 wide_fourfold(const int32_t *from) {
    return (wide32){from[0], from[0], from[0], from[0], from[1], from[1], from[1], from[1]};
}
INLINE wide16 wide_fours(const int32_t *from, const int32_t *places) {
#if defined(__AVX2__)
    const __m256i low = _mm256_castsi128_si256(*(const __m128i_u *)(from + places[0]));
    return (wide16)_mm256_inserti128_si256(low, *(const __m128i_u *)(from + places[1]), 1);
#else
    wide16 out;
    memcpy(&out, from + places[0], 16);
    memcpy((char *)&out + 16, from + places[1], 16);
    return out;
#endif
}
#define WIDE_KEEP(value) KEEP8(value)
INLINE void wide_store_words(int16_t *to, wide32 x) {
    const v8s words = __builtin_convertvector(x, v8s);
    memcpy(to, &words, sizeof words);
}
INLINE wide32 wide_rows(const int16_t *words, const int32_t *starts) {
#if defined(__AVX2__)
    const __m256i low = _mm256_castsi128_si256(*(const __m128i_u *)(words + starts[0]));
    return (wide32)_mm256_inserti128_si256(low, *(const __m128i_u *)(words + starts[4]), 1);
#else
    wide32 out;
    memcpy(&out, words + starts[0], 16);
    memcpy((char *)&out + 16, words + starts[4], 16);
    return out;
#endif
}
#if defined(__AVX2__)
INLINE wide32 wide_shifted(wide32 x, wide32 by) { return (wide32)_mm256_srav_epi32((__m256i)x, (__m256i)by); }
INLINE wide32 wide_larger(wide32 a, wide32 b) { return (wide32)_mm256_max_epi32((__m256i)a, (__m256i)b); }
INLINE wide32 wide_nearest(widef x) { return (wide32)_mm256_cvtps_epi32((__m256)x); }
INLINE void wide_split(wide32 a, wide32 b, int16_t *restrict first, int16_t *restrict second) {
    const __m256i parted = _mm256_set_epi64x(0x0f0e0b0a07060302, 0x0d0c090805040100, 0x0f0e0b0a07060302, 0x0d0c090805040100);
    const __m256i both = _mm256_shuffle_epi8(_mm256_packs_epi32((__m256i)a, (__m256i)b), parted);
    const __m256i ordered = _mm256_permutevar8x32_epi32(both, _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0));
    *(__m128i_u *)first = _mm256_castsi256_si128(ordered);
    *(__m128i_u *)second = _mm256_extracti128_si256(ordered, 1);
}
#else
INLINE wide32 wide_shifted(wide32 x, wide32 by) { return x >> by[0]; }
INLINE wide32 wide_larger(wide32 a, wide32 b) {
    const wide32 larger = a > b;
    return (larger & a) | (~larger & b);
}
INLINE wide32 wide_nearest(widef x) {
    wide32 out;
    for (int half = 0; half < 2; half++)
#if defined(__aarch64__)
        vst1q_s32((int32_t *)&out + 4 * half, vcvtnq_s32_f32(vld1q_f32((const float *)&x + 4 * half)));
#elif defined(__SSE2__)
        ((__m128i *)&out)[half] = _mm_cvtps_epi32(((const __m128 *)&x)[half]);
#else
        for (int i = 4 * half; i < 4 * half + 4; i++)
            out[i] = (int32_t)lrintf(x[i]);
#endif
    return out;
}
INLINE void wide_split(wide32 a, wide32 b, int16_t *restrict first, int16_t *restrict second) {
    const v8i even = __builtin_shuffle(a, b, (v8i){0, 2, 4, 6, 8, 10, 12, 14});
    const v8i odd = __builtin_shuffle(a, b, (v8i){1, 3, 5, 7, 9, 11, 13, 15});
    *(v8s_loose *)first = __builtin_convertvector(even, v8s);
    *(v8s_loose *)second = __builtin_convertvector(odd, v8s);
}
#endif
INLINE wide32 wide_low_pairs(wide32 a, wide32 b) { return __builtin_shuffle(a, b, (v8i){0, 8, 1, 9, 4, 12, 5, 13}); }
INLINE wide32 wide_high_pairs(wide32 a, wide32 b) { return __builtin_shuffle(a, b, (v8i){2, 10, 3, 11, 6, 14, 7, 15}); }
INLINE wide32 wide_low_quads(wide32 a, wide32 b) { return __builtin_shuffle(a, b, (v8i){0, 1, 8, 9, 4, 5, 12, 13}); }
INLINE wide32 wide_high_quads(wide32 a, wide32 b) { return __builtin_shuffle(a, b, (v8i){2, 3, 10, 11, 6, 7, 14, 15}); }

#endif

INLINE wide16 wide_load(const int32_t *pairs) { return *(const wide16_loose *)pairs; }
/* Pairs of words from any of them on. */
INLINE wide16 wide_words(const int16_t *from) {
    wide16 out;
    memcpy(&out, from, sizeof out);
    return out;
}
INLINE wide32 wide_load32(const int32_t *from) { return *(const wide32_loose *)from; }
INLINE void wide_store32(int32_t *to, wide32 value) { *(wide32_loose *)to = value; }
/* Low 16 bits of both as pairs. */
INLINE wide32 wide_joined(wide32 a, wide32 b) { return (a & (wide32)wide_splat(0xffff)) | (b << 16); }
INLINE wide32 wide_splat32(int32_t x) { return (wide32)wide_splat(x); }
INLINE widef wide_load_floats(const float *from) { return *(const widef_loose *)from; }
INLINE void wide_store_floats(float *to, widef value) { *(widef_loose *)to = value; }
/* Nearest whole number for |x| < 2^22. */
INLINE widef wide_whole(widef x) {
    const widef magic = wide_float(12582912.0f);
    return (x + magic) - magic;
}

#endif
