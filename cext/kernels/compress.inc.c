/* Envelope to greys. */

/* Columns that are held at once. */
#define COMPRESS_COLUMNS ((size_t)256)

/* Base-2 logarithm of positive, finite, normal floats; error below 1e-5. The mantissa is taken round 1 and the series
   log((1 + s) / (1 - s)) = 2 (s + s^3 / 3 + ...) cut after s^7. */
INLINE v8f log2_approximate(v8f x) {
    const v8i bits = (v8i)x, exponent = (bits - 0x3f3504f3) >> 23;
    const v8f mantissa = (v8f)(bits - (exponent << 23)), one = splat8(1.0f);
    const v8f s = (mantissa - one) / (mantissa + one), y = s * s;
    v8f series = splat8(5.77078016e-1f) + y * splat8(4.12198583e-1f);
    series = splat8(9.61796694e-1f) + y * series;
    series = splat8(2.88539008f) + y * series;
    return __builtin_convertvector(exponent, v8f) + s * series;
}

/* Levels 0..255. NaN and everything below the smallest normal number are dark, infinity is white. */
INLINE v8f levels(v8f x, v8f slope, v8f offset) {
    const v8f least = splat8(1.2e-38f), most = splat8(3e38f);
    const v8i lit = x >= least, beyond = x > most;
    const v8f bounded = min8(select8(lit, x, least), most);
    const v8f value = slope * log2_approximate(bounded) + offset;
    const v8f clipped = min8(max8(value, splat8(0)), splat8(255.0f));
    return select8(beyond, splat8(255.0f), select8(lit, clipped, splat8(0)));
}

/* Persistence and grey map of `count` levels of one row from column `begin` on. */
INLINE void greys_of_levels(const sonod_compress *plan, size_t row, size_t begin, size_t count, float *restrict level) {
    uint8_t *restrict out = plan->out + row * plan->columns + begin;
    if (plan->level) {
        float *restrict old = plan->level + row * plan->columns + begin;
        const float share = plan->first ? 0.0f : plan->persistence;
        for (size_t i = 0; i < count; i++)
            old[i] = level[i] = level[i] + share * (old[i] - level[i]);
    }
    for (size_t i = 0; i < count; i++)
        out[i] = (uint8_t)(int32_t)(level[i] + 0.5f);
    if (plan->table)
        for (size_t i = 0; i < count; i++)
            out[i] = plan->table[out[i]];
}

/* One row of an envelope, or of a scan conversion. */
static void compress_row(const sonod_compress *plan, size_t row) {
    const v8f slope = splat8(plan->slope), offset = splat8(plan->row_offset[row]);
    float level[COMPRESS_COLUMNS], value[COMPRESS_COLUMNS];
    for (size_t begin = 0; begin < plan->columns; begin += COMPRESS_COLUMNS) {
        const size_t left = plan->columns - begin, count = left < COMPRESS_COLUMNS ? left : COMPRESS_COLUMNS;
        size_t first = 0, last = count;
        const float *from = value;
        if (plan->scan) {
            const size_t inner = (size_t)plan->scan->spans[2 * row], outer = (size_t)plan->scan->spans[2 * row + 1];
            const size_t end = begin + count;
            first = inner > begin ? (inner < end ? inner : end) - begin : 0;
            last = outer < end ? (outer > begin ? outer : begin) - begin : count;
            last = last > first ? last : first;
            scan_pixels(plan->scan, row * plan->columns + begin + first, row * plan->columns + begin + last,
                        value + first);
        } else {
            from = plan->envelope + row * plan->columns + begin;
        }
        memset(level, 0, first * sizeof *level);
        memset(level + last, 0, (count - last) * sizeof *level);
        size_t i = first;
        for (; i + 8 <= last; i += 8)
            store8(level + i, levels(load8(from + i), slope, offset));
        if (i < last) {
            float rest[8] = {0};
            memcpy(rest, from + i, (last - i) * sizeof *rest);
            store8(rest, levels(load8(rest), slope, offset));
            memcpy(level + i, rest, (last - i) * sizeof *rest);
        }
        greys_of_levels(plan, row, begin, count, level);
    }
}

/* Where the samples of a line end up that are read as eight pairs and told apart without leaving their half. */
static const uint8_t PAIR_ORDER[8] = {0, 1, 4, 5, 2, 3, 6, 7};

/* Eight samples of a line from `row` on, in the order of PAIR_ORDER for baseband; zeros beyond the last. */
INLINE v8f line_samples(const sonod_compress *plan, size_t line, size_t row) {
    const size_t components = plan->baseband ? 2 : 1, left = plan->rows - row;
    const float *from = plan->lines + (line * plan->rows + row) * components;
    float part[16] = {0};
    if (left < 8) {
        memcpy(part, from, left * components * sizeof *part);
        from = part;
    }
    const v8f first = load8(from);
    if (!plan->baseband)
        return first;
    const v8f second = load8(from + 8);
    const v8f re = __builtin_shuffle(first, second, (v8i){0, 2, 8, 10, 4, 6, 12, 14});
    const v8f im = __builtin_shuffle(first, second, (v8i){1, 3, 9, 11, 5, 7, 13, 15});
    return sqrt8(re * re + im * im);
}

/* A band of rows of which the lines are the columns. */
static void compress_lines(const sonod_compress *plan, size_t top, size_t rows) {
    const v8f slope = splat8(plan->slope);
    float level[SONOD_COMPRESS_ROWS][COMPRESS_COLUMNS + 8];
    for (size_t begin = 0; begin < plan->columns; begin += COMPRESS_COLUMNS) {
        const size_t left = plan->columns - begin, count = left < COMPRESS_COLUMNS ? left : COMPRESS_COLUMNS;
        for (size_t half = 0; half < rows; half += 8) {
            v8f offset = load8(plan->row_offset + top + half);
            if (plan->baseband)
                offset = __builtin_shuffle(offset, (v8i){0, 1, 4, 5, 2, 3, 6, 7});
            for (size_t c = 0; c < count; c += 8) {
                v8f v[8];
                for (size_t i = 0; i < 8; i++) {
                    const size_t line = begin + (c + i < count ? c + i : count - 1);
                    v[i] = levels(line_samples(plan, line, top + half), slope, offset);
                }
                transpose8(v);
                for (size_t i = 0; i < 8; i++)
                    store8(&level[half + (plan->baseband ? PAIR_ORDER[i] : i)][c], v[i]);
            }
        }
        for (size_t row = 0; row < rows; row++)
            greys_of_levels(plan, top + row, begin, count, level[row]);
    }
}

/* Compresses a band of rows. */
static void compress(const sonod_compress *plan, size_t band) {
    const size_t top = band * SONOD_COMPRESS_ROWS, left = plan->rows - top;
    const size_t rows = left < SONOD_COMPRESS_ROWS ? left : SONOD_COMPRESS_ROWS;
    if (plan->lines) {
        compress_lines(plan, top, rows);
        return;
    }
    for (size_t row = top; row < top + rows; row++)
        compress_row(plan, row);
}
