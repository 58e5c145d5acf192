/* Channels of das_blocks.inc.c that cannot be taken as blocks side by side: gathered one by one, those that drift, turn or
   bend too much in pieces of eight points, or sample by sample and point by point. */

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

/* Adds one channel point by point, every delay computed, in one piece of the block. */
static __attribute__((noinline)) void add_points(const block_view *view, const block_place *restrict place, int32_t element,
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

/* How the delays of channels bend, in units of their drift: the wave, and the way back from its length and its slope. */
INLINE v8i bends_of(const block_view *view, v8i delay, v8i pace) {
    const v8f one_way = splat8(view->plan->receive_table.fine_per_point);
    const v8f length = max8(__builtin_convertvector(delay, v8f) * splat8(1.0f / 32768.0f), splat8(1.0f));
    const v8f slope = __builtin_convertvector(pace, v8f) * splat8(1.0f / PACE_UNIT) + splat8(view->common_pace);
    const v8f bend = splat8(view->curve) + splat8(0.5f) * (one_way * one_way - slope * slope) / length;
    return __builtin_convertvector(min8(max8(bend, splat8(-MOST_BEND)), splat8(MOST_BEND)) * splat8(BLOCK * 8192.0f), v8i);
}

/* Adds one channel that drifts out of its plane within the block: every sample is looked up. `delay`, `numbers` and the
   phase as in the receive table; `window` with a number for each point, or NULL. */
static __attribute__((noinline)) void add_drifting(const block_view *view, int32_t delay, int32_t numbers, int32_t trace,
                                                   int32_t level, int32_t rise, int32_t curve, const int32_t *restrict window,
                                                   block_sum *restrict total) {
    const sonod_das_blocks *plan = view->plan;
    const int32_t *restrict data = view->planes + trace;
    const int32_t stride = (int32_t)plan->step << DELAY_SHIFT, pace = (int16_t)numbers + view->pace;
    const int32_t bend = bends_of(view, splat8i(delay), splat8i((int16_t)numbers))[0];
    const phases of = {&level, &rise, &curve};
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
        const wide16 phase = phases_of(of, 0, part, wide_load((const int32_t *)RAMP16 + WIDE * part),
                                       wide_load((const int32_t *)SQUARES16 + WIDE * part), window);
        const wide32 nothing = wide_splat32(0);
        *((widef_loose *)total->re + part) += __builtin_convertvector(wide_add_paired(nothing, value, phase), widef);
        *((widef_loose *)total->im + part) +=
            __builtin_convertvector(wide_add_paired(nothing, value, wide_turned(phase)), widef);
    }
}

/* Points of a piece from its middle over PIECE_UNIT and their squares, in 2^15, as pairs. */
#define PAIR_OF(x) (int32_t)((uint32_t)(x) << 16 | ((uint32_t)(x) & 0xffff))
static const int32_t PIECE_POINT[2][8] = {
    {PAIR_OF(-7 * 4096), PAIR_OF(-5 * 4096), PAIR_OF(-3 * 4096), PAIR_OF(-4096), PAIR_OF(4096), PAIR_OF(3 * 4096), PAIR_OF(5 * 4096),
     PAIR_OF(7 * 4096)},
    {PAIR_OF(49 * 512), PAIR_OF(25 * 512), PAIR_OF(9 * 512), PAIR_OF(512), PAIR_OF(512), PAIR_OF(9 * 512), PAIR_OF(25 * 512),
     PAIR_OF(49 * 512)}};

/* Places of a party whose channels drift too far for the block but not for its pieces. */
typedef struct {
    party pieces[PIECES];
} pieced_party;

/* `delay` and `numbers` as in the receive table, `trace` where the planes begin. All sixteen are read. */
INLINE void place_pieces(const block_view *view, const int32_t *restrict delay, const int32_t *restrict numbers,
                         const int32_t *restrict trace, pieced_party *restrict out) {
    const int32_t stride = (int32_t)view->plan->step << DELAY_SHIFT;
    for (size_t i = 0; i < PARTY; i += 8) {
        const v8i own = (load8i(numbers + i) << 16) >> 16, pace = own + splat8i(view->pace);
        const v8i bend = bends_of(view, load8i(delay + i), own);
        for (int32_t piece = 0; piece < PIECES; piece++) {
            const v8i middle = splat8i(16 * piece + 8 - BLOCK), drift = (middle * (pace + middle * bend)) >> DRIFT_SHIFT;
            const v8i first = load8i(delay + i) + splat8i(view->way + 8 * piece * stride) + drift;
            party *to = out->pieces + piece;
            store8i(to->offset + i, load8i(trace + i) + locate8(view->plan, first >> DELAY_SHIFT));
            store8i(to->share + i, twice16((first & splat8i(0x7fff)) - splat8i(0x4000)));
            store8i(to->drift + i, twice16((splat8i(2 * PIECE_UNIT) * (pace + splat8i(2) * middle * bend)) >> DRIFT_SHIFT));
        }
    }
}

/* Adds a party of `count` channels in pieces; `windows` with a number for each point and channel, or NULL. */
static __attribute__((noinline)) void add_pieces(const block_view *view, const pieced_party *restrict places, size_t count,
                                                 phases of, const int32_t *restrict windows, block_sum *restrict total) {
    const size_t row = view->plan->row;
    const v8i points[2] = {load8i(PIECE_POINT[0]), load8i(PIECE_POINT[0])};
    const wide16 along = (wide16)wide_of_eights(points);
    for (size_t part = 0; part < BLOCK / WIDE; part++) {
        const wide16 ramp = wide_load((const int32_t *)RAMP16 + WIDE * part);
        const wide16 square = wide_load((const int32_t *)SQUARES16 + WIDE * part);
        wide32 re = wide_splat32(0), im = wide_splat32(0);
        for (size_t i = 0; i < count; i++) {
            v8i shares[2], drifts[2], samples[MOST_ROWS][2];
            for (size_t eight = 0; eight < WIDE / 8; eight++) {
                const party *own = places->pieces + WIDE / 8 * part + eight;
                const int32_t *restrict from = view->planes + own->offset[i];
                shares[eight] = splat8i(own->share[i]);
                drifts[eight] = splat8i(own->drift[i]);
                for (size_t k = 0; k < view->plan->rows; k++)
                    samples[k][eight] = load8i(from + k * row);
            }
            const wide16 at = (wide16)wide_of_eights(shares) + wide_scaled(along, (wide16)wide_of_eights(drifts));
            wide16 rows[MOST_ROWS];
            for (size_t k = 0; k < view->plan->rows; k++)
                rows[k] = (wide16)wide_of_eights(samples[k]);
            const wide16 value = wide_between(rows, view->plan->rows, at);
            const wide16 phase = phases_of(of, i, part, ramp, square, windows ? windows + BLOCK / 2 * i : NULL);
            re = wide_add_paired(re, value, phase);
            im = wide_add_paired(im, value, wide_turned(phase));
        }
        *((widef_loose *)total->re + part) += __builtin_convertvector(re, widef);
        *((widef_loose *)total->im + part) += __builtin_convertvector(im, widef);
    }
}

/* Channels gathered one by one for an integer sum. */
typedef struct {
    int32_t delay[PARTY], numbers[PARTY], trace[PARTY], level[PARTY], rise[PARTY], curve[PARTY];
    int32_t windows[BLOCK / 2 * PARTY];
    size_t count;
} gathering;

INLINE void add_gathering(const block_view *view, gathering *own, int pieced, int windowed, block_sum *restrict total) {
    if (!own->count)
        return;
    for (size_t i = own->count; i % PARTY; i++)
        own->delay[i] = own->numbers[i] = own->trace[i] = 0;
    const phases of = {own->level, own->rise, own->curve};
    if (pieced) {
        pieced_party pieces;
        place_pieces(view, own->delay, own->numbers, own->trace, &pieces);
        add_pieces(view, &pieces, own->count, of, windowed ? own->windows : NULL, total);
        own->count = 0;
        return;
    }
    party channels;
    place_party(view->plan, own->delay, own->numbers, own->trace, view->way, view->pace, &channels);
    const adding block = {view->planes, &channels, total};
    add_alone(view->plan, &block, windowed ? own->count : 0, own->count, of, own->windows);
    own->count = 0;
}

/* Adds the channels of entries `begin` to `end` one by one; `windows` of the first of them and the others, or NULL. */
static __attribute__((noinline)) void add_one_by_one(const block_view *view, const int32_t *restrict windows, size_t begin,
                                                     size_t end, block_sum *restrict total) {
    const int32_t *restrict list = view->entries;
    const int32_t largest = view->plan->largest_drift, largest_pieced = largest * (2 * BLOCK - 2) / 14;
    const int32_t most_bend = (int32_t)(MOST_PIECE_BOW / (PIECE_LAST * PIECE_LAST) * (BLOCK * 8192.0f));
    const size_t row = (size_t)view->head[HEAD_COUNT];
    const block_place place = place_block(&view->plan->receive_table, view->class, view->block);
    gathering gathered[2];
    gathered[0].count = gathered[1].count = 0;
    for (size_t i = begin; i < end; i++) {
        const int32_t numbers = list[row + i], element = (numbers >> 16) + view->shift;
        if (element < 0 || element >= (int32_t)view->plan->elements)
            continue;
        const int32_t pace = (int16_t)numbers + view->pace;
        for (int32_t at = view->map_first[element]; at < view->map_first[element + 1]; at++) {
            const int32_t trace = view->map_traces[at];
            if (view->points) {
                for (size_t piece = 0; piece < PIECES; piece++)
                    add_points(view, &place, numbers >> 16, trace, piece, total);
                continue;
            }
            const int32_t *window = windows ? windows + BLOCK / 2 * (i - begin) : NULL;
            const int pieced = view->bowed || abs(pace) > largest;
            const int32_t bend = pieced ? abs(bends_of(view, splat8i(list[i]), splat8i((int16_t)numbers))[0]) : 0;
            if (pieced && (bend > most_bend || abs(pace) + 2 * (BLOCK - 8) * bend > largest_pieced)) {
                add_drifting(view, list[i], numbers, trace, list[2 * row + i], list[3 * row + i], list[4 * row + i], window, total);
                continue;
            }
            gathering *own = gathered + pieced;
            const size_t to = own->count++;
            own->delay[to] = list[i];
            own->numbers[to] = numbers;
            own->trace[to] = trace;
            own->level[to] = list[2 * row + i];
            own->rise[to] = list[3 * row + i];
            own->curve[to] = list[4 * row + i];
            if (window)
                memcpy(own->windows + BLOCK / 2 * to, window, BLOCK / 2 * sizeof(int32_t));
            if (own->count == PARTY)
                add_gathering(view, own, pieced, windows != NULL, total);
        }
    }
    for (int pieced = 0; pieced < 2; pieced++)
        add_gathering(view, gathered + pieced, pieced, windows != NULL, total);
}

/* Adds all channels of a block that are not to be taken point by point, but for those from entry `from` to `to`, one by
   one. */
static void add_scattered(const block_view *view, size_t from, size_t to, block_sum *restrict total) {
    const size_t count = (size_t)view->head[HEAD_COUNT], left = (size_t)view->head[HEAD_LEFT];
    const size_t right = count - (size_t)view->head[HEAD_RIGHT], bounds[] = {0, left, right, count};
    const int32_t *windows = view->entries + 5 * count;
    for (size_t part = 0; part < 3; part++) {
        const size_t begin = bounds[part], end = bounds[part + 1];
        const size_t until = from < begin ? begin : from < end ? from : end, after = to < begin ? begin : to < end ? to : end;
        const int32_t *own = part == 1 ? NULL : windows + (part ? BLOCK / 2 * left : 0);
        add_one_by_one(view, own, begin, until, total);
        add_one_by_one(view, own ? own + BLOCK / 2 * (after - begin) : NULL, after, end, total);
    }
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
        add_alone(view->plan, &block, count, count, of, windows + BLOCK / 2 * begin);
    }
}

/* A wave in one piece of a block: delay of its first point and pace, as the pieces' numbers. */
typedef struct {
    int32_t way, pace;
} piece_wave;

/* Adds one channel in one piece of a block. */
INLINE void add_piece(const block_view *view, const int32_t *restrict numbers, piece_wave wave, int32_t trace, v8f *restrict re,
                      v8f *restrict im) {
    const sonod_das_blocks *plan = view->plan;
    const int32_t sum = numbers[0] + wave.way;
    const int32_t *own = view->planes + trace + locate_one(plan, sum >> DELAY_SHIFT);
    const v16s ramp = load16(PIECE_POINT[0]), square = load16(PIECE_POINT[1]);
    const v16s share = (v16s)splat8i(PAIR_OF((sum & 0x7fff) - 0x4000));
    const v16s at = share + scaled16(ramp, (v16s)splat8i(PAIR_OF((int16_t)numbers[1] + wave.pace)));
    v8i part[MOST_ROWS];
    for (size_t k = 0; k < plan->rows; k++)
        part[k] = load8i(own + k * plan->row);
    const v16s value = between(part, plan->rows, at);
    const v16s turning = scaled16(ramp, (v16s)splat8i(numbers[3])) + scaled16(square, (v16s)splat8i(numbers[4]));
    const v16s window = (v16s)twice16(__builtin_convertvector(*(const v8s_loose *)(numbers + 5), v8i));
    const v16s phase = scaled16((v16s)splat8i(numbers[2]) + turning, window);
    *re += __builtin_convertvector(paired16(value, phase), v8f);
    *im += __builtin_convertvector(paired16(value, turned16(phase)), v8f);
}

/* Adds the channels that are taken in pieces; those that drift or turn too much even there point by point. */
static void add_steep(const block_view *view, block_sum *restrict total) {
    const int32_t *steep = view->entries + 5 * view->head[HEAD_COUNT] +
                           BLOCK / 2 * (view->head[HEAD_LEFT] + view->head[HEAD_RIGHT]);
    const int32_t *pieces = steep + view->head[HEAD_STEEP];
    const sonod_das_blocks *plan = view->plan;
    const block_place place = place_block(&plan->receive_table, view->class, view->block);
    /* The same share of a sample at the end of a piece as at the end of a block. */
    const int32_t largest =
        (int32_t)((float)plan->largest_drift * (LAST_POINT / (float)POINT_UNIT) * ((float)PIECE_UNIT / PIECE_LAST));
    piece_wave waves[PIECES];
    for (size_t piece = 0; piece < PIECES; piece++) {
        const float from_middle = (float)(8 * piece) + PIECE_LAST - LAST_POINT, step = (float)plan->step;
        const double delay = (double)view->middle + (double)from_middle * ((double)view->rise + (double)view->curve * (double)from_middle);
        const double way = (delay - (double)PIECE_LAST * (double)plan->step) * 32768.0 + 16384.0;
        const float pace = (view->rise + 2.0f * view->curve * from_middle + view->common_pace - step) * (PIECE_UNIT * 32768.0f);
        waves[piece].way = (int32_t)(way > 1e9 ? 1e9 : way < -1e9 ? -1e9 : way);
        waves[piece].pace = (int32_t)(pace > 1e6f ? 1e6f : pace < -1e6f ? -1e6f : pace);
    }
    for (int32_t i = 0; i < view->head[HEAD_STEEP]; i++) {
        const int32_t element = steep[i] + view->shift;
        if (element < 0 || element >= (int32_t)plan->elements)
            continue;
        for (size_t piece = 0; piece < PIECES; piece++) {
            const int32_t *numbers = pieces + PIECE_INTS * (PIECES * (size_t)i + piece);
            const int32_t pace = (int16_t)numbers[1] + waves[piece].pace;
            const int whole = numbers[0] != NO_PIECE && !view->points && pace <= largest && pace >= -largest;
            for (int32_t at = view->map_first[element]; at < view->map_first[element + 1]; at++) {
                if (whole)
                    add_piece(view, numbers, waves[piece], view->map_traces[at], total->re + piece, total->im + piece);
                else
                    add_points(view, &place, steep[i], view->map_traces[at], piece, total);
            }
        }
    }
}
