/* From traces to planes of 16-bit fine samples: for each fine sample the signal there, its slope and its curvature, each
   by a filter of its own, so that any delay between fine samples is a polynomial (C. W. Farrow, IEEE ISCAS 1988). */

/* Zeros before and behind every row: a block may begin this much outside. */
#define PLANE_MARGIN 24
/* Signal, slope, curvature. */
#define PLANE_ROWS 3

/* Four outputs of one filter from four places of the padded trace, as four (re, im). */
INLINE v8f resample_four(const float *restrict trace, const float *restrict coefficients, const int32_t *restrict starts,
                         const int32_t *restrict filters, size_t floats) {
    v8f sum[4];
    for (size_t i = 0; i < 4; i++) {
        const float *restrict x = trace + starts[i];
        const float *restrict h = coefficients + filters[i];
        v8f a = load8(x) * load8(h);
        for (size_t k = 8; k < floats; k += 8)
            a = fma8(load8(x + k), load8(h + k), a);
        sum[i] = a;
    }
    const v8f even = __builtin_shuffle(sum[0], sum[2], (v8i){0, 1, 2, 3, 8, 9, 10, 11}) +
                     __builtin_shuffle(sum[0], sum[2], (v8i){4, 5, 6, 7, 12, 13, 14, 15});
    const v8f odd = __builtin_shuffle(sum[1], sum[3], (v8i){0, 1, 2, 3, 8, 9, 10, 11}) +
                    __builtin_shuffle(sum[1], sum[3], (v8i){4, 5, 6, 7, 12, 13, 14, 15});
    return __builtin_shuffle(even, odd, (v8i){0, 1, 8, 9, 4, 5, 12, 13}) +
           __builtin_shuffle(even, odd, (v8i){2, 3, 10, 11, 6, 7, 14, 15});
}

/* Eight pairs of four (re, im) each twice, rounded to 16 bits. */
INLINE v8i whole_pairs(v8f low, v8f high, v8f scale) {
    const v8f re = __builtin_shuffle(low, high, (v8i){0, 2, 4, 6, 8, 10, 12, 14});
    const v8f im = __builtin_shuffle(low, high, (v8i){1, 3, 5, 7, 9, 11, 13, 15});
    const v8i a = __builtin_convertvector(round8(re * scale), v8i), b = __builtin_convertvector(round8(im * scale), v8i);
    return (a & splat8i(0xffff)) | (b << 16);
}

/* One plane: fine samples step * j + plane. */
INLINE void resample_plane(const float *restrict line, const float *restrict coefficients,
                           const int32_t *restrict starts, const int32_t *restrict filters, size_t floats, size_t width,
                           v8f scale, int32_t *restrict out, size_t row) {
    for (size_t j = 0; j < width; j += 8)
        for (size_t k = 0; k < PLANE_ROWS; k++) {
            const float *own = coefficients + k * floats;
            const v8f low = resample_four(line, own, starts + j, filters + j, floats);
            const v8f high = resample_four(line, own, starts + j + 4, filters + j + 4, floats);
            store8i(out + k * row + j, whole_pairs(low, high, scale));
        }
}

/* Largest magnitude of a component of a trace, without NaN and infinities. */
static void das_peak(const sonod_das_blocks *plan, size_t trace) {
    const size_t parts = plan->real ? 1 : 2, count = parts * (plan->end_at - plan->begin_at);
    const float *restrict raw = plan->data + parts * (trace * plan->samples + plan->begin_at);
    v8i most = splat8i(0);
    size_t i = 0;
    /* The magnitudes of finite floats are ordered as their bits are. */
    for (; i + 8 <= count; i += 8) {
        const v8i bits = (v8i)load8(raw + i) & splat8i(0x7fffffff), finite = bits < splat8i(0x7f800000);
        const v8i own = bits & finite, larger = own > most;
        most = (larger & own) | (~larger & most);
    }
    int32_t peak = 0;
    for (int lane = 0; lane < 8; lane++)
        peak = most[lane] > peak ? most[lane] : peak;
    for (; i < count; i++) {
        const float magnitude = fabsf(finite_or_zero(raw[i]));
        int32_t bits;
        memcpy(&bits, &magnitude, sizeof bits);
        peak = bits > peak ? bits : peak;
    }
    memcpy(plan->peaks + trace, &peak, sizeof peak);
}

/* Resamples one trace of the group of transmissions from `first_transmit` on into its planes. */
static void das_resample(const sonod_das_blocks *plan, size_t first_transmit, size_t trace) {
    const size_t transmit = first_transmit + trace / plan->channels, channel = trace % plan->channels;
    if (plan->receive[transmit * plan->channels + channel] < 0)
        return;
    const size_t width = plan->width, row = plan->row, margin = plan->taps + 8, used = plan->end_at - plan->begin_at;
    float *padded = sonod_scratch(2 * (used + 2 * margin) * sizeof(float));
    if (!padded)
        return;
    float *line = padded + 2 * margin;
    memset(padded, 0, 2 * margin * sizeof(float));
    memset(line + 2 * used, 0, 2 * margin * sizeof(float));
    if (plan->real) {
        const float *restrict raw = plan->data + plan->samples * (transmit * plan->channels + channel) + plan->begin_at;
        for (size_t i = 0; i < used; i++) {
            line[2 * i] = finite_or_zero(raw[i]) * plan->mixing[2 * i];
            line[2 * i + 1] = finite_or_zero(raw[i]) * plan->mixing[2 * i + 1];
        }
    } else {
        const float *restrict raw =
            plan->data + 2 * (plan->samples * (transmit * plan->channels + channel) + plan->begin_at);
        for (size_t i = 0; i < 2 * used; i++)
            line[i] = finite_or_zero(raw[i]);
    }
    const v8f scale = splat8(plan->scales[transmit]);
    int32_t *out = plan->planes + trace * plan->step * PLANE_ROWS * row;
    for (size_t plane = 0; plane < plan->step; plane++) {
        int32_t *own = out + plane * PLANE_ROWS * row;
        for (size_t k = 0; k < PLANE_ROWS; k++) {
            memset(own + k * row, 0, PLANE_MARGIN * sizeof(int32_t));
            memset(own + k * row + PLANE_MARGIN + width, 0, (row - PLANE_MARGIN - width) * sizeof(int32_t));
        }
        own += PLANE_MARGIN;
        const int32_t *starts = plan->starts + plane * width, *filters = plan->filters + plane * width;
        /* The usual lengths with the length known to the compiler. */
        switch (plan->taps) {
        case 8:
            resample_plane(line, plan->coefficients, starts, filters, 16, width, scale, own, row);
            break;
        case 12:
            resample_plane(line, plan->coefficients, starts, filters, 24, width, scale, own, row);
            break;
        case 16:
            resample_plane(line, plan->coefficients, starts, filters, 32, width, scale, own, row);
            break;
        default:
            resample_plane(line, plan->coefficients, starts, filters, 2 * plan->taps, width, scale, own, row);
        }
    }
}
