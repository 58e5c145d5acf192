/* Elements of das_blocks.inc.c whose phases turn or bend too much for a block, with a phase for each point: in pieces of four
   points, those that drift too far even for that sample by sample. */

/* A wave in the pieces of a block, again and again: delays of their first points and paces, as the table's numbers of pieces. */
typedef struct {
    int32_t way[WIDE], pace[WIDE];
} piece_waves;

INLINE void find_piece_waves(const block_view *view, piece_waves *restrict out) {
    const float step = (float)view->plan->step;
    for (size_t i = 0; i < WIDE; i++) {
        const float from_middle = (float)(4 * (i % PIECES)) + PIECE_LAST - LAST_POINT;
        const double delay = (double)view->middle + (double)from_middle * ((double)view->rise + (double)view->curve * (double)from_middle);
        const double way = (delay - (double)PIECE_LAST * (double)step) * 32768.0 + 16384.0;
        const float pace = (view->rise + 2.0f * view->curve * from_middle + view->common_pace - step) * (PIECE_UNIT * 32768.0f);
        out->way[i] = (int32_t)(way > 1e9 ? 1e9 : way < -1e9 ? -1e9 : way);
        out->pace[i] = (int32_t)(pace > 1e6f ? 1e6f : pace < -1e6f ? -1e6f : pace);
    }
}

/* What the table says of the elements of a block that are taken in pieces, from some element on: delays and paces of pieces,
   phases of points. */
typedef struct {
    const int32_t *delay, *pace, *phase;
} steep_table;

/* How an element is added: in pieces, sample by sample, or point by point, its delays computed. */
enum { IN_PIECES, BY_SAMPLES, BY_POINTS };

/* Places of up to sixteen elements in their pieces, and how these are added. */
INLINE void place_steep(const block_view *view, steep_table table, size_t count, const piece_waves *restrict waves,
                        pieces *restrict out, int32_t *restrict how) {
    const sonod_das_blocks *plan = view->plan;
    const wide32 largest = wide_splat32(
        (int32_t)((float)plan->largest_drift * (LAST_POINT / (float)POINT_UNIT) * ((float)PIECE_UNIT / PIECE_LAST)));
    for (size_t i = 0; i < PIECES * count; i += WIDE) {
        const wide32 delay = wide_load32(table.delay + i), sum = delay + wide_load32(waves->way);
        const wide32 pace = wide_load32(table.pace + i) + wide_load32(waves->pace);
        wide_store32(out->offset + i, locate(plan, sum >> DELAY_SHIFT));
        wide_store32(out->share + i, wide_twice((sum & wide_splat32(0x7fff)) - wide_splat32(0x4000)));
        wide_store32(out->drift + i, wide_twice(pace));
        const wide32 far = (pace > largest) | (-pace > largest), unheard = delay == wide_splat32(NO_PIECE);
        wide_store32(how + i, (far & wide_splat32(BY_SAMPLES)) | (unheard & wide_splat32(BY_POINTS)));
    }
}

INLINE int how_of(const int32_t *how) {
    int32_t all = 0;
    for (size_t piece = 0; piece < PIECES; piece++)
        all |= how[piece];
    return all & BY_POINTS ? BY_POINTS : all;
}

INLINE void add_steep_pieces_of(const block_view *view, size_t many, const pieces *restrict places, const listing *restrict listed,
                                block_sum *restrict totals) {
    const wide16 along = wide_fours(PIECE_POINT, EVERY_PIECE);
    for (size_t part = 0; part < BLOCK / WIDE; part++) {
        part_sum sums[MOST_SHARING] = {{{0}, {0}}, {{0}, {0}}};
        for (size_t i = 0; i < listed->count; i++)
            add_in_pieces(view, many, places, listed, i, part, along, wide_load(listed->windows[i] + WIDE * part), sums);
        add_parts(many, part, sums, totals);
    }
}

/* Adds the elements of a listing in pieces, which has phases for windows, to `many` lines, and empties it. */
static __attribute__((noinline)) void add_steep_pieces(const block_view *view, size_t many, const pieces *restrict places,
                                                       listing *restrict listed, block_sum *restrict totals) {
    if (many == 1)
        add_steep_pieces_of(view, 1, places, listed, totals);
    else
        add_steep_pieces_of(view, 2, places, listed, totals);
    listed->count = 0;
}

/* The same sample by sample, each looked up. */
static __attribute__((noinline)) void add_steep_samples(const block_view *view, size_t many, steep_table table,
                                                        const piece_waves *restrict waves, listing *restrict listed,
                                                        block_sum *restrict totals) {
    const sonod_das_blocks *plan = view->plan;
    const int32_t stride = (int32_t)plan->step << DELAY_SHIFT;
    const wide32 point = wide_load32(POINT) & wide_splat32(3), begin = point * wide_splat32(stride);
    const wide32 from_middle = point + point - wide_splat32(3);
    for (size_t part = 0; part < BLOCK / WIDE; part++) {
        const size_t piece = WIDE / 4 * part;
        part_sum sums[MOST_SHARING] = {{{0}, {0}}, {{0}, {0}}};
        for (size_t i = 0; i < listed->count; i++) {
            const size_t own = PIECES * (size_t)listed->of[i] + piece;
            const wide32 pace = wide_fourfold(table.pace + own) + wide_fourfold(waves->pace + piece);
            const wide32 way = wide_fourfold(table.delay + own) + wide_fourfold(waves->way + piece);
            /* Paces count two points, as `from_middle` does halves. */
            const wide32 at = way + begin + ((from_middle * pace) >> 2), offset = locate(plan, at >> DELAY_SHIFT);
            const wide16 share = (wide16)wide_twice((at & wide_splat32(0x7fff)) - wide_splat32(0x4000));
            const wide16 phase = wide_load(listed->windows[i] + WIDE * part), turned = wide_turned(phase);
            const int near = wide_is_near(offset);
            for (size_t k = 0; k < many; k++) {
                const int32_t *restrict data = view->planes + listed->trace[k][i];
                wide16 rows[MOST_ROWS];
                for (size_t row = 0; row < plan->rows; row++)
                    rows[row] = near ? wide_near(data + row * plan->row, offset) : wide_gather(data + row * plan->row, offset);
                const wide16 value = wide_between(rows, plan->rows, share);
                sums[k].re = wide_add_paired(sums[k].re, value, phase);
                sums[k].im = wide_add_paired(sums[k].im, value, turned);
            }
        }
        add_parts(many, part, sums, totals);
    }
    listed->count = 0;
}

/* Adds the elements that have phases of their own to `many` lines. */
static void add_steep(const block_view *view, size_t many, block_sum *restrict totals) {
    const sonod_das_blocks *plan = view->plan;
    const block_place place = place_block(&plan->receive_table, view->class, view->block);
    const size_t count = (size_t)view->head[HEAD_STEEP], field = PIECES * count;
    const int32_t *steep = view->entries + plan->receive_table.fields * view->row +
                           BLOCK / 2 * (view->head[HEAD_LEFT] + view->head[HEAD_RIGHT]);
    piece_waves waves;
    find_piece_waves(view, &waves);
    for (size_t begin = 0; begin < count; begin += PARTY) {
        const int32_t *own = steep + count + PIECES * begin;
        const steep_table table = {own, own + field, steep + count + 2 * field + BLOCK * begin};
        const size_t end = count - begin < PARTY ? count : begin + PARTY;
        int32_t how[PARTY * PIECES];
        pieces places;
        listing listed[2];
        listed[IN_PIECES].count = listed[BY_SAMPLES].count = 0;
        place_steep(view, table, end - begin, &waves, &places, how);
        for (size_t i = begin; i < end; i++) {
            const int32_t element = steep[i] + view->shift;
            if (element < 0 || element >= (int32_t)plan->elements)
                continue;
            const int own_how = view->points ? BY_POINTS : how_of(how + PIECES * (i - begin));
            for (int32_t at = view->map_first[element]; at < view->map_first[element + 1]; at++) {
                if (own_how == BY_POINTS)
                    for (size_t k = 0; k < many; k++)
                        add_points(view + k, &place, steep[i], view[k].map_traces[at], totals + k);
                else if (!list_channel(view, many, at, i - begin, table.phase + BLOCK * (i - begin), listed + own_how))
                    continue;
                else if (own_how == IN_PIECES)
                    add_steep_pieces(view, many, &places, listed, totals);
                else
                    add_steep_samples(view, many, table, &waves, listed + BY_SAMPLES, totals);
            }
        }
        add_steep_pieces(view, many, &places, listed, totals);
        if (listed[BY_SAMPLES].count)
            add_steep_samples(view, many, table, &waves, listed + BY_SAMPLES, totals);
    }
}
