/* Delay and sum of baseband data on line grids, sixteen points at a time, in 16-bit integers.

   Every trace is first resampled to a fine rate at which the delay grows by almost exactly `step` fine samples from one
   point of a line to the next. A block of sixteen points then reads sixteen consecutive samples of one of `step` planes;
   what is left of the delay, its drift within the block, moves within the polynomials of the samples. The phase of the
   way back follows its second order; that of the way there depends on the point only and comes after the sum over the
   channels. Sums over at most sixteen channels are 32-bit integers, the rest is float in a fixed order. */

/* Lines that are worked on together, so that the samples of a channel are used while they are in the first cache. */
#define TILE_LINES 8
/* Channels of one integer sum. */
#define PARTY 16

/* Numbers that the inner loop needs of each of up to sixteen channels. */
typedef struct {
    int32_t offset[PARTY], share[PARTY], drift[PARTY];
} party;

/* Integer sums of sixteen points. */
typedef struct {
    v8i re_low, re_high, im_low, im_high;
} whole_sum;

/* Float sums of sixteen points. */
typedef struct {
    v8f re[2], im[2];
} block_sum;

/* Fine sample number as plane and place in it: offset into the planes of a trace. */
INLINE v8i locate(const sonod_das_blocks *plan, v8i fine) {
    const v8f begin = __builtin_convertvector(fine, v8f);
    const v8f index = floor8(fma8(begin, splat8(plan->inverse_step), splat8(plan->inverse_step * 0.25f)));
    const v8f plane = fma8(index, splat8(-(float)plan->step), begin);
    const v8f bounded = min8(max8(index, splat8((float)-PLANE_MARGIN)), splat8(plan->last_index));
    /* Whole numbers below 2^24, exact in float. */
    return __builtin_convertvector(
        fma8(plane, splat8((float)(PLANE_ROWS * plan->row)), bounded + splat8((float)PLANE_MARGIN)), v8i);
}

/* The polynomial of a fine sample: signal + share (slope + share curvature). */
INLINE v16s between(v16s signal, v16s slope, v16s curvature, v16s share) {
    return signal + scaled16(slope + scaled16(curvature, share), share);
}

/* Places of up to sixteen channels: `delay` and `numbers` as in the receive table, `trace` the channel of each. */
INLINE void place_party(const sonod_das_blocks *plan, const int32_t *restrict delay, const int32_t *restrict numbers,
                        const int32_t *restrict trace, size_t count, int32_t way, int32_t pace, party *restrict out) {
    for (size_t i = 0; i < count; i += 8) {
        const v8i sum = load8i(delay + i) + splat8i(way);
        const v8i offset = load8i(trace + i) * splat8i((int32_t)(plan->step * PLANE_ROWS * plan->row));
        store8i(out->offset + i, offset + locate(plan, sum >> DELAY_SHIFT));
        store8i(out->share + i, twice16((sum & splat8i(0x7fff)) - splat8i(0x4000)));
        store8i(out->drift + i, twice16(load8i(numbers + i) + splat8i(pace)));
    }
}

/* Points of a block over eight and their squares over 64, in 2^15, as pairs. */
static const int16_t RAMP16[2][2][16] = {
    {{-30720, -30720, -26624, -26624, -22528, -22528, -18432, -18432, -14336, -14336, -10240, -10240, -6144, -6144, -2048, -2048},
     {2048, 2048, 6144, 6144, 10240, 10240, 14336, 14336, 18432, 18432, 22528, 22528, 26624, 26624, 30720, 30720}},
    {{28800, 28800, 21632, 21632, 15488, 15488, 10368, 10368, 6272, 6272, 3200, 3200, 1152, 1152, 128, 128},
     {128, 128, 1152, 1152, 3200, 3200, 6272, 6272, 10368, 10368, 15488, 15488, 21632, 21632, 28800, 28800}}};

/* Adds up to sixteen channels to a block: phases to second order in `level`, `rise`, `curve`; windows of sixteen numbers
   each, or NULL. */
INLINE void add_party(const int32_t *restrict planes, size_t row, const party *restrict channels, size_t count,
                      const int32_t *restrict level, const int32_t *restrict rise, const int32_t *restrict curve,
                      const int32_t *restrict windows, block_sum *restrict total) {
    v16s ramp_low = load16((const int32_t *)RAMP16[0][0]), ramp_high = load16((const int32_t *)RAMP16[0][1]);
    v16s square_low = load16((const int32_t *)RAMP16[1][0]), square_high = load16((const int32_t *)RAMP16[1][1]);
    KEEP8(ramp_low);
    KEEP8(ramp_high);
    KEEP8(square_low);
    KEEP8(square_high);
    whole_sum sum = {splat8i(0), splat8i(0), splat8i(0), splat8i(0)};
    for (size_t i = 0; i < count; i++) {
        const int32_t *restrict from = planes + channels->offset[i];
        const v16s share = (v16s)splat8i(channels->share[i]), drift = (v16s)splat8i(channels->drift[i]);
        const v16s e0 = (v16s)splat8i(level[i]), e1 = (v16s)splat8i(rise[i]), e2 = (v16s)splat8i(curve[i]);
        {
            const v16s own = share + scaled16(ramp_low, drift);
            const v16s value = between(load16(from), load16(from + row), load16(from + 2 * row), own);
            v16s phase = e0 + scaled16(ramp_low, e1) + scaled16(square_low, e2);
            if (windows) {
                const v8i w = __builtin_convertvector(*(const v8s_loose *)(windows + 8 * i), v8i);
                phase = scaled16(phase, (v16s)twice16(w));
            }
            sum.re_low += paired16(value, phase);
            sum.im_low += paired16(value, turned16(phase));
        }
        {
            const v16s own = share + scaled16(ramp_high, drift);
            const v16s value = between(load16(from + 8), load16(from + row + 8), load16(from + 2 * row + 8), own);
            v16s phase = e0 + scaled16(ramp_high, e1) + scaled16(square_high, e2);
            if (windows) {
                const v8i w = __builtin_convertvector(*(const v8s_loose *)(windows + 8 * i + 4), v8i);
                phase = scaled16(phase, (v16s)twice16(w));
            }
            sum.re_high += paired16(value, phase);
            sum.im_high += paired16(value, turned16(phase));
        }
    }
    total->re[0] += __builtin_convertvector(sum.re_low, v8f);
    total->re[1] += __builtin_convertvector(sum.re_high, v8f);
    total->im[0] += __builtin_convertvector(sum.im_low, v8f);
    total->im[1] += __builtin_convertvector(sum.im_high, v8f);
}

/* A block of one line as one transmission meets it. */
typedef struct {
    const sonod_das_blocks *plan;
    const int32_t *planes; /* of the transmission */
    size_t line, class, block;
    int32_t shift;         /* from the elements of the table to those of the array, counted from its other end if mirrored */
    const int32_t *map_first, *map_traces;
    int whole; /* every element has exactly one channel */
    const int32_t *head, *entries;
    float common_pace;
    int32_t way, pace; /* of the wave, as the table's delays and paces */
    int steady;        /* no channel drifts too far */
    const float *points; /* delay of the wave at each point, or NULL: second order */
    float middle, rise, curve;
} block_view;

/* Adds one channel point by point, every delay computed. */
static __attribute__((noinline)) void add_points(const block_view *view, int32_t element, int32_t trace,
                                                 block_sum *restrict total) {
    const sonod_das_blocks *plan = view->plan;
    const sonod_das_receive *receive = &plan->receive_table;
    const block_place place = place_block(receive, view->class, view->block);
    const int32_t *restrict data = view->planes + (size_t)trace * plan->step * PLANE_ROWS * plan->row;
    const double *o = receive->origins + 3 * view->class, *d = receive->directions + 3 * view->class;
    const double *e = receive->elements_m + 3 * element;
    const double foot = receive->feet[view->class];
    const double fx = e[0] - o[0] - foot * d[0], fy = e[1] - o[1] - foot * d[1], fz = e[2] - o[2] - foot * d[2];
    const float lateral = receive->lateral ? receive->lateral[element] : (float)sqrt(fx * fx + fy * fy + fz * fz);
    for (int half = 0; half < 2; half++) {
        const v8f ramp = load8(RAMP + 8 * half), k = ramp * splat8(receive->spacing_float);
        const v8f dx = fma8(k, splat8(place.dx), splat8(place.x - receive->x[element]));
        const v8f dy = fma8(k, splat8(place.dy), splat8(place.y - receive->y[element]));
        const v8f dz = fma8(k, splat8(place.dz), splat8(place.z - receive->z[element]));
        const v8f back = sqrt8(fma8(dx, dx, fma8(dy, dy, dz * dz))) * splat8(receive->fine_per_metre);
        const v8f there = view->points ? load8(view->points + 8 * half)
                                       : fma8(ramp, fma8(ramp, splat8(view->curve), splat8(view->rise)), splat8(view->middle));
        const v8f fine = min8(max8(back + there, splat8(-1e6f)), splat8(1e6f)), nearest = floor8(fine + splat8(0.5f));
        const v8i share = __builtin_convertvector(round8((fine - nearest) * splat8(32767.0f)), v8i);
        const v8i offset = locate(plan, __builtin_convertvector(nearest, v8i));
        v8i part[PLANE_ROWS];
        for (size_t row = 0; row < PLANE_ROWS; row++) {
            const int32_t *own = data + row * plan->row;
            /* Put together in registers: through memory a wide load would wait for the narrow stores. */
            part[row] = (v8i){own[offset[0]], own[offset[1]], own[offset[2]], own[offset[3]],
                              own[offset[4]], own[offset[5]], own[offset[6]], own[offset[7]]};
        }
        const v16s value = between((v16s)part[0], (v16s)part[1], (v16s)part[2], (v16s)twice16(share));
        v8f cycles = fma8(back, splat8(receive->turns_per_fine), -(ramp * splat8(view->common_pace * receive->turns_per_fine)));
        cycles = cycles - round8(cycles);
        v8f s, c;
        turn8(cycles, &s, &c);
        const v8f w = window8(receive->window, splat8(lateral) * load8(place.per_half + 8 * half)) * splat8(UNIT_WEIGHT);
        const v16s phase = (v16s)pairs16(c * w, -(s * w));
        total->re[half] += __builtin_convertvector(paired16(value, phase), v8f);
        total->im[half] += __builtin_convertvector(paired16(value, turned16(phase)), v8f);
    }
}

/* Channels gathered one by one for an integer sum. */
typedef struct {
    int32_t delay[PARTY], numbers[PARTY], trace[PARTY], level[PARTY], rise[PARTY], curve[PARTY], windows[8 * PARTY];
    size_t count;
} gathering;

INLINE void add_gathering(const block_view *view, gathering *own, int windowed, block_sum *restrict total) {
    if (!own->count)
        return;
    for (size_t i = own->count; i & 7; i++)
        own->delay[i] = own->numbers[i] = own->trace[i] = 0;
    party channels;
    place_party(view->plan, own->delay, own->numbers, own->trace, own->count, view->way, view->pace, &channels);
    if (windowed)
        add_party(view->planes, view->plan->row, &channels, own->count, own->level, own->rise, own->curve, own->windows, total);
    else
        add_party(view->planes, view->plan->row, &channels, own->count, own->level, own->rise, own->curve, NULL, total);
    own->count = 0;
}

/* Adds the channels of entries `begin` to `end` of a list of `row` numbers each, one by one. */
static __attribute__((noinline)) void add_one_by_one(const block_view *view, const int32_t *restrict list, size_t row,
                                                     const int32_t *restrict windows, size_t begin, size_t end,
                                                     block_sum *restrict total) {
    const int32_t largest = view->plan->largest_drift;
    gathering own;
    own.count = 0;
    for (size_t i = begin; i < end; i++) {
        const int32_t numbers = list[row + i], element = (numbers >> 16) + view->shift;
        const int32_t pace = (int16_t)numbers + view->pace;
        for (int32_t at = view->map_first[element]; at < view->map_first[element + 1]; at++) {
            const int32_t trace = view->map_traces[at];
            if (view->points || pace > largest || pace < -largest) {
                add_points(view, numbers >> 16, trace, total);
                continue;
            }
            const size_t to = own.count++;
            own.delay[to] = list[i];
            own.numbers[to] = numbers;
            own.trace[to] = trace;
            own.level[to] = list[2 * row + i];
            own.rise[to] = list[3 * row + i];
            own.curve[to] = list[4 * row + i];
            if (windows)
                memcpy(own.windows + 8 * to, windows + 8 * i, 8 * sizeof(int32_t));
            if (own.count == PARTY)
                add_gathering(view, &own, windows != NULL, total);
        }
    }
    add_gathering(view, &own, windows != NULL, total);
}

/* Adds entries `begin` to `end` of the plain list, at most sixteen, whose elements follow each other. */
INLINE void add_run(const block_view *view, size_t begin, size_t end, block_sum *restrict total) {
    const size_t row = (size_t)view->head[HEAD_PLAIN];
    const int32_t *list = view->entries + begin;
    party channels;
    place_party(view->plan, list, list + row, view->map_traces + view->head[HEAD_FIRST] + view->shift + (int32_t)begin,
                end - begin, view->way, view->pace, &channels);
    add_party(view->planes, view->plan->row, &channels, end - begin, list + 2 * row, list + 3 * row, list + 4 * row, NULL,
              total);
}

/* First and last + 1 entry of a list of elements within the array: all but for tables shared by many lines. */
INLINE void clip_list(const block_view *view, const int32_t *numbers, size_t count, size_t *begin, size_t *end) {
    const int32_t elements = (int32_t)view->plan->elements;
    *begin = 0;
    *end = count;
    while (*begin < count && (numbers[*begin] >> 16) + view->shift < 0)
        ++*begin;
    while (*end > *begin && (numbers[*end - 1] >> 16) + view->shift >= elements)
        --*end;
}

/* Adds the channels at the edge of the aperture and those that are taken point by point. */
static void add_rest(const block_view *view, block_sum *restrict total) {
    const size_t plain = (size_t)view->head[HEAD_PLAIN], edge = (size_t)view->head[HEAD_EDGE];
    const size_t elements = view->plan->elements;
    const int32_t *list = view->entries + 5 * plain, *windows = list + 5 * edge, *steep = windows + 8 * edge;
    size_t begin, end;
    clip_list(view, list + edge, edge, &begin, &end);
    add_one_by_one(view, list, edge, windows, begin, end, total);
    for (int32_t i = 0; i < view->head[HEAD_STEEP]; i++) {
        const int32_t element = steep[i] + view->shift;
        if (element < 0 || element >= (int32_t)elements)
            continue;
        for (int32_t at = view->map_first[element]; at < view->map_first[element + 1]; at++)
            add_points(view, steep[i], view->map_traces[at], total);
    }
}

/* Adds a tile of neighbouring lines, a party of elements at a time, to their sums. */
static void add_tile(const block_view *restrict views, size_t lines, block_sum *restrict sums) {
    int32_t from[TILE_LINES], to[TILE_LINES], low = INT32_MAX, high = 0;
    for (size_t i = 0; i < lines; i++) {
        const block_view *view = views + i;
        from[i] = to[i] = 0;
        if (!view->plan || !view->head[HEAD_PLAIN])
            continue;
        if (!view->head[HEAD_DENSE] || !view->whole || !view->steady) {
            const size_t count = (size_t)view->head[HEAD_PLAIN];
            size_t begin, end;
            clip_list(view, view->entries + count, count, &begin, &end);
            add_one_by_one(view, view->entries, count, NULL, begin, end, sums + i);
            continue;
        }
        const int32_t first = view->head[HEAD_FIRST] + view->shift, last = first + view->head[HEAD_PLAIN];
        const int32_t elements = (int32_t)view->plan->elements;
        from[i] = first > 0 ? first : 0;
        to[i] = last < elements ? last : elements;
        if (from[i] >= to[i])
            continue;
        low = from[i] < low ? from[i] : low;
        high = to[i] > high ? to[i] : high;
    }
    for (int32_t party = low; party < high; party += PARTY)
        for (size_t i = 0; i < lines; i++) {
            const int32_t begin = from[i] > party ? from[i] : party;
            const int32_t end = to[i] < party + PARTY ? to[i] : party + PARTY;
            if (begin >= end)
                continue;
            const int32_t first = views[i].head[HEAD_FIRST] + views[i].shift;
            add_run(views + i, (size_t)(begin - first), (size_t)(end - first), sums + i);
        }
    for (size_t i = 0; i < lines; i++)
        if (views[i].plan && (views[i].head[HEAD_EDGE] | views[i].head[HEAD_STEEP]))
            add_rest(views + i, sums + i);
}

/* Turns the sum over the channels by the phase of the wave, weighs it and adds it to the line's total. */
INLINE void add_turned(const block_view *view, size_t transmit, const block_sum *restrict sum, block_sum *restrict total) {
    const sonod_das_blocks *plan = view->plan;
    const size_t own = (transmit * plan->lines + view->line) * plan->receive_table.blocks + view->block;
    const float turns = plan->receive_table.turns_per_fine;
    const int32_t weights = plan->weight_kind[own];
    for (int half = 0; half < 2; half++) {
        const v8f ramp = load8(RAMP + 8 * half);
        v8f cycles;
        if (view->points)
            cycles = fma8(load8(view->points + 8 * half), splat8(turns), splat8(plan->wave_turns[transmit]));
        else
            cycles = fma8(ramp, fma8(ramp, splat8(view->curve * turns), splat8(view->rise * turns)), splat8(plan->phases[own]));
        cycles = fma8(ramp, splat8(view->common_pace * turns), cycles);
        cycles = cycles - round8(cycles);
        v8f s, c;
        turn8(cycles, &s, &c);
        v8f scale = splat8(plan->inverse_scales[transmit]);
        if (weights >= 0)
            scale = scale * load8(plan->weight_points + (size_t)weights * BLOCK + 8 * half);
        const v8f re = sum->re[half] * scale, im = sum->im[half] * scale;
        total->re[half] = fma8(re, c, fma8(-im, s, total->re[half]));
        total->im[half] = fma8(re, s, fma8(im, c, total->im[half]));
    }
}

INLINE void write_block(const sonod_das_blocks *plan, size_t line, size_t block, const block_sum *sum, int adding) {
    const size_t parts = plan->real ? 1 : 2, count = plan->receive_table.count;
    const size_t points = count - block * BLOCK < BLOCK ? count - block * BLOCK : BLOCK;
    float *out = plan->out + parts * (line * count + block * BLOCK), both[2 * BLOCK];
    for (int half = 0; half < 2; half++) {
        if (plan->real) {
            store8(both + 8 * half, sum->re[half]);
            continue;
        }
        store8(both + 16 * half, __builtin_shuffle(sum->re[half], sum->im[half], (v8i){0, 8, 1, 9, 2, 10, 3, 11}));
        store8(both + 16 * half + 8, __builtin_shuffle(sum->re[half], sum->im[half], (v8i){4, 12, 5, 13, 6, 14, 7, 15}));
    }
    for (size_t k = 0; k < parts * points; k++)
        out[k] = adding ? out[k] + both[k] : both[k];
}

INLINE void view_block(const sonod_das_blocks *plan, size_t first_transmit, size_t t, size_t line, size_t block,
                       const int32_t *head, const int32_t *entries, float common_pace, block_view *view) {
    const size_t transmit = first_transmit + t, map = 2 * (size_t)plan->map_of[transmit] + plan->mirrored[line];
    const size_t own = (transmit * plan->lines + line) * plan->receive_table.blocks + block;
    const int32_t kind = plan->time_kind[own];
    view->plan = NULL;
    if (kind == SONOD_UNSEEN)
        return;
    const int32_t largest = plan->largest_drift;
    const float middle = plan->quadratic[3 * own], rise = plan->quadratic[3 * own + 1];
    const float drift = (rise + common_pace - (float)plan->step) * PACE_UNIT;
    view->plan = plan;
    view->planes = plan->planes + t * plan->channels * plan->step * PLANE_ROWS * plan->row;
    view->line = line;
    view->class = (size_t)plan->class_of[line];
    view->block = block;
    view->shift = plan->shift[line];
    view->map_first = plan->map_first + map * (plan->elements + 1);
    view->map_traces = plan->map_traces + map * plan->map_row;
    view->whole = plan->map_whole[map];
    view->head = head;
    view->entries = entries;
    view->common_pace = common_pace;
    view->way = plan->ways[own];
    view->pace = (int32_t)(drift > 1e6f ? 1e6f : drift < -1e6f ? -1e6f : drift);
    view->points = kind >= 0 ? plan->time_points + (size_t)kind * BLOCK : NULL;
    view->steady = !view->points && head[HEAD_FASTEST] + view->pace <= largest && head[HEAD_SLOWEST] + view->pace >= -largest;
    view->middle = middle;
    view->rise = rise;
    view->curve = plan->quadratic[3 * own + 2];
}

/* Asks for the table's part of the next tile, which the processor does not see coming. */
INLINE void fetch_tile(const sonod_das_blocks *plan, size_t line, size_t end, size_t block) {
    const sonod_das_receive *receive = &plan->receive_table;
    for (size_t stop = line + TILE_LINES < end ? line + TILE_LINES : end; line < stop; line++) {
        const int32_t *head = receive->heads + HEAD_SIZE * ((size_t)plan->class_of[line] * receive->blocks + block);
        const int32_t *from = receive->table + head[HEAD_START];
        for (size_t i = 0; i < 5 * (size_t)head[HEAD_PLAIN]; i += 16)
            __builtin_prefetch(from + i);
    }
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
    const block_sum nothing = {{splat8(0), splat8(0)}, {splat8(0), splat8(0)}};
    for (size_t i = 0; passing && i < lines; i++)
        lateral_of_elements(receive, (size_t)plan->class_of[begin + i], lateral + i * padded);
    for (size_t block = 0; block < blocks; block++) {
        for (size_t i = 0; i < lines; i++) {
            totals[i] = nothing;
            if (passing)
                receive_block(receive, (size_t)plan->class_of[begin + i], block, lateral + i * padded, work,
                              own_heads + HEAD_SIZE * i, own_paces + i, own_entries + i * entry_ints);
        }
        for (size_t t = 0; t < transmits; t++)
            for (size_t tile = 0; tile < lines; tile += TILE_LINES) {
                const size_t count = lines - tile < TILE_LINES ? lines - tile : TILE_LINES;
                if (!passing && t == 0)
                    fetch_tile(plan, begin + tile + TILE_LINES, end, block);
                block_view views[TILE_LINES];
                block_sum sums[TILE_LINES];
                for (size_t i = 0; i < count; i++) {
                    const size_t line = begin + tile + i, at = (size_t)plan->class_of[line] * blocks + block;
                    const int32_t *head = passing ? own_heads + HEAD_SIZE * (tile + i) : receive->heads + HEAD_SIZE * at;
                    const int32_t *entries = passing ? own_entries + (tile + i) * entry_ints : receive->table + head[HEAD_START];
                    view_block(plan, first_transmit, t, line, block, head, entries,
                               passing ? own_paces[tile + i] : receive->paces[at], views + i);
                    sums[i] = nothing;
                }
                add_tile(views, count, sums);
                for (size_t i = 0; i < count; i++)
                    if (views[i].plan)
                        add_turned(views + i, first_transmit + t, sums + i, totals + tile + i);
            }
        for (size_t i = 0; i < lines; i++)
            write_block(plan, begin + i, block, totals + i, first_transmit != 0);
    }
}
