/* Raw samples to filtered, demodulated traces. */

/* Samples that are summed before 32 bits could overflow. */
#define SUM_CHUNK ((size_t)16384)

#define MEAN(label, sample_type, chunk_type, sum_type, to_number)                                                      \
    static float mean_##label(const sample_type *restrict raw, size_t samples) {                                       \
        sum_type total = 0;                                                                                            \
        for (size_t begin = 0; begin < samples; begin += SUM_CHUNK) {                                                  \
            const size_t count = samples - begin < SUM_CHUNK ? samples - begin : SUM_CHUNK;                            \
            chunk_type sum[8] = {0};                                                                                   \
            size_t n = 0;                                                                                              \
            for (; n + 8 <= count; n += 8)                                                                             \
                for (int lane = 0; lane < 8; lane++)                                                                   \
                    sum[lane] += (chunk_type)to_number(raw[begin + n + lane]);                                         \
            for (; n < count; n++)                                                                                     \
                sum[0] += (chunk_type)to_number(raw[begin + n]);                                                       \
            for (int lane = 0; lane < 8; lane++)                                                                       \
                total += (sum_type)sum[lane];                                                                          \
        }                                                                                                              \
        return (float)((double)total / (double)samples);                                                               \
    }

#define CONVERT(label, sample_type, to_float)                                                                          \
    static void convert_##label(const sample_type *restrict raw, const float *restrict gain, size_t samples,           \
                                int remove_offset, float *restrict trace) {                                            \
        const float mean = remove_offset ? mean_##label(raw, samples) : 0.0f;                                          \
        for (size_t n = 0; n < samples; n++)                                                                           \
            trace[n] = ((float)to_float(raw[n]) - mean) * gain[n];                                                     \
    }

MEAN(i16, int16_t, int32_t, int64_t, )
MEAN(u16, uint16_t, int32_t, int64_t, )
MEAN(u8, uint8_t, int32_t, int64_t, )
MEAN(i32, int32_t, int64_t, int64_t, )
MEAN(f32, float, double, double, finite_or_zero)
CONVERT(i16, int16_t, )
CONVERT(u16, uint16_t, )
CONVERT(u8, uint8_t, )
CONVERT(i32, int32_t, )
CONVERT(f32, float, finite_or_zero)

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

/* Vectors of outputs that share every coefficient read. */
#define FILTER_VECTORS 4
#define FILTER_GROUP (WIDE * FILTER_VECTORS)
/* Longest filter; filters.py makes none that is longer. */
#define MOST_TAPS 512

/* Every `step`-th sample of `line` into a row of its own. */
INLINE void split_rows(const float *restrict line, size_t step, size_t row, float *restrict rows) {
    for (size_t j = 0; j < row; j++)
        for (size_t d = 0; d < step; d++)
            rows[d * row + j] = line[j * step + d];
}

/* The same, the usual steps known to the compiler. */
static void split_line(const float *restrict line, size_t step, size_t row, float *restrict rows) {
    switch (step) {
    case 2:
        split_rows(line, 2, row, rows);
        break;
    case 3:
        split_rows(line, 3, row, rows);
        break;
    case 4:
        split_rows(line, 4, row, rows);
        break;
    case 5:
        split_rows(line, 5, row, rows);
        break;
    default:
        for (size_t d = 0; d < step; d++)
            for (size_t j = 0; j < row; j++)
                rows[d * row + j] = line[j * step + d];
    }
}

/* A group of outputs of one phase: tap k of output i reads at[k][i]. */
INLINE void filter_group(const float *const *restrict at, const float *restrict coefficients, size_t taps, size_t first,
                         int imaginary, widef *restrict re, widef *restrict im) {
    widef a[FILTER_VECTORS], b[FILTER_VECTORS];
    for (int i = 0; i < FILTER_VECTORS; i++)
        a[i] = b[i] = wide_float(0);
    for (size_t k = 0; k < taps; k++) {
        const float *restrict x = at[k] + first;
        widef own[FILTER_VECTORS];
        for (int i = 0; i < FILTER_VECTORS; i++) {
            own[i] = wide_load_floats(x + WIDE * i);
            WIDE_KEEP(own[i]);
        }
        const widef real = wide_float(coefficients[k]), imag = wide_float(coefficients[taps + k]);
        for (int i = 0; i < FILTER_VECTORS; i++) {
            a[i] = wide_fma(own[i], real, a[i]);
            if (imaginary)
                b[i] = wide_fma(own[i], imag, b[i]);
        }
    }
    for (int i = 0; i < FILTER_VECTORS; i++) {
        re[i] = a[i];
        im[i] = b[i];
    }
}

/* Filters one trace; `trace` counts over transmits and channels. Outputs of the same phase read samples that lie `step`
   apart, so the trace is first split into `step` rows: then neighbouring outputs read neighbouring places of one row. */
static void filter(const sonod_filter *plan, size_t trace) {
    const size_t transmit = trace / plan->channels, samples = plan->samples, step = plan->step, taps = plan->taps;
    /* Rows hold all that the last group reads, beyond the last output too. */
    const size_t used = plan->left + samples + taps;
    const size_t row = (used + step - 1) / step + FILTER_GROUP + 8, padded = row * step;
    float *line = sonod_scratch((step > 1 ? 2 : 1) * padded * sizeof(float));
    if (!line || taps > MOST_TAPS)
        return;
    memset(line, 0, plan->left * sizeof(float));
    memset(line + plan->left + samples, 0, (padded - plan->left - samples) * sizeof(float));
    convert(plan->type, plan->raw, trace * samples, plan->gain + transmit * plan->gain_stride, samples,
            plan->remove_offset, line + plan->left);
    const float *rows = line;
    if (step > 1) {
        split_line(line, step, row, line + padded);
        rows = line + padded;
    }
    const int complex_out = !plan->output_gain && !plan->real_part;
    float *restrict out = plan->out + trace * plan->outputs * (complex_out ? 2 : 1);
    const widef turn_re = wide_float(plan->transmit_turns[2 * transmit]);
    const widef turn_im = wide_float(plan->transmit_turns[2 * transmit + 1]);
    const float *at[MOST_TAPS];
    const float *turns = plan->turns;
    for (size_t phase = 0; phase < plan->phases && phase < plan->outputs; phase++) {
        const size_t outputs = (plan->outputs - phase + plan->phases - 1) / plan->phases;
        const float *restrict coefficients = plan->coefficients + 2 * taps * phase;
        const size_t start = phase * step / plan->phases;
        size_t of = start % step, place = start / step;
        for (size_t k = 0; k < taps; k++) {
            at[k] = rows + of * row + place;
            of = of + 1 < step ? of + 1 : 0;
            place += of == 0;
        }
        for (size_t first = 0; first < outputs; first += FILTER_GROUP) {
            widef re[FILTER_VECTORS], im[FILTER_VECTORS];
            if (plan->real_part)
                filter_group(at, coefficients, taps, first, 0, re, im);
            else
                filter_group(at, coefficients, taps, first, 1, re, im);
            for (size_t i = 0; i < FILTER_VECTORS && first + WIDE * i < outputs; i++) {
                const size_t j = first + WIDE * i, count = outputs - j < WIDE ? outputs - j : WIDE;
                if (turns) {
                    const widef a = wide_load_floats(turns + j), b = wide_load_floats(turns + plan->turns_stride + j), old = re[i];
                    const widef c = a * turn_re - b * turn_im, s = a * turn_im + b * turn_re;
                    re[i] = old * c - im[i] * s;
                    im[i] = old * s + im[i] * c;
                }
                if (complex_out) {
                    float both[2 * WIDE];
                    if (plan->phases == 1 && count == WIDE) {
                        wide_store_paired(out + 2 * j, re[i], im[i]);
                        continue;
                    }
                    wide_store_paired(both, re[i], im[i]);
                    for (size_t n = 0; n < count; n++)
                        memcpy(out + 2 * ((j + n) * plan->phases + phase), both + 2 * n, 2 * sizeof(float));
                } else {
                    float one[WIDE];
                    wide_store_floats(one, plan->real_part ? re[i] : wide_sqrt(re[i] * re[i] + im[i] * im[i]));
                    for (size_t n = 0; n < count; n++) {
                        const size_t m = (j + n) * plan->phases + phase;
                        out[m] = plan->output_gain ? one[n] * plan->output_gain[m] : one[n];
                    }
                }
            }
        }
        if (turns)
            turns += outputs;
    }
}

/* Scales one baseband trace. */
static void baseband(const sonod_baseband *plan, size_t trace) {
    const size_t transmit = trace / plan->channels, samples = plan->samples;
    float *restrict out = plan->out + 2 * trace * samples;
    const float *restrict gain = plan->gain + transmit * plan->gain_stride;
    float *of_both = sonod_scratch(2 * samples * sizeof(float));
    if (!of_both)
        return;
    for (size_t n = 0; n < samples; n++)
        of_both[2 * n] = of_both[2 * n + 1] = plan->remove_offset ? 1.0f : gain[n];
    convert(plan->type, plan->raw, 2 * trace * samples, of_both, 2 * samples, 0, out);
    if (!plan->remove_offset)
        return;
    float mean_re = 0, mean_im = 0;
    double re = 0, im = 0;
    for (size_t n = 0; n < samples; n++) {
        re += (double)out[2 * n];
        im += (double)out[2 * n + 1];
    }
    mean_re = (float)(re / (double)samples);
    mean_im = (float)(im / (double)samples);
    for (size_t n = 0; n < samples; n++) {
        out[2 * n] = (out[2 * n] - mean_re) * gain[n];
        out[2 * n + 1] = (out[2 * n + 1] - mean_im) * gain[n];
    }
}
