/* From traces to planes of 16-bit fine samples: for each fine sample the signal there, its slope and its curvature, and in
   some planes the third order, each by a filter of its own, so that any delay between fine samples is a polynomial (C. W. Farrow, IEEE ISCAS 1988).

   Samples are rounded to 16 bits, real and imaginary parts apart. A pair of them and a pair of coefficients is one product
   of the integer units; fine samples that follow one another are taken together, and begin at different samples. */

/* Fine samples that share a table of coefficients. */
#define TABLE_FINE 16
/* Zeros before a component. */
#define WORDS_BEFORE 32
/* By how many powers of two at most sums are divided on top of the 16: they must hold half of that besides. */
#define MOST_SURPLUS 6

/* -- rounding ------------------------------------------------------------------------------------------------------- */

/* Largest bits of magnitudes, which are ordered as finite magnitudes are; those of NaN and infinities are larger still, and
   count as 0 with `finite`. */
INLINE int32_t largest_bits(const float *restrict raw, size_t count, int finite) {
    wide32 most[4] = {wide_splat32(0), wide_splat32(0), wide_splat32(0), wide_splat32(0)};
    size_t i = 0;
    /* The last ones overlap. */
    for (; count >= 4 * WIDE && i < count; i += 4 * WIDE)
        for (size_t k = 0, at = i + 4 * WIDE <= count ? i : count - 4 * WIDE; k < 4; k++) {
            wide32 bits = (wide32)wide_load_floats(raw + at + k * WIDE) & wide_splat32(0x7fffffff);
            if (finite)
                bits &= bits < wide_splat32(0x7f800000);
            most[k] = wide_larger(most[k], bits);
        }
    most[0] = wide_larger(wide_larger(most[0], most[1]), wide_larger(most[2], most[3]));
    int32_t peak = 0;
    for (int lane = 0; lane < WIDE; lane++)
        peak = most[0][lane] > peak ? most[0][lane] : peak;
    for (; i < count; i++) {
        int32_t bits;
        memcpy(&bits, raw + i, sizeof bits);
        bits &= 0x7fffffff;
        if (finite && bits >= 0x7f800000)
            bits = 0;
        peak = bits > peak ? bits : peak;
    }
    return peak;
}

/* Largest magnitude of a component, without NaN and infinities; whether there are none of these. */
static float largest_magnitude(const float *restrict raw, size_t count, int *all_finite) {
    int32_t bits = largest_bits(raw, count, 0);
    *all_finite = bits < 0x7f800000;
    if (!*all_finite)
        bits = largest_bits(raw, count, 1);
    float peak;
    memcpy(&peak, &bits, sizeof peak);
    return peak;
}

static void das_peak(const sonod_das_blocks *plan, size_t trace) {
    int all_finite;
    const float *raw = plan->data + 2 * (trace * plan->samples + plan->begin_at);
    const float peak = largest_magnitude(raw, 2 * (plan->end_at - plan->begin_at), &all_finite);
    plan->peaks[trace] = all_finite ? peak : -peak;
}

/* The power of two that brings fine samples of a trace of that peak to 16 bits, as `choose_scales` has it. */
static int own_exponent(const sonod_das_blocks *plan, float peak) {
    int exponent = 0;
    if (peak > 0)
        frexpf((peak < 1e34f ? peak : 1e34f) * plan->bound, &exponent);
    return 15 - (exponent < -100 ? -100 : exponent);
}

/* Real and imaginary parts of pairs of floats as 16-bit numbers. */
INLINE void round_pairs(const float *restrict raw, size_t used, float scale, int all_finite, int16_t *restrict re,
                        int16_t *restrict im) {
    size_t i = 0;
    for (; used >= WIDE && i < used; i += WIDE) {
        const size_t at = i + WIDE <= used ? i : used - WIDE;
        widef part[2] = {wide_load_floats(raw + 2 * at), wide_load_floats(raw + 2 * at + WIDE)};
        if (!all_finite)
            for (int k = 0; k < 2; k++)
                part[k] = (widef)((wide32)part[k] & (((wide32)part[k] & wide_splat32(0x7f800000)) != wide_splat32(0x7f800000)));
        wide_split(wide_nearest(part[0] * wide_float(scale)), wide_nearest(part[1] * wide_float(scale)), re + at, im + at);
    }
    for (; i < used; i++) {
        re[i] = (int16_t)lrintf(finite_or_zero(raw[2 * i]) * scale);
        im[i] = (int16_t)lrintf(finite_or_zero(raw[2 * i + 1]) * scale);
    }
}

/* Rounds what a range of fine samples of a trace reads to 16 bits at a scale of its own, with zeros around the record. */
static void round_range(const sonod_das_blocks *plan, size_t trace, const sonod_fine_range *range, int16_t *restrict rounded) {
    const size_t words = plan->resampling.words, used = plan->end_at - plan->begin_at;
    const size_t begin = range->first_word < 0 ? 0 : (size_t)range->first_word;
    const size_t end = range->end_word < used ? range->end_word : used;
    const float *restrict raw = plan->data + 2 * (trace * plan->samples + plan->begin_at + begin);
    const float scale = ldexpf(1.0f, own_exponent(plan, fabsf(plan->peaks[trace])) + plan->resampling.headroom);
    for (int16_t *restrict part = rounded; part <= rounded + words; part += words) {
        if (range->first_word < 0)
            memset(part, 0, WORDS_BEFORE * sizeof *part);
        if (range->end_word > used)
            memset(part + WORDS_BEFORE + used, 0, (words - WORDS_BEFORE - used) * sizeof *part);
    }
    if (begin >= end)
        return;
    int16_t *restrict re = rounded + WORDS_BEFORE + begin;
    if (signbit(plan->peaks[trace]))
        round_pairs(raw, end - begin, scale, 0, re, re + words);
    else
        round_pairs(raw, end - begin, scale, 1, re, re + words);
}

/* -- resampling ----------------------------------------------------------------------------------------------------- */

/* By how many powers of two a trace is rounded more finely than its transmission is taken; what is too much for the sums is
   taken from the samples. */
static int surplus(const sonod_das_blocks *plan, size_t trace, int16_t *restrict rounded) {
    int exponent;
    frexpf(plan->scales[trace / plan->channels], &exponent);
    const int finer = own_exponent(plan, fabsf(plan->peaks[trace])) - (exponent - 1);
    if (finer <= MOST_SURPLUS)
        return finer;
    const int excess = finer - MOST_SURPLUS;
    const wide16 factor = wide_splat(excess > 15 ? 0 : (1 << (15 - excess)) * 0x10001);
    for (size_t i = 0; i < 2 * plan->resampling.words; i += 2 * WIDE)
        *(wide16_loose *)(rounded + i) = wide_scaled(*(const wide16_loose *)(rounded + i), factor);
    return MOST_SURPLUS;
}

#if WIDE == 16
/* Pairs from places of up to 32 words. */
INLINE wide16 picked(const int16_t *words, wide32 pick) {
    return (wide16)_mm512_permutexvar_epi16((__m512i)pick, _mm512_loadu_si512(words));
}
#endif

/* The first `pairs` pairs of words from each of so many starts. */
INLINE void pairs_from(const int16_t *restrict words, const int32_t *restrict starts, wide16 out[4]) {
    wide32 row[4];
    for (int i = 0; i < 4; i++)
        row[i] = wide_rows(words, starts + i);
    const wide32 a = wide_low_pairs(row[0], row[1]), b = wide_low_pairs(row[2], row[3]);
    const wide32 c = wide_high_pairs(row[0], row[1]), d = wide_high_pairs(row[2], row[3]);
    out[0] = (wide16)wide_low_quads(a, b);
    out[1] = (wide16)wide_high_quads(a, b);
    out[2] = (wide16)wide_low_quads(c, d);
    out[3] = (wide16)wide_high_quads(c, d);
}

/* Traces that are resampled together, for they share coefficients. */
#if WIDE == 16
#define TRACES 2
#else
#define TRACES 1
#endif

/* Reads coefficients again instead of keeping them: there are more of them than registers. */
#define ANEW(pointer) __asm__ volatile("" : "+r"(pointer))

/* Adds so many pairs of taps, at most four, for `rows` of a plane. */
INLINE void add_taps(const int16_t *restrict words, const int32_t *restrict starts, const int32_t *restrict h, size_t pairs,
                     size_t rows, wide32 sum[MOST_ROWS]) {
    wide16 x[4];
    pairs_from(words, starts, x);
    for (size_t i = 0; i < pairs; i++)
        for (size_t k = 0; k < rows; k++) {
            wide32 next = wide_add_paired(sum[k], x[i], wide_load(h + (i * rows + k) * TABLE_FINE));
            WIDE_KEEP(next);
            sum[k] = next;
        }
}

/* What is resampled: components of traces, by how many powers of two their sums are divided, and their planes. */
typedef struct {
    const int16_t *words[2 * TRACES];
    int shift[TRACES];
    int32_t *planes[TRACES];
} resampled;

/* Stores fine samples of which so many follow each other in a plane. */
INLINE void store_runs(int32_t *restrict plane, const int32_t *restrict places, size_t run, wide32 value) {
    if (run >= WIDE) {
        wide_store32(run == 16 ? plane : plane + places[0], value);
        return;
    }
#if WIDE == 16
    if (run == 8) {
        *(__m256i_u *)(plane + places[0]) = _mm512_castsi512_si256((__m512i)value);
        *(__m256i_u *)(plane + places[2]) = _mm512_extracti64x4_epi64((__m512i)value, 1);
        return;
    }
#endif
    for (size_t quad = 0; quad < WIDE / 4; quad++)
        memcpy(plane + places[quad], (const char *)&value + 16 * quad, 16);
}

/* A range of fine samples of TRACES traces; `row` from one row of a plane to the next. */
INLINE void resample_traces(const sonod_resampling *filters, size_t taps, int picking, size_t rows, size_t run,
                            const resampled *traces, const sonod_fine_range *range, size_t row) {
#if WIDE == 16
    const sonod_resampling *own = filters;
#else
    /* A copy that no store can change; with AVX-512 it takes registers of the loop, and a sixth longer. */
    const sonod_resampling held = *filters, *own = &held;
#endif
    const int16_t *words[2 * TRACES];
    int32_t *planes[TRACES];
    wide32 half[TRACES], shift[TRACES];
    for (int trace = 0; trace < TRACES; trace++) {
        words[2 * trace] = traces->words[2 * trace];
        words[2 * trace + 1] = traces->words[2 * trace + 1];
        planes[trace] = traces->planes[trace];
        half[trace] = wide_splat32(1 << (traces->shift[trace] - 1));
        shift[trace] = wide_splat32(traces->shift[trace]);
    }
    const size_t end = range->end;
    for (size_t j = range->begin; j < end; j += WIDE) {
        const size_t table = (size_t)own->table_of[j / TABLE_FINE];
        const int32_t *restrict starts = own->starts + j;
        const int32_t *restrict h = own->coefficients + table * taps / 2 * rows * TABLE_FINE + j % TABLE_FINE;
        wide32 sum[2 * TRACES][MOST_ROWS];
        for (int part = 0; part < 2 * TRACES; part++)
            for (size_t k = 0; k < rows; k++)
                sum[part][k] = half[part / 2];
#if WIDE == 16
        if (picking) {
            const wide32 pick = wide_load32(own->picks + table * TABLE_FINE);
            for (size_t i = 0; i < taps / 2; i++) {
                wide16 own_h[MOST_ROWS];
                for (size_t k = 0; k < rows; k++) {
                    own_h[k] = wide_load(h + (i * rows + k) * TABLE_FINE);
                    WIDE_KEEP(own_h[k]);
                }
                for (int part = 0; part < 2 * TRACES; part++) {
                    const wide16 x = picked(words[part] + starts[0] + 2 * i, pick);
                    for (size_t k = 0; k < rows; k++)
                        sum[part][k] = wide_add_paired(sum[part][k], x, own_h[k]);
                }
            }
        } else
#endif
            for (int part = 0; part < 2 * TRACES; part++) {
                const int32_t *restrict own_h = h;
                ANEW(own_h);
                add_taps(words[part], starts, own_h, 4, rows, sum[part]);
                if (taps > 8)
                    add_taps(words[part] + 8, starts, own_h + 4 * rows * TABLE_FINE, taps / 2 - 4, rows, sum[part]);
            }
        for (int trace = 0; trace < TRACES; trace++)
            for (size_t k = 0; k < rows; k++)
                store_runs(planes[trace] + k * row + (run == 16 ? j : 0), own->places + j / 4, run,
                           wide_joined(wide_shifted(sum[2 * trace][k], shift[trace]),
                                       wide_shifted(sum[2 * trace + 1][k], shift[trace])));
    }
}

/* In runs of 8 and 4 there are several planes, and several planes have no third order: that is there to do with one. */
#define RESAMPLE(taps, picking)                                                                                        \
    static __attribute__((noinline)) void resample_##taps##_##picking(const sonod_resampling *own,                     \
                                                                      const resampled *traces,                         \
                                                                      const sonod_fine_range *range, size_t row) {     \
        if (own->run == 16)                                                                                            \
            resample_traces(own, taps, picking, LEAST_ROWS, 16, traces, range, row);                                   \
        else if (own->run == 8)                                                                                        \
            resample_traces(own, taps, picking, LEAST_ROWS, 8, traces, range, row);                                    \
        else                                                                                                           \
            resample_traces(own, taps, picking, LEAST_ROWS, 4, traces, range, row);                                    \
    }                                                                                                                  \
    static __attribute__((noinline)) void resample_##taps##_##picking##_third(                                         \
        const sonod_resampling *own, const resampled *traces, const sonod_fine_range *range, size_t row) {             \
        resample_traces(own, taps, picking, MOST_ROWS, 16, traces, range, row);                                        \
    }
RESAMPLE(8, 0)
RESAMPLE(12, 0)
#if WIDE == 16
RESAMPLE(8, 1)
RESAMPLE(12, 1)
#else
#define resample_8_1 resample_8_0
#define resample_12_1 resample_12_0
#define resample_8_1_third resample_8_0_third
#define resample_12_1_third resample_12_0_third
#endif

static void resample_all(const sonod_das_blocks *plan, const resampled *traces, const sonod_fine_range *range) {
    const sonod_resampling *own = &plan->resampling;
    const size_t row = plan->row;
    if (plan->rows == LEAST_ROWS) {
        if (own->taps == 8)
            (own->picks ? resample_8_1 : resample_8_0)(own, traces, range, row);
        else
            (own->picks ? resample_12_1 : resample_12_0)(own, traces, range, row);
    } else {
        if (own->taps == 8)
            (own->picks ? resample_8_1_third : resample_8_0_third)(own, traces, range, row);
        else
            (own->picks ? resample_12_1_third : resample_12_0_third)(own, traces, range, row);
    }
}

/* Resamples a range of a party of channels of a transmission, whose planes are number `place` of those that are held. What is
   rounded stays in the first cache. */
static void das_resample(const sonod_das_blocks *plan, size_t transmit, size_t place, size_t party, const sonod_fine_range *range) {
    const size_t channels = plan->channels, words = plan->resampling.words;
    int16_t *memory = sonod_scratch(SONOD_RESAMPLED * 2 * words * sizeof *memory);
    resampled traces;
    size_t taken = 0;
    if (!memory)
        return;
    for (size_t k = 0; k < SONOD_RESAMPLED; k++) {
        const size_t channel = party * SONOD_RESAMPLED + k, trace = transmit * channels + channel;
        if (channel >= channels || plan->receive[trace] < 0)
            continue;
        int16_t *rounded = memory + 2 * taken * words;
        round_range(plan, trace, range, rounded);
        const int shift = 16 + surplus(plan, trace, rounded);
        /* A single one is taken twice where they go together. */
        for (size_t slot = taken; slot < TRACES; slot++) {
            traces.words[2 * slot] = rounded + WORDS_BEFORE;
            traces.words[2 * slot + 1] = rounded + words + WORDS_BEFORE;
            traces.shift[slot] = shift;
            traces.planes[slot] = plan->planes + (place * channels + channel) * plan->step * plan->rows * plan->row + PLANE_MARGIN;
        }
        if (++taken < TRACES && k + 1 < SONOD_RESAMPLED)
            continue;
        resample_all(plan, &traces, range);
        taken = 0;
    }
    if (taken)
        resample_all(plan, &traces, range);
}
