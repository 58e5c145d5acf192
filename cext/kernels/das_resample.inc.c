/* From traces to planes of 16-bit fine samples: for each fine sample the signal there, its slope and its curvature, each
   by a filter of its own, so that any delay between fine samples is a polynomial (C. W. Farrow, IEEE ISCAS 1988). */

/* Eight traces are resampled together: sample i of them is at 2 i, real parts, and 2 i + 1, imaginary parts. */
#define TOGETHER 8

/* Pairs of 16 bits: the sums of a filter over eight traces, times a power of two, rounded. */
INLINE v8i whole_pairs(v8f re, v8f im, v8f scale) {
    /* The low bits of the float are those of the whole number. */
    const v8f magic = splat8(12582912.0f);
    return ((v8i)fma8(re, scale, magic) & splat8i(0xffff)) | ((v8i)fma8(im, scale, magic) << 16);
}

/* Rows of one plane from fine sample number step * j + plane on, eight at a time, for eight traces. */
INLINE void resample_plane(const v8f *restrict samples, const float *restrict coefficients, const int32_t *restrict starts,
                           const int32_t *restrict filters, size_t taps, size_t width, v8f scale, int32_t *const *restrict out,
                           size_t row) {
    for (size_t j = 0; j < width; j += 8) {
        v8f part[PLANE_ROWS][8];
        for (size_t at = 0; at < 8; at++) {
            const v8f *restrict x = samples + 2 * starts[j + at];
            const float *restrict h = coefficients + filters[j + at];
            v8f re[PLANE_ROWS], im[PLANE_ROWS];
            for (size_t k = 0; k < PLANE_ROWS; k++) {
                re[k] = x[0] * splat8(h[k * taps]);
                im[k] = x[1] * splat8(h[k * taps]);
            }
            for (size_t tap = 1; tap < taps; tap++)
                for (size_t k = 0; k < PLANE_ROWS; k++) {
                    re[k] = fma8(x[2 * tap], splat8(h[k * taps + tap]), re[k]);
                    im[k] = fma8(x[2 * tap + 1], splat8(h[k * taps + tap]), im[k]);
                }
            for (size_t k = 0; k < PLANE_ROWS; k++)
                part[k][at] = (v8f)whole_pairs(re[k], im[k], scale);
        }
        for (size_t k = 0; k < PLANE_ROWS; k++) {
            transpose8(part[k]);
            for (size_t trace = 0; trace < TOGETHER; trace++)
                if (out[trace])
                    store8i(out[trace] + k * row + j, (v8i)part[k][trace]);
        }
    }
}

/* Largest magnitude of a component of a trace, without NaN and infinities. */
static void das_peak(const sonod_das_blocks *plan, size_t trace) {
    const size_t count = 2 * (plan->end_at - plan->begin_at);
    const float *restrict raw = plan->data + 2 * (trace * plan->samples + plan->begin_at);
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

/* Samples of eight channels of a transmission side by side, finite; zeros for those not measured. */
static void gather_traces(const sonod_das_blocks *plan, size_t transmit, size_t first, size_t used, v8f *restrict samples) {
    const float *from[TOGETHER];
    for (size_t trace = 0; trace < TOGETHER; trace++) {
        const size_t channel = first + trace;
        const int measured = channel < plan->channels && plan->receive[transmit * plan->channels + channel] >= 0;
        from[trace] = measured ? plan->data + 2 * (plan->samples * (transmit * plan->channels + channel) + plan->begin_at) : NULL;
    }
    /* Four samples, a square of floats. */
    for (size_t i = 0; i < used; i += 4) {
        const size_t count = used - i < 4 ? used - i : 4;
        v8f part[TOGETHER];
        for (size_t trace = 0; trace < TOGETHER; trace++) {
            part[trace] = splat8(0);
            if (from[trace] && count == 4)
                part[trace] = load8(from[trace] + 2 * i);
            else if (from[trace])
                for (size_t k = 0; k < 2 * count; k++)
                    part[trace][k] = from[trace][2 * i + k];
            const v8i finite = ((v8i)part[trace] & splat8i(0x7f800000)) != splat8i(0x7f800000);
            part[trace] = (v8f)((v8i)part[trace] & finite);
        }
        transpose8(part);
        memcpy(samples + 2 * i, part, 2 * count * sizeof(v8f));
    }
}

/* Resamples a party of eight channels of the group of transmissions from `first_transmit` on into their planes. */
static void das_resample(const sonod_das_blocks *plan, size_t first_transmit, size_t party) {
    const size_t parties = (plan->channels + TOGETHER - 1) / TOGETHER, first = party % parties * TOGETHER;
    const size_t own_transmit = party / parties, transmit = first_transmit + own_transmit;
    const size_t width = plan->width, row = plan->row, margin = plan->taps + 8, used = plan->end_at - plan->begin_at;
    v8f *padded = sonod_scratch(2 * (used + 2 * margin) * sizeof(v8f));
    if (!padded)
        return;
    v8f *samples = padded + 2 * margin;
    memset(padded, 0, 2 * margin * sizeof(v8f));
    memset(samples + 2 * used, 0, 2 * margin * sizeof(v8f));
    gather_traces(plan, transmit, first, used, samples);
    const v8f scale = splat8(plan->scales[transmit]);
    for (size_t plane = 0; plane < plan->step; plane++) {
        int32_t *out[TOGETHER];
        for (size_t trace = 0; trace < TOGETHER; trace++) {
            const size_t channel = first + trace;
            out[trace] = NULL;
            if (channel >= plan->channels || plan->receive[transmit * plan->channels + channel] < 0)
                continue;
            const size_t own_trace = own_transmit * plan->channels + channel;
            int32_t *own = plan->planes + (own_trace * plan->step + plane) * PLANE_ROWS * row;
            for (size_t k = 0; k < PLANE_ROWS; k++) {
                memset(own + k * row, 0, PLANE_MARGIN * sizeof(int32_t));
                memset(own + k * row + PLANE_MARGIN + width, 0, (row - PLANE_MARGIN - width) * sizeof(int32_t));
            }
            out[trace] = own + PLANE_MARGIN;
        }
        const int32_t *starts = plan->starts + plane * width, *filters = plan->filters + plane * width;
        /* The usual lengths with the length known to the compiler. */
        switch (plan->taps) {
        case 8:
            resample_plane(samples, plan->coefficients, starts, filters, 8, width, scale, out, row);
            break;
        case 12:
            resample_plane(samples, plan->coefficients, starts, filters, 12, width, scale, out, row);
            break;
        case 16:
            resample_plane(samples, plan->coefficients, starts, filters, 16, width, scale, out, row);
            break;
        default:
            resample_plane(samples, plan->coefficients, starts, filters, plan->taps, width, scale, out, row);
        }
    }
}
