/* Echoes of point scatterers by linear acoustics; cext/simulate.py says what is modelled. */

#define SIMULATE_LANES 8
/* Steps of the time grid per sample on which static echoes are summed before the pulse is applied. */
#define SIMULATE_FINE 4
#define SIMULATE_PHASES 32

static inline float simulate_lookup(const float *table, float place, float last) {
    const float safe = place < last ? (place > 0.0f ? place : 0.0f) : last;
    const int index = (int)safe;
    const float share = safe - (float)index;
    return table[index] * (1.0f - share) + table[index + 1] * share;
}

/* Distance and one-way weight from one point to every element (count padded to lanes; padding has weight 0). */
static void simulate_ways(const sonod_simulated_array *array, float x, float z, float *restrict distance,
                          float *restrict weight) {
    const float *restrict ex = array->x, *restrict ez = array->z;
    const float *restrict nx = array->normal_x, *restrict nz = array->normal_z;
    const float *restrict listening = array->listening;
    const float cosine_last = (float)(array->directivity_count - 2), decay_last = (float)(array->decay_count - 2);
    const float cosine_scale = (float)(array->directivity_count - 2), decay_scale = array->decay_per_m;
    for (int k = 0; k < array->padded; k++) {
        const float dx = x - ex[k], dz = z - ez[k];
        const float far = sqrtf(dx * dx + dz * dz + 1e-12f);
        const float cosine = (dx * nx[k] + dz * nz[k]) / far;
        distance[k] = far;
        weight[k] = listening[k] * simulate_lookup(array->directivity, cosine * cosine_scale, cosine_last) *
                    simulate_lookup(array->decay, far * decay_scale, decay_last);
    }
}

/* Magnitude of the continuous wave of each transmit at each point: out (transmits, points). */
static void simulate_field(const sonod_simulated_array *array, const float *restrict x, const float *restrict z,
                           size_t points, const float *restrict delay_turns, const float *restrict apodization,
                           size_t transmits, float turns_per_m, const float *restrict cosine,
                           const float *restrict sine, float *restrict scratch, float *restrict out) {
    const int padded = array->padded;
    float *restrict distance = scratch, *restrict weight = scratch + padded;
    for (size_t p = 0; p < points; p++) {
        simulate_ways(array, x[p], z[p], distance, weight);
        for (size_t i = 0; i < transmits; i++) {
            const float *restrict delay = delay_turns + i * padded, *restrict own = apodization + i * padded;
            float re[SIMULATE_LANES] = {0}, im[SIMULATE_LANES] = {0};
            for (int k = 0; k < padded; k += SIMULATE_LANES)
                for (int lane = 0; lane < SIMULATE_LANES; lane++) {
                    const float turns = distance[k + lane] * turns_per_m + delay[k + lane];
                    const float share = turns - (float)(int)turns;
                    const int index = (int)(share * SIMULATE_TURN);
                    const float amplitude = weight[k + lane] * own[k + lane];
                    re[lane] += amplitude * cosine[index];
                    im[lane] += amplitude * sine[index];
                }
            float a = 0.0f, b = 0.0f;
            for (int lane = 0; lane < SIMULATE_LANES; lane++) {
                a += re[lane];
                b += im[lane];
            }
            out[i * points + p] = sqrtf(a * a + b * b);
        }
    }
}

/* Sum impulses on the fine grid (transmits, channels, fine): time arrival + distance / c, in fine steps. */
static void simulate_deposit(const sonod_simulated_array *array, const float *restrict x, const float *restrict z,
                             size_t points, const float *restrict arrival, const float *restrict amplitude,
                             size_t transmits, float fine_per_m, float *restrict scratch, float *restrict grid,
                             size_t fine) {
    const int padded = array->padded, channels = array->count;
    const float end = (float)(fine - 2);
    float *restrict distance = scratch, *restrict weight = scratch + padded;
    for (size_t p = 0; p < points; p++) {
        simulate_ways(array, x[p], z[p], distance, weight);
        for (int k = 0; k < padded; k++)
            distance[k] *= fine_per_m;
        for (size_t i = 0; i < transmits; i++) {
            const float strength = amplitude[i * points + p], first = arrival[i * points + p];
            if (strength == 0.0f)
                continue;
            float *restrict row = grid + i * channels * fine;
            for (int k = 0; k < channels; k++, row += fine) {
                const float place = first + distance[k];
                if (!(place >= 0.0f && place < end))
                    continue;
                const int index = (int)place;
                const float share = place - (float)index, value = strength * weight[k];
                row[index] += value * (1.0f - share);
                row[index + 1] += value * share;
            }
        }
    }
}

/* Apply the pulse: out[n] = sum over m of grid[FINE n + m] * pulse[m]; grid rows hold FINE * samples + taps values. */
static void simulate_convolve(const float *restrict grid, size_t rows, size_t fine, const float *restrict pulse,
                              size_t taps, float *restrict scratch, float *restrict out, size_t samples) {
    const size_t length = fine / SIMULATE_FINE;
    for (size_t r = 0; r < rows; r++) {
        const float *restrict row = grid + r * fine;
        float *restrict target = out + r * samples;
        for (size_t n = 0; n < length; n++)
            for (int phase = 0; phase < SIMULATE_FINE; phase++)
                scratch[phase * length + n] = row[n * SIMULATE_FINE + phase];
        for (size_t n = 0; n < samples; n++)
            target[n] = 0.0f;
        for (size_t m = 0; m < taps; m++) {
            const float weight = pulse[m];
            const float *restrict from = scratch + (m % SIMULATE_FINE) * length + m / SIMULATE_FINE;
            for (size_t n = 0; n < samples; n++)
                target[n] += weight * from[n];
        }
    }
}

/* One transmit of one frame: background + moving reflectors + noise, times gain, to integers. */
static void simulate_frame(const sonod_simulated_array *array, const sonod_simulated_motion *motion,
                           const float *restrict background, const float *restrict noise,
                           const int32_t *restrict noise_start, float noise_level, float level,
                           const float *restrict gain, float limit, float *restrict scratch, int16_t *restrict out,
                           size_t samples) {
    const int padded = array->padded, channels = array->count, taps = motion->taps;
    const size_t width = samples + 2 * (size_t)taps;
    float *restrict distance = scratch, *restrict weight = scratch + padded, *restrict work = scratch + 2 * padded;
    for (int k = 0; k < channels; k++) {
        float *restrict row = work + k * width + taps;
        const float *restrict from = background + k * samples;
        for (size_t n = 0; n < samples; n++)
            row[n] = from[n];
    }
    for (int p = 0; p < motion->count; p++) {
        const float strength = motion->amplitude[p];
        if (strength == 0.0f)
            continue;
        const float x = motion->x[p], z = motion->z[p];
        simulate_ways(array, x, z, distance, weight);
        for (int k = 0; k < padded; k++) {
            const float along = ((x - array->x[k]) * motion->axis_x + (z - array->z[k]) * motion->axis_z) / distance[k];
            const float phase = (motion->incoming[p] + along) * motion->lobe_scale;
            const float mirror = simulate_lookup(motion->lobe, phase < 0.0f ? -phase : phase, motion->lobe_last);
            weight[k] *= strength * (motion->smooth[p] * mirror + motion->rough[p]);
        }
        for (int k = 0; k < channels; k++) {
            const float place = motion->arrival[p] + distance[k] * motion->samples_per_m;
            if (!(place >= 0.0f && place < (float)(samples + taps)))
                continue;
            const int index = (int)place;
            const int phase = (int)((place - (float)index) * SIMULATE_PHASES);
            const float *restrict pulse = motion->pulse + phase * taps;
            float *restrict row = work + k * width + index;
            const float value = weight[k];
            for (int m = 0; m < taps; m++)
                row[m] += value * pulse[m];
        }
    }
    for (int k = 0; k < channels; k++) {
        const float *restrict row = work + k * width + taps, *restrict hiss = noise + noise_start[k];
        int16_t *restrict target = out + k * samples;
        for (size_t n = 0; n < samples; n++) {
            float value = (row[n] * level + hiss[n] * noise_level) * gain[n];
            value = value < limit ? value : limit;
            value = value > -limit ? value : -limit;
            target[n] = (int16_t)(int)(value + (value < 0.0f ? -0.5f : 0.5f));
        }
    }
}
