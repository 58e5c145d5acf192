/* Delay and sum for any geometry: the delay of every point in double, linear interpolation. */

/* Points of a line that are worked on together. */
#define EXACT_BLOCK 16

/* Weight at `u`, the distance from the middle of the aperture as a share of its half width; 0 beyond 1. */
INLINE float window_weight(int window, float u) {
    float sine, cosine, weight = 1.0f;
    const float inside = u <= APERTURE_EDGE ? 1.0f : 0.0f, bounded = u <= 1.0f ? u : 1.0f;
    if (window == SONOD_HANN || window == SONOD_HAMMING) {
        turn(0.5f * bounded, &sine, &cosine);
        weight = window == SONOD_HANN ? 0.5f + 0.5f * cosine : 0.54f + 0.46f * cosine;
    } else if (window == SONOD_TUKEY) {
        const float taper = 4.0f * bounded - 3.0f;
        turn(0.5f * (taper > 0.0f ? taper : 0.0f), &sine, &cosine);
        weight = 0.5f + 0.5f * cosine;
    }
    return inside * weight;
}

/* Nearest whole number of |x| < 2^51. */
INLINE double nearest(double x) {
    const double magic = 6755399441055744.0;
    return (x + magic) - magic;
}

/* Arrival and weight of one transmission at a block of points; returns 0 when it sees none of them. */
INLINE int transmit_block(const sonod_das_exact *plan, size_t t, size_t at, size_t points, double *restrict time,
                          float *restrict weight) {
    int any = 0;
    for (size_t j = 0; j < EXACT_BLOCK; j++) {
        double own = 0;
        float w = 0;
        if (j < points) {
            own = plan->transmit_time_is_double ? ((const double *)plan->transmit_time)[at + j]
                                                : (double)((const float *)plan->transmit_time)[at + j];
            w = plan->transmit_weight ? plan->transmit_weight[at + j] : 1.0f;
            if (!(own > -1e9 && own < 1e9) || !(w > -1e30f && w < 1e30f))
                own = 0, w = 0;
        }
        time[j] = own + plan->time_offset - plan->t0[t];
        weight[j] = w;
        any |= w != 0.0f;
    }
    return any;
}

/* Adds one channel to a block of points. */
INLINE void add_channel(const sonod_das_exact *plan, const float *restrict trace, const double *restrict receive,
                        const double *restrict time, const float *restrict transmit_weight,
                        const float *restrict u, double t0, float *restrict sum_re, float *restrict sum_im) {
    const double last = (double)(plan->samples - 1);
    const int32_t last_pair = plan->samples > 1 ? (int32_t)plan->samples - 2 : 0;
    const int32_t step = plan->samples > 1 ? 1 : 0;
    int32_t index[EXACT_BLOCK];
    float share[EXACT_BLOCK], phase[EXACT_BLOCK], weight[EXACT_BLOCK];
    for (int j = 0; j < EXACT_BLOCK; j++) {
        const double since = time[j] + receive[j], place = since * plan->sampling;
        const int inside = (place >= 0.0) & (place <= last);
        const double safe = inside ? place : 0.0;
        int32_t whole = (int32_t)safe;
        whole = whole < last_pair ? whole : last_pair;
        index[j] = whole;
        share[j] = (float)(safe - (double)whole);
        const double cycles = (since + t0) * plan->demodulation;
        phase[j] = (float)(cycles - nearest(cycles));
        weight[j] = inside ? transmit_weight[j] : 0.0f;
    }
    for (int j = 0; j < EXACT_BLOCK; j++)
        weight[j] *= window_weight(plan->window, u[j]);
    if (plan->demodulation == 0) {
        for (int j = 0; j < EXACT_BLOCK; j++) {
            const float before = finite_or_zero(trace[index[j]]), after = finite_or_zero(trace[index[j] + step]);
            sum_re[j] += weight[j] * (before + share[j] * (after - before));
        }
        return;
    }
    float re[EXACT_BLOCK], im[EXACT_BLOCK];
    for (int j = 0; j < EXACT_BLOCK; j++) {
        const float *pair = trace + 2 * index[j], *next = pair + 2 * step;
        const float re0 = finite_or_zero(pair[0]), im0 = finite_or_zero(pair[1]);
        re[j] = re0 + share[j] * (finite_or_zero(next[0]) - re0);
        im[j] = im0 + share[j] * (finite_or_zero(next[1]) - im0);
    }
    for (int j = 0; j < EXACT_BLOCK; j++) {
        float sine, cosine;
        turn(phase[j], &sine, &cosine);
        sum_re[j] += weight[j] * (re[j] * cosine - im[j] * sine);
        sum_im[j] += weight[j] * (re[j] * sine + im[j] * cosine);
    }
}

/* A block of points: where they are, and the aperture of each. */
typedef struct {
    double x[EXACT_BLOCK], y[EXACT_BLOCK], z[EXACT_BLOCK];
    double foot_x[EXACT_BLOCK], foot_y[EXACT_BLOCK], foot_z[EXACT_BLOCK];
    float per_half[EXACT_BLOCK]; /* 1 / half aperture */
    float widest;                /* half aperture */
} point_block;

INLINE void place_points(const sonod_das_exact *plan, size_t line, size_t begin, size_t points, point_block *block) {
    block->widest = 0;
    for (size_t j = 0; j < EXACT_BLOCK; j++) {
        const size_t own = begin + (j < points ? j : 0), at = line * plan->count + own;
        const double *d = plan->directions + 3 * (plan->points ? at : line);
        double height;
        if (plan->points) {
            const double *p = plan->points + 3 * at;
            block->x[j] = p[0], block->y[j] = p[1], block->z[j] = p[2];
            height = plan->heights[at];
        } else {
            const double *o = plan->origins + 3 * line;
            const double distance = plan->first + (double)own * plan->spacing;
            block->x[j] = o[0] + d[0] * distance;
            block->y[j] = o[1] + d[1] * distance;
            block->z[j] = o[2] + d[2] * distance;
            height = distance - plan->feet[line];
        }
        block->foot_x[j] = block->x[j] - d[0] * height;
        block->foot_y[j] = block->y[j] - d[1] * height;
        block->foot_z[j] = block->z[j] - d[2] * height;
        double half = height * plan->per_half;
        half = half > plan->least_half ? half : plan->least_half;
        block->per_half[j] = half > 0 ? (float)(1.0 / half) : 1e30f;
        block->widest = (float)half > block->widest ? (float)half : block->widest;
    }
}

/* Distance of an element from the middle of the aperture as a share of its half width, for a block of points; returns
   0 when the element takes part in none of them. */
INLINE int aperture_places(const sonod_das_exact *plan, size_t line, size_t begin, size_t points, int32_t element,
                           const point_block *block, const float *line_lateral, float *restrict u) {
    const float *known = plan->lateral ? plan->lateral : line_lateral;
    if (known) {
        if (!(known[element] <= 1.0001f * block->widest))
            return 0;
        for (int j = 0; j < EXACT_BLOCK; j++)
            u[j] = known[element] * block->per_half[j];
        return 1;
    }
    const double *e = plan->elements_m + 3 * element, *n = plan->normals + 3 * element;
    int any = 0;
    for (size_t j = 0; j < EXACT_BLOCK; j++) {
        const double x = e[0] - block->foot_x[j], y = e[1] - block->foot_y[j], z = e[2] - block->foot_z[j];
        const double *d = plan->directions + 3 * (line * plan->count + begin + (j < points ? j : 0));
        const float own = (float)sqrt(x * x + y * y + z * z) * block->per_half[j];
        u[j] = n[0] * d[0] + n[1] * d[1] + n[2] * d[2] > 0 ? own : 2.0f;
        any |= u[j] <= APERTURE_EDGE;
    }
    return any;
}

/* Distance of every element from the foot of a line; infinity where it looks away. */
static void lateral_of_line(const sonod_das_exact *plan, size_t line, float *restrict lateral) {
    const double *o = plan->origins + 3 * line, *d = plan->directions + 3 * line;
    const double foot = plan->feet[line];
    for (size_t i = 0; i < plan->elements; i++) {
        const double *e = plan->elements_m + 3 * i, *n = plan->normals + 3 * i;
        const double x = e[0] - o[0] - foot * d[0], y = e[1] - o[1] - foot * d[1], z = e[2] - o[2] - foot * d[2];
        lateral[i] = n[0] * d[0] + n[1] * d[1] + n[2] * d[2] > 0 ? (float)sqrt(x * x + y * y + z * z) : INFINITY;
    }
}

/* Travel time from a block of points to an element. */
INLINE void receive_times(const sonod_das_exact *plan, size_t line, size_t begin, size_t points, int32_t element,
                          const point_block *block, double *restrict receive) {
    if (plan->receive_time) {
        const float *own = plan->receive_time + ((size_t)element * plan->lines + line) * plan->count + begin;
        for (size_t j = 0; j < EXACT_BLOCK; j++)
            receive[j] = j < points ? (double)own[j] : 0;
        return;
    }
    const double *e = plan->elements_m + 3 * element;
    for (int j = 0; j < EXACT_BLOCK; j++) {
        const double x = block->x[j] - e[0], y = block->y[j] - e[1], z = block->z[j] - e[2];
        receive[j] = sqrt(x * x + y * y + z * z) * plan->slowness;
    }
}

/* Beamforms one line. */
static void das_exact(const sonod_das_exact *plan, size_t line) {
    const size_t components = plan->demodulation == 0 ? 1 : 2;
    float *line_lateral = NULL;
    if (!plan->lateral && !plan->points) {
        line_lateral = sonod_scratch(plan->elements * sizeof(float));
        if (!line_lateral)
            return;
        lateral_of_line(plan, line, line_lateral);
    }
    for (size_t begin = 0; begin < plan->count; begin += EXACT_BLOCK) {
        const size_t points = plan->count - begin < EXACT_BLOCK ? plan->count - begin : EXACT_BLOCK;
        point_block block;
        double receive[EXACT_BLOCK], time[EXACT_BLOCK];
        float weight[EXACT_BLOCK], u[EXACT_BLOCK], sum_re[EXACT_BLOCK] = {0}, sum_im[EXACT_BLOCK] = {0};
        place_points(plan, line, begin, points, &block);
        for (size_t t = 0; t < plan->transmits; t++) {
            const size_t at = (t * plan->lines + line) * plan->count + begin;
            if (!plan->seen[t * plan->lines + line] || !transmit_block(plan, t, at, points, time, weight))
                continue;
            for (size_t c = 0; c < plan->channels; c++) {
                const size_t trace = t * plan->channels + c;
                const int32_t element = plan->receive[trace];
                if (element < 0 || !aperture_places(plan, line, begin, points, element, &block, line_lateral, u))
                    continue;
                receive_times(plan, line, begin, points, element, &block, receive);
                add_channel(plan, plan->data + trace * plan->samples * components, receive, time, weight, u,
                            plan->t0[t], sum_re, sum_im);
            }
        }
        float *out = plan->out + (line * plan->count + begin) * components;
        for (size_t j = 0; j < points; j++) {
            out[components * j] = sum_re[j] * plan->factor;
            if (components == 2)
                out[2 * j + 1] = sum_im[j] * plan->factor;
        }
    }
}
