/* Products of the delayed channels of each point: coherence factors, delay multiply and sum, short-lag coherence.

   A strip of points of one line is worked on at a time. The baseband of every element, delayed and turned to the point,
   is summed over the transmissions and kept; what is asked for is then taken from these rows, eight points together.
   Delays are those of every single point; samples are read in pairs and interpolated linearly between fine samples. */

#define ADAPTIVE_STRIP SONOD_ADAPTIVE_STRIP
/* Lines that take a strip of the same depth one after the other, while its samples are in the cache. */
#define ADAPTIVE_LINES SONOD_ADAPTIVE_LINES
#define ADAPTIVE_EDGE 1.00001f
/* Power that is rounding, not sound: beneath it the reciprocal root would overflow. */
#define ADAPTIVE_SILENCE 1e-30f

typedef float v4f_loose __attribute__((vector_size(16), aligned(4), may_alias));

/* sin and cos of 2 pi p, |p| <= 0.5, by half angles; error below 4e-7. */
INLINE void adaptive_turn(v8f p, v8f *sine, v8f *cosine) {
    const v8f x = splat8(3.14159265f) * p, y = x * x;
    v8f s = fma8(y, splat8(-2.50521084e-8f), splat8(2.75573192e-6f));
    s = fma8(y, s, splat8(-1.98412698e-4f));
    s = fma8(y, s, splat8(8.33333333e-3f));
    s = fma8(y, s, splat8(-1.66666667e-1f));
    s = fma8(y * s, x, x);
    v8f c = fma8(y, splat8(-2.75573192e-7f), splat8(2.48015873e-5f));
    c = fma8(y, c, splat8(-1.38888889e-3f));
    c = fma8(y, c, splat8(4.16666667e-2f));
    c = fma8(y, c, splat8(-0.5f));
    c = fma8(y, c, splat8(1.0f));
    *sine = splat8(2.0f) * s * c;
    *cosine = fma8(splat8(-2.0f) * s, s, splat8(1.0f));
}

/* sin and cos of the phase of `fine` samples of delay. */
INLINE void turn_of_delay(v8f fine, float turns_per_fine, float more, v8f *sine, v8f *cosine) {
    const v8f turns = splat8(turns_per_fine), whole = round8(fine * turns);
    v8f cycles = fma8(fine, turns, -whole) + splat8(more);
    cycles = cycles - round8(cycles);
    adaptive_turn(cycles, sine, cosine);
}

/* The complex samples at eight places of a trace, and those behind them. */
INLINE void pairs_at(const float *restrict trace, v8i place, v8f *re0, v8f *im0, v8f *re1, v8f *im1) {
    int32_t at[8];
    memcpy(at, &place, sizeof at);
    v8f v[4], low[2], high[2];
    for (int i = 0; i < 4; i++) {
        const v4f_loose *first = (const v4f_loose *)(trace + 2 * at[i]);
        const v4f_loose *second = (const v4f_loose *)(trace + 2 * at[i + 4]);
        v[i] = __builtin_shufflevector(*first, *second, 0, 1, 2, 3, 4, 5, 6, 7);
    }
    for (int i = 0; i < 2; i++) {
        low[i] = __builtin_shuffle(v[2 * i], v[2 * i + 1], (v8i){0, 8, 1, 9, 4, 12, 5, 13});
        high[i] = __builtin_shuffle(v[2 * i], v[2 * i + 1], (v8i){2, 10, 3, 11, 6, 14, 7, 15});
    }
    *re0 = __builtin_shuffle(low[0], low[1], (v8i){0, 1, 8, 9, 4, 5, 12, 13});
    *im0 = __builtin_shuffle(low[0], low[1], (v8i){2, 3, 10, 11, 6, 7, 14, 15});
    *re1 = __builtin_shuffle(high[0], high[1], (v8i){0, 1, 8, 9, 4, 5, 12, 13});
    *im1 = __builtin_shuffle(high[0], high[1], (v8i){2, 3, 10, 11, 6, 7, 14, 15});
}

/* A strip: its points, the waves there, and what has been summed over the elements. */
typedef struct {
    size_t vectors; /* of eight points */
    float x[ADAPTIVE_STRIP], y[ADAPTIVE_STRIP], z[ADAPTIVE_STRIP], per_half[ADAPTIVE_STRIP];
    float widest;
    float re[ADAPTIVE_STRIP], im[ADAPTIVE_STRIP]; /* delay and sum under the window */
    float active[ADAPTIVE_STRIP], first[ADAPTIVE_STRIP]; /* elements in the aperture, and the first of them */
} adaptive_strip;

/* Memory of one thread. */
typedef struct {
    float *time, *turn_re, *turn_im; /* (transmits, strip) */
    float *re, *im, *scale;          /* (elements, strip): delayed channels; 1 / rms for the short-lag coherence */
    int32_t *elements;               /* those of them that are in the aperture of any point */
    int32_t *waves;                  /* transmissions that see any point */
    size_t wave_count;
} adaptive_memory;

/* Points from `begin` on (which may be before the first: the points at the ends are then repeated). */
static void place_strip(const sonod_adaptive *plan, size_t line, ptrdiff_t begin, size_t points, adaptive_strip *strip,
                        adaptive_memory *memory) {
    const double *o = plan->origins + 3 * line, *d = plan->directions + 3 * line;
    strip->vectors = (points + 7) / 8;
    float least = INFINITY;
    const size_t padded = 8 * strip->vectors;
    size_t at[ADAPTIVE_STRIP];
    for (size_t j = 0; j < padded; j++) {
        ptrdiff_t own = begin + (ptrdiff_t)j;
        own = own < 0 ? 0 : own;
        at[j] = (size_t)own < plan->count ? (size_t)own : plan->count - 1;
        const double distance = plan->first + (double)at[j] * plan->spacing;
        strip->x[j] = (float)(o[0] + d[0] * distance);
        strip->y[j] = (float)(o[1] + d[1] * distance);
        strip->z[j] = (float)(o[2] + d[2] * distance);
        double half = (distance - plan->feet[line]) * plan->per_half;
        half = half > plan->least_half ? half : plan->least_half;
        strip->per_half[j] = half > 0 ? (float)(1.0 / half) : 1e30f;
        least = strip->per_half[j] < least ? strip->per_half[j] : least;
        strip->re[j] = strip->im[j] = strip->active[j] = 0;
        strip->first[j] = (float)plan->elements;
    }
    strip->widest = 1.0001f / least;
    memory->wave_count = 0;
    for (size_t t = 0; t < plan->transmits; t++) {
        const size_t row = (t * plan->lines + line) * plan->count;
        float *time = memory->time + t * ADAPTIVE_STRIP;
        float *re = memory->turn_re + t * ADAPTIVE_STRIP, *im = memory->turn_im + t * ADAPTIVE_STRIP;
        float weight[ADAPTIVE_STRIP];
        int seen = 0;
        for (size_t j = 0; j < padded; j++) {
            time[j] = plan->transmit_fine[row + at[j]];
            const float own = plan->transmit_weight ? plan->transmit_weight[row + at[j]] : 1.0f;
            /* Points that the transmission does not see, or not with a number. */
            weight[j] = time[j] > -1e9f && time[j] < 1e9f && own > -1e30f && own < 1e30f ? own : 0.0f;
            time[j] = weight[j] != 0.0f ? time[j] : 0.0f;
            seen |= weight[j] != 0.0f;
        }
        if (!seen)
            continue;
        memory->waves[memory->wave_count++] = (int32_t)t;
        for (size_t j = 0; j < padded; j += 8) {
            v8f s, c;
            turn_of_delay(load8(time + j), plan->turns_per_fine, plan->wave_turns[t], &s, &c);
            store8(re + j, c * load8(weight + j));
            store8(im + j, s * load8(weight + j));
        }
    }
}

/* Window of the delay and sum at `u`. */
INLINE v8f adaptive_window(int window, v8f u) {
    const v8f bounded = min8(u, splat8(1.0f));
    v8f s, c;
    switch (window) {
    case SONOD_HANN:
        adaptive_turn(splat8(0.5f) * bounded, &s, &c);
        return fma8(splat8(0.5f), c, splat8(0.5f));
    case SONOD_HAMMING:
        adaptive_turn(splat8(0.5f) * bounded, &s, &c);
        return fma8(splat8(0.46f), c, splat8(0.54f));
    case SONOD_TUKEY:
        adaptive_turn(splat8(0.5f) * max8(fma8(splat8(4.0f), bounded, splat8(-3.0f)), splat8(0)), &s, &c);
        return fma8(splat8(0.5f), c, splat8(0.5f));
    default:
        return splat8(1.0f);
    }
}

/* One element at eight points: delayed, turned and summed over the transmissions. */
INLINE void delayed_channel(const sonod_adaptive *plan, const adaptive_strip *strip, const adaptive_memory *memory,
                            size_t element, size_t j, v8f *re, v8f *im) {
    const v8f dx = load8(strip->x + j) - splat8(plan->element_x[element]);
    const v8f dy = load8(strip->y + j) - splat8(plan->element_y[element]);
    const v8f dz = load8(strip->z + j) - splat8(plan->element_z[element]);
    const v8f fine = sqrt8(fma8(dx, dx, fma8(dy, dy, dz * dz))) * splat8(plan->fine_per_metre);
    const v8f last = splat8((float)(plan->width - 2));
    v8f sum_re = splat8(0), sum_im = splat8(0);
    for (size_t i = 0; i < memory->wave_count; i++) {
        const size_t t = (size_t)memory->waves[i];
        const int32_t channel = plan->channel_of[t * plan->elements + element];
        if (channel < 0)
            continue;
        const v8f place = min8(max8(fine + load8(memory->time + t * ADAPTIVE_STRIP + j), splat8(0)), last);
        const v8i whole = __builtin_convertvector(place, v8i);
        const v8f share = place - __builtin_convertvector(whole, v8f);
        v8f re0, im0, re1, im1;
        pairs_at(plan->traces + 2 * plan->width * (t * plan->channels + (size_t)channel), whole, &re0, &im0, &re1, &im1);
        const v8f own_re = fma8(share, re1 - re0, re0), own_im = fma8(share, im1 - im0, im0);
        const v8f c = load8(memory->turn_re + t * ADAPTIVE_STRIP + j);
        const v8f s = load8(memory->turn_im + t * ADAPTIVE_STRIP + j);
        sum_re = fma8(-own_im, s, fma8(own_re, c, sum_re));
        sum_im = fma8(own_im, c, fma8(own_re, s, sum_im));
    }
    v8f s, c;
    turn_of_delay(fine, plan->turns_per_fine, 0.0f, &s, &c);
    *re = fma8(-sum_im, s, sum_re * c);
    *im = fma8(sum_im, c, sum_re * s);
}

/* Delayed channels of all elements of the strip; returns how many are in any aperture. */
static size_t delay_channels(const sonod_adaptive *plan, size_t line, adaptive_strip *strip, adaptive_memory *memory) {
    size_t count = 0;
    for (size_t e = 0; e < plan->elements; e++) {
        const float lateral = plan->lateral[line * plan->elements + e];
        if (!(lateral <= strip->widest) || !plan->heard[e])
            continue;
        float *own_re = memory->re + count * ADAPTIVE_STRIP, *own_im = memory->im + count * ADAPTIVE_STRIP;
        memory->elements[count++] = (int32_t)e;
        for (size_t j = 0; j < 8 * strip->vectors; j += 8) {
            const v8f u = splat8(lateral) * load8(strip->per_half + j);
            const v8i inside = u <= splat8(ADAPTIVE_EDGE);
            const v8f mask = select8(inside, splat8(1.0f), splat8(0)), weight = mask * adaptive_window(plan->window, u);
            v8f re, im;
            delayed_channel(plan, strip, memory, e, j, &re, &im);
            store8(strip->re + j, fma8(weight, re, load8(strip->re + j)));
            store8(strip->im + j, fma8(weight, im, load8(strip->im + j)));
            store8(strip->active + j, load8(strip->active + j) + mask);
            store8(strip->first + j, min8(load8(strip->first + j), select8(inside, splat8((float)e), splat8(1e9f))));
            store8(own_re + j, re * mask);
            store8(own_im + j, im * mask);
        }
    }
    return count;
}

/* x / y, 0 where y is not above 0. */
INLINE v8f ratio(v8f x, v8f y) {
    const v8i some = y > splat8(0);
    return select8(some, x / select8(some, y, splat8(1.0f)), splat8(0));
}

/* Share of the energy at low spatial frequencies of the aperture: coherence factor with no bins beside the first. */
static void coherence_factor(const sonod_adaptive *plan, adaptive_strip *strip, const adaptive_memory *memory,
                             size_t count) {
    for (size_t j = 0; j < 8 * strip->vectors; j += 8) {
        v8f energy = splat8(0), re0 = splat8(0), im0 = splat8(0);
        v8f up_re[SONOD_MOST_BINS], up_im[SONOD_MOST_BINS], down_re[SONOD_MOST_BINS], down_im[SONOD_MOST_BINS];
        for (int k = 0; k < plan->bins; k++)
            up_re[k] = up_im[k] = down_re[k] = down_im[k] = splat8(0);
        const v8f active = load8(strip->active + j), first = load8(strip->first + j), turn = ratio(splat8(1.0f), active);
        for (size_t i = 0; i < count; i++) {
            const v8f re = load8(memory->re + i * ADAPTIVE_STRIP + j), im = load8(memory->im + i * ADAPTIVE_STRIP + j);
            energy = fma8(re, re, fma8(im, im, energy));
            re0 = re0 + re;
            im0 = im0 + im;
            if (!plan->bins)
                continue;
            v8f s, c, s1, c1;
            v8f cycles = (splat8((float)memory->elements[i]) - first) * turn;
            cycles = cycles - round8(cycles);
            adaptive_turn(cycles, &s1, &c1);
            s = s1;
            c = c1;
            for (int k = 0; k < plan->bins; k++) {
                const v8f a = re * c, b = im * s, d = im * c, e = re * s;
                up_re[k] = up_re[k] + (a - b);
                up_im[k] = up_im[k] + (d + e);
                down_re[k] = down_re[k] + (a + b);
                down_im[k] = down_im[k] + (d - e);
                const v8f old = c;
                c = fma8(-s, s1, c * c1);
                s = fma8(s, c1, old * s1);
            }
        }
        v8f low = fma8(re0, re0, im0 * im0);
        for (int k = 0; k < plan->bins; k++)
            low = fma8(up_re[k], up_re[k], fma8(up_im[k], up_im[k],
                  fma8(down_re[k], down_re[k], fma8(down_im[k], down_im[k], low))));
        const v8f factor = min8(ratio(low, active * energy), splat8(1.0f));
        store8(strip->re + j, load8(strip->re + j) * factor);
        store8(strip->im + j, load8(strip->im + j) * factor);
    }
}

/* 1 - sqrt(1 - (sum of signs / count)^2) */
INLINE v8f sign_factor(v8f signs, v8f active) {
    const v8f mean = ratio(signs, active), spread = max8(fma8(-mean, mean, splat8(1.0f)), splat8(0));
    return splat8(1.0f) - sqrt8(spread);
}

static void sign_coherence(adaptive_strip *strip, const adaptive_memory *memory, size_t count) {
    const v8f zero = splat8(0), one = splat8(1.0f);
    for (size_t j = 0; j < 8 * strip->vectors; j += 8) {
        v8f re = zero, im = zero;
        for (size_t i = 0; i < count; i++) {
            const v8f own_re = load8(memory->re + i * ADAPTIVE_STRIP + j);
            const v8f own_im = load8(memory->im + i * ADAPTIVE_STRIP + j);
            /* Silent channels and those outside the aperture have no sign. */
            re = re + select8(own_re > zero, one, select8(own_re < zero, -one, zero));
            im = im + select8(own_im > zero, one, select8(own_im < zero, -one, zero));
        }
        const v8f active = load8(strip->active + j);
        store8(strip->re + j, load8(strip->re + j) * sign_factor(re, active));
        store8(strip->im + j, load8(strip->im + j) * sign_factor(im, active));
    }
}

/* All pairs of channels, the square root of the product of their magnitudes with the sum of their phases. */
static void multiply_and_sum(adaptive_strip *strip, const adaptive_memory *memory, size_t count) {
    for (size_t j = 0; j < 8 * strip->vectors; j += 8) {
        v8f re = splat8(0), im = splat8(0), square_re = splat8(0), square_im = splat8(0);
        for (size_t i = 0; i < count; i++) {
            const v8f own_re = load8(memory->re + i * ADAPTIVE_STRIP + j);
            const v8f own_im = load8(memory->im + i * ADAPTIVE_STRIP + j);
            const v8f root = sqrt8(sqrt8(fma8(own_re, own_re, own_im * own_im)));
            const v8f shrink = ratio(splat8(1.0f), root), a = own_re * shrink, b = own_im * shrink;
            re = re + a;
            im = im + b;
            square_re = fma8(a, a, fma8(-b, b, square_re));
            square_im = fma8(splat8(2.0f) * a, b, square_im);
        }
        const v8f pairs_re = fma8(re, re, fma8(-im, im, -square_re));
        const v8f pairs_im = fma8(splat8(2.0f) * re, im, -square_im);
        /* Half of it is the sum over pairs; 2 / (n - 1) times that keeps the amplitude of a coherent point. */
        const v8f scale = ratio(splat8(1.0f), load8(strip->active + j) - splat8(1.0f));
        store8(strip->re + j, pairs_re * scale);
        store8(strip->im + j, pairs_im * scale);
    }
}

/* Sum of `row` over `reach` points to each side. */
INLINE v8f along_depth(const float *restrict row, size_t j, int reach) {
    v8f sum = load8(row + j);
    for (int k = 1; k <= reach; k++)
        sum = sum + (load8(row + j - k) + load8(row + j + k));
    return sum;
}

static void short_lag_coherence(const sonod_adaptive *plan, adaptive_strip *strip, const adaptive_memory *memory,
                                size_t count) {
    const size_t padded = 8 * strip->vectors, begin = SONOD_ADAPTIVE_HALO, end = padded - SONOD_ADAPTIVE_HALO;
    float row[ADAPTIVE_STRIP], total[ADAPTIVE_STRIP] = {0};
    for (size_t i = 0; i < count; i++) {
        const float *re = memory->re + i * ADAPTIVE_STRIP, *im = memory->im + i * ADAPTIVE_STRIP;
        float *scale = memory->scale + i * ADAPTIVE_STRIP;
        for (size_t j = 0; j < padded; j += 8)
            store8(row + j, fma8(load8(re + j), load8(re + j), load8(im + j) * load8(im + j)));
        for (size_t j = begin; j < end; j += 8) {
            const v8f here = load8(row + j), power = along_depth(row, j, plan->reach);
            /* An element outside the aperture of the point itself takes no part in it, nor does a silent one. */
            const v8f heard = select8(here > splat8(0), power - splat8(ADAPTIVE_SILENCE), splat8(0));
            store8(scale + j, select8(heard > splat8(0), splat8(1.0f) / sqrt8(max8(power, splat8(ADAPTIVE_SILENCE))), splat8(0)));
        }
    }
    for (int lag = 1; lag <= plan->lags; lag++) {
        float sum[ADAPTIVE_STRIP] = {0};
        for (size_t i = 0; i + 1 < count; i++) {
            /* The element `lag` further along the array, where it is there. */
            size_t other = i + 1;
            while (other < count && memory->elements[other] < memory->elements[i] + lag)
                other++;
            if (other == count || memory->elements[other] != memory->elements[i] + lag)
                continue;
            const float *re = memory->re + i * ADAPTIVE_STRIP, *im = memory->im + i * ADAPTIVE_STRIP;
            const float *re2 = memory->re + other * ADAPTIVE_STRIP, *im2 = memory->im + other * ADAPTIVE_STRIP;
            const float *scale = memory->scale + i * ADAPTIVE_STRIP, *scale2 = memory->scale + other * ADAPTIVE_STRIP;
            for (size_t j = 0; j < padded; j += 8)
                store8(row + j, fma8(load8(re + j), load8(re2 + j), load8(im + j) * load8(im2 + j)));
            for (size_t j = begin; j < end; j += 8)
                store8(sum + j, fma8(along_depth(row, j, plan->reach), load8(scale + j) * load8(scale2 + j),
                                     load8(sum + j)));
        }
        for (size_t j = begin; j < end; j += 8)
            store8(total + j, load8(total + j) + ratio(load8(sum + j), load8(strip->active + j) - splat8((float)lag)));
    }
    for (size_t j = 0; j < padded; j++) {
        strip->re[j] = total[j] / (float)plan->lags;
        strip->im[j] = 0;
    }
}

/* A strip of one line. */
static void adaptive_points(const sonod_adaptive *plan, size_t line, size_t begin, size_t points, size_t halo,
                            adaptive_memory *memory) {
    adaptive_strip strip;
    place_strip(plan, line, (ptrdiff_t)begin - (ptrdiff_t)halo, (points + 7) / 8 * 8 + 2 * halo, &strip, memory);
    const size_t count = delay_channels(plan, line, &strip, memory);
    float factor = plan->factor;
    switch (plan->method) {
    case SONOD_COHERENCE:
        coherence_factor(plan, &strip, memory, count);
        break;
    case SONOD_SIGNS:
        sign_coherence(&strip, memory, count);
        break;
    case SONOD_MULTIPLY:
        multiply_and_sum(&strip, memory, count);
        break;
    case SONOD_SHORT_LAG:
        short_lag_coherence(plan, &strip, memory, count);
        factor = 1.0f;
        break;
    default:
        break;
    }
    float *out = plan->out + 2 * (line * plan->count + begin);
    for (size_t j = 0; j < points; j++) {
        out[2 * j] = strip.re[halo + j] * factor;
        out[2 * j + 1] = strip.im[halo + j] * factor;
    }
}

/* A few neighbouring lines, strip by strip. */
static void adaptive(const sonod_adaptive *plan, size_t group) {
    const size_t rows = plan->elements * ADAPTIVE_STRIP, waves = plan->transmits * ADAPTIVE_STRIP;
    float *scratch = sonod_scratch((3 * (rows + waves) + plan->elements + plan->transmits) * sizeof(float));
    if (!scratch)
        return;
    adaptive_memory memory = {scratch, scratch + waves, scratch + 2 * waves, scratch + 3 * waves,
                              scratch + 3 * waves + rows, scratch + 3 * waves + 2 * rows,
                              (int32_t *)(scratch + 3 * (waves + rows)),
                              (int32_t *)(scratch + 3 * (waves + rows) + plan->elements), 0};
    const size_t first = group * ADAPTIVE_LINES, end = first + ADAPTIVE_LINES;
    /* Short strips keep the rows of all elements in the first cache; the short-lag coherence needs points beyond. */
    const size_t halo = plan->method == SONOD_SHORT_LAG ? SONOD_ADAPTIVE_HALO : 0;
    const size_t step = halo ? ADAPTIVE_STRIP - 2 * halo : 16;
    for (size_t begin = 0; begin < plan->count; begin += step)
        for (size_t line = first; line < end && line < plan->lines; line++)
            adaptive_points(plan, line, begin, plan->count - begin < step ? plan->count - begin : step, halo, &memory);
}

/* Resamples one trace to fine samples, zeros at both ends. */
static void adaptive_resample(const sonod_adaptive *plan, size_t trace) {
    const size_t samples = plan->samples, taps = plan->taps, margin = taps;
    float *padded = sonod_scratch(2 * (samples + 2 * margin + 4) * sizeof(float));
    if (!padded)
        return;
    memset(padded, 0, 2 * margin * sizeof(float));
    memset(padded + 2 * (margin + samples), 0, 2 * (margin + 4) * sizeof(float));
    const float *restrict raw = plan->data + 2 * samples * trace;
    for (size_t i = 0; i < 2 * samples; i++)
        padded[2 * margin + i] = finite_or_zero(raw[i]);
    float *out = plan->traces + 2 * plan->width * trace;
    memset(out, 0, 2 * SONOD_ADAPTIVE_MARGIN * sizeof(float));
    memset(out + 2 * (plan->width - SONOD_ADAPTIVE_MARGIN), 0, 2 * SONOD_ADAPTIVE_MARGIN * sizeof(float));
    const size_t fine = plan->width - 2 * SONOD_ADAPTIVE_MARGIN;
    size_t whole = 0, phase = 0;
    for (size_t m = 0; m < fine; m++) {
        const float *restrict x = padded + 2 * (margin + whole - plan->left), *restrict h = plan->coefficients + 2 * taps * phase;
        v8f a = splat8(0), b = splat8(0);
        for (size_t k = 0; k < 2 * taps; k += 16) {
            a = fma8(load8(x + k), load8(h + k), a);
            b = fma8(load8(x + k + 8), load8(h + k + 8), b);
        }
        a = a + b;
        out[2 * (m + SONOD_ADAPTIVE_MARGIN)] = (a[0] + a[2]) + (a[4] + a[6]);
        out[2 * (m + SONOD_ADAPTIVE_MARGIN) + 1] = (a[1] + a[3]) + (a[5] + a[7]);
        /* From one fine sample to the next: numerator / denominator input samples. */
        const size_t next = phase + plan->numerator;
        whole += next / plan->denominator;
        phase = next % plan->denominator;
    }
}
