/* Delay and sum of baseband data at points that lie anywhere, or whose ways back are given, sixteen points at a time in
   16-bit integers.

   Every trace is resampled to fine samples with slope and curvature side by side, and turned back to the carrier. So each
   point and channel takes one read of 16 bytes, a polynomial, and a turn by the share of a fine sample: less than a sixth
   of a turn, which short polynomials give. */

/* Zeros before and behind a trace: points outside the record are read there. */
#define POINT_MARGIN 8
/* Signal, slope, curvature, nothing. */
#define POINT_ROWS 4
/* Phases are 2^14 at unity before they are weighed with up to 2^12, which brings them to UNIT_WEIGHT. */
#define FULL_WEIGHT 4096.0f

/* Two vectors of whole numbers to one of 16-bit numbers, and such numbers as pairs with others: the points of the first vector,
   those of the second. */
INLINE v16s packed16(v8i a, v8i b) {
#if defined(__AVX2__)
    return (v16s)_mm256_packs_epi32((__m256i)a, (__m256i)b);
#else
    return __builtin_shuffle((v16s)a, (v16s)b, (v16s){0, 2, 4, 6, 16, 18, 20, 22, 8, 10, 12, 14, 24, 26, 28, 30});
#endif
}
INLINE v16s pairs_of_first(v16s a, v16s b) {
    return __builtin_shuffle(a, b, (v16s){0, 16, 1, 17, 2, 18, 3, 19, 8, 24, 9, 25, 10, 26, 11, 27});
}
INLINE v16s pairs_of_second(v16s a, v16s b) {
    return __builtin_shuffle(a, b, (v16s){4, 20, 5, 21, 6, 22, 7, 23, 12, 28, 13, 29, 14, 30, 15, 31});
}
INLINE v16s splat16(int16_t x) { return (v16s){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

/* -- from traces to fine samples ------------------------------------------------------------------------------------- */

/* Fine samples of eight traces, turned by `turning`. */
INLINE void resample_turned(const v8f *restrict samples, const sonod_das_blocks *common, size_t taps,
                            const float *restrict turning, v8f scale, int32_t *const *restrict out) {
    for (size_t j = 0; j < common->width; j += 8) {
        v8f part[PLANE_ROWS][8];
        for (size_t at = 0; at < 8; at++) {
            const v8f *restrict x = samples + 2 * common->starts[j + at];
            const float *restrict h = common->coefficients + common->filters[j + at];
            v8f re[PLANE_ROWS], im[PLANE_ROWS];
            for (size_t k = 0; k < PLANE_ROWS; k++) {
                re[k] = x[0] * splat8(h[k * taps]);
                im[k] = x[1] * splat8(h[k * taps]);
            }
            for (size_t tap = 1; tap < taps; tap++)
                for (size_t k = 0; k < PLANE_ROWS; k++) {
                    re[k] = fma8(x[2 * tap], splat8(h[k * taps + tap]), re[k]);
                    im[k] = fma8(x[2 * tap + 1], splat8(h[k * taps + tap]), im[k]);
                }
            const v8f c = splat8(turning[2 * (j + at)]), s = splat8(turning[2 * (j + at) + 1]);
            for (size_t k = 0; k < PLANE_ROWS; k++)
                part[k][at] = (v8f)whole_pairs(fma8(re[k], c, -(im[k] * s)), fma8(re[k], s, im[k] * c), scale);
        }
        for (size_t k = 0; k < PLANE_ROWS; k++)
            transpose8(part[k]);
        for (size_t trace = 0; trace < TOGETHER; trace++) {
            if (!out[trace])
                continue;
            const v8i signal = (v8i)part[0][trace], slope = (v8i)part[1][trace], curvature = (v8i)part[2][trace];
            for (int high = 0; high < 2; high++) {
                const v8i low = high ? __builtin_shuffle(signal, slope, (v8i){4, 12, 5, 13, 6, 14, 7, 15})
                                     : __builtin_shuffle(signal, slope, (v8i){0, 8, 1, 9, 2, 10, 3, 11});
                const v8i rest = high ? __builtin_shuffle(curvature, splat8i(0), (v8i){4, 8, 5, 8, 6, 8, 7, 8})
                                      : __builtin_shuffle(curvature, splat8i(0), (v8i){0, 8, 1, 8, 2, 8, 3, 8});
                int32_t *to = out[trace] + POINT_ROWS * (j + 4 * (size_t)high);
                store8i(to, __builtin_shuffle(low, rest, (v8i){0, 1, 8, 9, 2, 3, 10, 11}));
                store8i(to + 8, __builtin_shuffle(low, rest, (v8i){4, 5, 12, 13, 6, 7, 14, 15}));
            }
        }
    }
}

/* Resamples a party of eight channels of the group of transmissions from `first_transmit` on. */
static void das_points_resample(const sonod_das_points *plan, size_t first_transmit, size_t party) {
    const sonod_das_blocks *common = &plan->common;
    const size_t parties = (common->channels + TOGETHER - 1) / TOGETHER, first = party % parties * TOGETHER;
    const size_t own_transmit = party / parties, transmit = first_transmit + own_transmit;
    const size_t margin = common->taps + 8, used = common->end_at - common->begin_at;
    v8f *padded = sonod_scratch(2 * (used + 2 * margin) * sizeof(v8f));
    if (!padded)
        return;
    v8f *samples = padded + 2 * margin;
    memset(padded, 0, 2 * margin * sizeof(v8f));
    memset(samples + 2 * used, 0, 2 * margin * sizeof(v8f));
    gather_traces(common, transmit, first, used, samples);
    int32_t *out[TOGETHER];
    for (size_t trace = 0; trace < TOGETHER; trace++) {
        const size_t channel = first + trace;
        out[trace] = NULL;
        if (channel >= common->channels || common->receive[transmit * common->channels + channel] < 0)
            continue;
        int32_t *own = common->planes + (own_transmit * common->channels + channel) * POINT_ROWS * common->row;
        memset(own, 0, POINT_ROWS * POINT_MARGIN * sizeof(int32_t));
        memset(own + POINT_ROWS * (POINT_MARGIN + common->width), 0, POINT_ROWS * POINT_MARGIN * sizeof(int32_t));
        out[trace] = own + POINT_ROWS * POINT_MARGIN;
    }
    const v8f scale = splat8(common->scales[transmit]);
    switch (common->taps) {
    case 8:
        resample_turned(samples, common, 8, plan->turning, scale, out);
        break;
    case 12:
        resample_turned(samples, common, 12, plan->turning, scale, out);
        break;
    default:
        resample_turned(samples, common, common->taps, plan->turning, scale, out);
    }
}

/* -- points ---------------------------------------------------------------------------------------------------------- */

/* An element that listens to a block of points: its way back to each, in fine samples, and its weights, packed. */
typedef struct {
    float back[BLOCK] __attribute__((aligned(32)));
    v16s weights;
    int32_t element;
} listening;

/* Way back and weights of one element; returns 0 when it listens to none of the points. `inside`: to all, fully. */
INLINE int listen(const sonod_das_points *plan, size_t block, int32_t element, int inside, listening *restrict out) {
    const size_t at = block * BLOCK;
    const v8f ex = splat8(plan->x[element]), ey = splat8(plan->y[element]), ez = splat8(plan->z[element]);
    out->element = element;
    out->weights = splat16((int16_t)FULL_WEIGHT);
    if (!inside) {
        v8i weights[2], any = splat8i(0);
        for (size_t half = 0; half < 2; half++) {
            const size_t own = at + 8 * half;
            v8f lateral;
            if (plan->lateral) {
                lateral = splat8(plan->lateral[element]);
            } else {
                const v8f dx = load8(plan->feet[0] + own) - ex, dy = load8(plan->feet[1] + own) - ey;
                const v8f dz = load8(plan->feet[2] + own) - ez;
                lateral = sqrt8(fma8(dx, dx, fma8(dy, dy, dz * dz)));
            }
            const v8f weight = window8(plan->window, lateral * load8(plan->per_half + own));
            weights[half] = __builtin_convertvector(round8(weight * splat8(FULL_WEIGHT)), v8i);
            any |= weights[half] != 0;
        }
        if (!any8(any))
            return 0;
        out->weights = packed16(weights[0], weights[1]);
    }
    for (size_t half = 0; half < 2; half++) {
        const size_t own = at + 8 * half;
        if (plan->back) {
            store8(out->back + 8 * half, load8(plan->back + (size_t)element * plan->points + own));
            continue;
        }
        const v8f dx = load8(plan->places[0] + own) - ex, dy = load8(plan->places[1] + own) - ey;
        const v8f dz = load8(plan->places[2] + own) - ez;
        store8(out->back + 8 * half, sqrt8(fma8(dx, dx, fma8(dy, dy, dz * dz))) * splat8(plan->fine_per_metre));
    }
    return 1;
}

/* Elements that listen to a block; returns how many. */
static size_t find_listening(const sonod_das_points *plan, size_t block, listening *restrict out) {
    const float *bounds = plan->bounds + 6 * block; /* middle of the feet, largest distance from it, least and largest half */
    const v8f reach = splat8(bounds[3]), least = splat8(bounds[4]), largest = splat8(bounds[5] * APERTURE_EDGE);
    size_t count = 0;
    for (size_t i = 0; i < plan->common.elements; i += 8) {
        v8f lateral;
        if (plan->lateral) {
            lateral = splat8(0);
        } else {
            const v8f dx = load8(plan->x + i) - splat8(bounds[0]), dy = load8(plan->y + i) - splat8(bounds[1]);
            const v8f dz = load8(plan->z + i) - splat8(bounds[2]);
            lateral = sqrt8(fma8(dx, dx, fma8(dy, dy, dz * dz)));
        }
        const unsigned within_any = (unsigned)any8(lateral - reach <= largest);
        const unsigned within_all = plan->window == SONOD_RECTANGULAR ? (unsigned)any8(lateral + reach <= least) : 0;
        for (unsigned bits = within_any; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            if (i + (size_t)lane < plan->common.elements)
                count += (size_t)listen(plan, block, (int32_t)i + lane, within_all >> lane & 1, out + count);
        }
    }
    return count;
}

/* Integer sums of sixteen points. */
typedef struct {
    v8i re[2], im[2];
} point_sum;

/* One read of four whole numbers each at two places. */
INLINE v8i load_two(const int32_t *low, const int32_t *high) {
#if defined(__AVX2__)
    /* The compiler would take them number by number. */
    const __m128i first = _mm_loadu_si128((const __m128i *)low), second = _mm_loadu_si128((const __m128i *)high);
    return (v8i)_mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
#else
    v8i out;
    memcpy(&out, low, 16);
    memcpy((char *)&out + 16, high, 16);
    return out;
#endif
}

/* Adds one channel to sixteen points; `trace`: its fine samples from the first one on. */
INLINE void add_to_points(const sonod_das_points *plan, const int32_t *restrict trace, const listening *restrict own,
                          const v8f *restrict there, point_sum *restrict sum) {
    const v8f last = splat8((float)(plan->common.width + POINT_MARGIN / 2)), first = splat8(-(float)(POINT_MARGIN / 2));
    int32_t offset[BLOCK] __attribute__((aligned(32)));
    v8i share[2];
    for (int half = 0; half < 2; half++) {
        const v8f fine = min8(max8(load8(own->back + 8 * half) + there[half], first), last), near = round8(fine);
        share[half] = __builtin_convertvector(round8((fine - near) * splat8(65534.0f)), v8i);
        store8i(offset + 8 * half, __builtin_convertvector(near, v8i) * splat8i(POINT_ROWS));
    }
    /* Through memory: to take numbers out of a vector one by one is slower. */
    __asm__("" : : "r"(offset) : "memory");
    /* Phases of the share, in half samples. */
    const v16s z = packed16(share[0], share[1]), square = scaled16(z, z);
    const v16s sine = scaled16(z, splat16(plan->sine[0]) +
                                      scaled16(square, splat16(plan->sine[1]) + scaled16(square, splat16(plan->sine[2]))));
    const v16s cosine = splat16(plan->cosine[0]) +
                        scaled16(square, splat16(plan->cosine[1]) + scaled16(square, splat16(plan->cosine[2])));
    const v16s c = scaled16(cosine, own->weights), s = scaled16(sine, own->weights), minus = splat16(0) - s, samples = z >> 1;
    for (int half = 0; half < 2; half++) {
        const int32_t *at = offset + 8 * half;
        v8i read[4];
        for (int i = 0; i < 4; i++)
            read[i] = load_two(trace + at[i], trace + at[i + 4]);
        const v8i low = __builtin_shuffle(read[0], read[1], (v8i){0, 8, 1, 9, 4, 12, 5, 13});
        const v8i high = __builtin_shuffle(read[2], read[3], (v8i){0, 8, 1, 9, 4, 12, 5, 13});
        const v8i low_rest = __builtin_shuffle(read[0], read[1], (v8i){2, 10, 3, 11, 6, 14, 7, 15});
        const v8i high_rest = __builtin_shuffle(read[2], read[3], (v8i){2, 10, 3, 11, 6, 14, 7, 15});
        const v16s signal = (v16s)__builtin_shuffle(low, high, (v8i){0, 1, 8, 9, 4, 5, 12, 13});
        const v16s slope = (v16s)__builtin_shuffle(low, high, (v8i){2, 3, 10, 11, 6, 7, 14, 15});
        const v16s curvature = (v16s)__builtin_shuffle(low_rest, high_rest, (v8i){0, 1, 8, 9, 4, 5, 12, 13});
        const v16s within = half ? pairs_of_second(samples, samples) : pairs_of_first(samples, samples);
        const v16s value = between(signal, slope, curvature, within);
        sum->re[half] += paired16(value, half ? pairs_of_second(c, minus) : pairs_of_first(c, minus));
        sum->im[half] += paired16(value, half ? pairs_of_second(s, c) : pairs_of_first(s, c));
    }
}

INLINE void flush_points(point_sum *restrict sum, block_sum *restrict total) {
    for (int half = 0; half < 2; half++) {
        total->re[half] += __builtin_convertvector(sum->re[half], v8f);
        total->im[half] += __builtin_convertvector(sum->im[half], v8f);
        sum->re[half] = sum->im[half] = splat8i(0);
    }
}

/* Adds one transmission to a block of points. */
static void add_transmission(const sonod_das_points *plan, size_t first_transmit, size_t t, size_t block,
                             const listening *restrict heard, size_t count, block_sum *restrict total) {
    const sonod_das_blocks *common = &plan->common;
    const size_t transmit = first_transmit + t, map = (size_t)common->map_of[transmit], at = transmit * plan->points + block * BLOCK;
    const int32_t *first = common->map_first + map * (common->elements + 1), *traces = common->map_traces + map * common->map_row;
    const int32_t *planes = common->planes + t * common->channels * POINT_ROWS * common->row + POINT_ROWS * POINT_MARGIN;
    const v8f there[2] = {load8(plan->there + at), load8(plan->there + at + 8)};
    if (!any8((there[0] > splat8(-1e5f)) | (there[1] > splat8(-1e5f))))
        return;
    point_sum whole = {{splat8i(0), splat8i(0)}, {splat8i(0), splat8i(0)}};
    block_sum sum = {{splat8(0), splat8(0)}, {splat8(0), splat8(0)}};
    size_t added = 0;
    for (size_t i = 0; i < count; i++)
        for (int32_t k = first[heard[i].element]; k < first[heard[i].element + 1]; k++) {
            add_to_points(plan, planes + traces[k], heard + i, there, &whole);
            if (++added % PARTY == 0)
                flush_points(&whole, &sum);
        }
    flush_points(&whole, &sum);
    const v8f c = splat8(plan->wave_phases[2 * transmit]), s = splat8(plan->wave_phases[2 * transmit + 1]);
    for (int half = 0; half < 2; half++) {
        v8f scale = splat8(common->inverse_scales[transmit]);
        if (plan->weights)
            scale = scale * load8(plan->weights + at + 8 * half);
        const v8f re = sum.re[half] * scale, im = sum.im[half] * scale;
        total->re[half] = fma8(re, c, fma8(-im, s, total->re[half]));
        total->im[half] = fma8(re, s, fma8(im, c, total->im[half]));
    }
}

/* Adds a group of transmissions to some blocks of points. */
static void das_points(const sonod_das_points *plan, size_t first_transmit, size_t transmits, size_t begin, size_t end) {
    listening *heard = sonod_scratch(plan->common.elements * sizeof(listening));
    if (!heard)
        return;
    for (size_t block = begin; block < end; block++) {
        const size_t count = find_listening(plan, block, heard), at = block * BLOCK;
        block_sum total = {{splat8(0), splat8(0)}, {splat8(0), splat8(0)}};
        for (size_t t = 0; t < transmits; t++)
            add_transmission(plan, first_transmit, t, block, heard, count, &total);
        for (size_t j = 0; j < BLOCK; j++) {
            const int32_t point = plan->order[at + j];
            if (point < 0)
                continue;
            float *out = plan->common.out + 2 * (size_t)point;
            out[0] = (first_transmit ? out[0] : 0) + total.re[j / 8][j % 8];
            out[1] = (first_transmit ? out[1] : 0) + total.im[j / 8][j % 8];
        }
    }
}
