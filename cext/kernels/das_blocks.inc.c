/* Delay and sum of baseband data on line grids, a block of 16 or 32 points at a time, in 16-bit integers.

   Every trace is first resampled to a fine rate at which the delay grows by almost exactly `step` fine samples from one
   point of a line to the next. A block then reads as many consecutive samples as it has points, of one of `step` planes;
   what is left of the delay, its drift within the block, moves within the polynomials of the samples. The phase of the
   way back follows its second order; that of the way there depends on the point only and comes after the sum over the
   channels. Sums over at most sixteen channels are 32-bit integers, the rest is float in a fixed order. */

#include "das_party.inc.c"
#include "das_single.inc.c"
#include "das_steep.inc.c"

/* Lines that are worked on together, so that the samples of a channel are used while they are in the first cache. */
#define TILE_LINES 128
/* How many lines ahead the receive table is asked for, and how many samples ahead the planes are. */
#define FETCH_LINES 6
#define FETCH_AHEAD (2 * BLOCK)

INLINE size_t within(size_t at, size_t begin, size_t end) { return at < begin ? 0 : (at < end ? at : end) - begin; }

/* At most sixteen entries of a block, whose elements follow each other, for `many` views that share them. */
typedef struct {
    const block_view *views;
    size_t many, begin, end;
    int alike; /* both views meet the same wave: only the planes differ */
    block_sum *totals;
    party channels[MOST_SHARING];
} run;

/* The places of a party in other planes, for a wave that is the same there. */
INLINE void move_party(const party *restrict own, const int32_t *restrict from, const int32_t *restrict to, party *restrict out) {
    for (size_t i = 0; i < PARTY; i += WIDE)
        wide_store32(out->offset + i, wide_load32(own->offset + i) + wide_load32(to + i) - wide_load32(from + i));
}

INLINE void place_run(const block_view *views, size_t many, size_t begin, size_t end, block_sum *totals, run *restrict out) {
    const int32_t *list = views->entries + begin;
    out->views = views;
    out->many = many;
    out->begin = begin;
    out->end = end;
    out->totals = totals;
    out->alike = many == 2 && views[0].way == views[1].way && views[0].pace == views[1].pace;
    place_party(views->plan, list, list + views->row, views->traces + begin, views->way, views->pace, out->channels);
    if (out->alike)
        move_party(out->channels, views[0].traces + begin, views[1].traces + begin, out->channels + 1);
    else
        for (size_t k = 1; k < many; k++)
            place_party(views->plan, list, list + views->row, views[k].traces + begin, views[k].way, views[k].pace,
                        out->channels + k);
}

INLINE void add_run_of(size_t many, int alike, size_t rows, int third, const run *restrict own) {
    const block_view *view = own->views;
    const size_t row = view->row, left = view->left, right = view->right, begin = own->begin, end = own->end;
    const int32_t *list = view->entries + begin, *windows = view->entries + (third ? MOST_FIELDS : LEAST_FIELDS) * row;
    const phases of = phases_from(list, row, third);
    adding blocks[MOST_SHARING];
    for (size_t k = 0; k < many; k++)
        blocks[k] = (adding){view[k].planes, own->channels + k, own->totals + k};
    add_party(many, alike, rows, blocks, view->plan->row, within(left, begin, end), within(right, begin, end), end - begin, of,
              windows + BLOCK / 2 * begin, windows + BLOCK / 2 * (left + (begin > right ? begin - right : 0)));
}

/* A function for each kind of run, so that the sums are in registers: samples to second or third order, then phases. */
#define ADD_RUN_TO(name, many, alike, rows, third)                                                                     \
    static __attribute__((noinline)) void name(const run *restrict own) { add_run_of(many, alike, rows, third, own); }
#define ADD_RUN(name, many, alike)                                                                                     \
    ADD_RUN_TO(name##_22, many, alike, LEAST_ROWS, 0)                                                                  \
    ADD_RUN_TO(name##_23, many, alike, LEAST_ROWS, 1)                                                                  \
    ADD_RUN_TO(name##_32, many, alike, MOST_ROWS, 0)                                                                   \
    ADD_RUN_TO(name##_33, many, alike, MOST_ROWS, 1)                                                                   \
    static void (*const name[2][2])(const run *restrict own) = {{name##_22, name##_23}, {name##_32, name##_33}};
ADD_RUN(add_single, 1, 0)
ADD_RUN(add_both, 2, 0)
ADD_RUN(add_both_alike, 2, 1)

INLINE void add_run(const run *own) {
    const sonod_das_blocks *plan = own->views->plan;
    const size_t bent = plan->rows > LEAST_ROWS, twisted = plan->receive_table.fields > LEAST_FIELDS;
    (own->many == 1 ? add_single : own->alike ? add_both_alike : add_both)[bent][twisted](own);
}

/* Asks for the samples of the next block, which are too far apart for the processor to see them coming. */
INLINE void fetch_samples(const block_view *view, size_t begin, size_t end) {
    const sonod_das_blocks *plan = view->plan;
    const int32_t *traces = view->map_traces + view->head[HEAD_FIRST] + view->shift;
    for (size_t i = begin; i < end; i++) {
        const int32_t fine = (view->entries[i] + view->way) >> DELAY_SHIFT;
        const int32_t index = plan->step_magic ? (fine * plan->step_magic) >> plan->step_shift : fine >> plan->step_shift;
        const int32_t *at = view->planes + traces[i] + index + PLANE_MARGIN + FETCH_AHEAD;
        for (size_t row = 0; row < plan->step * plan->rows; row++)
            for (size_t line = 0; line < BLOCK; line += 16)
                __builtin_prefetch(at + row * plan->row + line);
    }
}

/* Asks for a party's part of the receive table; with the first party also for what begins before it, and for the windows. */
INLINE void fetch_run(const block_view *view, int32_t begin, int32_t party) {
    const int32_t *list = view->entries;
    const size_t fields = view->plan->receive_table.fields;
    for (size_t k = 0; k < fields; k++)
        __builtin_prefetch(list + k * view->row + begin + PARTY - 1);
    if (party)
        return;
    for (size_t k = 0; k < fields; k++)
        __builtin_prefetch(list + k * view->row + begin);
    const int32_t *windows = list + fields * view->row;
    for (const int32_t *at = windows; at < windows + BLOCK / 2 * (view->left + view->row - view->right); at += 16)
        __builtin_prefetch(at);
}

/* Adds a tile of neighbouring lines, a party of elements at a time, to their sums. */
static void add_tile(const block_view *restrict views, size_t count, block_sum *restrict sums) {
    /* Entries of each line that are within the array: all but for tables shared by many lines. Of lines that share them,
       the first says how many. */
    int32_t from[TILE_LINES], to[TILE_LINES], most = 0;
    uint8_t many[TILE_LINES];
    size_t groups[TILE_LINES], group_count = 0, last = count;
    for (size_t i = 0, added = 0; i < count; i++) {
        const block_view *view = views + i;
        from[i] = to[i] = 0;
        if (!view->plan)
            continue;
        /* The second of twins is added with the first. */
        const size_t twins = view->steady ? 1 : count_twins(view, count - i);
        if (!view->whole || view->points || view->bowed || (!view->steady && view->head[HEAD_FIRST] < 0)) {
            if (added <= i) {
                add_scattered(view, twins, 0, 0, sums + i);
                added = i + twins;
            }
            continue;
        }
        if (view->head[HEAD_FIRST] < 0) {
            add_listed(view, sums + i);
            continue;
        }
        const int32_t first = view->head[HEAD_FIRST] + view->shift, left = (int32_t)view->plan->elements - first;
        from[i] = first < 0 ? -first : 0;
        to[i] = view->head[HEAD_COUNT] < left ? view->head[HEAD_COUNT] : left;
        if (!view->steady) {
            find_steady(view, from + i, to + i);
            if (added <= i) {
                add_scattered(view, twins, (size_t)from[i], (size_t)to[i], sums + i);
                added = i + twins;
            }
        }
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
                fetch_run(views + groups[g + FETCH_LINES], from[groups[g + FETCH_LINES]] + party, party);
            place_run(views + i, many[i], (size_t)begin, (size_t)end, sums + i, runs + placed % 2);
            if (placed++)
                add_run(runs + placed % 2);
        }
    if (placed)
        add_run(runs + (placed - 1) % 2);
    for (size_t i = 0, twins = 1; i < count; i += twins) {
        twins = 1;
        if (!views[i].plan || !views[i].head[HEAD_STEEP])
            continue;
        twins = count_twins(views + i, count - i);
        add_steep(views + i, twins, sums + i);
    }
}

/* Written as wide as it is read: a narrower store would be waited for. */
INLINE void clear_sum(block_sum *sum) {
    for (size_t part = 0; part < BLOCK / WIDE; part++)
        *((widef_loose *)sum->re + part) = *((widef_loose *)sum->im + part) = wide_float(0);
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
    const size_t count = plan->receive_table.count;
    const size_t points = count - block * BLOCK < BLOCK ? count - block * BLOCK : BLOCK;
    float *out = plan->out + 2 * (line * plan->out_row + block * BLOCK), both[2 * BLOCK];
    float *to = points == BLOCK ? out : both;
    for (size_t eight = 0; eight < BLOCK / 8; eight++) {
        const v8f part[2] = {__builtin_shuffle(sum->re[eight], sum->im[eight], (v8i){0, 8, 1, 9, 2, 10, 3, 11}),
                             __builtin_shuffle(sum->re[eight], sum->im[eight], (v8i){4, 12, 5, 13, 6, 14, 7, 15})};
        for (size_t k = 0; k < 2; k++) {
            const size_t at = 8 * (2 * eight + k);
            store8(to + at, adding && to == out ? part[k] + load8(out + at) : part[k]);
        }
    }
    /* The next block of this line is a line's length of other stores away. */
    for (size_t k = 0; k < 4 * BLOCK; k += 16)
        __builtin_prefetch(out + 2 * BLOCK + k, 1);
    if (to == both)
        for (size_t k = 0; k < 2 * points; k++)
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
    view->planes = plan->planes + t * plan->channels * plan->step * plan->rows * plan->row;
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
    view->bowed = fabsf(plan->quadratic[3 * own + 2]) * (LAST_POINT * LAST_POINT) > MOST_BOW;
    view->steady = !view->points && !view->bowed && head[HEAD_FASTEST] + view->pace <= largest && head[HEAD_SLOWEST] + view->pace >= -largest;
    view->middle = plan->quadratic[3 * own];
    view->rise = rise;
    view->curve = plan->quadratic[3 * own + 2];
}

/* Asks for what is known of a wave in a block of some lines: of every eighth and its neighbour, for what is known of lines
   lies together, and mirrored ones take turns. */
INLINE void fetch_wave(const sonod_das_blocks *plan, size_t transmit, size_t block, const sonod_das_part *part) {
    const size_t all = (transmit * plan->receive_table.blocks + block) * plan->lines;
    for (size_t place = part->begin; place < part->end; place += place % 8 ? 7 : 1) {
        const size_t own = all + (size_t)plan->order[place];
        __builtin_prefetch(plan->time_kind + own);
        __builtin_prefetch(plan->weight_kind + own);
        __builtin_prefetch(plan->ways + own);
        __builtin_prefetch(plan->phases + own);
        __builtin_prefetch(plan->quadratic + 3 * own);
        __builtin_prefetch(plan->quadratic + 3 * own + 12);
    }
}

/* The same of the heads of a block, where there is a table; mirrored lines share them. */
INLINE void fetch_heads(const sonod_das_blocks *plan, size_t block, const sonod_das_part *part) {
    const sonod_das_receive *receive = &plan->receive_table;
    for (size_t place = part->begin; receive->table && place < part->end; place += 2)
        __builtin_prefetch(receive->heads + HEAD_SIZE * (block * receive->lines + (size_t)plan->class_of[plan->order[place]]));
}

/* Adds a group of transmissions to some blocks of some lines. All these lines take one block before any takes the next, so
   that the samples of that depth are still in the second cache when the next lines need them. */
static void das_blocks(const sonod_das_blocks *plan, size_t first_transmit, size_t transmits, const sonod_das_part *part) {
    const sonod_das_receive *receive = &plan->receive_table;
    const size_t begin = part->begin, lines = part->end - begin, padded = in_eights(receive->elements);
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
    for (size_t i = 0; passing && i < lines; i++)
        lateral_of_elements(receive, (size_t)plan->class_of[plan->order[begin + i]], lateral + i * padded);
    for (size_t block = part->first_block; block < part->end_block; block++) {
        for (size_t i = 0; passing && i < lines; i++)
            receive_block(receive, (size_t)plan->class_of[plan->order[begin + i]], block, lateral + i * padded, work,
                          own_heads + HEAD_SIZE * i, own_paces + i, own_entries + i * entry_ints);
        for (size_t t = 0; t < transmits; t++) {
            const int last = t + 1 == transmits;
            if (!last || block + 1 < receive->blocks)
                fetch_wave(plan, first_transmit + (last ? 0 : t + 1), block + (size_t)last, part);
            if (last && block + 1 < receive->blocks)
                fetch_heads(plan, block + 1, part);
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
                    clear_sum(sums + i);
                }
                add_tile(views, count, sums);
                for (size_t i = 0; i < count; i++) {
                    block_sum alone, *total = transmits > 1 ? totals + tile + i : &alone;
                    if (!t)
                        clear_sum(total);
                    if (views[i].plan)
                        add_turned(views + i, first_transmit + t, sums + i, total);
                    if (t + 1 == transmits)
                        write_block(plan, (size_t)plan->order[begin + tile + i], block, total, plan->adding);
                }
            }
        }
    }
}
