/* Delay and sum of baseband data on line grids, a block of 16 or 32 points at a time, in 16-bit integers.

   Every trace is first resampled to a fine rate at which the delay grows by almost exactly `step` fine samples from one
   point of a line to the next. A block then reads as many consecutive samples as it has points, of one of `step` planes;
   what is left of the delay, its drift within the block, moves within the polynomials of the samples. The phase of the
   way back follows its second order; that of the way there depends on the point only and comes after the sum over the
   channels. Sums over at most sixteen channels are 32-bit integers, the rest is float in a fixed order. */

/* Lines that are worked on together, so that the samples of a channel are used while they are in the first cache. */
#define TILE_LINES 128
/* Lines that follow each other and share the table of the way back, so that its phases are worked out once for them. */
#define MOST_SHARING 2
/* How many lines ahead the receive table is asked for, and how many samples ahead the planes are. */
#define FETCH_LINES 6
#define FETCH_AHEAD (2 * BLOCK)
/* Channels of one integer sum. */
#define PARTY 16
/* Delays that drift: from twice the place in the block times paces, and the bend that 32 bits still hold. */
#if BLOCK == 16
#define DRIFT_SHIFT 4
#define MOST_BEND 50.0f
#else
#define DRIFT_SHIFT 5
#define MOST_BEND 8.0f
#endif

/* Numbers that the inner loop needs of each of up to sixteen channels. */
typedef struct {
    int32_t offset[PARTY] __attribute__((aligned(64))), share[PARTY], drift[PARTY];
} party;

/* Float sums of the points of a block. */
typedef struct {
    v8f re[BLOCK / 8], im[BLOCK / 8];
} block_sum;

/* Fine sample numbers, many at a time, as plane and place in it: offset into the planes of a trace. Outside the record all
   is zero. The quotient is exact for numbers of 15 bits (T. Granlund and P. L. Montgomery, PLDI 1994). */
#define LOCATE(name, vector, splat, bounded)                                                                           \
    INLINE vector name(const sonod_das_blocks *plan, vector fine) {                                                    \
        const int32_t step = (int32_t)plan->step, last = (int32_t)((plan->width + PLANE_MARGIN + 2) * plan->step - 1); \
        const vector counted = bounded(fine + splat(step * PLANE_MARGIN), last);                                       \
        vector index, plane;                                                                                           \
        if (step == 1)                                                                                                 \
            return counted;                                                                                            \
        if (plan->step_magic) {                                                                                        \
            index = (counted * splat(plan->step_magic)) >> plan->step_shift;                                           \
            plane = counted - index * splat(step);                                                                     \
        } else {                                                                                                       \
            index = counted >> plan->step_shift;                                                                       \
            plane = counted & splat(step - 1);                                                                         \
        }                                                                                                              \
        return plane * splat((int32_t)(PLANE_ROWS * plan->row)) + index;                                               \
    }
LOCATE(locate8, v8i, splat8i, bounded8i)
LOCATE(locate, wide32, wide_splat32, wide_bounded)

/* The polynomial of a fine sample: signal + share (slope + share curvature). */
INLINE v16s between(v16s signal, v16s slope, v16s curvature, v16s share) {
    return signal + scaled16(slope + scaled16(curvature, share), share);
}

/* Places of up to sixteen channels: `delay` and `numbers` as in the receive table, `trace` where their planes begin. All
   sixteen are read. */
INLINE void place_party(const sonod_das_blocks *plan, const int32_t *restrict delay, const int32_t *restrict numbers,
                        const int32_t *restrict trace, int32_t way, int32_t pace, party *restrict out) {
    for (size_t i = 0; i < PARTY; i += WIDE) {
        const wide32 sum = wide_load32(delay + i) + wide_splat32(way);
        wide_store32(out->offset + i, wide_load32(trace + i) + locate(plan, sum >> DELAY_SHIFT));
        wide_store32(out->share + i, wide_twice((sum & wide_splat32(0x7fff)) - wide_splat32(0x4000)));
        wide_store32(out->drift + i, wide_twice(wide_load32(numbers + i) + wide_splat32(pace)));
    }
}

#define OF_POINT(k) (k)
static const int32_t POINT[BLOCK] = ALL_POINTS(OF_POINT);

/* Points of a block from its middle over POINT_UNIT and their squares, in 2^15, as pairs. */
#define PAIR_OF_RAMP(k) (2 * (k) + 1 - BLOCK) * (32768 / BLOCK), (2 * (k) + 1 - BLOCK) * (32768 / BLOCK)
#define SQUARED(k) (2 * (k) + 1 - BLOCK) * (2 * (k) + 1 - BLOCK) * (32768 / (BLOCK * BLOCK))
#define PAIR_OF_SQUARE(k) SQUARED(k), SQUARED(k)
static const int16_t RAMP16[2 * BLOCK] = ALL_POINTS(PAIR_OF_RAMP), SQUARES16[2 * BLOCK] = ALL_POINTS(PAIR_OF_SQUARE);

/* Phases of the way back of the channels of a party, to second order in the point of the block. */
typedef struct {
    const int32_t *level, *rise, *curve;
} phases;

/* Integer sums of the points of a block. */
typedef struct {
    wide32 re[BLOCK / WIDE], im[BLOCK / WIDE];
} whole_sum;

/* What a party adds to one block: the planes and places of its channels. */
typedef struct {
    const int32_t *planes;
    const party *channels;
    block_sum *total;
} adding;

/* Adds channels `begin` to `end` of a party to `many` blocks that share its phases, to second order; windows with a
   number for each point and channel, or NULL. */
INLINE void add_channels(size_t many, const adding *restrict blocks, size_t row, size_t begin, size_t end, phases of,
                         const int32_t *restrict windows, const wide16 *restrict ramps, const wide16 *restrict squares,
                         whole_sum *restrict sums) {
    for (size_t i = begin; i < end; i++) {
        const wide16 e0 = wide_splat(of.level[i]), e1 = wide_splat(of.rise[i]), e2 = wide_splat(of.curve[i]);
        for (size_t part = 0; part < BLOCK / WIDE; part++) {
            wide16 phase = e0 + wide_scaled(ramps[part], e1) + wide_scaled(squares[part], e2);
            if (windows)
                phase = wide_scaled(phase, wide_doubled(windows + BLOCK / 2 * (i - begin) + WIDE / 2 * part));
            const wide16 turned = wide_turned(phase);
            for (size_t k = 0; k < many; k++) {
                const party *restrict channels = blocks[k].channels;
                const int32_t *restrict own = blocks[k].planes + channels->offset[i] + WIDE * part;
                const wide16 at = wide_splat(channels->share[i]) + wide_scaled(ramps[part], wide_splat(channels->drift[i]));
                const wide16 bent = wide_load(own + row) + wide_scaled(wide_load(own + 2 * row), at);
                const wide16 value = wide_load(own) + wide_scaled(bent, at);
                sums[k].re[part] = wide_add_paired(sums[k].re[part], value, phase);
                sums[k].im[part] = wide_add_paired(sums[k].im[part], value, turned);
            }
        }
    }
}

/* Adds a party of `count` channels to `many` blocks that share its phases. The first `left` and those from `right` on
   have windows. */
INLINE void add_party(size_t many, const adding *restrict blocks, size_t row, size_t left, size_t right, size_t count,
                      phases of, const int32_t *restrict left_windows, const int32_t *restrict right_windows) {
    wide16 ramps[BLOCK / WIDE], squares[BLOCK / WIDE];
    whole_sum sums[MOST_SHARING];
    for (size_t part = 0; part < BLOCK / WIDE; part++) {
        ramps[part] = wide_load((const int32_t *)RAMP16 + WIDE * part);
        squares[part] = wide_load((const int32_t *)SQUARES16 + WIDE * part);
        WIDE_KEEP(ramps[part]);
        WIDE_KEEP(squares[part]);
        for (size_t k = 0; k < many; k++)
            sums[k].re[part] = sums[k].im[part] = (wide32)wide_splat(0);
    }
    if (left)
        add_channels(many, blocks, row, 0, left, of, left_windows, ramps, squares, sums);
    add_channels(many, blocks, row, left, right, of, NULL, ramps, squares, sums);
    if (right < count)
        add_channels(many, blocks, row, right, count, of, right_windows, ramps, squares, sums);
    for (size_t k = 0; k < many; k++)
        for (size_t part = 0; part < BLOCK / WIDE; part++) {
            *((widef_loose *)blocks[k].total->re + part) += __builtin_convertvector(sums[k].re[part], widef);
            *((widef_loose *)blocks[k].total->im + part) += __builtin_convertvector(sums[k].im[part], widef);
        }
}

/* A block of one line as one transmission meets it. */
typedef struct {
    const sonod_das_blocks *plan;
    const int32_t *planes; /* of the transmission */
    size_t class, block;
    size_t own; /* its number among all views */
    int32_t shift;         /* from the elements of the table to those of the array, counted from its other end if mirrored */
    const int32_t *map_first, *map_traces;
    int whole; /* every element has exactly one channel */
    const int32_t *head, *entries;
    float common_pace;
    int32_t way, pace; /* of the wave, as the table's delays and paces */
    const int32_t *traces;        /* of the entries, where these follow each other */
    size_t row, left, right;      /* entries, those with windows at the beginning, and where those at the end begin */
    int steady;        /* no channel drifts too far */
    const float *points; /* delay of the wave at each point, or NULL: second order */
    float middle, rise, curve;
} block_view;

/* Adds one channel point by point, every delay computed. */
static __attribute__((noinline)) void add_points(const block_view *view, const block_place *restrict place, int32_t element,
                                                 int32_t trace, block_sum *restrict total) {
    const sonod_das_blocks *plan = view->plan;
    const sonod_das_receive *receive = &plan->receive_table;
    const int32_t *restrict data = view->planes + trace;
    const double *o = receive->origins + 3 * view->class, *d = receive->directions + 3 * view->class;
    const double *e = receive->elements_m + 3 * element;
    const double foot = receive->feet[view->class];
    const double fx = e[0] - o[0] - foot * d[0], fy = e[1] - o[1] - foot * d[1], fz = e[2] - o[2] - foot * d[2];
    const float lateral = receive->lateral ? receive->lateral[element] : (float)sqrt(fx * fx + fy * fy + fz * fz);
    for (int eight = 0; eight < BLOCK / 8; eight++) {
        const v8f ramp = load8(RAMP + 8 * eight), k = ramp * splat8(receive->spacing_float);
        const v8f dx = fma8(k, splat8(place->dx), splat8(place->x - receive->x[element]));
        const v8f dy = fma8(k, splat8(place->dy), splat8(place->y - receive->y[element]));
        const v8f dz = fma8(k, splat8(place->dz), splat8(place->z - receive->z[element]));
        const v8f back = sqrt8(fma8(dx, dx, fma8(dy, dy, dz * dz))) * splat8(receive->fine_per_metre);
        const v8f there = view->points ? load8(view->points + 8 * eight)
                                       : fma8(ramp, fma8(ramp, splat8(view->curve), splat8(view->rise)), splat8(view->middle));
        const v8f fine = min8(max8(back + there, splat8(-1e6f)), splat8(1e6f)), nearest = floor8(fine + splat8(0.5f));
        const v8i share = __builtin_convertvector(round8((fine - nearest) * splat8(32767.0f)), v8i);
        const v8i offset = locate8(plan, __builtin_convertvector(nearest, v8i));
        v8i part[PLANE_ROWS];
        for (size_t row = 0; row < PLANE_ROWS; row++)
            part[row] = gather8i(data + row * plan->row, offset);
        const v16s value = between((v16s)part[0], (v16s)part[1], (v16s)part[2], (v16s)twice16(share));
        v8f cycles = fma8(back, splat8(receive->turns_per_fine), -(ramp * splat8(view->common_pace * receive->turns_per_fine)));
        cycles = cycles - round8(cycles);
        v8f s, c;
        turn8(cycles, &s, &c);
        const v8f w = window8(receive->window, splat8(lateral) * load8(place->per_half + 8 * eight)) * splat8(UNIT_WEIGHT);
        const v16s phase = (v16s)pairs16(c * w, -(s * w));
        total->re[eight] += __builtin_convertvector(paired16(value, phase), v8f);
        total->im[eight] += __builtin_convertvector(paired16(value, turned16(phase)), v8f);
    }
}

/* Adds one channel that drifts out of its plane within the block: every sample is looked up. `delay`, `numbers` and the
   phase as in the receive table; `window` with a number for each point, or NULL. */
static __attribute__((noinline)) void add_drifting(const block_view *view, int32_t delay, int32_t numbers, int32_t trace,
                                                   int32_t level, int32_t rise, int32_t curve, const int32_t *restrict window,
                                                   block_sum *restrict total) {
    const sonod_das_blocks *plan = view->plan;
    const int32_t *restrict data = view->planes + trace;
    const int32_t stride = (int32_t)plan->step << DELAY_SHIFT, pace = (int16_t)numbers + view->pace;
    /* How the way back bends, from its length and its slope. */
    const float one_way = plan->receive_table.fine_per_point, length = (float)delay * (1.0f / 32768.0f);
    const float slope = (float)(int16_t)numbers * (1.0f / PACE_UNIT) + view->common_pace;
    const float back = 0.5f * (one_way * one_way - slope * slope) / (length > 1.0f ? length : 1.0f);
    const wide16 e0 = wide_splat(level), e1 = wide_splat(rise), e2 = wide_splat(curve);
    const float both = view->curve + back, bounded = both > MOST_BEND ? MOST_BEND : both < -MOST_BEND ? -MOST_BEND : both;
    const int32_t bend = (int32_t)(bounded * (BLOCK * 8192.0f));
    for (size_t part = 0; part < BLOCK / WIDE; part++) {
        const wide32 point = wide_load32(POINT + WIDE * part), from_middle = point + point - wide_splat32(BLOCK - 1);
        const wide32 drift = (from_middle * (wide_splat32(pace) + from_middle * wide_splat32(bend))) >> DRIFT_SHIFT;
        const wide32 at = wide_splat32(delay + view->way) + point * wide_splat32(stride) + drift;
        const wide32 offset = locate(plan, at >> DELAY_SHIFT);
        const wide16 share = (wide16)wide_twice((at & wide_splat32(0x7fff)) - wide_splat32(0x4000));
        const wide16 bent = wide_gather(data + plan->row, offset) + wide_scaled(wide_gather(data + 2 * plan->row, offset), share);
        const wide16 value = wide_gather(data, offset) + wide_scaled(bent, share);
        wide16 phase = e0 + wide_scaled(wide_load((const int32_t *)RAMP16 + WIDE * part), e1) +
                       wide_scaled(wide_load((const int32_t *)SQUARES16 + WIDE * part), e2);
        if (window)
            phase = wide_scaled(phase, wide_doubled(window + WIDE / 2 * part));
        const wide32 nothing = wide_splat32(0);
        *((widef_loose *)total->re + part) += __builtin_convertvector(wide_add_paired(nothing, value, phase), widef);
        *((widef_loose *)total->im + part) +=
            __builtin_convertvector(wide_add_paired(nothing, value, wide_turned(phase)), widef);
    }
}

/* Channels gathered one by one for an integer sum. */
typedef struct {
    int32_t delay[PARTY], numbers[PARTY], trace[PARTY], level[PARTY], rise[PARTY], curve[PARTY];
    int32_t windows[BLOCK / 2 * PARTY];
    size_t count;
} gathering;

INLINE void add_gathering(const block_view *view, gathering *own, int windowed, block_sum *restrict total) {
    if (!own->count)
        return;
    for (size_t i = own->count; i % PARTY; i++)
        own->delay[i] = own->numbers[i] = own->trace[i] = 0;
    party channels;
    place_party(view->plan, own->delay, own->numbers, own->trace, view->way, view->pace, &channels);
    const phases of = {own->level, own->rise, own->curve};
    const adding block = {view->planes, &channels, total};
    add_party(1, &block, view->plan->row, windowed ? own->count : 0, own->count, own->count, of, own->windows, NULL);
    own->count = 0;
}

/* Adds the channels of entries `begin` to `end` one by one; `windows` of the first of them and the others, or NULL. */
static __attribute__((noinline)) void add_one_by_one(const block_view *view, const int32_t *restrict windows, size_t begin,
                                                     size_t end, block_sum *restrict total) {
    const int32_t largest = view->plan->largest_drift, *restrict list = view->entries;
    const size_t row = (size_t)view->head[HEAD_COUNT];
    const block_place place = place_block(&view->plan->receive_table, view->class, view->block);
    gathering own;
    own.count = 0;
    for (size_t i = begin; i < end; i++) {
        const int32_t numbers = list[row + i], element = (numbers >> 16) + view->shift;
        if (element < 0 || element >= (int32_t)view->plan->elements)
            continue;
        const int32_t pace = (int16_t)numbers + view->pace;
        for (int32_t at = view->map_first[element]; at < view->map_first[element + 1]; at++) {
            const int32_t trace = view->map_traces[at];
            if (view->points) {
                add_points(view, &place, numbers >> 16, trace, total);
                continue;
            }
            const int32_t *window = windows ? windows + BLOCK / 2 * (i - begin) : NULL;
            if (pace > largest || pace < -largest) {
                add_drifting(view, list[i], numbers, trace, list[2 * row + i], list[3 * row + i], list[4 * row + i], window, total);
                continue;
            }
            const size_t to = own.count++;
            own.delay[to] = list[i];
            own.numbers[to] = numbers;
            own.trace[to] = trace;
            own.level[to] = list[2 * row + i];
            own.rise[to] = list[3 * row + i];
            own.curve[to] = list[4 * row + i];
            if (window)
                memcpy(own.windows + BLOCK / 2 * to, window, BLOCK / 2 * sizeof(int32_t));
            if (own.count == PARTY)
                add_gathering(view, &own, windows != NULL, total);
        }
    }
    add_gathering(view, &own, windows != NULL, total);
}

/* Adds all channels of a block that are not to be taken point by point, one by one. */
static void add_scattered(const block_view *view, block_sum *restrict total) {
    const size_t count = (size_t)view->head[HEAD_COUNT], left = (size_t)view->head[HEAD_LEFT];
    const size_t right = count - (size_t)view->head[HEAD_RIGHT];
    const int32_t *windows = view->entries + 5 * count;
    add_one_by_one(view, windows, 0, left, total);
    add_one_by_one(view, NULL, left, right, total);
    add_one_by_one(view, windows + BLOCK / 2 * left, right, count, total);
}

/* The same where every element has one channel and none drifts: they are in the order of the elements, but some are left
   out, and all have windows. */
static __attribute__((noinline)) void add_listed(const block_view *view, block_sum *restrict total) {
    const size_t row = (size_t)view->head[HEAD_COUNT];
    const int32_t *list = view->entries, *windows = list + 5 * row, elements = (int32_t)view->plan->elements;
    size_t begin = 0, end = row;
    while (begin < end && (list[row + begin] >> 16) + view->shift < 0)
        begin++;
    while (end > begin && (list[row + end - 1] >> 16) + view->shift >= elements)
        end--;
    int32_t traces[PARTY] = {0};
    for (; begin < end; begin += PARTY) {
        const size_t count = end - begin < PARTY ? end - begin : PARTY;
        const int32_t *own = list + begin;
        for (size_t i = 0; i < count; i++)
            traces[i] = view->map_traces[(own[row + i] >> 16) + view->shift];
        party channels;
        place_party(view->plan, own, own + row, traces, view->way, view->pace, &channels);
        const phases of = {own + 2 * row, own + 3 * row, own + 4 * row};
        const adding block = {view->planes, &channels, total};
        add_party(1, &block, view->plan->row, count, count, count, of, windows + BLOCK / 2 * begin, NULL);
    }
}

INLINE size_t within(size_t at, size_t begin, size_t end) { return at < begin ? 0 : (at < end ? at : end) - begin; }

/* At most sixteen entries of a block, whose elements follow each other, for `many` views that share them. */
typedef struct {
    const block_view *views;
    size_t many, begin, end;
    block_sum *totals;
    party channels[MOST_SHARING];
} run;

INLINE void place_run(const block_view *views, size_t many, size_t begin, size_t end, block_sum *totals, run *restrict out) {
    const int32_t *list = views->entries + begin;
    out->views = views;
    out->many = many;
    out->begin = begin;
    out->end = end;
    out->totals = totals;
    for (size_t k = 0; k < many; k++)
        place_party(views->plan, list, list + views->row, views[k].traces + begin, views[k].way, views[k].pace, out->channels + k);
}

INLINE void add_run_of(size_t many, const run *restrict own) {
    const block_view *view = own->views;
    const size_t row = view->row, left = view->left, right = view->right, begin = own->begin, end = own->end;
    const int32_t *list = view->entries + begin, *windows = view->entries + 5 * row;
    const phases of = {list + 2 * row, list + 3 * row, list + 4 * row};
    adding blocks[MOST_SHARING];
    for (size_t k = 0; k < many; k++)
        blocks[k] = (adding){view[k].planes, own->channels + k, own->totals + k};
    add_party(many, blocks, view->plan->row, within(left, begin, end), within(right, begin, end), end - begin, of,
              windows + BLOCK / 2 * begin, windows + BLOCK / 2 * (left + (begin > right ? begin - right : 0)));
}

/* A function for each number of views, so that their sums are in registers. */
#define ADD_RUN(many)                                                                                                  \
    static __attribute__((noinline)) void add_run_##many(const run *restrict own) { add_run_of(many, own); }
ADD_RUN(1)
ADD_RUN(2)

INLINE void add_run(const run *own) {
    if (own->many == 1)
        add_run_1(own);
    else
        add_run_2(own);
}

/* Adds the channels that are taken point by point. */
static void add_steep(const block_view *view, block_sum *restrict total) {
    const int32_t *steep = view->entries + 5 * view->head[HEAD_COUNT] +
                           BLOCK / 2 * (view->head[HEAD_LEFT] + view->head[HEAD_RIGHT]);
    const block_place place = place_block(&view->plan->receive_table, view->class, view->block);
    for (int32_t i = 0; i < view->head[HEAD_STEEP]; i++) {
        const int32_t element = steep[i] + view->shift;
        if (element < 0 || element >= (int32_t)view->plan->elements)
            continue;
        for (int32_t at = view->map_first[element]; at < view->map_first[element + 1]; at++)
            add_points(view, &place, steep[i], view->map_traces[at], total);
    }
}

/* Asks for the samples of the next block, which are too far apart for the processor to see them coming. */
INLINE void fetch_samples(const block_view *view, size_t begin, size_t end) {
    const sonod_das_blocks *plan = view->plan;
    const int32_t *traces = view->map_traces + view->head[HEAD_FIRST] + view->shift;
    for (size_t i = begin; i < end; i++) {
        const int32_t fine = (view->entries[i] + view->way) >> DELAY_SHIFT;
        const int32_t index = plan->step_magic ? (fine * plan->step_magic) >> plan->step_shift : fine >> plan->step_shift;
        const int32_t *at = view->planes + traces[i] + index + PLANE_MARGIN + FETCH_AHEAD;
        for (size_t row = 0; row < plan->step * PLANE_ROWS; row++)
            for (size_t line = 0; line < BLOCK; line += 16)
                __builtin_prefetch(at + row * plan->row + line);
    }
}

/* Asks for a party's part of the receive table. */
INLINE void fetch_run(const block_view *view, int32_t begin) {
    if (!view->plan)
        return;
    for (int32_t k = 0; k < 5; k++)
        __builtin_prefetch(view->entries + k * view->head[HEAD_COUNT] + begin + PARTY - 1);
}

/* Adds a tile of neighbouring lines, a party of elements at a time, to their sums. */
static void add_tile(const block_view *restrict views, size_t count, block_sum *restrict sums) {
    /* Entries of each line that are within the array: all but for tables shared by many lines. Of lines that share them,
       the first says how many. */
    int32_t from[TILE_LINES], to[TILE_LINES], most = 0;
    uint8_t many[TILE_LINES];
    size_t groups[TILE_LINES], group_count = 0, last = count;
    for (size_t i = 0; i < count; i++) {
        const block_view *view = views + i;
        from[i] = to[i] = 0;
        if (!view->plan)
            continue;
        if (!view->whole || !view->steady) {
            add_scattered(view, sums + i);
            continue;
        }
        if (view->head[HEAD_FIRST] < 0) {
            add_listed(view, sums + i);
            continue;
        }
        const int32_t first = view->head[HEAD_FIRST] + view->shift, left = (int32_t)view->plan->elements - first;
        from[i] = first < 0 ? -first : 0;
        to[i] = view->head[HEAD_COUNT] < left ? view->head[HEAD_COUNT] : left;
        if (to[i] <= from[i])
            continue;
        most = to[i] - from[i] > most ? to[i] - from[i] : most;
        if (i == count / 2)
            fetch_samples(view, (size_t)from[i], (size_t)to[i]);
        const size_t leader = group_count ? groups[group_count - 1] : 0;
        if (last + 1 == i && many[leader] < MOST_SHARING && views[leader].entries == view->entries && from[leader] == from[i] &&
            to[leader] == to[i])
            many[leader]++;
        else {
            many[i] = 1;
            groups[group_count++] = i;
        }
        last = i;
    }
    /* The next run is placed before this one is added, so that nothing waits for its places. */
    run runs[2];
    size_t placed = 0;
    for (int32_t party = 0; party < most; party += PARTY)
        for (size_t g = 0; g < group_count; g++) {
            const size_t i = groups[g];
            const int32_t begin = from[i] + party, end = to[i] < begin + PARTY ? to[i] : begin + PARTY;
            if (begin >= end)
                continue;
            if (g + FETCH_LINES < group_count)
                fetch_run(views + groups[g + FETCH_LINES], from[groups[g + FETCH_LINES]] + party);
            place_run(views + i, many[i], (size_t)begin, (size_t)end, sums + i, runs + placed % 2);
            if (placed++)
                add_run(runs + placed % 2);
        }
    if (placed)
        add_run(runs + (placed - 1) % 2);
    for (size_t i = 0; i < count; i++)
        if (views[i].plan && views[i].head[HEAD_STEEP])
            add_steep(views + i, sums + i);
}

/* Turns the sum over the channels by the phase of the wave, weighs it and adds it to the line's total. */
INLINE void add_turned(const block_view *view, size_t transmit, const block_sum *restrict sum, block_sum *restrict total) {
    const sonod_das_blocks *plan = view->plan;
    const float turns = plan->receive_table.turns_per_fine;
    const int32_t weights = plan->weight_kind[view->own];
    const float scale = plan->inverse_scales[transmit];
    for (size_t part = 0; part < BLOCK / WIDE; part++) {
        const widef ramp = wide_load_floats(RAMP + WIDE * part);
        widef cycles;
        if (view->points)
            cycles = wide_fma(wide_load_floats(view->points + WIDE * part), wide_float(turns), wide_float(plan->wave_turns[transmit]));
        else
            cycles = wide_fma(ramp, wide_fma(ramp, wide_float(view->curve * turns), wide_float(view->rise * turns)),
                              wide_float(plan->phases[view->own]));
        cycles = wide_fma(ramp, wide_float(view->common_pace * turns), cycles);
        cycles = cycles - wide_whole(cycles);
        widef s, c, weight = wide_float(scale);
        wide_turn(cycles, &s, &c);
        if (weights >= 0)
            weight = weight * wide_load_floats(plan->weight_points + (size_t)weights * BLOCK + WIDE * part);
        const widef re = *((const widef_loose *)sum->re + part) * weight, im = *((const widef_loose *)sum->im + part) * weight;
        widef_loose *to_re = (widef_loose *)total->re + part, *to_im = (widef_loose *)total->im + part;
        *to_re = wide_fma(re, c, wide_fma(-im, s, *to_re));
        *to_im = wide_fma(re, s, wide_fma(im, c, *to_im));
    }
}

INLINE void write_block(const sonod_das_blocks *plan, size_t line, size_t block, const block_sum *sum, int adding) {
    const size_t parts = plan->real ? 1 : 2, count = plan->receive_table.count;
    const size_t points = count - block * BLOCK < BLOCK ? count - block * BLOCK : BLOCK;
    float *out = plan->out + parts * (line * count + block * BLOCK), both[2 * BLOCK];
    float *to = points == BLOCK ? out : both;
    for (size_t eight = 0; eight < BLOCK / 8; eight++) {
        v8f part[2] = {sum->re[eight], sum->re[eight]};
        if (!plan->real) {
            part[0] = __builtin_shuffle(sum->re[eight], sum->im[eight], (v8i){0, 8, 1, 9, 2, 10, 3, 11});
            part[1] = __builtin_shuffle(sum->re[eight], sum->im[eight], (v8i){4, 12, 5, 13, 6, 14, 7, 15});
        }
        for (size_t k = 0; k < parts; k++) {
            const size_t at = 8 * (parts * eight + k);
            store8(to + at, adding && to == out ? part[k] + load8(out + at) : part[k]);
        }
    }
    /* The next block of this line is a line's length of other stores away. */
    for (size_t k = 0; k < 2 * BLOCK * parts; k += 16)
        __builtin_prefetch(out + BLOCK * parts + k, 1);
    if (to == both)
        for (size_t k = 0; k < parts * points; k++)
            out[k] = adding ? out[k] + both[k] : both[k];
}

INLINE void view_block(const sonod_das_blocks *plan, size_t first_transmit, size_t t, size_t line, size_t block,
                       const int32_t *head, const int32_t *entries, float common_pace, block_view *view) {
    const size_t transmit = first_transmit + t, map = 2 * (size_t)plan->map_of[transmit] + plan->mirrored[line];
    const size_t own = (transmit * plan->receive_table.blocks + block) * plan->lines + line;
    const int32_t kind = plan->time_kind[own], largest = plan->largest_drift;
    view->plan = NULL;
    if (kind == SONOD_UNSEEN)
        return;
    const float rise = plan->quadratic[3 * own + 1], drift = (rise + common_pace - (float)plan->step) * PACE_UNIT;
    view->plan = plan;
    view->planes = plan->planes + t * plan->channels * plan->step * PLANE_ROWS * plan->row;
    view->class = (size_t)plan->class_of[line];
    view->block = block;
    view->own = own;
    view->shift = plan->shift[line];
    view->map_first = plan->map_first + map * (plan->elements + 1);
    view->map_traces = plan->map_traces + map * plan->map_row;
    view->whole = plan->map_whole[map];
    view->head = head;
    view->entries = entries;
    view->row = (size_t)head[HEAD_COUNT];
    view->left = (size_t)head[HEAD_LEFT];
    view->right = view->row - (size_t)head[HEAD_RIGHT];
    view->traces = view->map_traces + head[HEAD_FIRST] + view->shift;
    view->common_pace = common_pace;
    view->way = plan->ways[own];
    view->pace = (int32_t)(drift > 1e6f ? 1e6f : drift < -1e6f ? -1e6f : drift);
    view->points = kind >= 0 ? plan->time_points + (size_t)kind * BLOCK : NULL;
    view->steady = !view->points && head[HEAD_FASTEST] + view->pace <= largest && head[HEAD_SLOWEST] + view->pace >= -largest;
    view->middle = plan->quadratic[3 * own];
    view->rise = rise;
    view->curve = plan->quadratic[3 * own + 2];
}

/* Adds a group of transmissions to a band of lines. All lines of the band take one block before any takes the next, so
   that the samples of that depth are still in the second cache when the next lines need them. */
static void das_blocks(const sonod_das_blocks *plan, size_t first_transmit, size_t transmits, size_t begin, size_t end) {
    const sonod_das_receive *receive = &plan->receive_table;
    const size_t lines = end - begin, padded = in_eights(receive->elements), blocks = receive->blocks;
    const int passing = !receive->table;
    const size_t lateral_bytes = passing ? lines * padded * sizeof(float) : 0;
    const size_t work_bytes = passing ? receive_floats(receive) * sizeof(float) : 0;
    const size_t entry_ints = passing ? most_receive_ints(receive) : 0;
    const size_t head_bytes = passing ? lines * (HEAD_SIZE + 1) * sizeof(int32_t) : 0;
    char *memory = sonod_scratch(lines * sizeof(block_sum) + lateral_bytes + work_bytes + lines * entry_ints * sizeof(int32_t) +
                                 head_bytes);
    if (!memory)
        return;
    block_sum *totals = (block_sum *)memory;
    float *lateral = (float *)(totals + lines), *work = lateral + lateral_bytes / sizeof(float);
    int32_t *own_entries = (int32_t *)(work + work_bytes / sizeof(float)), *own_heads = own_entries + lines * entry_ints;
    float *own_paces = (float *)(own_heads + (passing ? lines * HEAD_SIZE : 0));
    const block_sum nothing = {{splat8(0)}, {splat8(0)}};
    for (size_t i = 0; passing && i < lines; i++)
        lateral_of_elements(receive, (size_t)plan->class_of[plan->order[begin + i]], lateral + i * padded);
    for (size_t block = 0; block < blocks; block++) {
        for (size_t i = 0; passing && i < lines; i++)
            receive_block(receive, (size_t)plan->class_of[plan->order[begin + i]], block, lateral + i * padded, work,
                          own_heads + HEAD_SIZE * i, own_paces + i, own_entries + i * entry_ints);
        for (size_t t = 0; t < transmits; t++)
            for (size_t tile = 0; tile < lines; tile += TILE_LINES) {
                const size_t count = lines - tile < TILE_LINES ? lines - tile : TILE_LINES;
                block_view views[TILE_LINES];
                block_sum sums[TILE_LINES];
                for (size_t i = 0; i < count; i++) {
                    const size_t place = tile + i, line = (size_t)plan->order[begin + place];
                    const size_t at = block * receive->lines + (size_t)plan->class_of[line];
                    const int32_t *head = passing ? own_heads + HEAD_SIZE * place : receive->heads + HEAD_SIZE * at;
                    const int32_t *entries = passing ? own_entries + place * entry_ints : receive->table + head[HEAD_START];
                    view_block(plan, first_transmit, t, line, block, head, entries,
                               passing ? own_paces[place] : receive->paces[at], views + i);
                    sums[i] = nothing;
                }
                add_tile(views, count, sums);
                for (size_t i = 0; i < count; i++) {
                    block_sum total = t ? totals[tile + i] : nothing;
                    if (views[i].plan)
                        add_turned(views + i, first_transmit + t, sums + i, &total);
                    if (t + 1 < transmits)
                        totals[tile + i] = total;
                    else
                        write_block(plan, (size_t)plan->order[begin + tile + i], block, &total, first_transmit != 0);
                }
            }
    }
}
