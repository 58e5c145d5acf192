/* Delay and sum of baseband data on line grids, sixteen points at a time.

   Every trace is first resampled to a fine rate at which the delay grows by almost exactly `step` fine samples from one
   point of a line to the next. A block of sixteen points then reads sixteen consecutive samples of one of `step` planes;
   what is left of the delay, its drift within the block, is followed to second order. Where it moves too fast for
   that, the channel is added to each half of the block by itself, and point by point where that is too much as well.
   Delays and phases of eight channels are computed together. */

#define BLOCK 16
/* Lines that are worked on together, so that the samples of a channel are used while they are in the first cache. */
#define TILE_LINES 8
/* Zeros before and behind every plane: a block may begin this much outside. */
#define PLANE_MARGIN 24
/* -- windows of eight channels -- */

/* cos(pi x), 0 <= x <= 1. */
INLINE v8f cosine_half_turn(v8f x) {
    const v8f z = splat8(1.57079633f) * (splat8(1.0f) - x - x) * splat8(0.5f);
    /* cos(pi x) = sin(pi / 2 - pi x) = 2 sin(z') cos(z') with z' = pi / 4 - pi x / 2. */
    const v8f y = z * z;
    v8f s = fma8(y, splat8(2.75573192e-6f), splat8(-1.98412698e-4f));
    s = fma8(y, s, splat8(8.33333333e-3f));
    s = fma8(y, s, splat8(-1.66666667e-1f));
    s = fma8(y * s, z, z);
    v8f c = fma8(y, splat8(2.48015873e-5f), splat8(-1.38888889e-3f));
    c = fma8(y, c, splat8(4.16666667e-2f));
    c = fma8(y, c, splat8(-0.5f));
    c = fma8(y, c, splat8(1.0f));
    return splat8(2.0f) * s * c;
}

/* Window at `u`; 0 beyond the edge. */
INLINE v8f window8(int window, v8f u) {
    v8f weight = splat8(1.0f);
    const v8f bounded = min8(u, splat8(1.0f));
    if (window == SONOD_HANN)
        weight = fma8(splat8(0.5f), cosine_half_turn(bounded), splat8(0.5f));
    else if (window == SONOD_HAMMING)
        weight = fma8(splat8(0.46f), cosine_half_turn(bounded), splat8(0.54f));
    else if (window == SONOD_TUKEY)
        weight = fma8(splat8(0.5f), cosine_half_turn(max8(fma8(splat8(4.0f), bounded, splat8(-3.0f)), splat8(0))),
                      splat8(0.5f));
    return select8(u <= splat8(APERTURE_EDGE), weight, splat8(0));
}

/* sin and cos of 2 pi p, |p| <= 0.5. */
INLINE void turn8(v8f p, v8f *sine, v8f *cosine) {
    const v8f x = splat8(3.14159265f) * p, y = x * x;
    v8f s = fma8(y, splat8(-2.50521084e-8f), splat8(2.75573192e-6f));
    s = fma8(y, s, splat8(-1.98412698e-4f));
    s = fma8(y, s, splat8(8.33333333e-3f));
    s = fma8(y, s, splat8(-1.66666667e-1f));
    s = fma8(y * s, x, x);
    v8f c = fma8(y, splat8(-2.75573192e-7f), splat8(2.48015873e-5f));
    c = fma8(y, c, splat8(-1.38888889e-3f));
    c = fma8(y, c, splat8(4.16666667e-2f));
    c = fma8(y, c, splat8(-0.5f));
    c = fma8(y, c, splat8(1.0f));
    *sine = splat8(2.0f) * s * c;
    *cosine = fma8(splat8(-2.0f) * s, s, splat8(1.0f));
}

INLINE v8f floor8(v8f x) {
    const v8f near = round8(x);
    return near - select8(near > x, splat8(1.0f), splat8(0));
}

INLINE int any8(v8i mask) {
#if defined(__AVX__)
    return _mm256_movemask_ps((__m256)mask);
#else
    int bits = 0;
    for (int i = 0; i < 8; i++)
        bits |= (mask[i] & 1) << i;
    return bits;
#endif
}

/* -- resampling -- */

/* Four outputs of the resampling filter from four places of the padded trace, as four (re, im). */
INLINE v8f resample_four(const float *restrict trace, const float *restrict coefficients, const int32_t *restrict starts,
                         const int32_t *restrict filters, size_t floats) {
    v8f sum[4];
    for (size_t i = 0; i < 4; i++) {
        const float *restrict x = trace + starts[i];
        const float *restrict h = coefficients + filters[i];
        v8f a = load8(x) * load8(h);
        for (size_t k = 8; k < floats; k += 8)
            a = fma8(load8(x + k), load8(h + k), a);
        sum[i] = a;
    }
    const v8f even = __builtin_shuffle(sum[0], sum[2], (v8i){0, 1, 2, 3, 8, 9, 10, 11}) +
                     __builtin_shuffle(sum[0], sum[2], (v8i){4, 5, 6, 7, 12, 13, 14, 15});
    const v8f odd = __builtin_shuffle(sum[1], sum[3], (v8i){0, 1, 2, 3, 8, 9, 10, 11}) +
                    __builtin_shuffle(sum[1], sum[3], (v8i){4, 5, 6, 7, 12, 13, 14, 15});
    return __builtin_shuffle(even, odd, (v8i){0, 1, 8, 9, 4, 5, 12, 13}) +
           __builtin_shuffle(even, odd, (v8i){2, 3, 10, 11, 6, 7, 14, 15});
}

/* One plane: samples step * j + plane of the fine rate, I and Q apart. */
INLINE void resample_plane(const float *restrict line, const float *restrict coefficients,
                           const int32_t *restrict starts, const int32_t *restrict filters, size_t floats, size_t width,
                           float *restrict re, float *restrict im) {
    for (size_t j = 0; j < width; j += 8) {
        const v8f low = resample_four(line, coefficients, starts + j, filters + j, floats);
        const v8f high = resample_four(line, coefficients, starts + j + 4, filters + j + 4, floats);
        store8(re + j, __builtin_shuffle(low, high, (v8i){0, 2, 4, 6, 8, 10, 12, 14}));
        store8(im + j, __builtin_shuffle(low, high, (v8i){1, 3, 5, 7, 9, 11, 13, 15}));
    }
}

/* Resamples one trace of the group of transmissions from `first_transmit` on into its planes. */
static void das_resample(const sonod_das_blocks *plan, size_t first_transmit, size_t trace) {
    const size_t transmit = first_transmit + trace / plan->channels, channel = trace % plan->channels;
    if (plan->receive[transmit * plan->channels + channel] < 0)
        return;
    const size_t width = plan->width, row = plan->row, samples = plan->samples, margin = plan->taps + 8;
    float *padded = sonod_scratch(2 * (samples + 2 * margin) * sizeof(float));
    if (!padded)
        return;
    float *line = padded + 2 * margin;
    memset(padded, 0, 2 * margin * sizeof(float));
    memset(line + 2 * samples, 0, 2 * margin * sizeof(float));
    const float *restrict raw = plan->data + 2 * samples * (transmit * plan->channels + channel);
    for (size_t i = 0; i < 2 * samples; i++)
        line[i] = finite_or_zero(raw[i]);
    line += 2 * plan->start_at;
    float *out = plan->planes + trace * plan->step * 2 * row;
    for (size_t plane = 0; plane < plan->step; plane++) {
        float *re = out + 2 * plane * row, *im = re + row;
        memset(re, 0, PLANE_MARGIN * sizeof(float));
        memset(im, 0, PLANE_MARGIN * sizeof(float));
        memset(re + PLANE_MARGIN + width, 0, (row - PLANE_MARGIN - width) * sizeof(float));
        memset(im + PLANE_MARGIN + width, 0, (row - PLANE_MARGIN - width) * sizeof(float));
        re += PLANE_MARGIN;
        im += PLANE_MARGIN;
        const int32_t *starts = plan->starts + plane * width, *filters = plan->filters + plane * width;
        /* The usual lengths with the length known to the compiler. */
        switch (plan->taps) {
        case 4:
            resample_plane(line, plan->coefficients, starts, filters, 8, width, re, im);
            break;
        case 8:
            resample_plane(line, plan->coefficients, starts, filters, 16, width, re, im);
            break;
        case 12:
            resample_plane(line, plan->coefficients, starts, filters, 24, width, re, im);
            break;
        case 16:
            resample_plane(line, plan->coefficients, starts, filters, 32, width, re, im);
            break;
        default:
            resample_plane(line, plan->coefficients, starts, filters, 2 * plan->taps, width, re, im);
        }
    }
}

/* -- one block of one line -- */

typedef struct {
    float x, y, z;            /* middle of the block */
    float dx, dy, dz;         /* direction of the line */
    const float *per_half;    /* 1 / half aperture at each point */
    float first, middle, last; /* the same at the ends and in the middle of the block */
    float widest;
} block_place;

/* Channels that are prepared together for one block: their samples and these tables stay in the first cache. */
#define PARTY 64

/* Delay and weight of channels at a block: what the inner loop needs of each. */
typedef struct {
    float middle[PARTY], bend[PARTY]; /* kept between the stages of preparation */
    float delta[PARTY], drift[PARTY], c0[PARTY], c1[PARTY], c2[PARTY], s0[PARTY], s1[PARTY], s2[PARTY];
    int32_t offset[PARTY], next[PARTY]; /* of the sample before the delay, and from there to the one behind it */
    const int32_t *trace;               /* the channel's number */
} party;

static const float RAMP[BLOCK] = {-7.5f, -6.5f, -5.5f, -4.5f, -3.5f, -2.5f, -1.5f, -0.5f,
                                  0.5f,  1.5f,  2.5f,  3.5f,  4.5f,  5.5f,  6.5f,  7.5f};

/* How each of eight channels takes part, as bits. */
typedef struct {
    uint8_t plain, edge, bent;
} eight_bits;

/* Fine sample number `begin` as plane and place in it: offset into the planes, and the way to the next fine sample. */
INLINE void locate(const sonod_das_blocks *plan, v8f begin, int32_t *restrict offset, int32_t *restrict next) {
    const v8f index = floor8(fma8(begin, splat8(plan->inverse_step), splat8(plan->inverse_step * 0.25f)));
    const v8f plane = fma8(index, splat8(-(float)plan->step), begin);
    const v8f bounded = min8(max8(index, splat8((float)-PLANE_MARGIN)), splat8(plan->last_index));
    const v8f pair = splat8(2.0f * (float)plan->row);
    /* Whole numbers below 2^24, exact in float. */
    const v8f at = fma8(plane, pair, bounded + splat8((float)PLANE_MARGIN));
    const v8f wrap = splat8(1.0f - 2.0f * (float)plan->row * (float)(plan->step - 1));
    const v8f way = select8(plane > splat8((float)plan->step - 1.5f), wrap, pair);
    const v8i whole = __builtin_convertvector(at, v8i), step = __builtin_convertvector(way, v8i);
    memcpy(offset, &whole, sizeof whole);
    memcpy(next, &step, sizeof step);
}

/* Preparation goes in three stages, each over all channels of the party, for every one alone is a long chain of
   operations that wait for each other; the processor works on the chains of several channels side by side. */

/* What differs between a block and one of its halves, all known to the compiler: how far its last point is from its
   middle (`reach`), and by how many points the first point of the block lies before that middle (`lead`). */
typedef struct {
    float reach, lead;
} block_shape;

#define WHOLE ((block_shape){7.5f, 7.5f})
#define LOW_HALF ((block_shape){3.5f, 7.5f})
#define HIGH_HALF ((block_shape){3.5f, -0.5f})

/* First stage: how far, how fast, and how the channel takes part. */
INLINE eight_bits prepare_delays(const sonod_das_blocks *plan, const block_place *place, const float *restrict transmit,
                                 block_shape shape, size_t at, v8f lateral, party *restrict out, size_t to) {
    const float *x = plan->list_x + at, *y = plan->list_y + at, *z = plan->list_z + at;
    const v8f one = splat8(1.0f);
    const v8f dx = splat8(place->x) - load8(x), dy = splat8(place->y) - load8(y), dz = splat8(place->z) - load8(z);
    const v8f square = fma8(dx, dx, fma8(dy, dy, dz * dz));
    const v8f distance = sqrt8(max8(square, splat8(1e-12f))), inverse = one / distance;
    const v8f along = fma8(dx, splat8(place->dx), fma8(dy, splat8(place->dy), dz * splat8(place->dz)));
    const v8f slope = along * inverse;
    /* Delay in fine samples: middle, per point, per point squared. */
    const v8f drift = fma8(slope, splat8(plan->fine_per_point), splat8(transmit[1]));
    const v8f receive_bend = fma8(-slope, slope, one) * inverse * splat8(plan->bend);
    store8(out->middle + to, fma8(distance, splat8(plan->fine_per_metre), splat8(transmit[0])));
    store8(out->drift + to, drift);
    store8(out->bend + to, receive_bend + splat8(transmit[2]));
    /* The phase turns with the delay, so one limit serves both. */
    const float share = shape.reach / 7.5f;
    const v8i steep = (max8(drift, -drift) * splat8(share) > splat8(plan->largest_drift)) |
                      (receive_bend * inverse * splat8(plan->bent_limit * (share * share * share)) > one);
    const v8f u0 = lateral * splat8(place->first), u2 = lateral * splat8(place->last);
    const v8f outer = max8(u0, u2), inner = min8(u0, u2);
    const v8i active = inner <= splat8(APERTURE_EDGE);
    v8i edge = outer > splat8(APERTURE_EDGE);
    if (plan->window != SONOD_RECTANGULAR) {
        const v8f knee = splat8(plan->window == SONOD_TUKEY ? 0.75f : 0.0f);
        const v8f fastest = splat8(plan->window == SONOD_TUKEY ? 0.04f : 0.2f);
        edge |= (outer > knee) & (outer - inner > fastest);
    }
    eight_bits bits;
    const int taking = any8(active), bent = any8(steep) & taking, edged = any8(edge) & taking & ~bent;
    bits.bent = (uint8_t)bent;
    bits.edge = (uint8_t)edged;
    bits.plain = (uint8_t)(taking & ~bent & ~edged);
    return bits;
}

/* Second stage: the fine sample before the delay, and the phase of the middle of the block. That of its points against
   the middle, were there no drift, is the same for all channels and comes last. */
INLINE void prepare_phases(const sonod_das_blocks *plan, block_shape shape, float wave_turn, party *restrict out,
                           size_t to) {
    const v8f middle = load8(out->middle + to), begin = floor8(middle), delta = middle - begin;
    const v8f turns = splat8(plan->turns_per_fine);
    v8f cycles = fma8(begin + splat8(shape.lead * (float)plan->step), turns, fma8(delta, turns, splat8(wave_turn)));
    cycles = cycles - round8(cycles);
    v8f s, c;
    turn8(cycles, &s, &c);
    store8(out->delta + to, delta);
    store8(out->c0 + to, c);
    store8(out->s0 + to, s);
    locate(plan, begin, out->offset + to, out->next + to);
}

/* Third stage: sin and cos over the block to second order (the cubic term by its share of the linear one), times the
   window where that is smooth over the block: for the channels of the bits `smooth`; others get theirs point by point. */
INLINE void prepare_turning(const sonod_das_blocks *plan, const block_place *place, block_shape shape, v8f lateral,
                            uint8_t smooth, party *restrict out, size_t to) {
    v8f c = load8(out->c0 + to), s = load8(out->s0 + to);
    const v8f radians = splat8(plan->radians_per_fine), turning = load8(out->drift + to) * radians;
    const v8f bending = load8(out->bend + to) * radians, square = turning * turning;
    const v8f linear = turning * fma8(square, splat8(-0.1f * shape.reach * shape.reach), splat8(1.0f)), half_square = splat8(-0.5f) * square;
    v8f c1 = -(s * linear), s1 = c * linear;
    v8f c2 = fma8(c, half_square, -(s * bending)), s2 = fma8(s, half_square, c * bending);
    const v8f u0 = lateral * splat8(place->first), u2 = lateral * splat8(place->last);
    const v8i lanes = {1, 2, 4, 8, 16, 32, 64, 128}, of_smooth = (lanes & (int32_t)smooth) != 0;
    const v8i use = of_smooth & (max8(u0, u2) > splat8(plan->window == SONOD_TUKEY ? 0.75f : 0.0f));
    if (plan->window != SONOD_RECTANGULAR && any8(use)) {
        const v8f u1 = lateral * splat8(place->middle);
        const v8f w0 = window8(plan->window, u0), w1 = window8(plan->window, u1), w2 = window8(plan->window, u2);
        const v8f level = select8(use, w1, splat8(1.0f));
        const v8f rise = select8(use, (w2 - w0) * splat8(0.5f / shape.reach), splat8(0));
        const v8f curve = select8(use, ((w0 + w2) * splat8(0.5f) - w1) * splat8(1.0f / (shape.reach * shape.reach)), splat8(0));
        c2 = fma8(c2, level, fma8(c1, rise, c * curve));
        s2 = fma8(s2, level, fma8(s1, rise, s * curve));
        c1 = fma8(c1, level, c * rise);
        s1 = fma8(s1, level, s * rise);
        c = c * level;
        s = s * level;
        store8(out->c0 + to, c);
        store8(out->s0 + to, s);
    }
    store8(out->c1 + to, c1);
    store8(out->c2 + to, c2);
    store8(out->s1 + to, s1);
    store8(out->s2 + to, s2);
}

/* The two halves of a block: offsets of their points from its middle, and the squares. */
typedef struct {
    v8f ramp0, ramp1, square0, square1;
} block_ramp;

INLINE block_ramp ramp_of_block(void) {
    block_ramp ramp = {load8(RAMP), load8(RAMP + 8), load8(RAMP), load8(RAMP + 8)};
    ramp.square0 = ramp.ramp0 * ramp.ramp0;
    ramp.square1 = ramp.ramp1 * ramp.ramp1;
    KEEP8(ramp.ramp0);
    KEEP8(ramp.ramp1);
    KEEP8(ramp.square0);
    KEEP8(ramp.square1);
    return ramp;
}

/* One component of one half: the sample between `before` and `after`. */
INLINE v8f between(const float *restrict before, const float *restrict after, v8f share) {
    v8f first = load8(before);
    KEEP8(first);
    return fma8(share, load8(after) - first, first);
}

/* Sums of a block: real and imaginary part of its two halves. */
typedef struct {
    v8f re_low, im_low, re_high, im_high;
} block_sum;

/* Adds one channel to a block; `weight` is NULL or one for each point. */
INLINE block_sum add_block(const float *restrict planes, size_t row, size_t trace_floats, const party *channels, size_t own,
                      block_ramp ramp, const float *restrict weight, block_sum sum) {
    const float *restrict before = planes + (size_t)channels->trace[own] * trace_floats + channels->offset[own];
    const float *restrict after = before + channels->next[own];
    v8f c_low, c_high, s_low, s_high;
    {
        const v8f two = splat8(channels->c2[own]), one = splat8(channels->c1[own]), none = splat8(channels->c0[own]);
        c_low = fma8(ramp.square0, two, fma8(ramp.ramp0, one, none));
        c_high = fma8(ramp.square1, two, fma8(ramp.ramp1, one, none));
    }
    {
        const v8f two = splat8(channels->s2[own]), one = splat8(channels->s1[own]), none = splat8(channels->s0[own]);
        s_low = fma8(ramp.square0, two, fma8(ramp.ramp0, one, none));
        s_high = fma8(ramp.square1, two, fma8(ramp.ramp1, one, none));
    }
    if (weight) {
        const v8f low = load8(weight), high = load8(weight + 8);
        c_low = c_low * low;
        s_low = s_low * low;
        c_high = c_high * high;
        s_high = s_high * high;
    }
    const v8f delta = splat8(channels->delta[own]), drift = splat8(channels->drift[own]);
    const v8f share_low = fma8(ramp.ramp0, drift, delta), share_high = fma8(ramp.ramp1, drift, delta);
    const v8f re_low = between(before, after, share_low), im_low = between(before + row, after + row, share_low);
    sum.re_low = fma8(-im_low, s_low, fma8(re_low, c_low, sum.re_low));
    sum.im_low = fma8(im_low, c_low, fma8(re_low, s_low, sum.im_low));
    const v8f re_high = between(before + 8, after + 8, share_high);
    const v8f im_high = between(before + row + 8, after + row + 8, share_high);
    sum.re_high = fma8(-im_high, s_high, fma8(re_high, c_high, sum.re_high));
    sum.im_high = fma8(im_high, c_high, fma8(re_high, s_high, sum.im_high));
    return sum;
}

/* Adds listed channels to a block. */
static __attribute__((noinline)) void add_plain(const float *restrict planes, size_t row, size_t trace_floats,
                                                const party *channels, const uint8_t *restrict list, size_t count,
                                                block_sum *total) {
    const block_ramp ramp = ramp_of_block();
    block_sum sum = *total;
    for (size_t i = 0; i < count; i++)
        sum = add_block(planes, row, trace_floats, channels, list[i], ramp, NULL, sum);
    *total = sum;
}

/* Adds listed channels whose window is taken point by point. */
static __attribute__((noinline)) void add_edges(const float *restrict planes, size_t row, size_t trace_floats,
                                                const party *channels, const uint8_t *restrict list, size_t count,
                                                int window, const float *restrict per_half,
                                                const float *restrict lateral, block_sum *total) {
    const block_ramp ramp = ramp_of_block();
    block_sum sum = *total;
    for (size_t i = 0; i < count; i++) {
        float weight[BLOCK];
        const v8f own = splat8(lateral[list[i]]);
        store8(weight, window8(window, own * load8(per_half)));
        store8(weight + 8, window8(window, own * load8(per_half + 8)));
        sum = add_block(planes, row, trace_floats, channels, list[i], ramp, weight, sum);
    }
    *total = sum;
}

/* Eight scattered floats, put together in registers: through memory a wide load would wait for the narrow stores. */
INLINE v8f gather8(const float *const from[8], size_t offset) {
    return (v8f){from[0][offset], from[1][offset], from[2][offset], from[3][offset],
                 from[4][offset], from[5][offset], from[6][offset], from[7][offset]};
}

/* Adds one channel point by point, every delay computed, to the halves of the bits `halves`; `transmit` holds the delay
   of the wave at each point. */
static __attribute__((noinline)) void add_points(const sonod_das_blocks *plan, const float *restrict data,
                                                 const block_place *place, const float *restrict transmit,
                                                 float wave_turn, size_t at, float lateral, int halves,
                                                 block_sum *total) {
    const float x = plan->list_x[at], y = plan->list_y[at], z = plan->list_z[at];
    for (int half = 0; half < 2; half++) {
        if (!(halves >> half & 1))
            continue;
        const v8f k = load8(RAMP + 8 * half) * splat8(plan->spacing_float);
        const v8f dx = fma8(k, splat8(place->dx), splat8(place->x - x));
        const v8f dy = fma8(k, splat8(place->dy), splat8(place->y - y));
        const v8f dz = fma8(k, splat8(place->dz), splat8(place->z - z));
        const v8f distance = sqrt8(fma8(dx, dx, fma8(dy, dy, dz * dz)));
        const v8f fine = fma8(distance, splat8(plan->fine_per_metre), load8(transmit + 8 * half));
        const v8f begin = floor8(fine), share = fine - begin;
        int32_t offset[8], next[8];
        locate(plan, begin, offset, next);
        const float *before[8], *after[8];
        for (int i = 0; i < 8; i++) {
            before[i] = data + offset[i];
            after[i] = before[i] + next[i];
        }
        const v8f re0 = gather8(before, 0), im0 = gather8(before, plan->row);
        const v8f re1 = gather8(after, 0), im1 = gather8(after, plan->row);
        /* The common turning of the points is added later to all, so it is taken off here. */
        v8f cycles = fma8(begin, splat8(plan->turns_per_fine), fma8(share, splat8(plan->turns_per_fine), splat8(wave_turn)));
        cycles = cycles - load8(plan->point_turns + 8 * half);
        cycles = cycles - round8(cycles);
        v8f s, c;
        turn8(cycles, &s, &c);
        const v8f w = window8(plan->window, splat8(lateral) * load8(place->per_half + 8 * half));
        const v8f re = fma8(share, re1 - re0, re0) * w, im = fma8(share, im1 - im0, im0) * w;
        v8f *sum_re = half ? &total->re_high : &total->re_low, *sum_im = half ? &total->im_high : &total->im_low;
        *sum_re = fma8(-im, s, fma8(re, c, *sum_re));
        *sum_im = fma8(im, c, fma8(re, s, *sum_im));
    }
}

/* Adds one channel to half a block; `weight` is NULL or one for each of the eight points. */
INLINE void add_half(const float *restrict planes, size_t row, size_t trace_floats, const party *channels, size_t own,
                     v8f ramp, v8f square, const float *restrict weight, v8f *sum_re, v8f *sum_im) {
    const float *restrict before = planes + (size_t)channels->trace[own] * trace_floats + channels->offset[own];
    const float *restrict after = before + channels->next[own];
    v8f c = fma8(square, splat8(channels->c2[own]), fma8(ramp, splat8(channels->c1[own]), splat8(channels->c0[own])));
    v8f s = fma8(square, splat8(channels->s2[own]), fma8(ramp, splat8(channels->s1[own]), splat8(channels->s0[own])));
    if (weight) {
        c = c * load8(weight);
        s = s * load8(weight);
    }
    const v8f share = fma8(ramp, splat8(channels->drift[own]), splat8(channels->delta[own]));
    const v8f re = between(before, after, share), im = between(before + row, after + row, share);
    *sum_re = fma8(-im, s, fma8(re, c, *sum_re));
    *sum_im = fma8(im, c, fma8(re, s, *sum_im));
}

/* Distance of every listed channel from the foot of a line, or from the middle of the array; infinity where it looks away
   from the line or is padding. */
static void lateral_of_channels(const sonod_das_blocks *plan, size_t line, size_t map, float *restrict lateral) {
    const double *o = plan->origins + 3 * line, *d = plan->directions + 3 * line;
    const double foot = plan->feet[line];
    const int32_t *list = plan->lists + map * plan->padded_channels;
    for (size_t i = 0; i < plan->padded_channels; i++) {
        lateral[i] = INFINITY;
        if (list[i] < 0)
            continue;
        const int32_t element = plan->list_elements[map * plan->padded_channels + i];
        const double *e = plan->elements_m + 3 * element, *n = plan->normals + 3 * element;
        if (plan->lateral) {
            lateral[i] = plan->lateral[element];
        } else if (n[0] * d[0] + n[1] * d[1] + n[2] * d[2] > 0) {
            const double x = e[0] - o[0] - foot * d[0], y = e[1] - o[1] - foot * d[1], z = e[2] - o[2] - foot * d[2];
            lateral[i] = (float)sqrt(x * x + y * y + z * z);
        }
    }
}

INLINE void place_block(const sonod_das_blocks *plan, size_t line, size_t block, block_place *place) {
    const double *o = plan->origins + 3 * line, *d = plan->directions + 3 * line;
    const double middle = plan->first + ((double)(block * BLOCK) + 7.5) * plan->spacing;
    const size_t blocks = (plan->count + BLOCK - 1) / BLOCK, own = (size_t)plan->half_of_line[line] * blocks + block;
    place->x = (float)(o[0] + d[0] * middle);
    place->y = (float)(o[1] + d[1] * middle);
    place->z = (float)(o[2] + d[2] * middle);
    place->dx = (float)d[0];
    place->dy = (float)d[1];
    place->dz = (float)d[2];
    place->per_half = plan->per_half_of_points + own * BLOCK;
    place->middle = plan->per_half_of_blocks[own];
    place->first = place->per_half[0];
    place->last = place->per_half[BLOCK - 1];
    place->widest = 1.0001f / (place->first < place->last ? place->first : place->last);
}

/* Delay of the wave at the points of a block, from its second-order form. */
static void points_of_quadratic(const sonod_das_blocks *plan, const float *restrict quadratic, float *restrict points) {
    for (int k = 0; k < BLOCK; k++)
        points[k] = quadratic[0] + (float)plan->step * (RAMP[k] + 7.5f) + RAMP[k] * (quadratic[1] + RAMP[k] * quadratic[2]);
}

/* Appends the numbers of the bits set, plus `first`, to a list; returns its new length. */
INLINE size_t list_bits(const uint64_t *restrict bit_lists, uint8_t bits, uint8_t first, uint8_t *restrict list,
                        size_t count) {
    const uint64_t numbers = bit_lists[bits] + first * UINT64_C(0x0101010101010101);
    memcpy(list + count, &numbers, sizeof numbers);
    return count + (size_t)__builtin_popcount(bits);
}

/* Adds the channels of the bits `bent`, which turn too fast for a whole block, to one half of it; sets those bits in
   `left` for which even that is too much. `channels` is overwritten. */
INLINE void add_steep(const sonod_das_blocks *plan, const block_place *place, const float *restrict quadratic,
                      block_shape shape, int half, float wave_turn, const float *planes, size_t at,
                      const uint8_t *restrict chunks, size_t chunk_count, const uint8_t *restrict bent,
                      uint8_t *restrict left, const float *restrict lateral, party *restrict channels,
                      block_sum *total) {
    const size_t row = plan->row, trace_floats = plan->step * 2 * row;
    const float way = half ? 4.0f : -4.0f, metres = way * plan->spacing_float;
    block_place own = *place;
    own.x += metres * place->dx;
    own.y += metres * place->dy;
    own.z += metres * place->dz;
    own.per_half += 8 * half;
    own.first = own.per_half[0];
    own.last = own.per_half[7];
    /* The aperture grows evenly, so its inverse in the middle is the harmonic mean of its neighbours'. */
    own.middle = 2.0f * own.per_half[3] * own.per_half[4] / (own.per_half[3] + own.per_half[4]);
    /* Delay of the half's first point, in the form in which the block's is given. */
    const float moved[3] = {quadratic[0] + (half ? 8.0f * (float)plan->step : 0.0f) +
                                way * (quadratic[1] + way * quadratic[2]),
                            quadratic[1] + 2.0f * way * quadratic[2], quadratic[2]};
    const v8f ramp = load8(RAMP + 4), square = ramp * ramp;
    uint8_t plain[PARTY + 8], edge[PARTY + 8];
    size_t plain_count = 0, edge_count = 0;
    for (size_t i = 0; i < chunk_count; i++) {
        if (!bent[i])
            continue;
        const v8f from_foot = load8(lateral + chunks[i]);
        const eight_bits bits = prepare_delays(plan, &own, moved, shape, at + chunks[i], from_foot, channels, chunks[i]);
        prepare_phases(plan, shape, wave_turn, channels, chunks[i]);
        prepare_turning(plan, &own, shape, from_foot, bits.plain, channels, chunks[i]);
        plain_count = list_bits(plan->bit_lists, bits.plain & bent[i], chunks[i], plain, plain_count);
        edge_count = list_bits(plan->bit_lists, bits.edge & bent[i], chunks[i], edge, edge_count);
        left[i] = bits.bent & bent[i];
    }
    v8f re = half ? total->re_high : total->re_low, im = half ? total->im_high : total->im_low;
    for (size_t i = 0; i < plain_count; i++)
        add_half(planes, row, trace_floats, channels, plain[i], ramp, square, NULL, &re, &im);
    for (size_t i = 0; i < edge_count; i++) {
        float weight[8];
        store8(weight, window8(plan->window, splat8(lateral[edge[i]]) * load8(own.per_half)));
        add_half(planes, row, trace_floats, channels, edge[i], ramp, square, weight, &re, &im);
    }
    *(half ? &total->re_high : &total->re_low) = re;
    *(half ? &total->im_high : &total->im_low) = im;
}

/* Adds up to PARTY channels, from place `at` of the lists on, to a block of one line. */
INLINE void add_party(const sonod_das_blocks *plan, const block_place *place, const float *restrict quadratic,
                      const float *restrict points, float wave_turn, const float *planes, size_t at, size_t count,
                      const float *restrict lateral, block_sum *total) {
    const size_t row = plan->row, trace_floats = plan->step * 2 * row;
    party channels;
    eight_bits bits[PARTY / 8];
    uint8_t chunks[PARTY / 8 + 1], plain[PARTY + 8], edge[PARTY + 8];
    size_t chunk_count = 0, plain_count = 0, edge_count = 0, bent_count = 0;
    channels.trace = plan->lists + at;
    /* Without branches that depend on the data, so that the processor can work ahead. */
    for (size_t chunk = 0; chunk < count; chunk += 8) {
        chunks[chunk_count] = (uint8_t)chunk;
        chunk_count += any8(load8(lateral + chunk) <= splat8(place->widest)) != 0;
    }
    for (size_t i = 0; i < chunk_count; i++)
        bits[i] = prepare_delays(plan, place, quadratic, WHOLE, at + chunks[i], load8(lateral + chunks[i]), &channels, chunks[i]);
    for (size_t i = 0; i < chunk_count; i++)
        prepare_phases(plan, WHOLE, wave_turn, &channels, chunks[i]);
    for (size_t i = 0; i < chunk_count; i++)
        prepare_turning(plan, place, WHOLE, load8(lateral + chunks[i]), bits[i].plain, &channels, chunks[i]);
    for (size_t i = 0; i < chunk_count; i++) {
        if (points) {
            bits[i].bent |= bits[i].plain | bits[i].edge;
            bits[i].plain = bits[i].edge = 0;
        }
        plain_count = list_bits(plan->bit_lists, bits[i].plain, chunks[i], plain, plain_count);
        edge_count = list_bits(plan->bit_lists, bits[i].edge, chunks[i], edge, edge_count);
        bent_count += bits[i].bent != 0;
    }
    if (plain_count)
        add_plain(planes, row, trace_floats, &channels, plain, plain_count, total);
    if (edge_count)
        add_edges(planes, row, trace_floats, &channels, edge, edge_count, plan->window, place->per_half, lateral, total);
    if (!bent_count)
        return;
    float of_quadratic[BLOCK];
    uint8_t steep[PARTY / 8], left[2][PARTY / 8];
    for (size_t i = 0; i < chunk_count; i++)
        steep[i] = left[0][i] = left[1][i] = bits[i].bent;
    if (!points) {
        points_of_quadratic(plan, quadratic, of_quadratic);
        add_steep(plan, place, quadratic, LOW_HALF, 0, wave_turn, planes, at, chunks, chunk_count, steep, left[0], lateral,
                  &channels, total);
        add_steep(plan, place, quadratic, HIGH_HALF, 1, wave_turn, planes, at, chunks, chunk_count, steep, left[1],
                  lateral, &channels, total);
    }
    for (size_t i = 0; i < chunk_count; i++)
        for (int lane = 0; lane < 8; lane++) {
            const int halves = (left[0][i] >> lane & 1) | (left[1][i] >> lane & 1) << 1;
            const size_t own = chunks[i] + (size_t)lane;
            if (halves)
                add_points(plan, planes + (size_t)channels.trace[own] * trace_floats, place,
                           points ? points : of_quadratic, wave_turn, at + own, lateral[own], halves, total);
        }
}

/* One block of a few neighbouring lines, for a group of transmissions. */
static void block_of_lines(const sonod_das_blocks *plan, size_t first_transmit, size_t transmits, size_t begin,
                           size_t lines, size_t block, const float *restrict lateral) {
    const size_t padded = plan->padded_channels, maps = plan->maps, blocks = (plan->count + BLOCK - 1) / BLOCK;
    block_place places[TILE_LINES];
    block_sum sum[TILE_LINES], part[TILE_LINES];
    const block_sum nothing = {splat8(0), splat8(0), splat8(0), splat8(0)};
    for (size_t i = 0; i < lines; i++) {
        sum[i] = nothing;
        place_block(plan, begin + i, block, &places[i]);
    }
    for (size_t t = 0; t < transmits; t++) {
        const size_t transmit = first_transmit + t, map = (size_t)plan->map_of[transmit];
        const float *planes = plan->planes + t * plan->channels * plan->step * 2 * plan->row;
        const float wave_turn = plan->wave_turns[transmit];
        const size_t at = (transmit * plan->lines + begin) * blocks + block;
        int any = 0;
        for (size_t i = 0; i < lines; i++)
            any |= plan->time_kind[at + i * blocks] != SONOD_UNSEEN;
        if (!any)
            continue;
        for (size_t i = 0; i < lines; i++)
            if (plan->weight_kind[at + i * blocks] >= 0)
                part[i] = nothing;
        for (size_t first = 0; first < padded; first += PARTY) {
            const size_t count = padded - first < PARTY ? padded - first : PARTY;
            for (size_t i = 0; i < lines; i++) {
                const size_t own = at + i * blocks;
                const int32_t kind = plan->time_kind[own];
                if (kind == SONOD_UNSEEN)
                    continue;
                add_party(plan, &places[i], plan->time_quadratic + 3 * own,
                          kind >= 0 ? plan->time_points + (size_t)kind * BLOCK : NULL, wave_turn, planes,
                          map * padded + first, count, lateral + (i * maps + map) * padded + first,
                          plan->weight_kind[own] >= 0 ? &part[i] : &sum[i]);
            }
        }
        for (size_t i = 0; i < lines; i++) {
            const int32_t kind = plan->weight_kind[at + i * blocks];
            if (kind < 0 || plan->time_kind[at + i * blocks] == SONOD_UNSEEN)
                continue;
            const v8f low = load8(plan->weight_points + (size_t)kind * BLOCK);
            const v8f high = load8(plan->weight_points + (size_t)kind * BLOCK + 8);
            sum[i].re_low = fma8(part[i].re_low, low, sum[i].re_low);
            sum[i].im_low = fma8(part[i].im_low, low, sum[i].im_low);
            sum[i].re_high = fma8(part[i].re_high, high, sum[i].re_high);
            sum[i].im_high = fma8(part[i].im_high, high, sum[i].im_high);
        }
    }
    const v8f factor = splat8(plan->factor);
    const size_t points = plan->count - block * BLOCK < BLOCK ? plan->count - block * BLOCK : BLOCK;
    for (size_t i = 0; i < lines; i++) {
        float *out = plan->out + 2 * ((begin + i) * plan->count + block * BLOCK), both[2 * BLOCK];
        float *to = points == BLOCK ? out : both;
        for (int half = 0; half < 2; half++) {
            /* The turning that all channels share from point to point. */
            const v8f c = load8(plan->point_turning + 8 * half) * factor;
            const v8f s = load8(plan->point_turning + BLOCK + 8 * half) * factor;
            const v8f own_re = half ? sum[i].re_high : sum[i].re_low, own_im = half ? sum[i].im_high : sum[i].im_low;
            const v8f re = fma8(own_re, c, -(own_im * s)), im = fma8(own_re, s, own_im * c);
            v8f low = __builtin_shuffle(re, im, (v8i){0, 8, 1, 9, 2, 10, 3, 11});
            v8f high = __builtin_shuffle(re, im, (v8i){4, 12, 5, 13, 6, 14, 7, 15});
            if (first_transmit && points == BLOCK) {
                low = low + load8(out + 16 * half);
                high = high + load8(out + 16 * half + 8);
            }
            store8(to + 16 * half, low);
            store8(to + 16 * half + 8, high);
        }
        if (points < BLOCK)
            for (size_t k = 0; k < 2 * points; k++)
                out[k] = first_transmit ? both[k] + out[k] : both[k];
    }
}

/* Adds a group of transmissions to a band of lines. All lines of the band take one block before any takes the next, so
   that the samples of that depth are still in the second cache when the next lines need them. */
static void das_blocks(const sonod_das_blocks *plan, size_t first_transmit, size_t transmits, size_t begin, size_t end) {
    const size_t padded = plan->padded_channels, maps = plan->maps, blocks = (plan->count + BLOCK - 1) / BLOCK;
    const float *lateral = plan->lateral_of_lines ? plan->lateral_of_lines + begin * maps * padded : NULL;
    if (!lateral) {
        float *own = sonod_scratch((end - begin) * maps * padded * sizeof(float));
        if (!own)
            return;
        for (size_t i = begin; i < end; i++)
            for (size_t map = 0; map < maps; map++)
                lateral_of_channels(plan, i, map, own + ((i - begin) * maps + map) * padded);
        lateral = own;
    }
    for (size_t block = 0; block < blocks; block++)
        for (size_t line = begin; line < end; line += TILE_LINES)
            block_of_lines(plan, first_transmit, transmits, line, end - line < TILE_LINES ? end - line : TILE_LINES,
                           block, lateral + (line - begin) * maps * padded);
}

/* -- plan: how the wave passes a block -- */

/* Delays of one transmission along one line, for every block: its second-order form, or that the points must be taken one
   by one (SONOD_POINTS), or that none is seen. Points not seen go on from those that are. */
static void das_times(const sonod_das_times *plan, size_t index) {
    const size_t transmit = index / plan->lines, count = plan->count, blocks = (count + BLOCK - 1) / BLOCK;
    const double start = plan->t0[transmit] + plan->start_s;
    for (size_t block = 0; block < blocks; block++) {
        double fine[BLOCK];
        int seen[BLOCK], first = -1, full = 1;
        for (size_t k = 0; k < BLOCK; k++) {
            const size_t j = block * BLOCK + k, at = index * count + (j < count ? j : count - 1);
            const double time = plan->time_is_double ? ((const double *)plan->time)[at]
                                                     : (double)((const float *)plan->time)[at];
            const float weight = plan->weight ? plan->weight[at] : 1.0f;
            seen[k] = j < count && time > -1e9 && time < 1e9 && (weight < 0.0f || weight > 0.0f);
            fine[k] = (time + plan->time_offset - start) * plan->fine_rate;
            if (seen[k] && first < 0)
                first = (int)k;
            full &= j >= count || (seen[k] && weight == 1.0f);
        }
        const size_t own = index * blocks + block;
        float *quadratic = plan->quadratic + 3 * own, *points = plan->points_of_block + BLOCK * own;
        int32_t *kind = plan->kind + own;
        plan->whole[own] = (uint8_t)full;
        quadratic[0] = quadratic[1] = quadratic[2] = 0;
        if (first < 0) {
            *kind = SONOD_UNSEEN;
            continue;
        }
        /* Points not seen: straight on from those that are, or at the pace of a wave along the line. */
        const double pace = 0.5 * (double)plan->step;
        for (int k = first + 1; k < BLOCK; k++)
            if (!seen[k])
                fine[k] = fine[k - 1] + (k - first > 1 ? fine[k - 1] - fine[k - 2] : pace);
        for (int k = first - 1; k >= 0; k--)
            fine[k] = fine[k + 1] + fine[k + 1] - fine[k + 2 < BLOCK ? k + 2 : k + 1] - (k + 2 < BLOCK ? 0 : pace);
        /* Least squares with the orthogonal polynomials 1, k, k^2 - 21.25 of sixteen points. */
        double level = 0, rise = 0, curve = 0;
        for (int k = 0; k < BLOCK; k++) {
            const double ramp = RAMP[k];
            level += fine[k];
            rise += ramp * fine[k];
            curve += (ramp * ramp - 21.25) * fine[k];
        }
        level /= 16.0;
        rise /= 340.0;
        curve /= 5712.0;
        double worst = 0;
        for (int k = 0; k < BLOCK; k++) {
            const double ramp = RAMP[k], fitted = level + rise * ramp + curve * (ramp * ramp - 21.25);
            const double error = fabs(fitted - fine[k]);
            if (seen[k] && error > worst)
                worst = error;
            points[k] = (float)fine[k];
        }
        quadratic[0] = (float)(level - 21.25 * curve - 7.5 * (double)plan->step);
        quadratic[1] = (float)(rise - (double)plan->step);
        quadratic[2] = (float)curve;
        *kind = worst > plan->tolerance ? SONOD_POINTS : SONOD_QUADRATIC;
    }
}
