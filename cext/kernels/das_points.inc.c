/* Delay and sum of baseband data at points that lie anywhere, or whose ways back are given, sixteen points at a time in
   16-bit integers.

   Every trace is resampled to rows of fine samples, of their slopes and of their curvatures, turned back to the carrier. Each
   point and channel takes a polynomial between fine samples, and a turn by the share of a fine sample: less than a sixth of
   a turn, which short polynomials give as well.

   The sixteen points of a block are neighbours. So the way back to an element is a form of second order round the middle
   of the block, of which square root and division are needed once for all sixteen points, and what the points read of a
   row lies in a window of a few registers, out of which a permutation takes it. Blocks that are too wide for that, elements that
   are too near, and ways back that are given, are taken point by point. */

/* Fine samples of a window, and zeros before and behind a row: points outside the record are read there. */
#define WINDOW 32
#define POINT_MARGIN WINDOW
/* Signal, slope, curvature; the last two for half samples. */
#define POINT_ROWS 3
/* Phases are UNIT_WEIGHT at unity; weights, where an element does not listen fully: */
#define FULL_WEIGHT 32767
/* Delays within a window are in fine samples times 2^24. */
#define NEAR_SHIFT 24
/* Places within a block are in fine samples times 2^10, products of two times 2^5. */
#define PLACE_UNIT 1024.0f
/* Directions are 2^14 at unity, bends 2^19: with the places they make 2^24. */
#define DIRECTION_UNIT 16384.0f
#define BEND_UNIT 524288.0f
/* One of the places of a pair is a constant for what lies beyond whole fine samples, which is 2^14 at unity. */
#define WITHIN_UNIT 16384.0f
/* Pairs of places and of their products, with which a delay is made; fewer when all is in one plane. */
#define FORM_PAIRS 5
#define PLANE_PAIRS 3
/* Elements whose forms lie side by side. */
#define FORMS 16
/* What makes a whole number of a float by its low bits, for |x| < 2^22. */
#define WHOLE 12582912.0f

/* Most points of a block, and most vectors of them: where points are few, blocks have half as many. */
#define NEIGHBOURS SONOD_NEIGHBOURS
#define PARTS (NEIGHBOURS / WIDE)

/* -- more of the widest pairs ---------------------------------------------------------------------------------------- */

#if WIDE == 16

/* Bytes 1 and 2 of every number twice. */
INLINE wide16 wide_middle_twice(wide32 x) {
    const __m512i bytes = _mm512_broadcast_i32x4(_mm_setr_epi8(1, 2, 1, 2, 5, 6, 5, 6, 9, 10, 9, 10, 13, 14, 13, 14));
    return (wide16)_mm512_shuffle_epi8((__m512i)x, bytes);
}
/* a b / 2^16, rounded down. */
INLINE wide16 wide_high(wide16 a, wide16 b) { return (wide16)_mm512_mulhi_epi16((__m512i)a, (__m512i)b); }
/* wide_scaled of the second of every pair only. */
INLINE wide16 wide_scaled_second(wide16 a, wide16 b) {
    return (wide16)_mm512_mask_mulhrs_epi16((__m512i)a, 0xaaaaaaaau, (__m512i)a, (__m512i)b);
}
INLINE widef wide_root(widef x) { return (widef)_mm512_sqrt_ps((__m512)x); }
/* Lanes where `a` is at most `b`. */
INLINE unsigned wide_at_most(widef a, float b) { return _mm512_cmp_ps_mask((__m512)a, _mm512_set1_ps(b), _CMP_LE_OQ); }
INLINE int wide_any(wide32 x) { return _mm512_test_epi32_mask((__m512i)x, (__m512i)x) != 0; }

#else

INLINE wide16 wide_middle_twice(wide32 x) {
#if defined(__AVX2__)
    const __m128i bytes = _mm_setr_epi8(1, 2, 1, 2, 5, 6, 5, 6, 9, 10, 9, 10, 13, 14, 13, 14);
    return (wide16)_mm256_shuffle_epi8((__m256i)x, _mm256_broadcastsi128_si256(bytes));
#else
    return (wide16)twice16(x >> 8);
#endif
}
INLINE wide16 wide_high(wide16 a, wide16 b) {
#if defined(__AVX2__)
    return (wide16)_mm256_mulhi_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    wide16 out;
    for (int half = 0; half < 2; half++)
        ((__m128i *)&out)[half] = _mm_mulhi_epi16(((const __m128i *)&a)[half], ((const __m128i *)&b)[half]);
    return out;
#else
    wide16 out;
    for (int i = 0; i < 16; i++)
        out[i] = (int16_t)(((int32_t)a[i] * b[i]) >> 16);
    return out;
#endif
}
INLINE wide16 wide_scaled_second(wide16 a, wide16 b) {
#if defined(__AVX2__)
    return (wide16)_mm256_blend_epi16((__m256i)a, (__m256i)wide_scaled(a, b), 0xaa);
#else
    const v8i second = (v8i)wide_scaled(a, b);
    return (wide16)(((v8i)a & splat8i(0xffff)) | (second & splat8i((int32_t)0xffff0000u)));
#endif
}
INLINE widef wide_root(widef x) { return sqrt8(x); }
INLINE unsigned wide_at_most(widef a, float b) { return (unsigned)any8(a <= splat8(b)); }
INLINE int wide_any(wide32 x) { return any8(x != splat8i(0)) != 0; }

#endif

/* Pairs of 16 bits of floats, rounded to whole numbers. */
INLINE wide32 wide_pairs(widef first, widef second) {
    return ((wide32)(first + WHOLE) & wide_splat32(0xffff)) | ((wide32)(second + WHOLE) << 16);
}

#include "das_points_resample.inc.c"
#include "das_points_listeners.inc.c"

/* -- reading --------------------------------------------------------------------------------------------------------- */

/* Signals, slopes and curvatures. */
typedef struct {
    wide16 signal, slope, curvature;
} readings;

INLINE readings gather_readings(const int32_t *restrict at, size_t row, wide32 index) {
    return (readings){wide_gather(at, index), wide_gather(at + row, index), wide_gather(at + 2 * row, index)};
}

#if WIDE == 16

/* From the 32 fine samples at an address. */
INLINE wide16 of_window(const int32_t *at, wide32 index) {
    return (wide16)_mm512_permutex2var_epi32((__m512i)wide_load32(at), (__m512i)index, (__m512i)wide_load32(at + 16));
}

#elif defined(__AVX2__)

/* From the 8 or 16 fine samples at an address. */
INLINE wide16 of_eight(const int32_t *at, wide32 index) {
    return (wide16)_mm256_permutevar8x32_epi32((__m256i)wide_load32(at), (__m256i)index);
}
INLINE wide16 of_sixteen(const int32_t *at, wide32 index) {
    const __m256 low = (__m256)of_eight(at, index), high = (__m256)of_eight(at + 8, index);
    return (wide16)_mm256_blendv_ps(low, high, (__m256)(index << 28));
}

#endif

/* `index` of 0 to 31 from an address on; `narrow`: of 0 to 7 as a rule where there are so few at once. */
INLINE readings read_window(const int32_t *restrict at, size_t row, wide32 index, int narrow) {
#if WIDE == 16
    (void)narrow;
    return (readings){of_window(at, index), of_window(at + row, index), of_window(at + 2 * row, index)};
#elif defined(__AVX2__)
    if (narrow) {
        if (__builtin_expect(_mm256_testz_si256((__m256i)index, _mm256_set1_epi32(~7)), 1))
            return (readings){of_eight(at, index), of_eight(at + row, index), of_eight(at + 2 * row, index)};
    } else if (_mm256_testz_si256((__m256i)index, _mm256_set1_epi32(~15))) {
        return (readings){of_sixteen(at, index), of_sixteen(at + row, index), of_sixteen(at + 2 * row, index)};
    }
    return gather_readings(at, row, index);
#else
    (void)narrow;
    return gather_readings(at, row, index);
#endif
}

/* `index` of a fine sample each, wherever they are. */
INLINE readings read_anywhere(const int32_t *restrict row_start, size_t row, wide32 index, int32_t last) {
#if WIDE == 16
    const int32_t wanted = index[WIDE / 2] - WINDOW / 2, low = wanted > -POINT_MARGIN ? wanted : -POINT_MARGIN;
    const int32_t from = low < last ? low : last;
    const wide32 own = index - wide_splat32(from);
    if (_mm512_test_epi32_mask((__m512i)own, _mm512_set1_epi32(~(WINDOW - 1))))
        return gather_readings(row_start, row, index);
    return read_window(row_start + from, row, own, 0);
#elif defined(__AVX2__)
    const int32_t wanted = ((index[0] + index[WIDE - 1]) >> 1) - 4, low = wanted > -POINT_MARGIN ? wanted : -POINT_MARGIN;
    const int32_t from = low < last ? low : last;
    const wide32 own = index - wide_splat32(from);
    if (_mm256_testz_si256((__m256i)own, _mm256_set1_epi32(~7)))
        return read_window(row_start + from, row, own, 1);
    const int32_t earlier = from - 4 > -POINT_MARGIN ? from - 4 : -POINT_MARGIN;
    return read_window(row_start + earlier, row, index - wide_splat32(earlier), 0);
#else
    (void)last;
    return gather_readings(row_start, row, index);
#endif
}

/* -- sums ------------------------------------------------------------------------------------------------------------ */

/* Sums of a block of points. */
typedef struct {
    wide32 re[PARTS], im[PARTS];
} points_whole;
typedef struct {
    widef re[PARTS], im[PARTS];
} points_float;
typedef struct {
    float re[NEIGHBOURS], im[NEIGHBOURS];
} point_sums;

/* The phase polynomials, cosine and negative sine as pairs. */
typedef struct {
    wide16 level, rise, bend;
} turning;

/* Adds readings of a channel; `share` of a fine sample, twice each, full scale at half a sample; `weights` or NULL. */
INLINE void add_readings(const readings *read, wide16 share, const int32_t *weights, const turning *turn, wide32 *restrict re,
                         wide32 *restrict im) {
    const wide16 value = read->signal + wide_scaled(read->slope + wide_scaled(read->curvature, share), share);
    const wide16 square = wide_high(share, share);
    const wide16 even = turn->level + wide_scaled(square, turn->rise + wide_scaled(square, turn->bend));
    wide16 phase = wide_scaled_second(even, share);
    if (weights)
        phase = wide_scaled(phase, wide_load(weights));
    *re = wide_add_paired(*re, value, phase);
    *im = wide_add_paired(*im, value, wide_turned(phase));
}

INLINE void flush_points(size_t parts, points_whole *restrict sum, points_float *restrict total) {
    for (size_t part = 0; part < parts; part++) {
        total->re[part] += __builtin_convertvector(sum->re[part], widef);
        total->im[part] += __builtin_convertvector(sum->im[part], widef);
        sum->re[part] = sum->im[part] = wide_splat32(0);
    }
}

/* One transmission at a block of points. */
typedef struct {
    const sonod_das_points *plan;
    const int32_t *first, *traces, *planes; /* channels of the elements, and where fine sample 0 of the first trace is */
    int32_t middle, last;                   /* of the ways there less half a window, and the last place of a window */
    int all_have_one;                       /* every element has one channel */
    /* Places, ways there in the window, and where the part of it begins that a part of the points reads. */
    wide32 places[FORM_PAIRS][PARTS], there[PARTS];
    int32_t from[PARTS];
    int narrow;
    turning turn;
} scene;

/* Places in the window of a part of the points, for an element. */
INLINE wide32 delays(const scene *at, const int32_t *restrict form, size_t pairs, size_t part) {
    wide32 delay = at->there[part];
    for (size_t pair = 0; pair < pairs; pair++)
        delay = wide_add_paired(delay, (wide16)at->places[pair][part], wide_splat(form[pair * FORMS]));
    return delay;
}

/* Adds a channel of an element with a form. */
INLINE void add_formed(const scene *at, size_t parts, const int32_t *restrict form, size_t pairs,
                       const int32_t *restrict window, int narrow, const int32_t *weights, points_whole *restrict sum) {
    for (size_t part = 0; part < parts; part++) {
        const wide32 delay = delays(at, form, pairs, part);
        const readings read = read_window(window + at->from[part], at->plan->common.row, delay >> NEAR_SHIFT, narrow);
        /* Half a fine sample more was added to round: what is beyond that is the share. */
        const wide16 share = wide_middle_twice(delay) ^ wide_splat((int32_t)0x80008000u);
        add_readings(&read, share, weights ? weights + WIDE * part : NULL, &at->turn, sum->re + part, sum->im + part);
    }
}

/* `x` not below and not above the bounds; NaN below. */
INLINE v8f within8(v8f x, v8f least, v8f most) {
#if defined(__AVX__)
    return (v8f)_mm256_min_ps(_mm256_max_ps((__m256)x, (__m256)least), (__m256)most);
#else
    return min8(max8(x, least), most);
#endif
}

/* Adds all channels of an element whose ways back are taken one by one. */
INLINE void add_singly(const scene *at, size_t parts, const float *restrict there, const singly *restrict own,
                       size_t *restrict added, points_whole *restrict sum, points_float *restrict total) {
    const sonod_das_blocks *common = &at->plan->common;
    const v8f last = splat8((float)(common->width + POINT_MARGIN / 2)), first = splat8(-(float)(POINT_MARGIN / 2));
    int32_t index[NEIGHBOURS], share[NEIGHBOURS];
    for (size_t half = 0; half < at->plan->neighbours / 8; half++) {
        const v8f way = load8(own->back + 8 * half) + load8(there + 8 * half);
        const v8f fine = within8(way, first, last), near = round8(fine);
        store8i(index + 8 * half, __builtin_convertvector(near, v8i));
        store8i(share + 8 * half, twice16(__builtin_convertvector(round8((fine - near) * splat8(65534.0f)), v8i)));
    }
    for (int32_t k = at->first[own->own.element]; k < at->first[own->own.element + 1]; k++) {
        for (size_t part = 0; part < parts; part++) {
            const wide32 own_index = wide_load32(index + WIDE * part);
            const readings read = read_anywhere(at->planes + at->traces[k], common->row, own_index, at->last);
            add_readings(&read, wide_load(share + WIDE * part), own->own.weights + WIDE * part, &at->turn,
                         sum->re + part, sum->im + part);
        }
        if (++*added == PARTY) {
            flush_points(parts, sum, total);
            *added = 0;
        }
    }
}

/* Where the parts of a block read, from what they read of one element. */
INLINE void look(scene *at, size_t parts, const int32_t *restrict form, size_t pairs) {
    at->narrow = 1;
#if defined(__AVX2__) && WIDE == 8
    int32_t least[PARTS], most[PARTS];
    for (size_t part = 0; part < parts; part++) {
        const wide32 index = delays(at, form, pairs, part) >> NEAR_SHIFT;
        least[part] = most[part] = index[0];
        for (size_t i = 1; i < WIDE; i++) {
            least[part] = index[i] < least[part] ? index[i] : least[part];
            most[part] = index[i] > most[part] ? index[i] : most[part];
        }
        at->narrow &= most[part] - least[part] < 7;
    }
    for (size_t part = 0; part < parts; part++) {
        const int32_t length = at->narrow ? 8 : 16, from = (least[part] + most[part] + 1 - length) >> 1;
        at->from[part] = from < 0 ? 0 : from > WINDOW - length ? WINDOW - length : from;
        at->there[part] -= wide_splat32(at->from[part] << NEAR_SHIFT);
    }
#else
    (void)form, (void)pairs, (void)parts;
#endif
}

INLINE wide32 window_places(const scene *at, wide32 nearest) {
    return wide_bounded(nearest + wide_splat32(at->middle + POINT_MARGIN), at->last + POINT_MARGIN) - wide_splat32(POINT_MARGIN);
}

/* Lists the channels of an element; returns how many there are. */
INLINE size_t list_channels(const scene *at, int32_t element, int32_t nearest, int32_t which, int32_t *restrict numbers,
                            int32_t *restrict windows) {
    const int32_t wanted = nearest + at->middle, low = wanted > -POINT_MARGIN ? wanted : -POINT_MARGIN;
    size_t count = 0;
    for (int32_t k = at->first[element]; k < at->first[element + 1]; k++) {
        numbers[count] = which;
        windows[count++] = at->traces[k] + (low < at->last ? low : at->last);
    }
    return count;
}

/* Adds listed channels of elements that listen fully, or partly. */
INLINE void add_listed_forms(const scene *at, size_t parts, const listeners *heard, const int32_t *restrict which,
                             size_t count, size_t pairs, int narrow, int partly, points_float *restrict total) {
    const int32_t *forms = (const int32_t *)heard->ways;
    for (size_t begin = 0; begin < count; begin += PARTY) {
        const size_t end = count - begin < PARTY ? count : begin + PARTY;
        points_whole sum;
        for (size_t part = 0; part < parts; part++)
            sum.re[part] = sum.im[part] = wide_splat32(0);
        for (size_t i = begin; i < end; i++) {
            const partial *own = heard->partly + which[i];
            add_formed(at, parts, forms + (partly ? own->slot : which[i]), pairs, at->planes + heard->windows[i], narrow,
                       partly ? own->weights : NULL, &sum);
        }
        flush_points(parts, &sum, total);
    }
}

/* Adds all elements with forms. */
INLINE void add_all_formed(scene *at, size_t parts, const listeners *heard, size_t pairs, points_float *restrict total) {
    const int32_t *forms = (const int32_t *)heard->ways;
    if (heard->full_count)
        look(at, parts, forms + heard->slots[heard->full_count / 2], pairs);
    else if (heard->partly_count)
        look(at, parts, forms + heard->partly[heard->partly_count / 2].slot, pairs);
    const int32_t *which = heard->which;
    size_t count = 0;
    if (at->all_have_one) {
        for (; count < heard->full_count; count += WIDE)
            wide_store32(heard->windows + count, window_places(at, wide_load32(heard->nearest + count)) +
                                                     (wide32)wide_gather(at->traces, wide_load32(heard->full + count)));
        count = heard->full_count;
        which = heard->slots;
    } else {
        for (size_t i = 0; i < heard->full_count; i++)
            count += list_channels(at, heard->full[i], heard->nearest[i], heard->slots[i], heard->which + count,
                                   heard->windows + count);
    }
    if (WIDE == 8 && !at->narrow)
        add_listed_forms(at, parts, heard, which, count, pairs, 0, 0, total);
    else
        add_listed_forms(at, parts, heard, which, count, pairs, 1, 0, total);
    count = 0;
    for (size_t i = 0; i < heard->partly_count; i++)
        count += list_channels(at, heard->partly[i].element, heard->partly[i].nearest, (int32_t)i, heard->which + count,
                               heard->windows + count);
    if (WIDE == 8 && !at->narrow)
        add_listed_forms(at, parts, heard, heard->which, count, pairs, 0, 1, total);
    else
        add_listed_forms(at, parts, heard, heard->which, count, pairs, 1, 1, total);
}

/* Places of the points of a block from its middle, and their products, as pairs. */
INLINE void place_neighbours(const sonod_das_points *plan, size_t parts, size_t block, scene *restrict out) {
    const float *bounds = plan->bounds + BOUNDS * block, unit = plan->fine_per_metre * PLACE_UNIT;
    const int32_t within = (int32_t)((float)(1 << NEAR_SHIFT) / WITHIN_UNIT);
    for (size_t part = 0; part < parts; part++) {
        const size_t own = block * plan->neighbours + WIDE * part;
        const widef x = (wide_load_floats(plan->places[0] + own) - bounds[MIDDLE]) * unit;
        const widef y = (wide_load_floats(plan->places[1] + own) - bounds[MIDDLE + 1]) * unit;
        const widef z = (wide_load_floats(plan->places[2] + own) - bounds[MIDDLE + 2]) * unit;
        const wide32 xz = wide_pairs(x, z), zx = wide_pairs(z, x), yy = wide_pairs(y, y);
        out->places[0][part] = xz;
        out->places[1][part] = (wide32)wide_scaled((wide16)xz, (wide16)xz);
        out->places[2][part] = ((wide32)wide_scaled((wide16)xz, (wide16)zx) & wide_splat32(0xffff)) | wide_splat32(within << 16);
        const wide32 square = (wide32)wide_scaled((wide16)yy, (wide16)yy);
        out->places[3][part] = (yy & wide_splat32(0xffff)) | (square << 16);
        out->places[4][part] = (wide32)wide_scaled((wide16)yy, (wide16)xz);
    }
}

/* Adds one transmission to a block of points. */
INLINE void add_transmission(scene *restrict at, size_t parts, size_t first_transmit, size_t t, size_t block,
                             const listeners *heard, point_sums *restrict total) {
    const sonod_das_points *plan = at->plan;
    const sonod_das_blocks *common = &plan->common;
    const size_t transmit = first_transmit + t, map = (size_t)common->map_of[transmit];
    const size_t own = transmit * plan->points + block * plan->neighbours;
    const float middle = plan->middles[transmit * (plan->points / plan->neighbours) + block];
    if (!(middle > -1e5f))
        return;
    at->first = common->map_first + map * (common->elements + 1);
    at->traces = common->map_traces + map * common->map_row;
    at->planes = common->planes + t * common->channels * POINT_ROWS * common->row + POINT_MARGIN;
    at->middle = (int32_t)middle - WINDOW / 2;
    at->all_have_one = common->map_whole[map];
    /* The share is rounded to 16 bits, the place to whole fine samples. */
    const int32_t rounding = (1 << (NEAR_SHIFT - 1)) + (1 << (NEAR_SHIFT - 17));
    for (size_t part = 0; part < parts; part++) {
        const widef there = (wide_load_floats(plan->there + own + WIDE * part) - middle) * (float)(1 << NEAR_SHIFT);
        at->there[part] = __builtin_convertvector(there, wide32) + wide_splat32((WINDOW / 2 << NEAR_SHIFT) + rounding);
        at->from[part] = 0;
    }
    points_whole whole;
    points_float sum;
    for (size_t part = 0; part < parts; part++) {
        whole.re[part] = whole.im[part] = wide_splat32(0);
        sum.re[part] = sum.im[part] = (widef)wide_splat32(0);
    }
    size_t added = 0;
    if (plan->planar)
        add_all_formed(at, parts, heard, PLANE_PAIRS, &sum);
    else
        add_all_formed(at, parts, heard, FORM_PAIRS, &sum);
    for (size_t i = 0; i < heard->singles_count; i++)
        add_singly(at, parts, plan->there + own, heard->singles + i, &added, &whole, &sum);
    flush_points(parts, &whole, &sum);
    point_sums own_sum;
    memcpy(own_sum.re, sum.re, parts * sizeof sum.re[0]);
    memcpy(own_sum.im, sum.im, parts * sizeof sum.im[0]);
    const v8f c = splat8(plan->wave_phases[2 * transmit]), s = splat8(plan->wave_phases[2 * transmit + 1]);
    for (size_t half = 0; half < plan->neighbours / 8; half++) {
        v8f scale = splat8(common->inverse_scales[transmit]);
        if (plan->weights)
            scale = scale * load8(plan->weights + own + 8 * half);
        const v8f re = load8(own_sum.re + 8 * half) * scale, im = load8(own_sum.im + 8 * half) * scale;
        store8(total->re + 8 * half, fma8(re, c, fma8(-im, s, load8(total->re + 8 * half))));
        store8(total->im + 8 * half, fma8(re, s, fma8(im, c, load8(total->im + 8 * half))));
    }
}

INLINE void add_blocks(const sonod_das_points *plan, size_t parts, size_t first_transmit, size_t transmits, size_t begin,
                       size_t end) {
    const size_t elements = plan->common.elements, parties = elements / FORMS + 1;
    /* Lists are read and written in whole vectors. */
    const size_t listed = (parties + 1) * FORMS, channels = plan->common.channels + 2 * FORMS;
    char *memory = sonod_scratch(parties * sizeof(ways_back) + (3 * listed + 2 * channels) * sizeof(int32_t) +
                                 elements * (sizeof(partial) + sizeof(singly)));
    if (!memory)
        return;
    listeners heard = {.ways = (ways_back *)memory};
    heard.full = (int32_t *)(heard.ways + parties);
    heard.slots = heard.full + listed;
    heard.nearest = heard.slots + listed;
    heard.which = heard.nearest + listed;
    heard.windows = heard.which + channels;
    heard.partly = (partial *)(heard.windows + channels);
    heard.singles = (singly *)(heard.partly + elements);
    scene at = {.plan = plan, .last = (int32_t)plan->common.width};
    at.turn = (turning){wide_splat(plan->turn[0]), wide_splat(plan->turn[1]), wide_splat(plan->turn[2])};
    for (size_t block = begin; block < end; block++) {
        find_listeners(plan, block, &heard);
        place_neighbours(plan, parts, block, &at);
        point_sums total = {{0}, {0}};
        for (size_t t = 0; t < transmits; t++)
            add_transmission(&at, parts, first_transmit, t, block, &heard, &total);
        for (size_t j = 0; j < plan->neighbours; j++) {
            const int32_t point = plan->order[block * plan->neighbours + j];
            if (point < 0)
                continue;
            float *out = plan->common.out + 2 * (size_t)point;
            out[0] = (first_transmit ? out[0] : 0) + total.re[j];
            out[1] = (first_transmit ? out[1] : 0) + total.im[j];
        }
    }
}

/* Adds a group of transmissions to some blocks of points. */
static void das_points(const sonod_das_points *plan, size_t first_transmit, size_t transmits, size_t begin, size_t end) {
    if (plan->neighbours == NEIGHBOURS)
        add_blocks(plan, PARTS, first_transmit, transmits, begin, end);
    else
        add_blocks(plan, PARTS / 2, first_transmit, transmits, begin, end);
}
