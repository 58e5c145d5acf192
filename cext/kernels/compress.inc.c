/* Envelope to greys. */

/* Columns that are held at once. */
#define COMPRESS_COLUMNS ((size_t)256)

/* Base-2 logarithm of positive, finite, normal floats; error below 1e-5. The mantissa is taken round 1 and the series
   log((1 + s) / (1 - s)) = 2 (s + s^3 / 3 + ...) cut after s^7. */
INLINE widef log2_approximate(widef x) {
    const wide32 bits = (wide32)x, exponent = (bits - wide_splat32(0x3f3504f3)) >> 23;
    const widef mantissa = (widef)(bits - (exponent << 23)), one = wide_float(1.0f);
    const widef s = (mantissa - one) / (mantissa + one), y = s * s;
    widef series = wide_float(5.77078016e-1f) + y * wide_float(4.12198583e-1f);
    series = wide_float(9.61796694e-1f) + y * series;
    series = wide_float(2.88539008f) + y * series;
    return __builtin_convertvector(exponent, widef) + s * series;
}

/* Levels 0..255. NaN and everything below the smallest normal number are dark, infinity is white. */
INLINE widef levels(widef x, widef slope, widef offset) {
    const widef least = wide_float(1.2e-38f), most = wide_float(3e38f), dark = wide_float(0), white = wide_float(255.0f);
    const widef bounded = wide_lesser(wide_greater(x, least), most);
    const widef value = slope * log2_approximate(bounded) + offset;
    const widef lit = wide_where_not_less(x, least, wide_lesser(wide_greater(value, dark), white), dark);
    return wide_where_not_less(most, x, lit, wide_where_not_less(x, most, white, lit));
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
    const widef slope = wide_float(plan->slope), offset = wide_float(plan->row_offset[row]);
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
        for (; i + WIDE <= last; i += WIDE)
            wide_store_floats(level + i, levels(wide_load_floats(from + i), slope, offset));
        if (i < last) {
            float rest[WIDE] = {0};
            memcpy(rest, from + i, (last - i) * sizeof *rest);
            wide_store_floats(rest, levels(wide_load_floats(rest), slope, offset));
            memcpy(level + i, rest, (last - i) * sizeof *rest);
        }
        greys_of_levels(plan, row, begin, count, level);
    }
}

/* Samples of a line from `row` on, in the order of PARTED for baseband; zeros beyond the last. */
INLINE widef line_samples(const sonod_compress *plan, size_t line, size_t row) {
    const size_t components = plan->baseband ? 2 : 1, left = plan->rows - row;
    const float *from = plan->lines + (line * plan->rows + row) * components;
    float part[2 * WIDE] = {0};
    if (left < WIDE) {
        memcpy(part, from, left * components * sizeof *part);
        from = part;
    }
    if (!plan->baseband)
        return wide_load_floats(from);
    widef re, im;
    wide_part(from, &re, &im);
    return wide_sqrt(re * re + im * im);
}

/* Rows of eight lines to columns, from one row of `to` to the next COMPRESS_COLUMNS + 8. */
INLINE void store_columns(const widef lines[8], int baseband, float (*restrict to)[COMPRESS_COLUMNS + 8], size_t column) {
    for (size_t eight = 0; eight < WIDE / 8; eight++) {
        v8f v[8];
        for (size_t i = 0; i < 8; i++)
            memcpy(v + i, (const char *)(lines + i) + eight * sizeof *v, sizeof *v);
        transpose8(v);
        for (size_t i = 0; i < 8; i++)
            store8(&to[baseband ? PARTED[8 * eight + i] : 8 * eight + i][column], v[i]);
    }
}

/* A band of rows of which the lines are the columns. */
static void compress_lines(const sonod_compress *plan, size_t top, size_t rows) {
    const widef slope = wide_float(plan->slope);
    float level[SONOD_COMPRESS_ROWS][COMPRESS_COLUMNS + 8];
    for (size_t begin = 0; begin < plan->columns; begin += COMPRESS_COLUMNS) {
        const size_t left = plan->columns - begin, count = left < COMPRESS_COLUMNS ? left : COMPRESS_COLUMNS;
        for (size_t part = 0; part < rows; part += WIDE) {
            float offsets[WIDE];
            for (size_t i = 0; i < WIDE; i++)
                offsets[i] = plan->row_offset[top + part + (plan->baseband ? PARTED[i] : i)];
            const widef offset = wide_load_floats(offsets);
            for (size_t c = 0; c < count; c += 8) {
                widef lines[8];
                for (size_t i = 0; i < 8; i++) {
                    const size_t line = begin + (c + i < count ? c + i : count - 1);
                    lines[i] = levels(line_samples(plan, line, top + part), slope, offset);
                }
                store_columns(lines, plan->baseband, level + part, c);
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
