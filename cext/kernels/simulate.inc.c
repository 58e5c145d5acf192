/* Echoes of reflectors by linear acoustics; cext/simulate.py says what is modelled. Compiled once per instruction set
   with -DSONOD_ISA=<name>, apart from the kernels of the pipeline. */
#include "kernels.h"
#include "threads.h"
#include "vector.h"

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)

/* Entries of a table at places of a band, with linear interpolation; its ends go on, and NaN is the first. Indices first,
   then loads, then arithmetic: only so do the outer loops become vectors. */
INLINE void simulate_lookup(const float *table, const float *restrict place, float last, float *restrict out) {
    float share[SIMULATE_BAND], here[SIMULATE_BAND], next[SIMULATE_BAND];
    int32_t index[SIMULATE_BAND];
    for (int k = 0; k < SIMULATE_BAND; k++) {
        const float above = place[k] > 0.0f ? place[k] : 0.0f, safe = above < last ? above : last;
        index[k] = (int32_t)safe;
        share[k] = safe - (float)index[k];
    }
    for (int k = 0; k < SIMULATE_BAND; k++) {
        here[k] = table[index[k]];
        next[k] = table[index[k] + 1];
    }
    for (int k = 0; k < SIMULATE_BAND; k++)
        out[k] = here[k] * (1.0f - share[k]) + next[k] * share[k];
}

/* cos and sin of so many turns. */
INLINE void simulate_turn(float turns, float *restrict sine, float *restrict cosine) {
    const float magic = 12582912.0f, whole = (turns + magic) - magic;
    turn(turns - whole, sine, cosine);
}

/* Distance and one-way weight from one point to a band of elements; deaf elements fill the last band. */
INLINE void simulate_ways(const sonod_simulated_array *array, float x, float z, const float *loss, int begin,
                          float *restrict distance, float *restrict weight) {
    const float *restrict ex = array->x + begin, *restrict ez = array->z + begin;
    const float *restrict nx = array->normal_x + begin, *restrict nz = array->normal_z + begin;
    const float *restrict listening = array->listening + begin;
    const float cosine_last = (float)(array->directivity_count - 2), decay_last = (float)(array->decay_count - 2);
    const float cosine_scale = cosine_last, decay_scale = array->decay_per_m;
    float at_cosine[SIMULATE_BAND], at_distance[SIMULATE_BAND], directed[SIMULATE_BAND], spread[SIMULATE_BAND];
    for (int i = 0; i < SIMULATE_BAND; i++) {
        const float dx = x - ex[i], dz = z - ez[i];
        const float far = sqrtf(dx * dx + dz * dz + 1e-12f);
        distance[i] = far;
        at_cosine[i] = (dx * nx[i] + dz * nz[i]) / far * cosine_scale;
        at_distance[i] = far * decay_scale;
    }
    simulate_lookup(array->directivity, at_cosine, cosine_last, directed);
    simulate_lookup(array->decay, at_distance, decay_last, spread);
    for (int i = 0; i < SIMULATE_BAND; i++)
        weight[i] = listening[i] * directed[i] * spread[i];
    if (!loss)
        return;
    const int32_t *restrict station = array->station + begin;
    const float *restrict share = array->share + begin;
    float low[SIMULATE_BAND], high[SIMULATE_BAND];
    for (int i = 0; i < SIMULATE_BAND; i++) {
        low[i] = loss[station[i]];
        high[i] = loss[station[i] + 1];
    }
    for (int i = 0; i < SIMULATE_BAND; i++)
        weight[i] *= low[i] * (1.0f - share[i]) + high[i] * share[i];
}

/* How much a piece of a line sends to each element of a band beside what goes straight there: along (BAND,). */
INLINE void simulate_along(const sonod_simulated_array *array, const sonod_simulated_reflectors *from, size_t p,
                           int begin, const float *restrict distance, float *restrict along) {
    const float x = from->x[p], z = from->z[p], ax = from->axis_x[p], az = from->axis_z[p];
    for (int i = 0; i < SIMULATE_BAND; i++)
        along[i] = ((x - array->x[begin + i]) * ax + (z - array->z[begin + i]) * az) / distance[i];
}

/* Strength of a piece of a line towards each element of a band. */
INLINE void simulate_mirror(const sonod_simulated_reflectors *from, size_t p, float incoming,
                            const float *restrict along, float *restrict strength) {
    float phase[SIMULATE_BAND], lobe[SIMULATE_BAND];
    for (int k = 0; k < SIMULATE_BAND; k++)
        phase[k] = fabsf((incoming + along[k]) * from->lobe_scale[p]);
    simulate_lookup(from->lobe, phase, from->lobe_last, lobe);
    for (int k = 0; k < SIMULATE_BAND; k++)
        strength[k] = from->smooth[p] * lobe[k] + from->rough[p];
}

/* The wave of each transmit at points [first, last), as far as it falls into the pulse that arrives at the reference
   time: complex amplitudes out (transmits, points, 2). */
static void simulate_field(const sonod_simulated_field *plan, size_t first, size_t last) {
    const sonod_simulated_array *array = &plan->array;
    const int padded = array->padded;
    float distance[SIMULATE_BAND], weight[SIMULATE_BAND];
    for (size_t p = first; p < last; p++) {
        const float *loss = plan->loss ? plan->loss + p * array->stations : 0;
        for (size_t i = 0; i < plan->transmits; i++) {
            plan->out[2 * (i * plan->points + p)] = 0.0f;
            plan->out[2 * (i * plan->points + p) + 1] = 0.0f;
        }
        for (int begin = 0; begin < padded; begin += SIMULATE_BAND) {
            simulate_ways(array, plan->x[p], plan->z[p], loss, begin, distance, weight);
            for (size_t i = 0; i < plan->transmits; i++) {
                const float *restrict delay = plan->delay_turns + i * padded + begin;
                const float *restrict own = plan->apodization + i * padded + begin;
                const float reference = plan->reference_turns[i * plan->points + p];
                float re[SIMULATE_BAND], im[SIMULATE_BAND];
                float lag[SIMULATE_BAND], apart[SIMULATE_BAND], near[SIMULATE_BAND];
                for (int k = 0; k < SIMULATE_BAND; k++) {
                    lag[k] = (distance[k] * plan->turns_per_m - reference) + delay[k];
                    apart[k] = fabsf(lag[k]) * plan->window_scale;
                }
                simulate_lookup(plan->window, apart, plan->window_last, near);
                for (int k = 0; k < SIMULATE_BAND; k++) {
                    const float amplitude = weight[k] * own[k] * near[k];
                    float sine, cosine;
                    simulate_turn(lag[k], &sine, &cosine);
                    re[k] = amplitude * cosine;
                    im[k] = amplitude * sine;
                }
                float a = 0.0f, b = 0.0f;
                for (int k = 0; k < SIMULATE_BAND; k++) {
                    a += re[k];
                    b -= im[k];
                }
                plan->out[2 * (i * plan->points + p)] += a;
                plan->out[2 * (i * plan->points + p) + 1] += b;
            }
        }
    }
}

/* Strew the complex amplitudes of all echoes over the sample grid of one band of elements: `grid` is that of transmit
   `from_transmit` and the band's first channel. The first and the last place that each element may have met go into `met (transmits, 2,
   BAND)` where that is wanted. */
INLINE void simulate_strew(const sonod_simulated_echoes *plan, int begin, size_t from_transmit, size_t to_transmit,
                           float *restrict grid, size_t transmit_stride, float *restrict met) {
    const sonod_simulated_array *array = &plan->array;
    const sonod_simulated_reflectors *from = &plan->reflectors;
    const int channels = array->count - begin < SIMULATE_BAND ? array->count - begin : SIMULATE_BAND;
    const size_t points = from->count, row = 2 * plan->length;
    const float end = (float)(plan->length - 2);
    float distance[SIMULATE_BAND], weight[SIMULATE_BAND], re[SIMULATE_BAND], im[SIMULATE_BAND], along[SIMULATE_BAND];
    float place[SIMULATE_BAND], real[SIMULATE_BAND], imaginary[SIMULATE_BAND], strength[SIMULATE_BAND];
    for (size_t p = 0; p < points; p++) {
        const float *loss = from->loss ? from->loss + p * array->stations : 0;
        simulate_ways(array, from->x[p], from->z[p], loss, begin, distance, weight);
        for (int k = 0; k < SIMULATE_BAND; k++) {
            float sine, cosine;
            simulate_turn(distance[k] * plan->turns_per_m, &sine, &cosine);
            re[k] = weight[k] * cosine;
            im[k] = -weight[k] * sine;
        }
        const int mirrors = from->smooth && from->smooth[p] != 0.0f;
        if (mirrors)
            simulate_along(array, from, p, begin, distance, along);
        for (size_t i = from_transmit; i < to_transmit; i++) {
            const size_t at = i * points + p;
            const float a = plan->meeting[2 * at], b = plan->meeting[2 * at + 1];
            if (a == 0.0f && b == 0.0f)
                continue;
            const float first = plan->arrival[at] + (float)plan->half;
            if (mirrors) {
                simulate_mirror(from, p, plan->incoming[at], along, strength);
                for (int k = 0; k < SIMULATE_BAND; k++) {
                    real[k] = (a * re[k] - b * im[k]) * strength[k];
                    imaginary[k] = (a * im[k] + b * re[k]) * strength[k];
                }
            } else {
                const float rough = from->rough[p], sa = a * rough, sb = b * rough;
                for (int k = 0; k < SIMULATE_BAND; k++) {
                    real[k] = sa * re[k] - sb * im[k];
                    imaginary[k] = sa * im[k] + sb * re[k];
                }
            }
            for (int k = 0; k < SIMULATE_BAND; k++)
                place[k] = first + distance[k] * plan->samples_per_m;
            if (met) {
                float *restrict low = met + 2 * SIMULATE_BAND * (i - from_transmit), *restrict high = low + SIMULATE_BAND;
                for (int k = 0; k < SIMULATE_BAND; k++) {
                    const float above = place[k] > 0.0f ? place[k] : 0.0f, inside = above < end ? above : end;
                    low[k] = inside < low[k] ? inside : low[k];
                    high[k] = inside > high[k] ? inside : high[k];
                }
            }
            float *restrict to = grid + (i - from_transmit) * transmit_stride;
            for (int k = 0; k < channels; k++, to += row) {
                if (!(place[k] >= 0.0f && place[k] < end))
                    continue;
                const int index = (int)place[k];
                const float share = place[k] - (float)index, rest = 1.0f - share;
                float *restrict pair = to + 2 * index;
                pair[0] += real[k] * rest;
                pair[1] += imaginary[k] * rest;
                pair[2] += real[k] * share;
                pair[3] += imaginary[k] * share;
            }
        }
    }
}

/* For one band of elements over the whole grid (transmits, channels, length, 2); the pulse is applied afterwards. */
static void simulate_deposit(const sonod_simulated_deposit *plan, size_t band) {
    const sonod_simulated_echoes *echoes = &plan->echoes;
    const size_t row = 2 * echoes->length;
    const int begin = (int)band * SIMULATE_BAND;
    if (begin < echoes->array.count)
        simulate_strew(echoes, begin, 0, echoes->transmits, plan->grid + begin * row, echoes->array.count * row, 0);
}

/* Apply the pulse of each block of samples in [first, last) to one row of the grid and add it to a trace:
   out[n] += Re(carrier[n] * sum over m of row[n + m] pulse[m]). `part` holds 2 (length + BLOCK) values. */
INLINE void simulate_apply(const float *restrict row, size_t length, const float *restrict pulses, size_t taps,
                           const float *restrict carriers, size_t first, size_t last, size_t samples,
                           float *restrict part, float *restrict out) {
    float *restrict re = part, *restrict im = part + length + SIMULATE_BLOCK;
    const size_t begun = first * SIMULATE_BLOCK, needed = last * SIMULATE_BLOCK + taps;
    const size_t ended = needed < length ? needed : length;
    for (size_t n = begun; n < ended; n++) {
        re[n] = row[2 * n];
        im[n] = row[2 * n + 1];
    }
    for (size_t n = ended; n < needed; n++)
        re[n] = im[n] = 0.0f;
    for (size_t block = first; block < last; block++) {
        const size_t begin = block * SIMULATE_BLOCK;
        const float *restrict pulse = pulses + block * 2 * taps;
        v8f a[SIMULATE_BLOCK / 8] = {{0}}, b[SIMULATE_BLOCK / 8] = {{0}};
        for (size_t m = 0; m < taps; m++) {
            const v8f pr = splat8(pulse[2 * m]), pi = splat8(pulse[2 * m + 1]);
            for (int j = 0; j < SIMULATE_BLOCK / 8; j++) {
                const v8f gr = load8(re + begin + m + 8 * j), gi = load8(im + begin + m + 8 * j);
                a[j] += gr * pr - gi * pi;
                b[j] += gr * pi + gi * pr;
            }
        }
        float real[SIMULATE_BLOCK], imaginary[SIMULATE_BLOCK];
        for (int j = 0; j < SIMULATE_BLOCK / 8; j++) {
            store8(real + 8 * j, a[j]);
            store8(imaginary + 8 * j, b[j]);
        }
        const size_t left = samples - begin, count = left < SIMULATE_BLOCK ? left : SIMULATE_BLOCK;
        const float *restrict carrier = carriers + 2 * begin;
        for (size_t n = 0; n < count; n++)
            out[begin + n] += real[n] * carrier[2 * n] - imaginary[n] * carrier[2 * n + 1];
    }
}

static void simulate_convolve(const sonod_simulated_convolve *plan, size_t which) {
    const size_t blocks = (plan->samples + SIMULATE_BLOCK - 1) / SIMULATE_BLOCK;
    float *restrict part = sonod_scratch(2 * (plan->length + SIMULATE_BLOCK) * sizeof(float));
    if (!part)
        return;
    simulate_apply(plan->grid + which * 2 * plan->length, plan->length,
                   plan->pulse + which / plan->channels * blocks * 2 * plan->taps, plan->taps, plan->carrier, 0, blocks,
                   plan->samples, part, plan->out + which * plan->samples);
}

/* (echoes * level + noise) * gain, rounded and clipped. */
INLINE void simulate_convert(const sonod_simulated_frame *plan, const float *restrict row, size_t trace) {
    const float *restrict hiss = plan->noise + plan->noise_start[trace], *restrict gain = plan->gain;
    const float level = plan->level, noise_level = plan->noise_level, limit = plan->limit;
    int16_t *restrict target = plan->out + trace * plan->samples;
    for (size_t n = 0; n < plan->samples; n++) {
        float value = (row[n] * level + hiss[n] * noise_level) * gain[n];
        value = value < limit ? value : limit;
        value = value > -limit ? value : -limit;
        target[n] = (int16_t)(int)(value + (value < 0.0f ? -0.5f : 0.5f));
    }
}

/* One band of channels of SIMULATE_TOGETHER transmits of one frame: background + moving reflectors + noise, times gain,
   to integers. */
static void simulate_frame(const sonod_simulated_frame *plan, size_t which) {
    const sonod_simulated_echoes *echoes = &plan->echoes;
    const size_t bands = (size_t)echoes->array.padded / SIMULATE_BAND, length = echoes->length;
    const size_t samples = plan->samples, taps = plan->taps, blocks = (samples + SIMULATE_BLOCK - 1) / SIMULATE_BLOCK;
    const size_t first = which / bands * SIMULATE_TOGETHER, stride = SIMULATE_BAND * 2 * length;
    const size_t last = first + SIMULATE_TOGETHER < echoes->transmits ? first + SIMULATE_TOGETHER : echoes->transmits;
    const int begin = (int)(which % bands) * SIMULATE_BAND;
    const int channels = echoes->array.count - begin < SIMULATE_BAND ? echoes->array.count - begin : SIMULATE_BAND;
    if (channels <= 0)
        return;
    const size_t part_size = 2 * (length + SIMULATE_BLOCK), grid_size = (last - first) * stride;
    float *restrict row = sonod_scratch((samples + part_size + grid_size) * sizeof(float));
    if (!row)
        return;
    float *restrict part = row + samples, *restrict grid = part + part_size;
    float met[SIMULATE_TOGETHER][2][SIMULATE_BAND];
    for (size_t i = 0; i < SIMULATE_TOGETHER; i++)
        for (int k = 0; k < SIMULATE_BAND; k++) {
            met[i][0][k] = (float)length;
            met[i][1][k] = -1.0f;
        }
    if (echoes->reflectors.count) {
        memset(grid, 0, grid_size * sizeof(float));
        simulate_strew(echoes, begin, first, last, grid, stride, met[0][0]);
    }
    for (size_t i = first; i < last; i++) {
        for (int k = 0; k < channels; k++) {
            const size_t trace = i * echoes->array.count + begin + k;
            /* A sample hears what lies up to `taps` places after it. */
            const float low = met[i - first][0][k] - (float)taps, high = met[i - first][1][k];
            const size_t from = low > 0.0f ? (size_t)low / SIMULATE_BLOCK : 0;
            const size_t reach = high < 0.0f ? 0 : ((size_t)high + 1) / SIMULATE_BLOCK + 1;
            const size_t to = reach < blocks ? reach : blocks;
            memcpy(row, plan->background + trace * samples, samples * sizeof(float));
            if (from < to)
                simulate_apply(grid + (i - first) * stride + k * 2 * length, length,
                               plan->pulse + i * blocks * 2 * taps, taps, plan->carrier, from, to, samples, part, row);
            simulate_convert(plan, row, trace);
        }
    }
}

const sonod_simulate_kernels JOIN(sonod_simulate_, SONOD_ISA) = {simulate_field, simulate_deposit, simulate_convolve,
                                                                 simulate_frame};
