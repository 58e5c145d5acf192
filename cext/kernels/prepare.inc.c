/* Raw samples to filtered, demodulated traces. */

#define CONVERT(label, sample_type, sum_type, to_float)                                                                \
    static void convert_##label(const sample_type *restrict raw, const float *restrict gain, size_t samples,           \
                                int remove_offset, float *restrict trace) {                                            \
        sum_type sum[8] = {0};                                                                                         \
        size_t n = 0;                                                                                                  \
        if (remove_offset) {                                                                                           \
            for (; n + 8 <= samples; n += 8)                                                                           \
                for (int lane = 0; lane < 8; lane++)                                                                   \
                    sum[lane] += (sum_type)to_float(raw[n + lane]);                                                    \
            for (; n < samples; n++)                                                                                   \
                sum[0] += (sum_type)to_float(raw[n]);                                                                  \
        }                                                                                                              \
        const sum_type total =                                                                                         \
            ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));                         \
        const float mean = (float)((double)total / (double)samples);                                                   \
        for (n = 0; n < samples; n++)                                                                                  \
            trace[n] = ((float)to_float(raw[n]) - mean) * gain[n];                                                     \
    }

CONVERT(i16, int16_t, int64_t, )
CONVERT(u16, uint16_t, int64_t, )
CONVERT(u8, uint8_t, int64_t, )
CONVERT(i32, int32_t, int64_t, )
CONVERT(f32, float, double, finite_or_zero)

static void convert(int type, const void *raw, size_t offset, const float *gain, size_t samples, int remove_offset,
                    float *trace) {
    switch (type) {
    case SONOD_INT16:
        convert_i16((const int16_t *)raw + offset, gain, samples, remove_offset, trace);
        break;
    case SONOD_UINT16:
        convert_u16((const uint16_t *)raw + offset, gain, samples, remove_offset, trace);
        break;
    case SONOD_UINT8:
        convert_u8((const uint8_t *)raw + offset, gain, samples, remove_offset, trace);
        break;
    case SONOD_INT32:
        convert_i32((const int32_t *)raw + offset, gain, samples, remove_offset, trace);
        break;
    default:
        convert_f32((const float *)raw + offset, gain, samples, remove_offset, trace);
    }
}

/* (re, im) of eight outputs from output m on; those beyond the last repeat it. */
INLINE void filter_eight(const sonod_filter *plan, const float *restrict trace, size_t m, v8f *re, v8f *im) {
    v8f sum_re[8], sum_im[8];
    for (size_t i = 0; i < 8; i++) {
        const size_t at = m + i < plan->outputs ? m + i : plan->outputs - 1;
        const float *restrict x = trace + plan->starts[at];
        const float *restrict h = plan->coefficients + 2 * plan->taps * (size_t)plan->phases[at];
        v8f a = splat8(0), b = splat8(0);
        for (size_t k = 0; k < plan->taps; k += 8) {
            const v8f own = load8(x + k);
            a = fma8(own, load8(h + k), a);
            b = fma8(own, load8(h + plan->taps + k), b);
        }
        sum_re[i] = a;
        sum_im[i] = b;
    }
    *re = sums8(sum_re);
    *im = sums8(sum_im);
}

/* Filters one trace; `trace` counts over transmits and channels. */
static void filter(const sonod_filter *plan, size_t trace) {
    const size_t transmit = trace / plan->channels, samples = plan->samples;
    const size_t padded = plan->left + samples + 2 * plan->taps;
    float *line = sonod_scratch(padded * sizeof(float));
    if (!line)
        return;
    memset(line, 0, plan->left * sizeof(float));
    memset(line + plan->left + samples, 0, 2 * plan->taps * sizeof(float));
    convert(plan->type, plan->raw, trace * samples, plan->gain + transmit * plan->gain_stride, samples,
            plan->remove_offset, line + plan->left);
    const int complex_out = !plan->output_gain && !plan->real_part;
    float *restrict out = plan->out + trace * plan->outputs * (complex_out ? 2 : 1);
    const float turn_re = plan->transmit_turns[2 * transmit], turn_im = plan->transmit_turns[2 * transmit + 1];
    for (size_t m = 0; m < plan->outputs; m += 8) {
        const size_t count = plan->outputs - m < 8 ? plan->outputs - m : 8;
        v8f re, im;
        filter_eight(plan, line, m, &re, &im);
        if (plan->turns) {
            v8f c = splat8(0), s = splat8(0);
            for (size_t i = 0; i < count; i++) {
                const float a = plan->turns[2 * (m + i)], b = plan->turns[2 * (m + i) + 1];
                c[i] = a * turn_re - b * turn_im;
                s[i] = a * turn_im + b * turn_re;
            }
            const v8f old = re;
            re = old * c - im * s;
            im = old * s + im * c;
        }
        if (complex_out) {
            float both[16];
            store8(both, __builtin_shuffle(re, im, (v8i){0, 8, 1, 9, 2, 10, 3, 11}));
            store8(both + 8, __builtin_shuffle(re, im, (v8i){4, 12, 5, 13, 6, 14, 7, 15}));
            memcpy(out + 2 * m, both, 2 * count * sizeof(float));
        } else {
            float one[8];
            store8(one, plan->real_part ? re : sqrt8(re * re + im * im));
            for (size_t i = 0; i < count; i++)
                out[m + i] = plan->output_gain ? one[i] * plan->output_gain[m + i] : one[i];
        }
    }
}

/* Scales one baseband trace. */
static void baseband(const sonod_baseband *plan, size_t trace) {
    const size_t transmit = trace / plan->channels, samples = plan->samples;
    float *restrict out = plan->out + 2 * trace * samples;
    const float *restrict gain = plan->gain + transmit * plan->gain_stride;
    float *ones = sonod_scratch(2 * samples * sizeof(float));
    if (!ones)
        return;
    for (size_t n = 0; n < 2 * samples; n++)
        ones[n] = 1.0f;
    convert(plan->type, plan->raw, 2 * trace * samples, ones, 2 * samples, 0, out);
    float mean_re = 0, mean_im = 0;
    if (plan->remove_offset) {
        double re = 0, im = 0;
        for (size_t n = 0; n < samples; n++) {
            re += (double)out[2 * n];
            im += (double)out[2 * n + 1];
        }
        mean_re = (float)(re / (double)samples);
        mean_im = (float)(im / (double)samples);
    }
    for (size_t n = 0; n < samples; n++) {
        out[2 * n] = (out[2 * n] - mean_re) * gain[n];
        out[2 * n + 1] = (out[2 * n + 1] - mean_im) * gain[n];
    }
}
