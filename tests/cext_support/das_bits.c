/* Prints a checksum of what the delay-and-sum kernels of one instruction set make of made-up data, so that sets that
   this machine does not run by itself can be compared under an emulator; see tests/cext_support/cross.sh. */
#define SONOD_ISA here
#include <stdio.h>
#include <stdlib.h>

#include "kernels.inc.c"

const sonod_kernels *sonod_kernels_current(void) { return &sonod_kernels_here; }

enum { LINES = 21, COUNT = 70, BLOCKS = 5, POINTS = 96, ELEMENTS = 40, PADDED = 40, TRANSMITS = 3, SAMPLES = 400, STEP = 3 };
enum { WIDTH = 400, ROW = 496, TAPS = 8, HEADS = 8, MAGIC = 43691, SHIFT = 17 };

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

/* In blocks of so many points. */
static uint64_t sum_of(int points, uint64_t sum) {
    const sonod_block_kernels *kernels = points == 32 ? sonod_kernels_here.blocks_32 : &sonod_kernels_here.blocks_16;
    const int blocks = (COUNT + points - 1) / points;
    const float last = 0.5f * (float)(points - 1);
    static double origins[3 * LINES], directions[3 * LINES], feet[LINES], elements[3 * ELEMENTS], normals[3 * ELEMENTS];
    static float x[3][PADDED], per_half[POINTS], paces[LINES * BLOCKS], phases[TRANSMITS * LINES * BLOCKS];
    static int32_t half_of_line[LINES], heads[LINES * BLOCKS * HEADS], table[LINES * BLOCKS * (14 * ELEMENTS + 160)];
    static int32_t class_of[LINES], shift[LINES], receive[TRANSMITS * ELEMENTS], map_of[TRANSMITS];
    static int32_t map_first[2 * (ELEMENTS + 1)], map_traces[2 * (ELEMENTS + 16)], kind[TRANSMITS * LINES * BLOCKS];
    static int32_t ways[TRANSMITS * LINES * BLOCKS], weight_kind[TRANSMITS * LINES * BLOCKS];
    static uint8_t mirrored[LINES], map_whole[2], whole[TRANSMITS * LINES * BLOCKS];
    static double time[TRANSMITS * LINES * COUNT], t0[TRANSMITS];
    static float quadratic[3 * TRANSMITS * LINES * BLOCKS], data[TRANSMITS * ELEMENTS * SAMPLES * 2], out[LINES * COUNT * 2];
    static float coefficients[3 * TAPS], peaks[TRANSMITS * ELEMENTS], scales[2 * TRANSMITS], turns[TRANSMITS], none[32];
    static int32_t order[LINES];
    static int32_t starts[STEP * WIDTH], filters[STEP * WIDTH], planes[TRANSMITS * ELEMENTS * STEP * 3 * ROW];
    const double speed = 1540, pitch = 0.3e-3, spacing = 70e-6, fine = STEP / (2 * spacing * 0.98 / speed), carrier = 5e6;
    for (int i = 0; i < ELEMENTS; i++) {
        elements[3 * i] = (i - 19.5) * pitch;
        normals[3 * i + 2] = 1;
        x[0][i] = (float)elements[3 * i];
        for (int m = 0; m < 2; m++)
            map_first[m * (ELEMENTS + 1) + i] = i, map_traces[m * (ELEMENTS + 16) + i] = (m ? ELEMENTS - 1 - i : i) * STEP * 3 * ROW;
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
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < TAPS; k++)
            coefficients[TAPS * i + k] = (float)made_up();
    for (int p = 0; p < STEP; p++)
        for (int j = 0; j < WIDTH; j++)
            starts[p * WIDTH + j] = (j * STEP + p) / 3;
    for (int i = 0; i < TRANSMITS * LINES * BLOCKS; i++)
        weight_kind[i] = -1;
    const float turn = (float)(carrier / fine), rate = (float)(fine / speed);
    for (int window = SONOD_RECTANGULAR; window <= SONOD_TUKEY; window++) {
        sonod_das_receive hear = {
            .lines = LINES, .block_points = (size_t)points, .blocks = (size_t)blocks, .count = COUNT, .elements = ELEMENTS, .origins = origins,
            .directions = directions, .first = 2e-3, .spacing = spacing, .spacing_float = (float)spacing, .feet = feet,
            .elements_m = elements, .normals = normals, .x = x[0], .y = x[1], .z = x[2], .half_of_line = half_of_line,
            .per_half = per_half, .window = window, .fine_per_metre = rate, .fine_per_point = rate * (float)spacing,
            .bend = 0.5f * rate * (float)(spacing * spacing), .bent_limit = 6.28f * turn * last * last * last * (float)spacing / 0.03f,
            .turns_per_fine = turn, .radians_per_fine = 6.2831853f * turn, .largest_pace = 0.7f / (6.28f * turn) / last,
            .heads = heads, .paces = paces};
        for (size_t i = 0; i < LINES; i++)
            kernels->das_receive(&hear, i);
        for (int32_t i = 0, at = 0; i < LINES * blocks; i++) {
            int32_t *head = heads + HEADS * i;
            head[0] = at;
            at += 5 * head[1] + points / 2 * (head[2] + head[3]) + head[4];
        }
        hear.table = table;
        for (size_t i = 0; i < LINES; i++)
            kernels->das_receive(&hear, i);
        sonod_das_times waves = {.transmits = TRANSMITS, .lines = LINES, .block_points = (size_t)points, .count = COUNT, .step = STEP, .time = time,
                                 .time_is_double = 1, .t0 = t0, .fine_rate = fine, .demodulation = carrier, .tolerance = 0.1,
                                 .quadratic = quadratic, .ways = ways, .kind = kind, .phases = phases, .whole = whole};
        for (size_t i = 0; i < TRANSMITS * LINES; i++)
            kernels->das_times(&waves, i);
        for (int passing = 0; passing < 2; passing++) {
            sonod_das_blocks plan = {
                .receive_table = hear, .lines = LINES, .transmits = TRANSMITS, .channels = ELEMENTS, .samples = SAMPLES,
                .elements = ELEMENTS, .order = order, .class_of = class_of, .shift = shift, .mirrored = mirrored, .receive = receive,
                .map_row = ELEMENTS + 16, .map_of = map_of, .map_first = map_first, .map_traces = map_traces,
                .map_whole = map_whole, .step = STEP, .width = WIDTH, .row = ROW, 
                .step_magic = MAGIC, .step_shift = SHIFT, .largest_drift = (int32_t)(0.4f / last * (float)points * 16384.0f), .taps = TAPS, .coefficients = coefficients,
                .starts = starts, .filters = filters, .end_at = SAMPLES, .bound = 12.0f, .peaks = peaks, .scales = scales,
                .inverse_scales = scales + TRANSMITS, .wave_turns = turns, .time_kind = kind, .weight_kind = weight_kind,
                .quadratic = quadratic, .ways = ways, .phases = phases, .time_points = none, .weight_points = none,
                .group = TRANSMITS, .planes = planes, .factor = 1, .data = data, .out = out};
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

int main(void) {
    printf("%016llx\n", (unsigned long long)sum_of(32, sum_of(16, UINT64_C(14695981039346656037))));
    return 0;
}
