/* Channels of das_blocks.inc.c that cannot be taken as blocks side by side: those that drift, turn or bend too much in
   pieces of four points, or sample by sample and point by point. */

/* Delays that drift: from twice the place in the block times paces, and the bend that 32 bits still hold. */
#if BLOCK == 16
#define DRIFT_SHIFT 4
#define MOST_BEND 50.0f
#else
#define DRIFT_SHIFT 5
#define MOST_BEND 8.0f
#endif

/* By how much the delay of a wave may bend from the middle of a block to its end, and that of a channel from the middle of a
   piece, in fine samples, to be taken as straight. */
#define MOST_BOW 0.05f
#define MOST_PIECE_BOW 0.02f

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
    int bowed;         /* the wave's delay bends so much that places on straight ones would be wrong */
    int steady;        /* it does not, and no channel drifts too far */
    const float *points; /* delay of the wave at each point, or NULL: second order */
    float middle, rise, curve;
} block_view;

/* Adds one channel point by point, every delay computed, in eight points of the block. */
static __attribute__((noinline)) void add_eight(const block_view *view, const block_place *restrict place, int32_t element,
                                                int32_t trace, size_t eight, block_sum *restrict total) {
    const sonod_das_blocks *plan = view->plan;
    const sonod_das_receive *receive = &plan->receive_table;
    const int32_t *restrict data = view->planes + trace;
    const double *o = receive->origins + 3 * view->class, *d = receive->directions + 3 * view->class;
    const double *e = receive->elements_m + 3 * element;
    const double foot = receive->feet[view->class];
    const double fx = e[0] - o[0] - foot * d[0], fy = e[1] - o[1] - foot * d[1], fz = e[2] - o[2] - foot * d[2];
    const float lateral = receive->lateral ? receive->lateral[element] : (float)sqrt(fx * fx + fy * fy + fz * fz);
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
    v8i part[MOST_ROWS];
    for (size_t row = 0; row < plan->rows; row++)
        part[row] = gather8i(data + row * plan->row, offset);
    const v16s value = between(part, plan->rows, (v16s)twice16(share));
    v8f cycles = fma8(back, splat8(receive->turns_per_fine), -(ramp * splat8(view->common_pace * receive->turns_per_fine)));
    cycles = cycles - round8(cycles);
    v8f s, c;
    turn8(cycles, &s, &c);
    const v8f w = window8(receive->window, splat8(lateral) * load8(place->per_half + 8 * eight)) * splat8(UNIT_WEIGHT);
    const v16s phase = (v16s)pairs16(c * w, -(s * w));
    total->re[eight] += __builtin_convertvector(paired16(value, phase), v8f);
    total->im[eight] += __builtin_convertvector(paired16(value, turned16(phase)), v8f);
}

INLINE void add_points(const block_view *view, const block_place *restrict place, int32_t element, int32_t trace,
                       block_sum *restrict total) {
    for (size_t eight = 0; eight < BLOCK / 8; eight++)
        add_eight(view, place, element, trace, eight, total);
}

/* How the delays of channels bend, in units of their drift: the wave, and the way back from its length and its slope. */
INLINE wide32 bends_of(const block_view *view, wide32 delay, wide32 pace) {
    const widef one_way = wide_float(view->plan->receive_table.fine_per_point);
    const widef length = wide_most(__builtin_convertvector(delay, widef) * wide_float(1.0f / 32768.0f), 1.0f);
    const widef slope = __builtin_convertvector(pace, widef) * wide_float(1.0f / PACE_UNIT) + wide_float(view->common_pace);
    const widef bend = wide_float(view->curve) + wide_float(0.5f) * (one_way * one_way - slope * slope) / length;
    return __builtin_convertvector(wide_least(wide_most(bend, -MOST_BEND), MOST_BEND) * wide_float(BLOCK * 8192.0f), wide32);
}

/* Adds one channel that drifts out of its plane within the block: every sample is looked up. `entry`: its first number in
   the receive table; `windows` with a number for each point. */
static __attribute__((noinline)) void add_drifting(const block_view *view, const int32_t *restrict entry, int32_t trace,
                                                   const int32_t *restrict windows, block_sum *restrict total) {
    const sonod_das_blocks *plan = view->plan;
    const int32_t *restrict data = view->planes + trace;
    const int32_t stride = (int32_t)plan->step << DELAY_SHIFT, own_pace = (int16_t)entry[view->row];
    const int32_t delay = entry[0], pace = own_pace + view->pace;
    const int32_t bend = bends_of(view, wide_splat32(delay), wide_splat32(own_pace))[0];
    const phases of = phases_from(entry, view->row, plan->receive_table.fields > LEAST_FIELDS);
    for (size_t part = 0; part < BLOCK / WIDE; part++) {
        const wide32 point = wide_load32(POINT + WIDE * part), from_middle = point + point - wide_splat32(BLOCK - 1);
        const wide32 drift = (from_middle * (wide_splat32(pace) + from_middle * wide_splat32(bend))) >> DRIFT_SHIFT;
        const wide32 at = wide_splat32(delay + view->way) + point * wide_splat32(stride) + drift;
        const wide32 offset = locate(plan, at >> DELAY_SHIFT);
        const wide16 share = (wide16)wide_twice((at & wide_splat32(0x7fff)) - wide_splat32(0x4000));
        const int near = wide_is_near(offset);
        wide16 rows[MOST_ROWS];
        for (size_t k = 0; k < plan->rows; k++)
            rows[k] = near ? wide_near(data + k * plan->row, offset) : wide_gather(data + k * plan->row, offset);
        const wide16 value = wide_between(rows, plan->rows, share);
        const wide16 phase = phases_of(of, 0, part, powers_of(part), windows);
        const wide32 nothing = wide_splat32(0);
        *((widef_loose *)total->re + part) += __builtin_convertvector(wide_add_paired(nothing, value, phase), widef);
        *((widef_loose *)total->im + part) +=
            __builtin_convertvector(wide_add_paired(nothing, value, wide_turned(phase)), widef);
    }
}

/* Points of a piece from its middle over PIECE_UNIT, in 2^15, as pairs. */
#define PAIR_OF(x) (int32_t)((uint32_t)(x) << 16 | ((uint32_t)(x) & 0xffff))
static const int32_t PIECE_POINT[4] = {PAIR_OF(-3 * 8192), PAIR_OF(-8192), PAIR_OF(8192), PAIR_OF(3 * 8192)};
#define UNITY_OF(k) 32767
static const int16_t UNITY16[BLOCK] = ALL_POINTS(UNITY_OF);
#define UNITY ((const int32_t *)UNITY16)
static const int32_t EVERY_PIECE[4] = {0, 0, 0, 0};

/* Places of up to sixteen channels in the pieces of a block. */
typedef struct {
    int32_t offset[PARTY * PIECES] __attribute__((aligned(64))), share[PARTY * PIECES], drift[PARTY * PIECES];
} pieces;

/* Channels of an integer sum: number among those that have places, where their planes begin for each line, and windows, a number
   for each point. */
typedef struct {
    size_t count;
    int32_t of[PARTY], trace[MOST_SHARING][PARTY];
    const int32_t *windows[PARTY];
} listing;

/* A number of each of some channels, for all its pieces. */
INLINE wide32 of_each_piece(const int32_t *from) {
#if PIECES == 4
    return wide_fourfold(from);
#else
    v8i eights[WIDE / 8];
    for (size_t i = 0; i < WIDE / 8; i++)
        eights[i] = splat8i(from[i]);
    return wide_of_eights(eights);
#endif
}

/* Channels are looked at so many at a time, for all their pieces. */
#define AT_ONCE (WIDE / PIECES)

/* Places of `count` channels that drift too far for a block but not for its pieces. */
INLINE void place_pieces(const block_view *view, const int32_t *restrict delay, const int32_t *restrict pace,
                         const int32_t *restrict bend, size_t count, pieces *restrict out) {
    const int32_t stride = (int32_t)view->plan->step << DELAY_SHIFT;
    const wide32 piece = wide_load32(POINT) & wide_splat32(PIECES - 1);
    const wide32 middle = wide_splat32(8) * piece + wide_splat32(4 - BLOCK);
    const wide32 begin = wide_splat32(view->way) + piece * wide_splat32(4 * stride);
    for (size_t i = 0; i < count; i += AT_ONCE) {
        const wide32 own = of_each_piece(pace + i), bent = middle * of_each_piece(bend + i);
        const wide32 first = of_each_piece(delay + i) + begin + ((middle * (own + bent)) >> DRIFT_SHIFT);
        const size_t at = PIECES * i;
        wide_store32(out->offset + at, locate(view->plan, first >> DELAY_SHIFT));
        wide_store32(out->share + at, wide_twice((first & wide_splat32(0x7fff)) - wide_splat32(0x4000)));
        wide_store32(out->drift + at, wide_twice((wide_splat32(2 * PIECE_UNIT) * (own + bent + bent)) >> DRIFT_SHIFT));
    }
}

/* Sums of one part of a block. */
typedef struct {
    wide32 re, im;
} part_sum;

/* Adds channel `i` of a listing to the sums of one part of the block of `many` lines that meet the same wave. */
INLINE void add_in_pieces(const block_view *view, size_t many, const pieces *restrict places, const listing *restrict listed,
                          size_t i, size_t part, wide16 along, wide16 phase, part_sum *restrict sums) {
    const size_t row = view->plan->row, at = PIECES * (size_t)listed->of[i] + WIDE / 4 * part;
    const int32_t *restrict offset = places->offset + at;
    const wide16 turned = wide_turned(phase);
    const wide16 share = (wide16)wide_fourfold(places->share + at);
    const wide16 to = share + wide_scaled(along, (wide16)wide_fourfold(places->drift + at));
    for (size_t k = 0; k < many; k++) {
        const int32_t *restrict from = view->planes + listed->trace[k][i];
        wide16 bent = wide_fours(from + 2 * row, offset);
        if (view->plan->rows == MOST_ROWS)
            bent += wide_scaled(wide_fours(from + 3 * row, offset), to);
        bent = wide_fours(from + row, offset) + wide_scaled(bent, to);
        const wide16 value = wide_fours(from, offset) + wide_scaled(bent, to);
        sums[k].re = wide_add_paired(sums[k].re, value, phase);
        sums[k].im = wide_add_paired(sums[k].im, value, turned);
    }
}

INLINE void add_parts(size_t many, size_t part, const part_sum *restrict sums, block_sum *restrict totals) {
    for (size_t k = 0; k < many; k++) {
        *((widef_loose *)totals[k].re + part) += __builtin_convertvector(sums[k].re, widef);
        *((widef_loose *)totals[k].im + part) += __builtin_convertvector(sums[k].im, widef);
    }
}

INLINE void add_pieces_of(const block_view *view, size_t many, const pieces *restrict places, const listing *restrict listed,
                          phases of, block_sum *restrict totals) {
    const wide16 along = wide_fours(PIECE_POINT, EVERY_PIECE);
    for (size_t part = 0; part < BLOCK / WIDE; part++) {
        const powers points = powers_of(part);
        part_sum sums[MOST_SHARING] = {{{0}, {0}}, {{0}, {0}}};
        for (size_t i = 0; i < listed->count; i++) {
            const wide16 phase = phases_of(of, (size_t)listed->of[i], part, points, listed->windows[i]);
            add_in_pieces(view, many, places, listed, i, part, along, phase, sums);
        }
        add_parts(many, part, sums, totals);
    }
}

/* Adds the channels of a listing in pieces to `many` lines, and empties it. */
static __attribute__((noinline)) void add_pieces(const block_view *view, size_t many, const pieces *restrict places,
                                                 listing *restrict listed, phases of, block_sum *restrict totals) {
    if (many == 1)
        add_pieces_of(view, 1, places, listed, of, totals);
    else
        add_pieces_of(view, 2, places, listed, of, totals);
    listed->count = 0;
}

/* How many lines from this one on, of `count`, have one table and meet one wave, so that places and phases are the same. */
INLINE size_t count_twins(const block_view *views, size_t count) {
    const block_view *a = views, *b = views + 1;
    if (count < 2 || !b->plan || a->way != b->way || a->pace != b->pace || a->entries != b->entries || a->shift != b->shift)
        return 1;
    const int same = !memcmp(&a->middle, &b->middle, sizeof(float)) && !memcmp(&a->rise, &b->rise, sizeof(float)) &&
                     !memcmp(&a->curve, &b->curve, sizeof(float));
    return same && a->whole && b->whole && !a->points && !b->points ? 2 : 1;
}

/* Lists the channel at `at` of the channels by element for `many` lines; whether the listing is full. */
INLINE int list_channel(const block_view *views, size_t many, int32_t at, size_t of, const int32_t *windows,
                        listing *restrict out) {
    out->of[out->count] = (int32_t)of;
    out->windows[out->count] = windows;
    for (size_t k = 0; k < many; k++)
        out->trace[k][out->count] = views[k].map_traces[at];
    return ++out->count == PARTY;
}

INLINE wide32 wide_size(wide32 x) { return (x ^ (x >> 31)) - (x >> 31); }

/* Pace and bend of up to sixteen channels, and whether they drift or bend too much for pieces. */
typedef struct {
    int32_t pace[PARTY], bend[PARTY], much[PARTY];
} drifts;

INLINE void find_drifts(const block_view *view, const int32_t *restrict delay, const int32_t *restrict numbers, size_t count,
                        drifts *restrict out) {
    /* The same share of a sample at the end of a piece as at the end of a block. */
    const wide32 largest = wide_splat32(view->plan->largest_drift * (2 * BLOCK - 2) / 6);
    const wide32 most_bend = wide_splat32((int32_t)(MOST_PIECE_BOW / (PIECE_LAST * PIECE_LAST) * (BLOCK * 8192.0f)));
    for (size_t i = 0; i < count; i += WIDE) {
        const wide32 own = (wide_load32(numbers + i) << 16) >> 16, pace = own + wide_splat32(view->pace);
        const wide32 bend = bends_of(view, wide_load32(delay + i), own), bent = wide_size(bend);
        wide_store32(out->pace + i, pace);
        wide_store32(out->bend + i, bend);
        wide_store32(out->much + i, (bent > most_bend) | (wide_size(pace) + wide_splat32(2 * (BLOCK - 4)) * bent > largest));
    }
}

/* Windows of an entry: those of the table at the edges of the aperture, else unity. */
INLINE const int32_t *windows_of(const block_view *view, size_t entry) {
    const int32_t *windows = view->entries + view->plan->receive_table.fields * view->row;
    if (entry >= view->left && entry < view->right)
        return UNITY;
    return windows + BLOCK / 2 * (entry < view->left ? entry : entry - view->right + view->left);
}

/* Adds the channels of entries `begin` to `end` to `many` lines, each in pieces or, where it drifts or bends too much, sample
   by sample. */
INLINE void add_unsteady_of(const block_view *view, size_t many, size_t begin, size_t end, block_sum *restrict totals) {
    const size_t row = view->row;
    for (; begin < end; begin += PARTY) {
        const int32_t *restrict list = view->entries + begin;
        const size_t count = end - begin < PARTY ? end - begin : PARTY;
        const phases of = phases_from(list, row, view->plan->receive_table.fields > LEAST_FIELDS);
        drifts own;
        pieces places;
        listing listed;
        listed.count = 0;
        find_drifts(view, list, list + row, count, &own);
        place_pieces(view, list, own.pace, own.bend, count, &places);
        for (size_t i = 0; i < count; i++) {
            const int32_t element = (list[row + i] >> 16) + view->shift;
            if (element < 0 || element >= (int32_t)view->plan->elements)
                continue;
            const int32_t *windows = windows_of(view, begin + i);
            for (int32_t at = view->map_first[element]; at < view->map_first[element + 1]; at++) {
                if (own.much[i])
                    for (size_t k = 0; k < many; k++)
                        add_drifting(view + k, list + i, view[k].map_traces[at], windows, totals + k);
                else if (list_channel(view, many, at, i, windows, &listed))
                    add_pieces(view, many, &places, &listed, of, totals);
            }
        }
        add_pieces(view, many, &places, &listed, of, totals);
    }
}

static __attribute__((noinline)) void add_unsteady(const block_view *view, size_t many, size_t begin, size_t end,
                                                   block_sum *restrict totals) {
    if (many == 1)
        add_unsteady_of(view, 1, begin, end, totals);
    else
        add_unsteady_of(view, 2, begin, end, totals);
}

/* Adds the channels of all entries point by point. */
static void add_entries_by_points(const block_view *view, block_sum *restrict total) {
    const block_place place = place_block(&view->plan->receive_table, view->class, view->block);
    for (size_t i = 0; i < view->row; i++) {
        const int32_t own = view->entries[view->row + i] >> 16, element = own + view->shift;
        if (element < 0 || element >= (int32_t)view->plan->elements)
            continue;
        for (int32_t at = view->map_first[element]; at < view->map_first[element + 1]; at++)
            add_points(view, &place, own, view->map_traces[at], total);
    }
}

/* Adds all channels of the blocks of `many` lines that have entries, but for those from entry `from` to `to`, in pieces or
   otherwise. */
static void add_scattered(const block_view *view, size_t many, size_t from, size_t to, block_sum *restrict totals) {
    if (view->points) {
        add_entries_by_points(view, totals);
        return;
    }
    if (from)
        add_unsteady(view, many, 0, from, totals);
    if (to < view->row)
        add_unsteady(view, many, to, view->row, totals);
}

/* The entries between `begin` and `end` that follow each other without one that drifts too far. */
INLINE void find_steady(const block_view *view, int32_t *begin, int32_t *end) {
    const int32_t *numbers = view->entries + view->row, largest = view->plan->largest_drift;
    int32_t from = *begin, to;
    while (from < *end && abs((int16_t)numbers[from] + view->pace) > largest)
        from++;
    for (to = from; to < *end && abs((int16_t)numbers[to] + view->pace) <= largest; to++)
        ;
    *begin = from;
    *end = to;
}

/* The same where every element has one channel and none drifts: they are in the order of the elements, but some are left
   out, and all have windows. */
static __attribute__((noinline)) void add_listed(const block_view *view, block_sum *restrict total) {
    const size_t row = (size_t)view->head[HEAD_COUNT], fields = view->plan->receive_table.fields;
    const int32_t *list = view->entries, *windows = list + fields * row, elements = (int32_t)view->plan->elements;
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
        const phases of = phases_from(own, row, fields > LEAST_FIELDS);
        const adding block = {view->planes, &channels, total};
        add_alone(view->plan, &block, count, count, of, windows + BLOCK / 2 * begin);
    }
}
