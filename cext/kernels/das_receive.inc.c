/* How the elements hear a block of points of a line: delays, phases and windows of the way back, as whole numbers.
   They do not depend on the transmission, and for lines that repeat against the array not on the line. */

/* Points of a block: 16, or 32 in the unit that is compiled for long blocks. */
#ifndef BLOCK
#define BLOCK 16
#endif
/* From the middle of a block to its last point, and the unit in which its numbers count points. */
#define LAST_POINT (0.5f * (BLOCK - 1))
#define POINT_UNIT (BLOCK / 2)
/* Phases and weights are 2^11 at unity: sixteen full-scale samples fit the sums. */
#define UNIT_WEIGHT 2048.0f
/* Delays are in fine samples times 2^15. */
#define DELAY_SHIFT 15
/* Paces beyond the common one, per half a block: with them, phases stay within 16 bits. */
#define PACE_UNIT (POINT_UNIT * 32768.0f)
/* Fields of the head of a block: where its entries start, how many there are, how many of the first and of the last have
   windows, how many elements have phases of their own for each point; the first element, or -1 where the others do not follow it one
   after the other; the least and the largest pace. */
enum { HEAD_START, HEAD_COUNT, HEAD_LEFT, HEAD_RIGHT, HEAD_STEEP, HEAD_FIRST, HEAD_SLOWEST, HEAD_FASTEST, HEAD_SIZE };

/* Numbers of an element in a block: delay, pace and number, and its phase to second or to third order. */
#define LEAST_FIELDS 5
#define MOST_FIELDS 6

/* Pieces of four points, in which elements are heard that turn or bend too much for the whole block: for each piece delay and
   pace, in a unit of two points, or NO_PIECE where the delay bends too much even for that; and the phase of each point. */
#define PIECES (BLOCK / 4)
#define PIECE_INTS 6
#define PIECE_LAST 1.5f
#define PIECE_UNIT 2
#define NO_PIECE INT32_MIN
/* How much a delay may bend from the middle of a piece to its end, in fine samples. */
#define LARGEST_PIECE_BEND 0.05f

/* A table with a number for each point of a block. */
#define EIGHT_POINTS(of, k) of(k), of((k) + 1), of((k) + 2), of((k) + 3), of((k) + 4), of((k) + 5), of((k) + 6), of((k) + 7)
#if BLOCK == 16
#define ALL_POINTS(of) {EIGHT_POINTS(of, 0), EIGHT_POINTS(of, 8)}
#else
#define ALL_POINTS(of) {EIGHT_POINTS(of, 0), EIGHT_POINTS(of, 8), EIGHT_POINTS(of, 16), EIGHT_POINTS(of, 24)}
#endif

#define FROM_MIDDLE(k) ((float)(k)-LAST_POINT)
static const float RAMP[BLOCK] = ALL_POINTS(FROM_MIDDLE);

/* -- windows of eight channels -- */

/* cos(pi x), 0 <= x <= 1. */
INLINE v8f cosine_half_turn(v8f x) {
    const v8f z = splat8(1.57079633f) * (splat8(1.0f) - x - x) * splat8(0.5f);
    /* cos(pi x) = sin(pi / 2 - pi x) = 2 sin(z') cos(z') with z' = pi / 4 - pi x / 2. */
    const v8f y = z * z;
    v8f s = fma8(y, splat8(2.75573192e-6f), splat8(-1.98412698e-4f));
    s = fma8(y, s, splat8(8.33333333e-3f));
    s = fma8(y, s, splat8(-1.66666667e-1f));
    s = fma8(y * s, z, z);
    v8f c = fma8(y, splat8(2.48015873e-5f), splat8(-1.38888889e-3f));
    c = fma8(y, c, splat8(4.16666667e-2f));
    c = fma8(y, c, splat8(-0.5f));
    c = fma8(y, c, splat8(1.0f));
    return splat8(2.0f) * s * c;
}

/* Window at `u`; 0 beyond the edge. */
INLINE v8f window8(int window, v8f u) {
    v8f weight = splat8(1.0f);
    const v8f bounded = min8(u, splat8(1.0f));
    if (window == SONOD_HANN)
        weight = fma8(splat8(0.5f), cosine_half_turn(bounded), splat8(0.5f));
    else if (window == SONOD_HAMMING)
        weight = fma8(splat8(0.46f), cosine_half_turn(bounded), splat8(0.54f));
    else if (window == SONOD_TUKEY)
        weight = fma8(splat8(0.5f), cosine_half_turn(max8(fma8(splat8(4.0f), bounded, splat8(-3.0f)), splat8(0))),
                      splat8(0.5f));
    return select8(u <= splat8(APERTURE_EDGE), weight, splat8(0));
}

/* sin and cos of 2 pi p, |p| <= 0.5, many at a time. */
#define TURN(name, vector, splat, multiply_add)                                                                        \
    INLINE void name(vector p, vector *sine, vector *cosine) {                                                         \
        const vector x = splat(3.14159265f) * p, y = x * x;                                                            \
        vector s = multiply_add(y, splat(-2.50521084e-8f), splat(2.75573192e-6f));                                     \
        s = multiply_add(y, s, splat(-1.98412698e-4f));                                                                \
        s = multiply_add(y, s, splat(8.33333333e-3f));                                                                 \
        s = multiply_add(y, s, splat(-1.66666667e-1f));                                                                \
        s = multiply_add(y * s, x, x);                                                                                 \
        vector c = multiply_add(y, splat(-2.75573192e-7f), splat(2.48015873e-5f));                                     \
        c = multiply_add(y, c, splat(-1.38888889e-3f));                                                                \
        c = multiply_add(y, c, splat(4.16666667e-2f));                                                                 \
        c = multiply_add(y, c, splat(-0.5f));                                                                          \
        c = multiply_add(y, c, splat(1.0f));                                                                           \
        *sine = splat(2.0f) * s * c;                                                                                   \
        *cosine = multiply_add(splat(-2.0f) * s, s, splat(1.0f));                                                      \
    }
TURN(turn8, v8f, splat8, fma8)
TURN(wide_turn, widef, wide_float, wide_fma)

INLINE v8f floor8(v8f x) {
    const v8f near = round8(x);
    return near - select8(near > x, splat8(1.0f), splat8(0));
}

INLINE int any8(v8i mask) {
#if defined(__AVX__)
    return _mm256_movemask_ps((__m256)mask);
#else
    int bits = 0;
    for (int i = 0; i < 8; i++)
        bits |= (mask[i] & 1) << i;
    return bits;
#endif
}

INLINE size_t in_eights(size_t n) { return (n + 7) & ~(size_t)7; }

/* Distance of every element from the foot of a line, or from the middle of the array; infinity where it looks away from
   the line, and beyond the last up to a whole eight. */
static void lateral_of_elements(const sonod_das_receive *plan, size_t line, float *restrict lateral) {
    const double *o = plan->origins + 3 * line, *d = plan->directions + 3 * line;
    const double foot = plan->feet[line], x0 = o[0] + foot * d[0], y0 = o[1] + foot * d[1], z0 = o[2] + foot * d[2];
    for (size_t i = 0; i < in_eights(plan->elements); i++) {
        lateral[i] = INFINITY;
        if (i >= plan->elements)
            continue;
        const double *e = plan->elements_m + 3 * i, *n = plan->normals + 3 * i;
        const double x = e[0] - x0, y = e[1] - y0, z = e[2] - z0;
        const float own = (float)sqrt(x * x + y * y + z * z);
        if (plan->lateral)
            lateral[i] = plan->lateral[i];
        else if (n[0] * d[0] + n[1] * d[1] + n[2] * d[2] > 0)
            lateral[i] = own;
    }
}

/* Middle of a block, the direction of its line, and 1 / half aperture at its points. */
typedef struct {
    float x, y, z, dx, dy, dz;
    const float *per_half;
    float middle; /* 1 / half aperture in the middle */
} block_place;

INLINE block_place place_block(const sonod_das_receive *plan, size_t line, size_t block) {
    const double *o = plan->origins + 3 * line, *d = plan->directions + 3 * line;
    const double middle = plan->first + ((double)(block * BLOCK) + (double)LAST_POINT) * plan->spacing;
    const float *per_half = plan->per_half + ((size_t)plan->half_of_line[line] * plan->blocks + block) * BLOCK;
    /* The aperture grows evenly, so its inverse in the middle is the harmonic mean of its neighbours'. */
    const float before = per_half[BLOCK / 2 - 1], behind = per_half[BLOCK / 2];
    return (block_place){(float)(o[0] + d[0] * middle), (float)(o[1] + d[1] * middle), (float)(o[2] + d[2] * middle),
                         (float)d[0], (float)d[1], (float)d[2], per_half, 2.0f * before * behind / (before + behind)};
}

/* A pair of 16-bit numbers from eight pairs of floats. */
INLINE v8i pairs16(v8f low, v8f high) {
    const v8i a = __builtin_convertvector(round8(low), v8i), b = __builtin_convertvector(round8(high), v8i);
    return (a & splat8i(0xffff)) | (b << 16);
}

/* Ints that any block may take: an element is in it as a whole, with windows, or in pieces, which are more. */
INLINE size_t most_receive_ints(const sonod_das_receive *plan) { return (1 + PIECES * PIECE_INTS) * plan->elements + 80; }

/* Floats of working memory for `receive_block`, and for the distances of one line. */
INLINE size_t receive_floats(const sonod_das_receive *plan) { return 5 * in_eights(plan->elements); }

/* Elements that are of some kind. */
typedef struct {
    size_t count;
    int32_t first, last;
} span;

INLINE void extend_span(span *own, size_t i, unsigned bits) {
    if (!bits)
        return;
    own->first = own->count ? own->first : (int32_t)i + __builtin_ctz(bits);
    own->last = (int32_t)i + 31 - __builtin_clz(bits);
    own->count += (size_t)__builtin_popcount(bits);
}

INLINE int is_dense(const span *own) { return !own->count || own->last - own->first + 1 == (int32_t)own->count; }

/* Weights of an element at the points of a block, 2^15 at unity; `inside`: unity, or a taper that is in its phase already. */
static void write_window(const sonod_das_receive *plan, const float *restrict per_half, float lateral, int inside,
                         int32_t *restrict out) {
    for (int eight = 0; eight < BLOCK / 8; eight++) {
        v8f w = splat8(1.0f);
        if (!inside)
            w = window8(plan->window, splat8(lateral) * load8(per_half + 8 * eight));
        const v8i whole = __builtin_convertvector(round8(w * splat8(32767.0f)), v8i);
        *(v8s_loose *)(out + 4 * eight) = (v8s_loose)__builtin_convertvector(whole, v8s);
    }
}

/* exp(i (a k + b k^2)) times c + i s to second order in k, a the turning and b the bending, or with `third` to third order;
   what is of higher order up to the fourth, or the fifth, goes to the lower ones as Legendre's polynomials take it over the
   block. */
typedef struct {
    v8f c, s, c1, s1, c2, s2, c3, s3;
} turned;
INLINE turned turn_on(v8f cycles, v8f turning, v8f bending, int third) {
    v8f s, c;
    turn8(cycles - round8(cycles), &s, &c);
    const v8f one = splat8(1.0f), square = turning * turning, cross = turning * bending, reach = splat8(LAST_POINT * LAST_POINT);
    const v8f fourth_re = fma8(square * square, splat8(1.0f / 24.0f), splat8(-0.5f) * bending * bending) * reach;
    const v8f fourth_im = splat8(-0.5f) * square * bending * reach;
    const v8f level_re = fma8(fourth_re, splat8(-3.0f / 35.0f) * reach, one);
    const v8f level_im = fourth_im * splat8(-3.0f / 35.0f) * reach;
    v8f rise_re = splat8(-0.6f) * cross * reach, rise_im = turning * fma8(square, splat8(-0.1f) * reach, one);
    v8f third_re = splat8(0), third_im = splat8(0);
    if (third) {
        const v8f fifth_re = square * cross * splat8(1.0f / 6.0f) * reach;
        const v8f fifth_im = turning * fma8(square * square, splat8(1.0f / 120.0f), splat8(-0.5f) * bending * bending) * reach;
        third_re = fma8(fifth_re, splat8(10.0f / 9.0f), -cross);
        third_im = fma8(fifth_im, splat8(10.0f / 9.0f), splat8(-1.0f / 6.0f) * square * turning);
        rise_re = fifth_re * splat8(-5.0f / 21.0f) * reach;
        rise_im = fma8(fifth_im, splat8(-5.0f / 21.0f) * reach, turning);
    }
    const v8f curve_re = fma8(fourth_re, splat8(6.0f / 7.0f), splat8(-0.5f) * square);
    const v8f curve_im = fma8(fourth_im, splat8(6.0f / 7.0f), bending);
    return (turned){fma8(c, level_re, -(s * level_im)), fma8(s, level_re, c * level_im), fma8(c, rise_re, -(s * rise_im)),
                    fma8(s, rise_re, c * rise_im),      fma8(c, curve_re, -(s * curve_im)), fma8(s, curve_re, c * curve_im),
                    fma8(c, third_re, -(s * third_im)), fma8(s, third_re, c * third_im)};
}

/* The fields of eight elements from number `i` on: five, or six where the phase is of third order. */
INLINE void fields_of(v8f delay, v8f own_pace, size_t i, const turned *phase, v8i fields[MOST_FIELDS]) {
    const v8i numbers = splat8i((int32_t)i) + (v8i){0, 1, 2, 3, 4, 5, 6, 7};
    const v8i paces = __builtin_convertvector(round8(own_pace * splat8(PACE_UNIT)), v8i);
    const v8f unit0 = splat8(UNIT_WEIGHT), unit1 = splat8(POINT_UNIT * UNIT_WEIGHT);
    const v8f unit2 = splat8((float)POINT_UNIT * POINT_UNIT * UNIT_WEIGHT);
    const v8f unit3 = splat8((float)POINT_UNIT * POINT_UNIT * POINT_UNIT * UNIT_WEIGHT);
    fields[0] = __builtin_convertvector(delay * splat8(32768.0f), v8i);
    fields[1] = (paces & splat8i(0xffff)) | (numbers << 16);
    fields[2] = pairs16(phase->c * unit0, -(phase->s * unit0));
    fields[3] = pairs16(phase->c1 * unit1, -(phase->s1 * unit1));
    fields[4] = pairs16(phase->c2 * unit2, -(phase->s2 * unit2));
    fields[5] = pairs16(phase->c3 * unit3, -(phase->s3 * unit3));
}

/* Distances of eight elements from number `i` on to a point of a block. */
INLINE v8f distance_of(const sonod_das_receive *plan, const block_place *place, float from_middle, size_t i) {
    const float along = from_middle * plan->spacing_float;
    const v8f dx = splat8(place->x + along * place->dx) - load8(plan->x + i);
    const v8f dy = splat8(place->y + along * place->dy) - load8(plan->y + i);
    const v8f dz = splat8(place->z + along * place->dz) - load8(plan->z + i);
    return sqrt8(max8(fma8(dx, dx, fma8(dy, dy, dz * dz)), splat8(1e-12f)));
}

/* Numbers of those of eight elements that have a bit, each `apart` ints from the one before. */
INLINE void write_lanes(v8i numbers, unsigned bits, size_t apart, int32_t *restrict to) {
    int32_t lanes[8];
    memcpy(lanes, &numbers, sizeof lanes);
    for (; bits; bits &= bits - 1, to += apart)
        *to = lanes[__builtin_ctz(bits)];
}

/* The pieces of those of eight elements that have a bit, from number `at` of `count` on: delays of all pieces, one element
   after the other, then paces, then phases of all points. */
static __attribute__((noinline)) void write_pieces(const sonod_das_receive *plan, const block_place *place, size_t i, unsigned bits,
                                                   const float *restrict lateral, float common, size_t at, size_t count,
                                                   int32_t *restrict out) {
    int32_t *delays = out + PIECES * at, *paces = delays + PIECES * count, *phases = out + 2 * PIECES * count + BLOCK * at;
    for (size_t piece = 0; piece < PIECES; piece++) {
        const float from_middle = (float)(4 * piece) + PIECE_LAST - LAST_POINT, along = from_middle * plan->spacing_float;
        const v8f dx = splat8(place->x + along * place->dx) - load8(plan->x + i);
        const v8f dy = splat8(place->y + along * place->dy) - load8(plan->y + i);
        const v8f dz = splat8(place->z + along * place->dz) - load8(plan->z + i);
        const v8f distance = distance_of(plan, place, from_middle, i), inverse = splat8(1.0f) / distance;
        const v8f slope = fma8(dx, splat8(place->dx), fma8(dy, splat8(place->dy), dz * splat8(place->dz))) * inverse;
        const v8f pace = slope * splat8(plan->fine_per_point) - splat8(common);
        const v8f bend = fma8(-slope, slope, splat8(1.0f)) * inverse * splat8(plan->bend);
        const v8i much = bend > splat8(LARGEST_PIECE_BEND / (PIECE_LAST * PIECE_LAST));
        const v8i delay = __builtin_convertvector(distance * splat8(plan->fine_per_metre * 32768.0f), v8i);
        write_lanes((much & splat8i(NO_PIECE)) | (~much & delay), bits, PIECES, delays + piece);
        write_lanes(__builtin_convertvector(round8(pace * splat8(PIECE_UNIT * 32768.0f)), v8i), bits, PIECES, paces + piece);
    }
    for (size_t point = 0; point < BLOCK; point++) {
        const float from_middle = (float)point - LAST_POINT;
        const v8f back = distance_of(plan, place, from_middle, i) * splat8(plan->fine_per_metre);
        const v8f cycles = (back - splat8(common * from_middle)) * splat8(plan->turns_per_fine);
        const v8f w = window8(plan->window, load8(lateral + i) * splat8(place->per_half[point])) * splat8(UNIT_WEIGHT);
        v8f s, c;
        turn8(cycles - round8(cycles), &s, &c);
        write_lanes(pairs16(c * w, -(s * w)), bits, BLOCK, phases + point);
    }
}

/* The elements of one block of a line: fills `head` (but for its start), the common pace of their delays in fine samples
   per point, and, unless NULL, `out`: delay, pace and number, and phase to second or third order of each, in the order of the
   elements; then the windows of the first and of the last ones, at the edges of the aperture; then the numbers of those
   that are taken in pieces, and their pieces. Where the elements or those without windows do not follow each other, all have
   windows. */
static void receive_block(const sonod_das_receive *plan, size_t line, size_t block, const float *restrict lateral,
                          float *restrict work, int32_t *restrict head, float *restrict common_pace,
                          int32_t *restrict out) {
    const size_t padded = in_eights(plan->elements);
    float *restrict delay = work, *restrict pace = work + padded, *restrict bend = work + 2 * padded;
    /* 1: plain, 2: edge, 4: steep, one number for each element. */
    int32_t *restrict part = (int32_t *)(work + 3 * padded);
    const block_place place = place_block(plan, line, block);
    const v8f first = splat8(place.per_half[0]), last = splat8(place.per_half[BLOCK - 1]), one = splat8(1.0f);
    const float narrowest = place.per_half[0] < place.per_half[BLOCK - 1] ? place.per_half[0] : place.per_half[BLOCK - 1];
    const v8f widest = splat8(1.0001f / narrowest);
    v8f slowest = splat8(1e30f), fastest = splat8(-1e30f);
    size_t begin = padded, end = 0;
    for (size_t i = 0; i < padded; i += 8) {
        const v8f own = load8(lateral + i);
        if (!any8(own <= widest))
            continue;
        for (; end < i && begin < padded; end += 8)
            store8i(part + end, splat8i(0));
        begin = begin < i ? begin : i;
        end = i + 8;
        const v8f dx = splat8(place.x) - load8(plan->x + i), dy = splat8(place.y) - load8(plan->y + i);
        const v8f dz = splat8(place.z) - load8(plan->z + i);
        const v8f distance = sqrt8(max8(fma8(dx, dx, fma8(dy, dy, dz * dz)), splat8(1e-12f))), inverse = one / distance;
        const v8f slope = fma8(dx, splat8(place.dx), fma8(dy, splat8(place.dy), dz * splat8(place.dz))) * inverse;
        const v8f own_pace = slope * splat8(plan->fine_per_point);
        const v8f own_bend = fma8(-slope, slope, one) * inverse * splat8(plan->bend);
        const v8f u0 = own * first, u1 = own * last, outer = max8(u0, u1), inner = min8(u0, u1);
        const v8i active = inner <= splat8(APERTURE_EDGE);
        v8i edge = outer > splat8(APERTURE_EDGE);
        if (plan->window != SONOD_RECTANGULAR) {
            const v8f knee = splat8(plan->window == SONOD_TUKEY ? 0.75f : 0.0f);
            const v8f quickest = splat8(plan->window == SONOD_TUKEY ? 0.04f : 0.2f);
            edge |= (outer > knee) & (outer - inner > quickest);
        }
        const v8i steep = own_bend * inverse * splat8(plan->bent_limit) > one;
        slowest = select8(active, min8(slowest, own_pace), slowest);
        fastest = select8(active, max8(fastest, own_pace), fastest);
        store8(delay + i, distance * splat8(plan->fine_per_metre));
        store8(pace + i, own_pace);
        store8(bend + i, own_bend);
        store8i(part + i, active & ((steep & 4) | (~steep & ((edge & 2) | (~edge & 1)))));
    }
    float low = slowest[0], high = fastest[0];
    for (int i = 1; i < 8; i++) {
        low = slowest[i] < low ? slowest[i] : low;
        high = fastest[i] > high ? fastest[i] : high;
    }
    const float common = low <= high ? 0.5f * (low + high) : 0;
    *common_pace = common;
    /* Which turn too fast for the second order is known only now. */
    span plain = {0, 0, -1}, blockwise = {0, 0, -1};
    size_t steep_count = 0;
    slowest = splat8(1e6f);
    fastest = splat8(-1e6f);
    for (size_t i = begin; i < end; i += 8) {
        const v8i kept = load8i(part + i);
        const v8f own = load8(pace + i) - splat8(common);
        const v8i quick = (kept != 0) & (max8(own, -own) > splat8(plan->largest_pace));
        const v8i now = (quick & 4) | (~quick & kept), either = (now == 1) | (now == 2);
        store8i(part + i, now);
        slowest = select8(either, min8(slowest, own), slowest);
        fastest = select8(either, max8(fastest, own), fastest);
        extend_span(&plain, i, (unsigned)any8(now == 1));
        extend_span(&blockwise, i, (unsigned)any8(either));
        steep_count += (size_t)__builtin_popcount((unsigned)any8(now == 4));
    }
    low = slowest[0], high = fastest[0];
    for (int i = 1; i < 8; i++) {
        low = slowest[i] < low ? slowest[i] : low;
        high = fastest[i] > high ? fastest[i] : high;
    }
    const size_t count = blockwise.count;
    const int dense = is_dense(&blockwise) && is_dense(&plain);
    const size_t left = dense && plain.count ? (size_t)(plain.first - blockwise.first) : count;
    const size_t right = dense && plain.count ? (size_t)(blockwise.last - plain.last) : 0;
    head[HEAD_COUNT] = (int32_t)count;
    head[HEAD_LEFT] = (int32_t)left;
    head[HEAD_RIGHT] = (int32_t)right;
    head[HEAD_STEEP] = (int32_t)steep_count;
    head[HEAD_FIRST] = dense && count ? blockwise.first : -1;
    head[HEAD_SLOWEST] = low <= high ? (int32_t)(low * PACE_UNIT - 1.0f) : 0;
    head[HEAD_FASTEST] = low <= high ? (int32_t)(high * PACE_UNIT + 1.0f) : 0;
    if (!out)
        return;
    const size_t fields = plan->fields;
    int32_t *restrict windows = out + fields * count, *restrict steep = windows + BLOCK / 2 * (left + right);
    int32_t *restrict pieces = steep + steep_count;
    size_t at = 0, in_pieces = 0;
    for (size_t i = begin; i < end; i += 8) {
        const v8i kept = load8i(part + i);
        const unsigned steep_bits = (unsigned)any8(kept == 4);
        for (unsigned rest = steep_bits; rest; rest &= rest - 1)
            *steep++ = (int32_t)i + __builtin_ctz(rest);
        if (steep_bits)
            write_pieces(plan, &place, i, steep_bits, lateral, common, in_pieces, steep_count, pieces);
        in_pieces += (size_t)__builtin_popcount(steep_bits);
        const unsigned bits = (unsigned)any8((kept == 1) | (kept == 2));
        if (!bits)
            continue;
        const v8f own = load8(pace + i) - splat8(common), from_foot = load8(lateral + i);
        const v8f radians = splat8(plan->radians_per_fine);
        turned phase = turn_on(load8(delay + i) * splat8(plan->turns_per_fine), own * radians, load8(bend + i) * radians,
                               fields > LEAST_FIELDS);
        if (plan->window != SONOD_RECTANGULAR) {
            const v8f u0 = from_foot * first, u2 = from_foot * last;
            const v8i tapered = (kept == 1) & (max8(u0, u2) > splat8(plan->window == SONOD_TUKEY ? 0.75f : 0.0f));
            if (any8(tapered)) {
                const v8f w0 = window8(plan->window, u0), w1 = window8(plan->window, from_foot * splat8(place.middle));
                const v8f w2 = window8(plan->window, u2);
                const v8f level = select8(tapered, w1, one);
                const v8f rise = select8(tapered, (w2 - w0) * splat8(0.5f / LAST_POINT), splat8(0));
                const v8f curve = select8(tapered, fma8(w0 + w2, splat8(0.5f), -w1) * splat8(1.0f / (LAST_POINT * LAST_POINT)), splat8(0));
                phase.c3 = fma8(phase.c3, level, fma8(phase.c2, rise, phase.c1 * curve));
                phase.s3 = fma8(phase.s3, level, fma8(phase.s2, rise, phase.s1 * curve));
                phase.c2 = fma8(phase.c2, level, fma8(phase.c1, rise, phase.c * curve));
                phase.s2 = fma8(phase.s2, level, fma8(phase.s1, rise, phase.s * curve));
                phase.c1 = fma8(phase.c1, level, phase.c * rise);
                phase.s1 = fma8(phase.s1, level, phase.s * rise);
                phase.c = phase.c * level;
                phase.s = phase.s * level;
            }
        }
        v8i values[MOST_FIELDS];
        fields_of(load8(delay + i), own, i, &phase, values);
        int32_t lanes[MOST_FIELDS][8];
        if (bits == 0xff) {
            for (size_t k = 0; k < fields; k++)
                store8i(out + k * count + at, values[k]);
        } else {
            memcpy(lanes, values, sizeof lanes);
            size_t to = at;
            for (unsigned rest = bits; rest; rest &= rest - 1, to++)
                for (size_t k = 0; k < fields; k++)
                    out[k * count + to] = lanes[k][__builtin_ctz(rest)];
        }
        for (unsigned rest = bits; rest; rest &= rest - 1, at++)
            if (at < left || at >= count - right) {
                const size_t lane = (size_t)__builtin_ctz(rest), own_window = at < left ? at : at + left + right - count;
                const int inside = part[i + lane] == 1;
                write_window(plan, place.per_half, lateral[i + lane], inside, windows + BLOCK / 2 * own_window);
            }
    }
}

/* All blocks of one line: counts them when the table is NULL, else fills it. */
static void das_receive(const sonod_das_receive *plan, size_t line) {
    const size_t padded = in_eights(plan->elements);
    float *work = sonod_scratch((receive_floats(plan) + padded) * sizeof(float));
    if (!work)
        return;
    float *lateral = work + receive_floats(plan);
    lateral_of_elements(plan, line, lateral);
    for (size_t block = 0; block < plan->blocks; block++) {
        const size_t own = block * plan->lines + line;
        int32_t *head = plan->heads + HEAD_SIZE * own;
        receive_block(plan, line, block, lateral, work, head, plan->paces + own,
                      plan->table ? plan->table + head[HEAD_START] : NULL);
    }
}
