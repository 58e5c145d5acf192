/* The inner loop of das_blocks.inc.c: a party of channels added to the blocks that share their phases. */

/* Lines that follow each other and share the table of the way back, so that its phases are worked out once for them. */
#define MOST_SHARING 2
/* Channels of one integer sum. */
#define PARTY 16

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
        return plane * splat((int32_t)(plan->rows * plan->row)) + index;                                               \
    }
LOCATE(locate8, v8i, splat8i, bounded8i)
LOCATE(locate, wide32, wide_splat32, wide_bounded)

INLINE int32_t splat_one(int32_t x) { return x; }
INLINE int32_t bounded_one(int32_t x, int32_t most) { return x < 0 ? 0 : x < most ? x : most; }
LOCATE(locate_one, int32_t, splat_one, bounded_one)

/* The polynomial of a fine sample at `share` of one, from what its plane has in each row. */
INLINE v16s between(const v8i *part, size_t rows, v16s share) {
    v16s bent = (v16s)part[rows - 1];
    for (size_t row = rows - 1; row-- > 0;)
        bent = (v16s)part[row] + scaled16(bent, share);
    return bent;
}
INLINE wide16 wide_between(const wide16 *part, size_t rows, wide16 share) {
    wide16 bent = part[rows - 1];
    for (size_t row = rows - 1; row-- > 0;)
        bent = part[row] + wide_scaled(bent, share);
    return bent;
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
#define CUBED(k) (2 * (k) + 1 - BLOCK) * (2 * (k) + 1 - BLOCK) * (2 * (k) + 1 - BLOCK) * (32768 / (BLOCK * BLOCK * BLOCK))
#define PAIR_OF_CUBE(k) CUBED(k), CUBED(k)
static const int16_t RAMP16[2 * BLOCK] = ALL_POINTS(PAIR_OF_RAMP), SQUARES16[2 * BLOCK] = ALL_POINTS(PAIR_OF_SQUARE),
                     CUBES16[2 * BLOCK] = ALL_POINTS(PAIR_OF_CUBE);

/* These in one part of a block. */
typedef struct {
    wide16 ramp, square, cube;
} powers;
INLINE powers powers_of(size_t part) {
    return (powers){wide_load((const int32_t *)RAMP16 + WIDE * part), wide_load((const int32_t *)SQUARES16 + WIDE * part),
                    wide_load((const int32_t *)CUBES16 + WIDE * part)};
}

/* Phases of the way back of the channels of a party, to second or third order in the point of the block. */
typedef struct {
    const int32_t *level, *rise, *curve, *twist;
    int third;
} phases;
/* Those of `row` entries of the receive table from `list` on, with five or six fields each. */
INLINE phases phases_from(const int32_t *list, size_t row, int third) {
    return (phases){list + 2 * row, list + 3 * row, list + 4 * row, list + 5 * row, third};
}

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

/* The phases of channel `i` in one part of a block; `windows` with a number for each point of that channel, or NULL. */
INLINE wide16 phases_of(phases of, size_t i, size_t part, powers point, const int32_t *restrict windows) {
    wide16 phase = wide_splat(of.level[i]) + wide_scaled(point.ramp, wide_splat(of.rise[i])) +
                   wide_scaled(point.square, wide_splat(of.curve[i]));
    if (of.third)
        phase += wide_scaled(point.cube, wide_splat(of.twist[i]));
    return windows ? wide_scaled(phase, wide_doubled(windows + WIDE / 2 * part)) : phase;
}

/* Adds channels `begin` to `end` of a party to `many` blocks that share its phases, and with `alike` their
   shares and drifts, from planes of so many rows; windows with a number for each point and channel, or NULL. */
INLINE void add_channels(size_t many, int alike, size_t rows, const adding *restrict blocks, size_t row, size_t begin, size_t end,
                         phases of, const int32_t *restrict windows, const wide16 *restrict ramps, const wide16 *restrict squares,
                         const wide16 *restrict cubes, whole_sum *restrict sums) {
    for (size_t i = begin; i < end; i++) {
        const int32_t *restrict window = windows ? windows + BLOCK / 2 * (i - begin) : NULL;
        for (size_t part = 0; part < BLOCK / WIDE; part++) {
            const powers point = {ramps[part], squares[part], of.third ? cubes[part] : squares[part]};
            const wide16 phase = phases_of(of, i, part, point, window), turned = wide_turned(phase);
            wide16 at;
            for (size_t k = 0; k < many; k++) {
                const party *restrict channels = blocks->channels + k;
                const int32_t *restrict own = blocks[k].planes + channels->offset[i] + WIDE * part;
                wide16 samples[MOST_ROWS];
                if (!k || !alike)
                    at = wide_splat(channels->share[i]) + wide_scaled(ramps[part], wide_splat(channels->drift[i]));
                for (size_t j = 0; j < rows; j++)
                    samples[j] = wide_load(own + j * row);
                const wide16 value = wide_between(samples, rows, at);
                sums[k].re[part] = wide_add_paired(sums[k].re[part], value, phase);
                sums[k].im[part] = wide_add_paired(sums[k].im[part], value, turned);
            }
        }
    }
}

/* Adds a party of `count` channels to `many` blocks that share its phases, and with `alike` shares and drifts. The first `left`
   and those from `right` on have windows. */
INLINE void add_party(size_t many, int alike, size_t rows, const adding *restrict blocks, size_t row, size_t left, size_t right,
                      size_t count, phases of, const int32_t *restrict left_windows, const int32_t *restrict right_windows) {
    wide16 ramps[BLOCK / WIDE], squares[BLOCK / WIDE], cubes[BLOCK / WIDE];
    whole_sum sums[MOST_SHARING];
    for (size_t part = 0; part < BLOCK / WIDE; part++) {
        ramps[part] = wide_load((const int32_t *)RAMP16 + WIDE * part);
        squares[part] = wide_load((const int32_t *)SQUARES16 + WIDE * part);
        WIDE_KEEP(ramps[part]);
        WIDE_KEEP(squares[part]);
        if (of.third) {
            cubes[part] = wide_load((const int32_t *)CUBES16 + WIDE * part);
            WIDE_KEEP(cubes[part]);
        }
        for (size_t k = 0; k < many; k++)
            sums[k].re[part] = sums[k].im[part] = (wide32)wide_splat(0);
    }
    if (left)
        add_channels(many, alike, rows, blocks, row, 0, left, of, left_windows, ramps, squares, cubes, sums);
    add_channels(many, alike, rows, blocks, row, left, right, of, NULL, ramps, squares, cubes, sums);
    if (right < count)
        add_channels(many, alike, rows, blocks, row, right, count, of, right_windows, ramps, squares, cubes, sums);
    for (size_t k = 0; k < many; k++)
        for (size_t part = 0; part < BLOCK / WIDE; part++) {
            *((widef_loose *)blocks[k].total->re + part) += __builtin_convertvector(sums[k].re[part], widef);
            *((widef_loose *)blocks[k].total->im + part) += __builtin_convertvector(sums[k].im[part], widef);
        }
}

/* Adds a party of `count` channels to one block; the first `left` have windows. */
static __attribute__((noinline)) void add_alone(const sonod_das_blocks *plan, const adding *block, size_t left, size_t count,
                                                phases of, const int32_t *restrict windows) {
    if (plan->rows == LEAST_ROWS)
        add_party(1, 0, LEAST_ROWS, block, plan->row, left, count, count, of, windows, NULL);
    else
        add_party(1, 0, MOST_ROWS, block, plan->row, left, count, count, of, windows, NULL);
}
