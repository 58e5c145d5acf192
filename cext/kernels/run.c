/* Kernels over a whole array: which bands exist, and the pool that works on them. Bands never share output. */
#include <math.h>

#include "kernels.h"
#include "planes.h"
#include "threads.h"

/* Elements of a flat array that one band of an elementwise kernel takes. */
#define FLAT_BAND ((size_t)16384)

#define FOR_EACH(kernel, plan_type, how_many)                                                                          \
    static void one_##kernel(void *plan, size_t index) { sonod_kernels_current()->kernel(plan, index); }               \
    void sonod_run_##kernel(const plan_type *plan) { sonod_parallel(how_many, one_##kernel, (void *)plan); }

FOR_EACH(filter, sonod_filter, plan->transmits *plan->channels)
FOR_EACH(baseband, sonod_baseband, plan->transmits *plan->channels)
FOR_EACH(das_exact, sonod_das_exact, plan->lines)
FOR_EACH(compress, sonod_compress, (plan->rows + SONOD_COMPRESS_ROWS - 1) / SONOD_COMPRESS_ROWS)
FOR_EACH(scan_convert, sonod_scan_convert, plan->rows)

static const sonod_block_kernels *block_kernels(size_t block_points) {
    const sonod_kernels *kernels = sonod_kernels_current();
    return block_points == 32 ? kernels->blocks_32 : &kernels->blocks_16;
}

static void one_das_receive(void *plan, size_t line) {
    block_kernels(((const sonod_das_receive *)plan)->block_points)->das_receive(plan, line);
}
void sonod_run_das_receive(const sonod_das_receive *plan) { sonod_parallel(plan->lines, one_das_receive, (void *)plan); }

static void one_das_times(void *plan, size_t index) {
    block_kernels(((const sonod_das_times *)plan)->block_points)->das_times(plan, index);
}
void sonod_run_das_times(const sonod_das_times *plan) {
    sonod_parallel(plan->transmits * plan->lines, one_das_times, (void *)plan);
}

static void one_adaptive_resample(void *plan, size_t trace) { sonod_kernels_current()->adaptive_resample(plan, trace); }
static void one_adaptive(void *plan, size_t group) { sonod_kernels_current()->adaptive(plan, group); }

void sonod_run_adaptive(const sonod_adaptive *plan) {
    sonod_parallel(plan->transmits * plan->channels, one_adaptive_resample, (void *)plan);
    sonod_parallel((plan->lines + SONOD_ADAPTIVE_LINES - 1) / SONOD_ADAPTIVE_LINES, one_adaptive, (void *)plan);
}

/* Bands of lines for each thread, when there are several: few, for lines share the samples of their depth and mirrored
   ones their table; more than one, for they differ in work. A single thread takes all in one. */
#define BANDS_PER_THREAD ((size_t)2)
/* Lines of a band: at most what keeps its sums in the second cache; in sixteens. */
#define MOST_BAND_LINES ((size_t)512)
#define BAND_STEP ((size_t)16)

typedef struct {
    const sonod_das_blocks *plan;
    size_t first, count, band_lines;
} transmit_group;

/* Powers of two that bring transmissions to 16 bits, and back from sums of products with weights of 2^11. */
static void choose_scales(const sonod_das_blocks *plan, size_t first, size_t count) {
    for (size_t t = first; t < first + count; t++) {
        float peak = 0;
        for (size_t c = 0; c < plan->channels; c++) {
            const float own = plan->receive[t * plan->channels + c] < 0 ? 0 : plan->peaks[t * plan->channels + c];
            peak = own > peak ? own : peak;
        }
        int exponent = 0;
        if (peak > 0)
            frexpf((peak < 1e34f ? peak : 1e34f) * plan->bound, &exponent);
        exponent = exponent < -100 ? -100 : exponent;
        plan->scales[t] = ldexpf(1.0f, 15 - exponent);
        plan->inverse_scales[t] = plan->factor / (plan->scales[t] * 2048.0f);
    }
}

/* Traces of so many transmissions of a group are rounded before they are resampled. */
typedef struct {
    const transmit_group *group;
    size_t first;
} rounded_traces;

static void one_round(void *context, size_t trace) {
    const rounded_traces *own = context;
    sonod_kernels_current()->das_round(own->group->plan, own->group->first + own->first, trace);
}

static void one_resample(void *context, size_t party) {
    const rounded_traces *own = context;
    sonod_kernels_current()->das_resample(own->group->plan, own->group->first, own->first, party);
}

typedef void (*spread)(size_t count, void (*one)(void *context, size_t index), void *context);

static void by_one_thread(size_t count, void (*one)(void *context, size_t index), void *context) {
    for (size_t index = 0; index < count; index++)
        one(context, index);
}

/* Resamples so many transmissions of a group at a time; a single thread one, so that rounded samples stay in its cache. */
static void resample_group(const transmit_group *group, size_t together, spread each) {
    const size_t channels = group->plan->channels;
    for (size_t first = 0; first < group->count; first += together) {
        rounded_traces own = {group, first};
        each(together * channels, one_round, &own);
        choose_scales(group->plan, group->first + first, together);
        each(together * ((channels + SONOD_RESAMPLED - 1) / SONOD_RESAMPLED), one_resample, &own);
    }
}

static void one_band(void *context, size_t band) {
    const transmit_group *group = context;
    const size_t begin = band * group->band_lines, end = begin + group->band_lines;
    block_kernels(group->plan->receive_table.block_points)
        ->das_blocks(group->plan, group->first, group->count, begin, end < group->plan->lines ? end : group->plan->lines);
}

static size_t first_of(const sonod_das_blocks *plan, size_t group) {
    return group * plan->group < plan->transmits ? group * plan->group : plan->transmits;
}

/* A group of transmissions by all threads: each resamples some channels, then takes some bands of lines. */
static void run_together(const sonod_das_blocks *plan, size_t group, size_t lines) {
    sonod_das_blocks own = *plan;
    own.adding = group > 0;
    transmit_group shared = {&own, first_of(plan, group), first_of(plan, group + 1) - first_of(plan, group), lines};
    resample_group(&shared, sonod_threads_count() > 1 ? shared.count : 1, sonod_parallel);
    sonod_parallel((plan->lines + lines - 1) / lines, one_band, &shared);
}

/* Groups that follow each other, one for each lane. */
typedef struct {
    const sonod_das_blocks *plan;
    size_t group;
} lane_round;

/* A group of transmissions by one thread: what it resamples stays in the caches of its core. */
static void one_lane(void *context, size_t lane) {
    const lane_round *round = context;
    const sonod_das_blocks *plan = round->plan;
    const size_t first = first_of(plan, round->group + lane), count = first_of(plan, round->group + lane + 1) - first;
    sonod_das_blocks own = *plan;
    own.planes += lane * plan->group * plan->channels * plan->step * plan->rows * plan->row;
    own.resampling.rounded += lane * plan->group * plan->channels * 2 * plan->resampling.words;
    own.adding = !lane && round->group;
    if (lane) {
        own.out_row = plan->receive_table.count;
        own.out = plan->partial + (lane - 1) * 2 * plan->lines * own.out_row;
    }
    transmit_group alone = {&own, first, count, MOST_BAND_LINES};
    resample_group(&alone, 1, by_one_thread);
    for (size_t band = 0; band * MOST_BAND_LINES < plan->lines; band++)
        one_band(&alone, band);
}

/* Adds to a line what the other lanes made, in the order of the transmissions. */
static void one_sum(void *context, size_t line) {
    const sonod_das_blocks *plan = context;
    const size_t count = 2 * plan->receive_table.count;
    float *restrict out = plan->out + 2 * line * plan->out_row;
    for (size_t lane = 1; lane < plan->lanes; lane++) {
        const float *restrict own = plan->partial + ((lane - 1) * plan->lines + line) * count;
        for (size_t i = 0; i < count; i++)
            out[i] += own[i];
    }
}

void sonod_run_das_blocks(const sonod_das_blocks *plan) {
    const size_t threads = (size_t)sonod_threads_count(), groups = (plan->transmits + plan->group - 1) / plan->group;
    const size_t bands = threads > 1 ? threads * BANDS_PER_THREAD : 1, wanted = (plan->lines + bands - 1) / bands;
    const size_t bounded = wanted < MOST_BAND_LINES ? wanted : MOST_BAND_LINES;
    const size_t lines = (bounded + BAND_STEP - 1) / BAND_STEP * BAND_STEP;
    size_t group = 0;
    /* Sums over groups are the same, whoever makes them. */
    if (threads > 1 && threads == plan->lanes)
        for (; group + plan->lanes <= groups; group += plan->lanes) {
            lane_round round = {plan, group};
            sonod_parallel(plan->lanes, one_lane, &round);
            sonod_parallel(plan->lines, one_sum, (void *)plan);
        }
    for (; group < groups; group++)
        run_together(plan, group, lines);
}

/* Single points that are one piece of work. */
#define POINT_BAND ((size_t)512)

typedef struct {
    const sonod_das_points *plan;
    size_t first, count;
} point_group;

static void one_peak(void *plan, size_t trace) { sonod_kernels_current()->das_peak(plan, trace); }

static void one_points_resample(void *context, size_t party) {
    const point_group *group = context;
    sonod_kernels_current()->das_points_resample(group->plan, group->first, party);
}

static void one_point_band(void *context, size_t band) {
    const point_group *group = context;
    const size_t neighbours = group->plan->neighbours, blocks = group->plan->points / neighbours;
    const size_t begin = band * (POINT_BAND / neighbours), end = begin + POINT_BAND / neighbours;
    sonod_kernels_current()->das_points(group->plan, group->first, group->count, begin, end < blocks ? end : blocks);
}

void sonod_run_das_points(const sonod_das_points *plan) {
    const sonod_das_blocks *common = &plan->common;
    sonod_parallel(common->transmits * common->channels, one_peak, (void *)common);
    choose_scales(common, 0, common->transmits);
    for (size_t first = 0; first < common->transmits; first += common->group) {
        const size_t left = common->transmits - first;
        point_group group = {plan, first, left < common->group ? left : common->group};
        sonod_parallel(group.count * ((common->channels + 7) / 8), one_points_resample, &group);
        sonod_parallel((plan->points + POINT_BAND - 1) / POINT_BAND, one_point_band, &group);
    }
}

typedef struct {
    const float *iq;
    float *out;
    size_t count;
} flat;

static size_t bands(size_t count) { return (count + FLAT_BAND - 1) / FLAT_BAND; }
static size_t band_end(size_t band, size_t count) {
    const size_t end = (band + 1) * FLAT_BAND;
    return end < count ? end : count;
}

static void one_envelope(void *context, size_t band) {
    const flat *own = context;
    const size_t begin = band * FLAT_BAND;
    sonod_kernels_current()->envelope(own->iq + 2 * begin, own->out + begin, band_end(band, own->count) - begin);
}

void sonod_run_envelope(const float *iq, float *out, size_t count) {
    flat own = {iq, out, count};
    sonod_parallel(bands(count), one_envelope, &own);
}
/* -- simulation ------------------------------------------------------------------------------------------------- */

#define FIELD_POINTS ((size_t)512)

static void one_simulate_field(void *context, size_t part) {
    const sonod_simulated_field *plan = context;
    const size_t begin = part * FIELD_POINTS, end = begin + FIELD_POINTS;
    sonod_kernels_current()->simulate->field(plan, begin, end < plan->points ? end : plan->points);
}

static void one_simulate_deposit(void *context, size_t band) {
    sonod_kernels_current()->simulate->deposit(context, band);
}

static void one_simulate_convolve(void *context, size_t row) { sonod_kernels_current()->simulate->convolve(context, row); }

static void one_simulate_frame(void *context, size_t which) { sonod_kernels_current()->simulate->frame(context, which); }

void sonod_run_simulate_field(const sonod_simulated_field *plan) {
    sonod_parallel((plan->points + FIELD_POINTS - 1) / FIELD_POINTS, one_simulate_field, (void *)plan);
}

void sonod_run_simulate_deposit(const sonod_simulated_deposit *plan) {
    sonod_parallel((size_t)plan->echoes.array.padded / SIMULATE_BAND, one_simulate_deposit, (void *)plan);
}

void sonod_run_simulate_convolve(const sonod_simulated_convolve *plan) {
    sonod_parallel(plan->rows, one_simulate_convolve, (void *)plan);
}

void sonod_run_simulate_frame(const sonod_simulated_frame *plan) {
    const size_t groups = (plan->echoes.transmits + SIMULATE_TOGETHER - 1) / SIMULATE_TOGETHER;
    sonod_parallel(groups * ((size_t)plan->echoes.array.padded / SIMULATE_BAND), one_simulate_frame, (void *)plan);
}
