/* Echoes of reflectors by linear acoustics; cext/simulate.py says what is modelled. Compiled once per instruction set
   with -DSONOD_ISA=<name>, apart from the kernels of the pipeline. */
#include "kernels.h"
#include "threads.h"
#include "vector.h"

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)

INLINE float simulate_lookup(const float *table, float place, float last) {
    const float safe = place < last ? (place > 0.0f ? place : 0.0f) : last;
    const int index = (int)safe;
    const float share = safe - (float)index;
    return table[index] * (1.0f - share) + table[index + 1] * share;
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
    for (int i = 0; i < SIMULATE_BAND; i++) {
        const float dx = x - ex[i], dz = z - ez[i];
        const float far = sqrtf(dx * dx + dz * dz + 1e-12f);
        const float cosine = (dx * nx[i] + dz * nz[i]) / far;
        distance[i] = far;
        weight[i] = listening[i] * simulate_lookup(array->directivity, cosine * cosine_scale, cosine_last) *
                    simulate_lookup(array->decay, far * decay_scale, decay_last);
    }
    if (!loss)
        return;
    const int32_t *restrict station = array->station + begin;
    const float *restrict share = array->share + begin;
    for (int i = 0; i < SIMULATE_BAND; i++) {
        const float low = loss[station[i]], high = loss[station[i] + 1];
        weight[i] *= low * (1.0f - share[i]) + high * share[i];
    }
}

/* How much a piece of a line sends to each element of a band beside what goes straight there: along (BAND,). */
INLINE void simulate_along(const sonod_simulated_array *array, const sonod_simulated_reflectors *from, size_t p,
                           int begin, const float *restrict distance, float *restrict along) {
    const float x = from->x[p], z = from->z[p], ax = from->axis_x[p], az = from->axis_z[p];
    for (int i = 0; i < SIMULATE_BAND; i++)
        along[i] = ((x - array->x[begin + i]) * ax + (z - array->z[begin + i]) * az) / distance[i];
}

INLINE float simulate_mirror(const sonod_simulated_reflectors *from, size_t p, float incoming, float along) {
    const float phase = (incoming + along) * from->lobe_scale[p];
    const float lobe = simulate_lookup(from->lobe, phase < 0.0f ? -phase : phase, from->lobe_last);
    return from->smooth[p] * lobe + from->rough[p];
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
                for (int k = 0; k < SIMULATE_BAND; k++) {
                    const float lag = (distance[k] * plan->turns_per_m - reference) + delay[k];
                    const float near = simulate_lookup(plan->window, (lag < 0.0f ? -lag : lag) * plan->window_scale,
                                                       plan->window_last);
                    const float amplitude = weight[k] * own[k] * near;
                    float sine, cosine;
                    simulate_turn(lag, &sine, &cosine);
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

/* Sum the complex amplitudes of all echoes on the sample grid (transmits, channels, length, 2), for one band of
   elements; the pulse is applied afterwards. */
static void simulate_deposit(const sonod_simulated_deposit *plan, size_t band) {
    const sonod_simulated_array *array = &plan->array;
    const sonod_simulated_reflectors *from = &plan->reflectors;
    const int begin = (int)band * SIMULATE_BAND;
    const int channels = array->count - begin < SIMULATE_BAND ? array->count - begin : SIMULATE_BAND;
    const size_t points = from->count, row = 2 * plan->length;
    const float end = (float)(plan->length - 2);
    float distance[SIMULATE_BAND], weight[SIMULATE_BAND], re[SIMULATE_BAND], im[SIMULATE_BAND], along[SIMULATE_BAND];
    float place[SIMULATE_BAND], real[SIMULATE_BAND], imaginary[SIMULATE_BAND];
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
        for (size_t i = 0; i < plan->transmits; i++) {
            const size_t at = i * points + p;
            const float a = plan->meeting[2 * at], b = plan->meeting[2 * at + 1];
            if (a == 0.0f && b == 0.0f)
                continue;
            const float first = plan->arrival[at] + (float)plan->half;
            if (mirrors) {
                const float incoming = plan->incoming[at];
                for (int k = 0; k < SIMULATE_BAND; k++) {
                    const float strength = simulate_mirror(from, p, incoming, along[k]);
                    real[k] = (a * re[k] - b * im[k]) * strength;
                    imaginary[k] = (a * im[k] + b * re[k]) * strength;
                }
            } else {
                const float strength = from->rough[p], sa = a * strength, sb = b * strength;
                for (int k = 0; k < SIMULATE_BAND; k++) {
                    real[k] = sa * re[k] - sb * im[k];
                    imaginary[k] = sa * im[k] + sb * re[k];
                }
            }
            for (int k = 0; k < SIMULATE_BAND; k++)
                place[k] = first + distance[k] * plan->samples_per_m;
            float *restrict grid = plan->grid + (i * array->count + begin) * row;
            for (int k = 0; k < channels; k++, grid += row) {
                if (!(place[k] >= 0.0f && place[k] < end))
                    continue;
                const int index = (int)place[k];
                const float share = place[k] - (float)index, rest = 1.0f - share;
                float *restrict to = grid + 2 * index;
                to[0] += real[k] * rest;
                to[1] += imaginary[k] * rest;
                to[2] += real[k] * share;
                to[3] += imaginary[k] * share;
            }
        }
    }
}

/* Apply the pulse of each block of samples to one row: out[n] = Re(carrier[n] * sum over m of grid[n + m] pulse[m]). */
static void simulate_convolve(const sonod_simulated_convolve *plan, size_t which) {
    const size_t length = plan->length, taps = plan->taps, transmit = which / plan->channels;
    const float *restrict row = plan->grid + which * 2 * length;
    float *restrict target = plan->out + which * plan->samples;
    float *restrict re = sonod_scratch((2 * length + 2 * SIMULATE_BLOCK) * sizeof(float));
    float *restrict im = re + length + SIMULATE_BLOCK;
    if (!re)
        return;
    for (size_t n = 0; n < length; n++) {
        re[n] = row[2 * n];
        im[n] = row[2 * n + 1];
    }
    for (size_t n = length; n < length + SIMULATE_BLOCK; n++)
        re[n] = im[n] = 0.0f;
    const size_t blocks = (plan->samples + SIMULATE_BLOCK - 1) / SIMULATE_BLOCK;
    for (size_t block = 0; block < blocks; block++) {
        const size_t begin = block * SIMULATE_BLOCK;
        const float *restrict pulse = plan->pulse + (transmit * blocks + block) * 2 * taps;
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
        const size_t left = plan->samples - begin, count = left < SIMULATE_BLOCK ? left : SIMULATE_BLOCK;
        const float *restrict carrier = plan->carrier + 2 * begin;
        for (size_t n = 0; n < count; n++)
            target[begin + n] = real[n] * carrier[2 * n] - imaginary[n] * carrier[2 * n + 1];
    }
}

/* One band of channels of one transmit of one frame: background + moving reflectors + noise, times gain, to integers. */
static void simulate_frame(const sonod_simulated_frame *plan, size_t which) {
    const sonod_simulated_array *array = &plan->array;
    const sonod_simulated_reflectors *from = &plan->reflectors;
    const size_t bands = (size_t)array->padded / SIMULATE_BAND, transmit = which / bands, samples = plan->samples;
    const int begin = (int)(which % bands) * SIMULATE_BAND, taps = plan->taps;
    const int channels = array->count - begin < SIMULATE_BAND ? array->count - begin : SIMULATE_BAND;
    const size_t points = from->count, width = samples + 2 * (size_t)taps;
    if (channels <= 0)
        return;
    float *restrict work = sonod_scratch(SIMULATE_BAND * width * sizeof(float));
    if (!work)
        return;
    for (int k = 0; k < channels; k++) {
        float *restrict row = work + k * width + taps;
        const float *restrict still = plan->background + (transmit * array->count + begin + k) * samples;
        for (size_t n = 0; n < samples; n++)
            row[n] = still[n];
    }
    float distance[SIMULATE_BAND], weight[SIMULATE_BAND], along[SIMULATE_BAND];
    float place[SIMULATE_BAND], re[SIMULATE_BAND], im[SIMULATE_BAND];
    const size_t phase_size = 2 * (size_t)taps, block_size = (SIMULATE_PHASES + 1) * phase_size;
    for (size_t p = 0; p < points; p++) {
        const size_t at = transmit * points + p;
        const float a = plan->meeting[2 * at], b = plan->meeting[2 * at + 1];
        if (a == 0.0f && b == 0.0f)
            continue;
        const float *loss = from->loss ? from->loss + p * array->stations : 0;
        simulate_ways(array, from->x[p], from->z[p], loss, begin, distance, weight);
        simulate_along(array, from, p, begin, distance, along);
        const float first = plan->arrival[at] + (float)(taps - plan->half), incoming = plan->incoming[at];
        for (int k = 0; k < SIMULATE_BAND; k++) {
            float sine, cosine;
            simulate_turn(distance[k] * plan->turns_per_m, &sine, &cosine);
            const float value = weight[k] * simulate_mirror(from, p, incoming, along[k]);
            re[k] = value * (a * cosine + b * sine);
            im[k] = value * (b * cosine - a * sine);
            place[k] = first + distance[k] * plan->samples_per_m;
        }
        for (int k = 0; k < channels; k++) {
            if (!(place[k] >= 0.0f && place[k] < (float)(samples + taps)))
                continue;
            const int index = (int)place[k];
            const int phase = (int)((place[k] - (float)index) * SIMULATE_PHASES + 0.5f);
            /* The carrier runs through from the first sample; the pulse's own starts at its first tap. */
            const float *restrict carrier = plan->carrier + 2 * index;
            const float real = re[k] * carrier[0] - im[k] * carrier[1];
            const float imaginary = re[k] * carrier[1] + im[k] * carrier[0];
            const int late = (index - taps) / SIMULATE_BLOCK;
            const int block = late < 0 ? 0 : late < plan->blocks ? late : plan->blocks - 1;
            const float *restrict pulse = plan->pulse + block * block_size + phase * phase_size;
            const float *restrict other = pulse + taps;
            float *restrict row = work + k * width + index;
            for (int m = 0; m < taps; m++)
                row[m] += real * pulse[m] - imaginary * other[m];
        }
    }
    for (int k = 0; k < channels; k++) {
        const size_t trace = transmit * array->count + begin + k;
        const float *restrict row = work + k * width + taps, *restrict hiss = plan->noise + plan->noise_start[trace];
        const float *restrict gain = plan->gain;
        int16_t *restrict target = plan->out + trace * samples;
        const float level = plan->level, noise_level = plan->noise_level, limit = plan->limit;
        for (size_t n = 0; n < samples; n++) {
            float value = (row[n] * level + hiss[n] * noise_level) * gain[n];
            value = value < limit ? value : limit;
            value = value > -limit ? value : -limit;
            target[n] = (int16_t)(int)(value + (value < 0.0f ? -0.5f : 0.5f));
        }
    }
}

const sonod_simulate_kernels JOIN(sonod_simulate_, SONOD_ISA) = {simulate_field, simulate_deposit, simulate_convolve,
                                                                 simulate_frame};
