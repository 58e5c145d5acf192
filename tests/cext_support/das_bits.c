/* Prints a checksum of what the delay-and-sum kernels of one instruction set make of made-up data, so that sets that
   this machine does not run by itself can be compared under an emulator; see tests/cext_support/cross.sh. Fails when two
   threads make something else than one. */
#define SONOD_ISA here
#include <stdio.h>
#include <stdlib.h>

#include "kernels.inc.c"

const sonod_kernels *sonod_kernels_current(void) { return &sonod_kernels_here; }

enum { LINES = 21, COUNT = 70, BLOCKS = 5, POINTS = 96, ELEMENTS = 40, PADDED = 40, TRANSMITS = 3, SAMPLES = 400, STEP = 3 };
enum { WIDTH = 400, ROW = 496, WORDS = 1056, TAPS = 8, HEADS = 8, MAGIC = 43691, SHIFT = 17 };

static uint32_t state = 1;
static double made_up(void) {
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 8) / (1 << 24) - 0.5;
}

static uint64_t checksum(const void *data, size_t bytes, uint64_t sum) {
    for (size_t i = 0; i < bytes; i++)
        sum = (sum ^ ((const uint8_t *)data)[i]) * UINT64_C(1099511628211);
    return sum;
}

enum { BUNDLES = 24, SINGLE_POINTS = BUNDLES * SONOD_NEIGHBOURS, FINE = 400, POINT_ROW = FINE + 2 * POINT_MARGIN };

/* Single points: bundles of neighbours, every fourth too wide to be taken together; elements with two channels or none; in one
   plane and not, with straight ways back and with given ones, in blocks of both sizes. */
static uint64_t points_checksum(uint64_t sum) {
    static float x[3][48], places[3][SINGLE_POINTS], feet[3][SINGLE_POINTS], per_half[SINGLE_POINTS], bounds[9 * BUNDLES], half_bounds[18 * BUNDLES], back[ELEMENTS * SINGLE_POINTS];
    static float there[TRANSMITS * SINGLE_POINTS], middles[TRANSMITS * BUNDLES], half_middles[2 * TRANSMITS * BUNDLES], weights[TRANSMITS * SINGLE_POINTS], turning[2 * FINE];
    static float coefficients[3 * TAPS], peaks[TRANSMITS * ELEMENTS], scales[2 * TRANSMITS], out[2 * SINGLE_POINTS];
    static float data[TRANSMITS * ELEMENTS * SAMPLES * 2], phases[2 * TRANSMITS];
    static int32_t order[SINGLE_POINTS], receive[TRANSMITS * ELEMENTS], map_of[TRANSMITS], map_first[2][ELEMENTS + 1];
    static int32_t map_traces[2][ELEMENTS + 16], starts[FINE], filters[FINE], planes[TRANSMITS * ELEMENTS * 3 * POINT_ROW];
    static uint8_t map_whole[2] = {1, 0};
    const float rate = 9740;
    memset(planes, 0, sizeof planes);
    for (int i = 0; i < ELEMENTS; i++) {
        x[0][i] = ((float)i - 19.5f) * 0.3e-3f;
        map_first[0][i] = map_first[1][i] = i;
        map_traces[0][i] = i * 3 * POINT_ROW;
        map_traces[1][i] = i / 2 * 3 * POINT_ROW;
    }
    map_first[0][ELEMENTS] = map_first[1][ELEMENTS] = ELEMENTS;
    map_first[1][7] = 8;
    for (int b = 0; b < BUNDLES; b++) {
        const float x0 = ((float)made_up()) * 8e-3f, z0 = 3e-3f + 0.6e-3f * (float)b, size = b % 4 ? 0.3e-3f : 4e-3f;
        float *own = bounds + 9 * b;
        own[0] = own[5] = x0;
        own[7] = z0;
        own[3] = z0 * z0 / 7;
        own[4] = z0 * z0 / 12;
        own[8] = b % 4 ? 4e-6f : INFINITY;
        for (int j = SONOD_NEIGHBOURS * b; j < SONOD_NEIGHBOURS * (b + 1); j++) {
            order[j] = (j * 17) % SINGLE_POINTS;
            places[0][j] = feet[0][j] = x0 + size * (float)made_up();
            places[2][j] = z0 + size * (float)made_up();
            per_half[j] = 3.0f / z0;
            for (int t = 0; t < TRANSMITS; t++) {
                there[t * SINGLE_POINTS + j] = places[2][j] * rate * 0.9f + places[0][j] * rate * 0.1f * (float)t;
                weights[t * SINGLE_POINTS + j] = 0.5f + (float)made_up();
                middles[t * BUNDLES + b] = rintf(z0 * rate * 0.9f);
            }
            for (int e = 0; e < ELEMENTS; e++)
                back[e * SINGLE_POINTS + j] = (z0 + (float)made_up() * 1e-3f) * rate;
        }
    }
    for (int t = 0; t < TRANSMITS; t++) {
        map_of[t] = t % 2;
        phases[2 * t] = 1;
        for (int c = 0; c < ELEMENTS; c++)
            receive[t * ELEMENTS + c] = c;
    }
    for (size_t i = 0; i < sizeof data / sizeof *data; i++)
        data[i] = (float)made_up();
    for (int i = 0; i < 3 * TAPS; i++)
        coefficients[i] = (float)made_up();
    for (int i = 0; i < FINE; i++) {
        starts[i] = i * 4 / 5;
        turning[2 * i] = turning[2 * i + 1] = 0.7f;
    }
    for (int window = SONOD_RECTANGULAR; window <= SONOD_TUKEY; window++)
        for (int kind = 0; kind < 4; kind++) {
            for (int b = 0; b < BUNDLES; b++) {
                bounds[9 * b + 4] = window == SONOD_RECTANGULAR ? bounds[9 * b + 3] / 2 : -1;
                bounds[9 * b + 8] = b % 4 && kind != 2 ? 4e-6f : INFINITY;
            }
            /* Of the fourth kind, blocks are halves. */
            for (int i = 0; i < 18 * BUNDLES; i++)
                half_bounds[i] = bounds[i / 18 * 9 + i % 9];
            for (int i = 0; i < 2 * TRANSMITS * BUNDLES; i++)
                half_middles[i] = middles[i / 2];
            for (int i = 0; i < ELEMENTS; i++)
                x[1][i] = kind == 1 ? 0.1e-3f * (float)(i % 5) : 0;
            sonod_das_points plan = {
                .common = {.transmits = TRANSMITS, .channels = ELEMENTS, .samples = SAMPLES, .elements = ELEMENTS,
                           .receive = receive, .map_row = ELEMENTS + 16, .map_of = map_of, .map_first = map_first[0],
                           .map_traces = map_traces[0], .map_whole = map_whole, .width = FINE, .row = POINT_ROW, .taps = TAPS,
                           .coefficients = coefficients, .starts = starts, .filters = filters, .end_at = SAMPLES,
                           .bound = 12.0f, .peaks = peaks, .scales = scales, .inverse_scales = scales + TRANSMITS,
                           .group = TRANSMITS, .planes = planes, .factor = 1, .data = data, .out = out},
                .points = SINGLE_POINTS, .neighbours = kind < 3 ? SONOD_NEIGHBOURS : SONOD_NEIGHBOURS / 2, .order = order, .x = x[0], .y = x[1], .z = x[2],
                .places = {places[0], places[1], places[2]},
                .feet = {feet[0], feet[1], feet[2]}, .per_half = per_half, .bounds = kind < 3 ? bounds : half_bounds, .window = window,
                .planar = kind == 0 || kind == 3, .fine_per_metre = rate, .back = kind == 2 ? back : NULL, .there = there,
                .middles = kind < 3 ? middles : half_middles, .weights = kind ? weights : NULL, .turning = turning, .wave_phases = phases,
                .turn = {0x0800 | (int32_t)(0xf79fu << 16), 0xfb9e | 0x0300 << 16, 0x0180 | (int32_t)(0xffa0u << 16)}};
            sonod_run_das_points(&plan);
            sum = checksum(out, sizeof out, sum);
            double energy = 0;
            for (int i = 0; i < 2 * SINGLE_POINTS; i++)
                energy += (double)out[i] * out[i];
            if (!(energy > 0))
                exit(1);
        }
    return checksum(planes, sizeof planes, sum);
}

/* In blocks of so many points, from planes of three rows, STEP for each point, or of four, one for each. */
static uint64_t sum_of(int points, int rows, size_t fields, uint64_t sum) {
    const int step = rows == 3 ? STEP : 1;
    const sonod_block_kernels *kernels = points == 32 ? sonod_kernels_here.blocks_32 : &sonod_kernels_here.blocks_16;
    const int blocks = (COUNT + points - 1) / points;
    const float last = 0.5f * (float)(points - 1);
    static double origins[3 * LINES], directions[3 * LINES], feet[LINES], elements[3 * ELEMENTS], normals[3 * ELEMENTS];
    static float x[3][PADDED], per_half[POINTS], paces[LINES * BLOCKS], phases[TRANSMITS * LINES * BLOCKS];
    static int32_t half_of_line[LINES], heads[LINES * BLOCKS * HEADS], table[LINES * BLOCKS * (49 * ELEMENTS + 160)];
    static int32_t class_of[LINES], shift[LINES], receive[TRANSMITS * ELEMENTS], map_of[TRANSMITS];
    static int32_t map_first[2 * (ELEMENTS + 1)], map_traces[2 * (ELEMENTS + 16)], kind[TRANSMITS * LINES * BLOCKS];
    static int32_t ways[TRANSMITS * LINES * BLOCKS], weight_kind[TRANSMITS * LINES * BLOCKS];
    static uint8_t mirrored[LINES], map_whole[2], whole[TRANSMITS * LINES * BLOCKS];
    static double time[TRANSMITS * LINES * COUNT], t0[TRANSMITS];
    static float quadratic[3 * TRANSMITS * LINES * BLOCKS], data[TRANSMITS * ELEMENTS * SAMPLES * 2], out[LINES * COUNT * 2];
    static float peaks[TRANSMITS * ELEMENTS], scales[2 * TRANSMITS], turns[TRANSMITS], none[32];
    static int32_t order[LINES], starts[STEP * WIDTH], table_of[STEP * WIDTH / 16], places[STEP * WIDTH / 4], picks[16], pairs[8 * 3 * 16];
    static int32_t fine_at[BLOCKS + 1], pieces[2 * (BLOCKS + 1)];
    static float efforts[BLOCKS];
    static int32_t planes[TRANSMITS * ELEMENTS * STEP * 3 * ROW];
    const double speed = 1540, pitch = 0.3e-3, spacing = 70e-6, fine = step / (2 * spacing * 0.98 / speed), carrier = 5e6;
    for (int i = 0; i < ELEMENTS; i++) {
        elements[3 * i] = (i - 19.5) * pitch;
        normals[3 * i + 2] = 1;
        x[0][i] = (float)elements[3 * i];
        for (int m = 0; m < 2; m++)
            map_first[m * (ELEMENTS + 1) + i] = i, map_traces[m * (ELEMENTS + 16) + i] = (m ? ELEMENTS - 1 - i : i) * step * rows * ROW;
    }
    map_first[ELEMENTS] = map_first[2 * ELEMENTS + 1] = ELEMENTS;
    map_whole[0] = map_whole[1] = 1;
    for (int i = 0; i < LINES; i++) {
        origins[3 * i] = (i - 10) * 0.41e-3;
        directions[3 * i + 2] = 1;
        class_of[i] = order[i] = i;
    }
    for (int j = 0; j < POINTS; j++) {
        const double half = (2e-3 + j * spacing) / 2.6;
        per_half[j] = (float)(1 / (half > pitch ? half : pitch));
    }
    for (int t = 0; t < TRANSMITS; t++) {
        for (int c = 0; c < ELEMENTS; c++)
            receive[t * ELEMENTS + c] = c;
        for (int i = 0; i < LINES; i++)
            for (int j = 0; j < COUNT; j++)
                time[(t * LINES + i) * COUNT + j] = (2e-3 + j * spacing + 0.1 * t * origins[3 * i]) / speed;
    }
    for (size_t i = 0; i < sizeof data / sizeof *data; i++)
        data[i] = (float)made_up();
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        pairs[i] = ((int32_t)(made_up() * 8192) & 0xffff) | (int32_t)(made_up() * 8192) * 65536;
    for (int i = 0; i < step * WIDTH; i++) {
        starts[i] = i / 16 * 12 + i % 16 * 3 / 4 - 3;
        places[i / 4] = i / 4 % step * 3 * ROW + i / 4 / step * 4;
    }
    for (int i = 0; i < 16; i++)
        picks[i] = (starts[i] + 3) | (starts[i] + 4) << 16;
    for (int i = 0; i < TRANSMITS * LINES * BLOCKS; i++)
        weight_kind[i] = -1;
    memset(planes, 0, sizeof planes);
    for (int b = 0; b < blocks; b++) {
        efforts[b] = 1.0f / (float)blocks;
        fine_at[b + 1] = step * WIDTH * (b + 1) / blocks;
    }
    const float turn = (float)(carrier / fine), rate = (float)(fine / speed);
    for (int window = SONOD_RECTANGULAR; window <= SONOD_TUKEY; window++) {
        sonod_das_receive hear = {
            .lines = LINES, .block_points = (size_t)points, .blocks = (size_t)blocks, .count = COUNT, .elements = ELEMENTS, .origins = origins,
            .directions = directions, .first = 2e-3, .spacing = spacing, .spacing_float = (float)spacing, .feet = feet,
            .elements_m = elements, .normals = normals, .x = x[0], .y = x[1], .z = x[2], .half_of_line = half_of_line,
            .per_half = per_half, .window = window, .fine_per_metre = rate, .fine_per_point = rate * (float)spacing,
            .bend = 0.5f * rate * (float)(spacing * spacing), .bent_limit = 6.28f * turn * last * last * last * (float)spacing / 0.03f,
            .turns_per_fine = turn, .radians_per_fine = 6.2831853f * turn, .largest_pace = 0.7f / (6.28f * turn) / last, .fields = fields,
            .heads = heads, .paces = paces};
        for (size_t i = 0; i < LINES; i++)
            kernels->das_receive(&hear, i);
        for (int32_t i = 0, at = 0; i < LINES * blocks; i++) {
            int32_t *head = heads + HEADS * i;
            head[0] = at;
            at += (int32_t)fields * head[1] + points / 2 * (head[2] + head[3]) + head[4] * (1 + points / 4 * 6);
        }
        hear.table = table;
        for (size_t i = 0; i < LINES; i++)
            kernels->das_receive(&hear, i);
        sonod_das_times waves = {.transmits = TRANSMITS, .lines = LINES, .block_points = (size_t)points, .count = COUNT, .row = COUNT, .step = (size_t)step, .time = time,
                                 .time_is_double = 1, .t0 = t0, .fine_rate = fine, .demodulation = carrier, .tolerance = 0.1,
                                 .quadratic = quadratic, .ways = ways, .kind = kind, .phases = phases, .whole = whole};
        for (size_t i = 0; i < TRANSMITS * LINES; i++)
            kernels->das_times(&waves, i);
        for (int passing = 0; passing < 2; passing++) {
            const int taps = points == 32 ? 8 : 12;
            sonod_das_blocks plan = {
                .receive_table = hear, .lines = LINES, .transmits = TRANSMITS, .channels = ELEMENTS, .samples = SAMPLES,
                .elements = ELEMENTS, .order = order, .class_of = class_of, .shift = shift, .mirrored = mirrored, .receive = receive,
                .map_row = ELEMENTS + 16, .map_of = map_of, .map_first = map_first, .map_traces = map_traces,
                .map_whole = map_whole, .step = (size_t)step, .width = WIDTH, .row = ROW, .rows = (size_t)rows,
                .step_magic = step == 1 ? 0 : MAGIC, .step_shift = step == 1 ? 0 : SHIFT, .largest_drift = (int32_t)(0.4f / last * (float)points * 16384.0f),
                .resampling = {.taps = (size_t)taps, .fine = (size_t)(step * WIDTH), .words = WORDS, .coefficients = pairs, .starts = starts,
                               .table_of = table_of, .run = rows == 3 ? 4 : 16, .places = places, .picks = passing ? NULL : picks, .headroom = 3},
                .end_at = SAMPLES, .bound = 12.0f, .peaks = peaks, .scales = scales,
                .inverse_scales = scales + TRANSMITS, .wave_turns = turns, .time_kind = kind, .weight_kind = weight_kind,
                .quadratic = quadratic, .ways = ways, .phases = phases, .time_points = none, .weight_points = none,
                .group = TRANSMITS, .planes = planes, .factor = 1, .data = data, .out = out, .out_row = COUNT,
                .efforts = efforts, .fine_at = fine_at, .first_piece = pieces, .piece_lines = pieces + BLOCKS + 1};
            if (passing)
                plan.receive_table.table = NULL;
            sonod_run_das_blocks(&plan);
            sum = checksum(out, sizeof out, sum);
        }
        sum = checksum(planes, sizeof planes, sum);
        double energy = 0;
        for (size_t i = 0; i < sizeof out / sizeof *out; i++)
            energy += (double)out[i] * out[i];
        if (!(energy > 0))
            exit(1);
    }
    return sum;
}

/* Of all kernels, on so many threads. */
static uint64_t sum_on(int threads) {
    uint64_t sum = UINT64_C(14695981039346656037);
    state = 1;
    if (sonod_threads_set(threads))
        exit(1);
    for (int rows = 3; rows <= 4; rows++)
        for (size_t fields = 5; fields <= 6; fields++)
            sum = sum_of(32, rows, fields, sum_of(16, rows, fields, sum));
    return points_checksum(sum);
}

int main(void) {
    const uint64_t sum = sum_on(1);
    printf("%016llx\n", (unsigned long long)sum);
    return sum_on(2) != sum;
}
