/* Which elements listen to a block of das_points.inc.c, and how. */

/* The ways back of elements side by side to the points round the middle of a block. */
typedef struct {
    int32_t form[FORM_PAIRS][FORMS]; /* what the pairs of places are multiplied with */
    int32_t nearest[FORMS];          /* the fine sample nearest to the way back of the middle */
} ways_back;
enum { NEAREST = FORM_PAIRS * FORMS };

/* An element that does not listen fully to all points: its weights, twice each. `slot` and `nearest` as of others. */
typedef struct {
    int32_t weights[NEIGHBOURS], element, slot, nearest;
} partial;

/* An element whose ways back are taken point by point. */
typedef struct {
    partial own;
    float back[NEIGHBOURS];
} singly;

/* The elements that listen to a block of points: fully with a form, partly with a form, and without a form. */
typedef struct {
    ways_back *ways;
    int32_t *full;    /* elements */
    int32_t *slots;   /* where their forms are */
    int32_t *nearest; /* the fine samples nearest to their ways back */
    partial *partly;
    singly *singles;
    size_t full_count, partly_count, singles_count;
    /* For one transmission, channel by channel: the slot of a form or the number of a partial one, and where its window is. */
    int32_t *which, *windows;
} listeners;

/* Fields of the bounds of a block; see kernels.h. */
enum { FOOT, REACH = 3, INSIDE, MIDDLE, LEAST_WAY = 8, BOUNDS };

/* cos(pi x) from the square of x, 0 <= x <= 1; error below 1e-6. */
INLINE widef cosine_of_square(widef square) {
    widef cosine = wide_fma(square, wide_float(-0.0205772519f), wide_float(0.2296503634f));
    cosine = wide_fma(square, cosine, wide_float(-1.3323690891f));
    cosine = wide_fma(square, cosine, wide_float(4.0580410957f));
    cosine = wide_fma(square, cosine, wide_float(-4.9347453117f));
    return wide_fma(square, cosine, wide_float(0.9999992251f));
}

/* A window from the square of the share of a half aperture, FULL_WEIGHT at unity, twice each. */
INLINE wide32 weights_of_square(int window, widef square) {
    const wide32 inside = (wide32)(square <= APERTURE_EDGE * APERTURE_EDGE);
    if (window == SONOD_RECTANGULAR)
        return inside & wide_splat32(FULL_WEIGHT << 16 | FULL_WEIGHT);
    widef place = wide_least(square, 1.0f);
    if (window == SONOD_TUKEY) {
        const widef taper = wide_most(wide_root(place) * 4.0f - 3.0f, 0.0f);
        place = taper * taper;
    }
    const float ripple = window == SONOD_HAMMING ? 0.46f : 0.5f;
    const widef weight = (cosine_of_square(place) * ripple + (1.0f - ripple)) * (float)FULL_WEIGHT;
    return inside & wide_pairs(weight, weight);
}

/* Weights of an element for a block's points; returns 0 when it listens to none. */
static int weigh(const sonod_das_points *plan, size_t block, int32_t element, int32_t *restrict weights) {
    wide32 any = wide_splat32(0);
    for (size_t j = 0; j < plan->neighbours; j += WIDE) {
        const size_t own = block * plan->neighbours + j;
        const widef per_half = wide_load_floats(plan->per_half + own);
        widef square;
        if (plan->lateral) {
            square = per_half * plan->lateral[element];
            square = square * square;
        } else {
            const widef dx = wide_load_floats(plan->feet[0] + own) - plan->x[element];
            const widef dy = wide_load_floats(plan->feet[1] + own) - plan->y[element];
            const widef dz = wide_load_floats(plan->feet[2] + own) - plan->z[element];
            square = (dx * dx + dz * dz + dy * dy) * (per_half * per_half);
        }
        const wide32 weight = weights_of_square(plan->window, square);
        any |= weight;
        wide_store32(weights + j, weight);
    }
    return wide_any(any);
}

/* Ways back of an element to each point of a block, in fine samples. */
static void measure(const sonod_das_points *plan, size_t block, int32_t element, float *restrict back) {
    for (size_t half = 0; half < plan->neighbours / 8; half++) {
        const size_t own = block * plan->neighbours + 8 * half;
        if (plan->back) {
            store8(back + 8 * half, load8(plan->back + (size_t)element * plan->points + own));
            continue;
        }
        const v8f dx = load8(plan->places[0] + own) - splat8(plan->x[element]);
        const v8f dy = load8(plan->places[1] + own) - splat8(plan->y[element]);
        const v8f dz = load8(plan->places[2] + own) - splat8(plan->z[element]);
        store8(back + 8 * half, sqrt8(dx * dx + dz * dz + dy * dy) * splat8(plan->fine_per_metre));
    }
}

/* The ways back of elements at `dx`, `dy`, `dz` from the middle of a block, to second order: with the direction u and the
   length r of the way to the middle, r + u.q + (q.q - (u.q)^2) / 2 r for a point q from the middle. */
INLINE void find_forms(const sonod_das_points *plan, widef dx, widef dy, widef dz, widef square, int32_t *restrict out) {
    const widef length = wide_root(square), inverse = 1.0f / length, fine = length * plan->fine_per_metre;
    const widef nearest = wide_whole(fine);
    const widef ux = dx * inverse, uy = dy * inverse, uz = dz * inverse;
    const widef bend = inverse * (0.5f * BEND_UNIT / plan->fine_per_metre), twice = bend * -2.0f;
    wide_store32(out, wide_pairs(ux * DIRECTION_UNIT, uz * DIRECTION_UNIT));
    wide_store32(out + FORMS, wide_pairs(bend - bend * ux * ux, bend - bend * uz * uz));
    wide_store32(out + 2 * FORMS, wide_pairs(twice * ux * uz, (fine - nearest) * WITHIN_UNIT));
    if (!plan->planar) {
        wide_store32(out + 3 * FORMS, wide_pairs(uy * DIRECTION_UNIT, bend - bend * uy * uy));
        wide_store32(out + 4 * FORMS, wide_pairs(twice * ux * uy, twice * uy * uz));
    }
    wide_store32(out + NEAREST, __builtin_convertvector(nearest, wide32));
}

/* Those of WIDE numbers whose bit is set. */
INLINE void list_set(unsigned bits, wide32 numbers, int32_t *restrict out) {
#if WIDE == 16
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32((__mmask16)bits, (__m512i)numbers));
#else
    int32_t all[WIDE];
    wide_store32(all, numbers);
    for (size_t count = 0; bits; bits &= bits - 1)
        out[count++] = all[__builtin_ctz(bits)];
#endif
}

static const int32_t NUMBERS[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* Elements that listen to a block. */
static void find_listeners(const sonod_das_points *plan, size_t block, listeners *restrict out) {
    const float *bounds = plan->bounds + BOUNDS * block;
    const size_t elements = plan->common.elements;
    out->full_count = out->partly_count = out->singles_count = 0;
    for (size_t i = 0; i < elements; i += WIDE) {
        const widef x = wide_load_floats(plan->x + i), y = wide_load_floats(plan->y + i), z = wide_load_floats(plan->z + i);
        const widef fx = x - bounds[FOOT], fy = y - bounds[FOOT + 1], fz = z - bounds[FOOT + 2];
        const widef aside = fx * fx + fz * fz + fy * fy;
        unsigned listening = wide_at_most(aside, bounds[REACH]);
        if (elements - i < WIDE)
            listening &= (1u << (elements - i)) - 1;
        if (!listening)
            continue;
        const unsigned inside = listening & wide_at_most(aside, bounds[INSIDE]);
        const widef dx = bounds[MIDDLE] - x, dy = bounds[MIDDLE + 1] - y, dz = bounds[MIDDLE + 2] - z;
        const widef square = dx * dx + dz * dz + dy * dy;
        const unsigned formed = ~wide_at_most(square, bounds[LEAST_WAY]) & listening, full = formed & inside;
        const int32_t slot = (int32_t)(i / FORMS * (sizeof(ways_back) / sizeof(int32_t)) + i % FORMS);
        int32_t *ways = (int32_t *)out->ways + slot;
        if (formed)
            find_forms(plan, dx, dy, dz, square, ways);
        if (full) {
            const wide32 number = wide_load32(NUMBERS);
            list_set(full, number + wide_splat32((int32_t)i), out->full + out->full_count);
            list_set(full, number + wide_splat32(slot), out->slots + out->full_count);
            list_set(full, wide_load32(ways + NEAREST), out->nearest + out->full_count);
            out->full_count += (size_t)__builtin_popcount(full);
        }
        for (unsigned bits = formed & ~inside; bits; bits &= bits - 1) {
            partial *own = out->partly + out->partly_count;
            const int32_t lane = __builtin_ctz(bits);
            own->element = (int32_t)i + lane;
            own->slot = slot + lane;
            own->nearest = ways[NEAREST + lane];
            out->partly_count += (size_t)weigh(plan, block, own->element, own->weights);
        }
        for (unsigned bits = listening & ~formed; bits; bits &= bits - 1) {
            singly *own = out->singles + out->singles_count;
            own->own.element = (int32_t)i + __builtin_ctz(bits);
            if (inside & bits & -bits)
                for (size_t j = 0; j < plan->neighbours; j++)
                    own->own.weights[j] = FULL_WEIGHT << 16 | FULL_WEIGHT;
            else if (!weigh(plan, block, own->own.element, own->own.weights))
                continue;
            measure(plan, block, own->own.element, own->back);
            out->singles_count++;
        }
    }
    /* Lists are read in whole vectors. */
    wide_store32(out->full + out->full_count, wide_splat32(0));
}
