/* Lines to pixels by a precomputed bilinear table. */

typedef double v4d __attribute__((vector_size(32)));

INLINE double pair_at(const float *from) {
    double both;
    memcpy(&both, from, sizeof both);
    return both;
}

/* Samples `even` and `odd` of eight pairs. A pair is read at once, and only moved, never taken as a number. */
INLINE void pairs8(const float *lines, const int32_t *restrict at, v8f *even, v8f *odd) {
    const v8f low = (v8f)(v4d){pair_at(lines + at[0]), pair_at(lines + at[1]), pair_at(lines + at[4]), pair_at(lines + at[5])};
    const v8f high = (v8f)(v4d){pair_at(lines + at[2]), pair_at(lines + at[3]), pair_at(lines + at[6]), pair_at(lines + at[7])};
    *even = __builtin_shuffle(low, high, (v8i){0, 2, 8, 10, 4, 6, 12, 14});
    *odd = __builtin_shuffle(low, high, (v8i){1, 3, 9, 11, 5, 7, 13, 15});
}

/* Pixels `begin` to `end` of the whole picture. */
static void scan_pixels(const sonod_scan_convert *plan, size_t begin, size_t end, float *restrict out) {
    const int32_t *restrict base = plan->base;
    const float *restrict across = plan->line_share, *restrict along = plan->sample_share;
    const float *restrict lines = plan->lines;
    const size_t line = plan->line_step, sample = plan->sample_step;
    size_t i = begin;
    for (; sample && i + 8 <= end; i += 8) {
        const v8i own = *(const v8i_loose *)(base + i), inside = own >= 0, at = own & inside;
        int32_t place[8];
        memcpy(place, &at, sizeof place);
        v8f first, second, third, fourth;
        pairs8(lines, place, &first, &second);
        pairs8(lines + line, place, &third, &fourth);
        const v8f share = load8(along + i);
        const v8f near_line = first + share * (second - first), far_line = third + share * (fourth - third);
        store8(out + i - begin, select8(inside, near_line + load8(across + i) * (far_line - near_line), splat8(0)));
    }
    for (; i < end; i++) {
        const float *own = lines + (base[i] >= 0 ? base[i] : 0);
        const float near_line = own[0] + along[i] * (own[sample] - own[0]);
        const float far_line = own[line] + along[i] * (own[line + sample] - own[line]);
        const float value = near_line + across[i] * (far_line - near_line);
        out[i - begin] = base[i] >= 0 ? value : 0.0f;
    }
}

static void scan_convert(const sonod_scan_convert *plan, size_t row) {
    float *restrict out = plan->out + row * plan->columns;
    const size_t first = (size_t)plan->spans[2 * row], last = (size_t)plan->spans[2 * row + 1];
    memset(out, 0, first * sizeof *out);
    memset(out + last, 0, (plan->columns - last) * sizeof *out);
    scan_pixels(plan, row * plan->columns + first, row * plan->columns + last, out + first);
}
