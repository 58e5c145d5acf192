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

/* The same of pairs of 16-bit samples and coefficients: pair k of output i is at[k][i]; `unit`: of the sums. */
INLINE void whole_group(const int16_t *const *restrict at, const int32_t *restrict coefficients, size_t pairs, size_t first,
                        float unit, widef *restrict re, widef *restrict im) {
    wide32 a[FILTER_VECTORS], b[FILTER_VECTORS];
    for (int i = 0; i < FILTER_VECTORS; i++)
        a[i] = b[i] = wide_splat32(0);
    for (size_t k = 0; k < pairs; k++) {
        const int16_t *restrict x = at[k] + 2 * first;
        const wide16 real = wide_splat(coefficients[k]), imag = wide_splat(coefficients[pairs + k]);
        for (int i = 0; i < FILTER_VECTORS; i++) {
            const wide16 own = wide_words(x + 2 * WIDE * i);
            a[i] = wide_add_paired(a[i], own, real);
            b[i] = wide_add_paired(b[i], own, imag);
        }
    }
    for (int i = 0; i < FILTER_VECTORS; i++) {
        re[i] = __builtin_convertvector(a[i], widef) * wide_float(unit);
        im[i] = __builtin_convertvector(b[i], widef) * wide_float(unit);
    }
}

/* Where the outputs of one phase of one trace go. */
typedef struct {
    const sonod_filter *plan;
    size_t phase, outputs;
    const float *turns; /* of this phase, or NULL */
    widef turn_re, turn_im;
    float *out; /* of the trace */
} filtered;

INLINE void turn_outputs(const filtered *own, size_t j, widef *restrict re, widef *restrict im) {
    const widef a = wide_load_floats(own->turns + j), b = wide_load_floats(own->turns + own->plan->turns_stride + j), old = *re;
    const widef c = a * own->turn_re - b * own->turn_im, s = a * own->turn_im + b * own->turn_re;
    *re = old * c - *im * s;
    *im = old * s + *im * c;
}

/* Turns and stores a vector of outputs, of which so many count. */
INLINE void write_outputs(const filtered *own, size_t j, size_t count, widef re, widef im) {
    const sonod_filter *plan = own->plan;
    if (own->turns)
        turn_outputs(own, j, &re, &im);
    if (!plan->output_gain && !plan->real_part) {
        float both[2 * WIDE];
        wide_store_paired(both, re, im);
        for (size_t n = 0; n < count; n++)
            memcpy(own->out + 2 * ((j + n) * plan->phases + own->phase), both + 2 * n, 2 * sizeof(float));
        return;
    }
    float one[WIDE];
    wide_store_floats(one, plan->real_part ? re : wide_sqrt(re * re + im * im));
    for (size_t n = 0; n < count; n++) {
        const size_t m = (j + n) * plan->phases + own->phase;
        own->out[m] = plan->output_gain ? one[n] * plan->output_gain[m] : one[n];
    }
}

/* The same for a group from output `first` on. */
INLINE void write_group(const filtered *own, size_t first, widef *restrict re, widef *restrict im) {
    const sonod_filter *plan = own->plan;
    const int plain = own->turns && plan->phases == 1 && !plan->output_gain && !plan->real_part;
    if (plain && first + FILTER_GROUP <= own->outputs) {
        for (size_t i = 0; i < FILTER_VECTORS; i++) {
            turn_outputs(own, first + WIDE * i, re + i, im + i);
            wide_store_paired(own->out + 2 * (first + WIDE * i), re[i], im[i]);
        }
        return;
    }
    for (size_t i = 0; i < FILTER_VECTORS && first + WIDE * i < own->outputs; i++) {
        const size_t j = first + WIDE * i, left = own->outputs - j;
        write_outputs(own, j, left < WIDE ? left : WIDE, re[i], im[i]);
    }
}

/* Filters rows of floats. */
static void filter_rows(const filtered *own, const float *restrict rows, size_t row) {
    const sonod_filter *plan = own->plan;
    const size_t step = plan->step, taps = plan->taps, start = own->phase * step / plan->phases;
    const float *restrict coefficients = plan->coefficients + 2 * taps * own->phase;
    const float *at[MOST_TAPS];
    size_t of = start % step, place = start / step;
    for (size_t k = 0; k < taps; k++) {
        at[k] = rows + of * row + place;
        of = of + 1 < step ? of + 1 : 0;
        place += of == 0;
    }
    for (size_t first = 0; first < own->outputs; first += FILTER_GROUP) {
        widef re[FILTER_VECTORS], im[FILTER_VECTORS];
        if (plan->real_part)
            filter_group(at, coefficients, taps, first, 0, re, im);
        else
            filter_group(at, coefficients, taps, first, 1, re, im);
        write_group(own, first, re, im);
    }
}

/* Filters words: pairs of which lie `step` apart in the record itself where that is two, else in rows of their own. */
static void filter_words(const filtered *own, const int16_t *restrict words, const int16_t *restrict rows, size_t row, float unit) {
    const sonod_filter *plan = own->plan;
    const size_t step = plan->step, pairs = plan->taps / 2, start = own->phase * step / plan->phases;
    const int32_t *restrict coefficients = plan->whole + 2 * pairs * own->phase;
    const int16_t *at[MOST_TAPS / 2];
    for (size_t k = 0; k < pairs; k++) {
        const size_t from = start + 2 * k;
        at[k] = step == 2 ? words + from : rows + 2 * (from % step * row + from / step);
    }
    for (size_t first = 0; first < own->outputs; first += FILTER_GROUP) {
        widef re[FILTER_VECTORS], im[FILTER_VECTORS];
        whole_group(at, coefficients, pairs, first, unit, re, im);
        write_group(own, first, re, im);
    }
}

/* A line of samples rounded to 16 bits, and one more beyond; returns what one of these is. */
static float round_line(const float *restrict line, size_t padded, int16_t *restrict words) {
    int finite, exponent = 0;
    const float peak = largest_magnitude(line, padded, &finite);
    if (peak > 0)
        frexpf(peak < 1e34f ? peak : 1e34f, &exponent);
    exponent = exponent < -100 ? -100 : exponent;
    /* Within 15 bits, for which the sums of whole coefficients are made. */
    const float scale = ldexpf(1.0f, 14 - exponent);
    for (size_t i = 0; i < padded; i += WIDE)
        wide_store_words(words + i, wide_nearest(wide_load_floats(line + i) * wide_float(scale)));
    memset(words + padded, 0, 2 * sizeof *words);
    return 1.0f / scale;
}

/* Every word and the next one as a pair. */
static void pair_words(const int16_t *restrict words, size_t count, float *restrict pairs) {
    for (size_t i = 0; i < count; i++)
        memcpy(pairs + i, (uint32_t[]){(uint32_t)(uint16_t)words[i] | (uint32_t)words[i + 1] << 16}, sizeof *pairs);
}

/* Asks for the next trace while this one is filtered: raw samples are in no cache. */
INLINE void fetch_next(const sonod_filter *plan, size_t trace) {
    const size_t size = plan->type == SONOD_UINT8 ? 1 : plan->type == SONOD_INT16 || plan->type == SONOD_UINT16 ? 2 : 4;
    const char *next = (const char *)plan->raw + (trace + 1) * plan->samples * size;
    for (size_t i = 0; trace + 1 < plan->transmits * plan->channels && i < plan->samples * size; i += 64)
        __builtin_prefetch(next + i);
}

/* Filters one trace; `trace` counts over transmits and channels. Outputs of the same phase read samples that lie `step`
   apart, so the trace is first split into `step` rows: then neighbouring outputs read neighbouring places of one row. */
static void filter(const sonod_filter *plan, size_t trace) {
    const size_t transmit = trace / plan->channels, samples = plan->samples, step = plan->step, taps = plan->taps;
    /* Rows hold all that the last group reads, beyond the last output too; in whole vectors. */
    const size_t used = plan->left + samples + taps;
    const size_t row = ((used + step - 1) / step + FILTER_GROUP + 8 + 15) / 16 * 16, padded = row * step;
    float *line = sonod_scratch(3 * padded * sizeof(float) + 64);
    if (!line || taps > MOST_TAPS)
        return;
    memset(line, 0, plan->left * sizeof(float));
    memset(line + plan->left + samples, 0, (padded - plan->left - samples) * sizeof(float));
    convert(plan->type, plan->raw, trace * samples, plan->gain + transmit * plan->gain_stride, samples,
            plan->remove_offset, line + plan->left);
    fetch_next(plan, trace);
    const int complex_out = !plan->output_gain && !plan->real_part;
    filtered own = {.plan = plan, .turns = plan->turns, .turn_re = wide_float(plan->transmit_turns[2 * transmit]),
                    .turn_im = wide_float(plan->transmit_turns[2 * transmit + 1]),
                    .out = plan->out + trace * plan->outputs * (complex_out ? 2 : 1)};
    float *rows = line, unit = 0;
    int16_t *words = (int16_t *)(line + 2 * padded);
    if (plan->whole) {
        unit = plan->whole_unit * round_line(line, padded, words);
        if (step != 2)
            pair_words(words, padded, line);
    }
    if (step > 1 && !(plan->whole && step == 2)) {
        rows = line + padded;
        split_line(line, step, row, rows);
    }
    for (; own.phase < plan->phases && own.phase < plan->outputs; own.phase++) {
        own.outputs = (plan->outputs - own.phase + plan->phases - 1) / plan->phases;
        if (plan->whole)
            filter_words(&own, words, (const int16_t *)rows, row, unit);
        else
            filter_rows(&own, rows, row);
        if (own.turns)
            own.turns += own.outputs;
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
