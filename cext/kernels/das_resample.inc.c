/* From traces to planes of 16-bit fine samples: for each fine sample the signal there, its slope and its curvature, each
   by a filter of its own, so that any delay between fine samples is a polynomial (C. W. Farrow, IEEE ISCAS 1988).

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
    plan->peaks[trace] = largest_magnitude(plan->data + 2 * (trace * plan->samples + plan->begin_at),
                                           2 * (plan->end_at - plan->begin_at), &all_finite);
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

/* Rounds trace number `own` of the transmissions from `first_transmit` on to 16 bits at a scale of its own. */
static void das_round(const sonod_das_blocks *plan, size_t first_transmit, size_t own) {
    const size_t trace = first_transmit * plan->channels + own, used = plan->end_at - plan->begin_at;
    const float *restrict raw = plan->data + 2 * (trace * plan->samples + plan->begin_at);
    if (plan->receive[trace] < 0)
        return;
    int all_finite;
    plan->peaks[trace] = largest_magnitude(raw, 2 * used, &all_finite);
    int16_t *restrict re = plan->resampling.rounded + 2 * own * plan->resampling.words + WORDS_BEFORE;
    const float scale = ldexpf(1.0f, own_exponent(plan, plan->peaks[trace]) + plan->resampling.headroom);
    if (all_finite)
        round_pairs(raw, used, scale, 1, re, re + plan->resampling.words);
    else
        round_pairs(raw, used, scale, 0, re, re + plan->resampling.words);
}

/* -- resampling ----------------------------------------------------------------------------------------------------- */

/* By how many powers of two a trace is rounded more finely than its transmission is taken; what is too much for the sums is
   taken from the samples. */
static int surplus(const sonod_das_blocks *plan, size_t trace, int16_t *restrict rounded) {
    int exponent;
    frexpf(plan->scales[trace / plan->channels], &exponent);
    const int finer = own_exponent(plan, plan->peaks[trace]) - (exponent - 1);
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

/* Adds so many pairs of taps, at most four. */
INLINE void add_taps(const int16_t *restrict words, const int32_t *restrict starts, const int32_t *restrict h, size_t pairs,
                     wide32 sum[PLANE_ROWS]) {
    wide16 x[4];
    pairs_from(words, starts, x);
    for (size_t i = 0; i < pairs; i++)
        for (size_t k = 0; k < PLANE_ROWS; k++) {
            wide32 next = wide_add_paired(sum[k], x[i], wide_load(h + (i * PLANE_ROWS + k) * TABLE_FINE));
            WIDE_KEEP(next);
            sum[k] = next;
        }
}

/* What is resampled: components of traces, by how many powers of two their sums are divided, and where three rows of each
   begin, `row` from one to the next. */
typedef struct {
    const int16_t *words[2 * TRACES];
    int shift[TRACES];
    int32_t *out[TRACES];
    size_t row;
} resampled;

/* Fine samples from `first` on. */
INLINE void resample_traces(const sonod_resampling *own, size_t taps, int picking, const resampled *traces, size_t first,
                            size_t count) {
    const int16_t *words[2 * TRACES];
    int32_t *out[TRACES];
    wide32 half[TRACES], shift[TRACES];
    for (int trace = 0; trace < TRACES; trace++) {
        words[2 * trace] = traces->words[2 * trace];
        words[2 * trace + 1] = traces->words[2 * trace + 1];
        out[trace] = traces->out[trace] - first;
        half[trace] = wide_splat32(1 << (traces->shift[trace] - 1));
        shift[trace] = wide_splat32(traces->shift[trace]);
    }
    for (size_t j = first; j < first + count; j += WIDE) {
        const size_t table = (size_t)own->table_of[j / TABLE_FINE];
        const int32_t *restrict starts = own->starts + j;
        const int32_t *restrict h = own->coefficients + table * taps / 2 * PLANE_ROWS * TABLE_FINE + j % TABLE_FINE;
        wide32 sum[2 * TRACES][PLANE_ROWS];
        for (int part = 0; part < 2 * TRACES; part++)
            for (size_t k = 0; k < PLANE_ROWS; k++)
                sum[part][k] = half[part / 2];
#if WIDE == 16
        if (picking) {
            const wide32 pick = wide_load32(own->picks + table * TABLE_FINE);
            for (size_t i = 0; i < taps / 2; i++) {
                wide16 own_h[PLANE_ROWS];
                for (size_t k = 0; k < PLANE_ROWS; k++) {
                    own_h[k] = wide_load(h + (i * PLANE_ROWS + k) * TABLE_FINE);
                    WIDE_KEEP(own_h[k]);
                }
                for (int part = 0; part < 2 * TRACES; part++) {
                    const wide16 x = picked(words[part] + starts[0] + 2 * i, pick);
                    for (size_t k = 0; k < PLANE_ROWS; k++)
                        sum[part][k] = wide_add_paired(sum[part][k], x, own_h[k]);
                }
            }
        } else
#endif
            for (int part = 0; part < 2 * TRACES; part++) {
                const int32_t *restrict own_h = h;
                ANEW(own_h);
                add_taps(words[part], starts, own_h, 4, sum[part]);
                if (taps > 8)
                    add_taps(words[part] + 8, starts, own_h + 4 * PLANE_ROWS * TABLE_FINE, taps / 2 - 4, sum[part]);
            }
        for (int trace = 0; trace < TRACES; trace++)
            for (size_t k = 0; k < PLANE_ROWS; k++)
                wide_store32(out[trace] + k * traces->row + j, wide_joined(wide_shifted(sum[2 * trace][k], shift[trace]),
                                                                   wide_shifted(sum[2 * trace + 1][k], shift[trace])));
    }
}

#define RESAMPLE(taps, picking)                                                                                        \
    static __attribute__((noinline)) void resample_##taps##_##picking(const sonod_resampling *own,                     \
                                                                      const resampled *traces, size_t first,           \
                                                                      size_t count) {                                  \
        resample_traces(own, taps, picking, traces, first, count);                                                     \
    }
RESAMPLE(8, 0)
RESAMPLE(12, 0)
#if WIDE == 16
RESAMPLE(8, 1)
RESAMPLE(12, 1)
#else
#define resample_8_1 resample_8_0
#define resample_12_1 resample_12_0
#endif

static void resample_some(const sonod_resampling *own, const resampled *traces, size_t first, size_t count) {
    if (own->taps == 8)
        (own->picks ? resample_8_1 : resample_8_0)(own, traces, first, count);
    else
        (own->picks ? resample_12_1 : resample_12_0)(own, traces, first, count);
}

/* Fine samples of `step` planes by turns to these, the first of which begins at `out`. */
static void part_planes(const int32_t *restrict fine, size_t count, size_t step, int32_t *restrict out, size_t plane) {
    if (step == 2) {
        wide32 evens, odds;
        for (int i = 0; i < WIDE; i++) {
            evens[i] = 2 * i;
            odds[i] = 2 * i + 1;
        }
        for (size_t j = 0; j < count; j += WIDE) {
            const wide32 a = wide_load32(fine + 2 * j), b = wide_load32(fine + 2 * j + WIDE);
            wide_store32(out + j, __builtin_shuffle(a, b, evens));
            wide_store32(out + plane + j, __builtin_shuffle(a, b, odds));
        }
        return;
    }
    for (size_t p = 0; p < step; p++)
        for (size_t j = 0; j < count; j++)
            out[p * plane + j] = fine[j * step + p];
}

/* Fine samples of a plane that are worked out before they are parted, when there are several planes. */
#define PIECE ((size_t)64)

/* Resamples TRACES traces to rows at the beginning of their planes; `pieces` holds what is parted where there are several
   planes. */
static void resample_to_planes(const sonod_das_blocks *plan, resampled *traces, int32_t *pieces) {
    const sonod_resampling *resampling = &plan->resampling;
    const size_t row = plan->row, width = plan->width, step = plan->step, piece = PIECE * step;
    if (step == 1) {
        traces->row = row;
        resample_some(resampling, traces, 0, width);
        return;
    }
    int32_t *planes[TRACES];
    traces->row = piece;
    for (size_t i = 0; i < TRACES; i++) {
        planes[i] = traces->out[i];
        traces->out[i] = pieces + i * PLANE_ROWS * piece;
    }
    for (size_t begin = 0; begin < width; begin += PIECE) {
        const size_t count = width - begin < PIECE ? width - begin : PIECE;
        resample_some(resampling, traces, begin * step, count * step);
        for (size_t i = 0; i < TRACES; i++)
            for (size_t k = 0; k < PLANE_ROWS; k++)
                part_planes(traces->out[i] + k * piece, count, step, planes[i] + k * row + begin, PLANE_ROWS * row);
    }
}

/* Resamples a party of channels; transmissions number `rounded_from` and on of the group from `first_transmit` on are rounded. */
static void das_resample(const sonod_das_blocks *plan, size_t first_transmit, size_t rounded_from, size_t party) {
    const size_t parties = (plan->channels + SONOD_RESAMPLED - 1) / SONOD_RESAMPLED, channels = plan->channels;
    const size_t words = plan->resampling.words, transmit = party / parties, step = plan->step;
    int32_t *pieces = step > 1 ? sonod_scratch(TRACES * PLANE_ROWS * PIECE * step * sizeof(int32_t)) : NULL;
    if (step > 1 && !pieces)
        return;
    resampled traces;
    size_t taken = 0;
    for (size_t k = 0; k < SONOD_RESAMPLED; k++) {
        const size_t channel = party % parties * SONOD_RESAMPLED + k, own = (rounded_from + transmit) * channels + channel;
        if (channel >= channels || plan->receive[first_transmit * channels + own] < 0)
            continue;
        int16_t *rounded = plan->resampling.rounded + 2 * (transmit * channels + channel) * words;
        const int shift = 16 + surplus(plan, first_transmit * channels + own, rounded);
        /* A single one is taken twice where they go together. */
        for (size_t place = taken; place < TRACES; place++) {
            traces.words[2 * place] = rounded + WORDS_BEFORE;
            traces.words[2 * place + 1] = rounded + words + WORDS_BEFORE;
            traces.shift[place] = shift;
            traces.out[place] = plan->planes + own * step * PLANE_ROWS * plan->row + PLANE_MARGIN;
        }
        if (++taken < TRACES && k + 1 < SONOD_RESAMPLED)
            continue;
        resample_to_planes(plan, &traces, pieces);
        taken = 0;
    }
    if (taken)
        resample_to_planes(plan, &traces, pieces);
}
