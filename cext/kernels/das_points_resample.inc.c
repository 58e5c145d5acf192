/* From traces to the fine samples of das_points.inc.c. */

/* Eight traces are resampled together: sample i of them is at 2 i, real parts, and 2 i + 1, imaginary parts. */
#define TOGETHER 8

/* Pairs of 16 bits: the sums of a filter over eight traces, times a power of two, rounded. */
INLINE v8i whole_pairs(v8f re, v8f im, v8f scale) {
    /* The low bits of the float are those of the whole number. */
    const v8f magic = splat8(12582912.0f);
    return ((v8i)fma8(re, scale, magic) & splat8i(0xffff)) | ((v8i)fma8(im, scale, magic) << 16);
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

/* Fine samples of eight traces, turned by `turning`. */
INLINE void resample_turned(const v8f *restrict samples, const sonod_das_blocks *common, size_t taps,
                            const float *restrict turning, v8f scale, int32_t *const *restrict out) {
    for (size_t j = 0; j < common->width; j += 8) {
        v8f part[POINT_ROWS][8];
        for (size_t at = 0; at < 8; at++) {
            const v8f *restrict x = samples + 2 * common->starts[j + at];
            const float *restrict h = common->coefficients + common->filters[j + at];
            v8f re[POINT_ROWS], im[POINT_ROWS];
            for (size_t k = 0; k < POINT_ROWS; k++) {
                re[k] = x[0] * splat8(h[k * taps]);
                im[k] = x[1] * splat8(h[k * taps]);
            }
            for (size_t tap = 1; tap < taps; tap++)
                for (size_t k = 0; k < POINT_ROWS; k++) {
                    re[k] = fma8(x[2 * tap], splat8(h[k * taps + tap]), re[k]);
                    im[k] = fma8(x[2 * tap + 1], splat8(h[k * taps + tap]), im[k]);
                }
            const v8f c = splat8(turning[2 * (j + at)]), s = splat8(turning[2 * (j + at) + 1]);
            for (size_t k = 0; k < POINT_ROWS; k++)
                part[k][at] = (v8f)whole_pairs(fma8(re[k], c, -(im[k] * s)), fma8(re[k], s, im[k] * c), scale);
        }
        for (size_t k = 0; k < POINT_ROWS; k++) {
            transpose8(part[k]);
            for (size_t trace = 0; trace < TOGETHER; trace++)
                if (out[trace])
                    store8i(out[trace] + k * common->row + j, (v8i)part[k][trace]);
        }
    }
}

/* Resamples a party of eight channels of the group of transmissions from `first_transmit` on. */
static void das_points_resample(const sonod_das_points *plan, size_t first_transmit, size_t party) {
    const sonod_das_blocks *common = &plan->common;
    const size_t parties = (common->channels + TOGETHER - 1) / TOGETHER, first = party % parties * TOGETHER;
    const size_t own_transmit = party / parties, transmit = first_transmit + own_transmit;
    const size_t margin = common->taps + 8, used = common->end_at - common->begin_at;
    v8f *padded = sonod_scratch(2 * (used + 2 * margin) * sizeof(v8f));
    if (!padded)
        return;
    v8f *samples = padded + 2 * margin;
    memset(padded, 0, 2 * margin * sizeof(v8f));
    memset(samples + 2 * used, 0, 2 * margin * sizeof(v8f));
    gather_traces(common, transmit, first, used, samples);
    int32_t *out[TOGETHER];
    for (size_t trace = 0; trace < TOGETHER; trace++) {
        const size_t channel = first + trace;
        out[trace] = NULL;
        if (channel >= common->channels || common->receive[transmit * common->channels + channel] < 0)
            continue;
        int32_t *own = common->planes + (own_transmit * common->channels + channel) * POINT_ROWS * common->row;
        for (size_t k = 0; k < POINT_ROWS; k++) {
            memset(own + k * common->row, 0, POINT_MARGIN * sizeof(int32_t));
            memset(own + k * common->row + POINT_MARGIN + common->width, 0, POINT_MARGIN * sizeof(int32_t));
        }
        out[trace] = own + POINT_MARGIN;
    }
    const v8f scale = splat8(common->scales[transmit]);
    switch (common->taps) {
    case 8:
        resample_turned(samples, common, 8, plan->turning, scale, out);
        break;
    case 12:
        resample_turned(samples, common, 12, plan->turning, scale, out);
        break;
    default:
        resample_turned(samples, common, common->taps, plan->turning, scale, out);
    }
}
