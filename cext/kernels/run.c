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
    sonod_series_begin();
    sonod_parallel(plan->transmits * plan->channels, one_adaptive_resample, (void *)plan);
    sonod_parallel((plan->lines + SONOD_ADAPTIVE_LINES - 1) / SONOD_ADAPTIVE_LINES, one_adaptive, (void *)plan);
    sonod_series_end();
}

/* Powers of two that bring transmissions to 16 bits, and back from sums of products with weights of 2^11. */
static void choose_scales(const sonod_das_blocks *plan, size_t first, size_t count) {
    for (size_t t = first; t < first + count; t++) {
        float peak = 0;
        for (size_t c = 0; c < plan->channels; c++) {
            const float own = plan->receive[t * plan->channels + c] < 0 ? 0 : fabsf(plan->peaks[t * plan->channels + c]);
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

/* -- delay and sum of lines --

   Threads share the depth: each finds the fine samples of a range of depth and adds them to the blocks of points there, so
   that it reads what is in the caches of its own core. */

/* Lines that are one piece of work: fewer where these take more than a part of a share, and towards its end, so that all
   threads end at once. */
#define MOST_LINES ((size_t)128)
#define LEAST_LINES ((size_t)16)
#define LAST_LINES ((size_t)32)
#define MUCH_EFFORT 0.08f
#define LAST_EFFORT 0.06f
/* Blocks that are one piece where the way back is computed in passing: that begins anew with each. */
#define PASSING_BLOCKS ((size_t)8)
#define MOST_SHARES ((size_t)256)

typedef struct {
    const sonod_das_blocks *plan;
    size_t first, count;   /* transmissions of a group */
    size_t from, together; /* those of them that are resampled */
    size_t blocks, runs;   /* blocks of a run, of which pieces are some lines */
    size_t shares, ends[MOST_SHARES]; /* among the pieces */
    sonod_fine_range ranges[MOST_SHARES];
} group_work;

static size_t parties(const sonod_das_blocks *plan) { return (plan->channels + SONOD_RESAMPLED - 1) / SONOD_RESAMPLED; }

static void one_group_peak(void *context, size_t trace) {
    const group_work *own = context;
    sonod_kernels_current()->das_peak(own->plan, (own->first + own->from) * own->plan->channels + trace);
}

static void one_resample(void *context, size_t index) {
    const group_work *own = context;
    const size_t each = parties(own->plan), range = index / (each * own->together), place = own->from + index / each % own->together;
    if (own->ranges[range].begin < own->ranges[range].end)
        sonod_kernels_current()->das_resample(own->plan, own->first + place, place, index % each, own->ranges + range);
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static void one_piece(void *context, size_t index) {
    const group_work *own = context;
    const sonod_das_blocks *plan = own->plan;
    size_t run = 0;
    while ((size_t)plan->first_piece[run + 1] <= index)
        run++;
    const size_t lines = (size_t)plan->piece_lines[run], begin = (index - (size_t)plan->first_piece[run]) * lines;
    const sonod_das_part part = {begin, smaller(begin + lines, plan->lines), run * own->blocks,
                                 smaller((run + 1) * own->blocks, plan->receive_table.blocks)};
    block_kernels(plan->receive_table.block_points)->das_blocks(plan, own->first, own->count, &part);
}

/* Which samples a range of fine samples reads. */
static void find_words(const sonod_resampling *own, sonod_fine_range *range) {
    int32_t least = INT32_MAX, most = INT32_MIN;
    for (size_t j = range->begin; j < range->end; j++) {
        least = own->starts[j] < least ? own->starts[j] : least;
        most = own->starts[j] > most ? own->starts[j] : most;
    }
    range->first_word = least;
    range->end_word = most + (int32_t)own->taps < 0 ? 0 : (size_t)(most + (int32_t)own->taps);
}

static float effort_of(const group_work *own, size_t run) {
    float sum = 0;
    for (size_t block = run * own->blocks; block < smaller((run + 1) * own->blocks, own->plan->receive_table.blocks); block++)
        sum += own->plan->efforts[block];
    return sum;
}

/* How many pieces each run of blocks is. */
static void find_pieces(const group_work *own) {
    const sonod_das_blocks *plan = own->plan;
    float done = 0;
    plan->first_piece[0] = 0;
    for (size_t run = 0; run < own->runs; run++) {
        const float effort = effort_of(own, run) * (float)own->shares, end = done + effort;
        size_t lines = own->shares > 1 && floorf(done) < floorf(end + LAST_EFFORT) ? LAST_LINES : MOST_LINES;
        while (own->shares > 1 && lines > LEAST_LINES && effort * (float)lines > MUCH_EFFORT * (float)plan->lines)
            lines /= 2;
        done = end;
        plan->piece_lines[run] = (int32_t)lines;
        plan->first_piece[run + 1] = plan->first_piece[run] + (int32_t)((plan->lines + lines - 1) / lines);
    }
}

/* Shares of as much work each: where they end among the pieces, and among the fine samples. */
static void find_shares(group_work *own) {
    const sonod_das_blocks *plan = own->plan;
    const size_t fine = plan->resampling.fine, pieces = (size_t)plan->first_piece[own->runs];
    size_t run = 0, begin = 0;
    float done = 0, effort = effort_of(own, 0);
    for (size_t share = 0; share < own->shares; share++) {
        const float wanted = (float)(share + 1) / (float)own->shares;
        while (run + 1 < own->runs && done + effort < wanted) {
            done += effort;
            effort = effort_of(own, ++run);
        }
        const float within = effort > 0 && wanted < done + effort ? (wanted - done) / effort : 1;
        const int32_t *piece = plan->first_piece + run, *at = plan->fine_at + run * own->blocks;
        const int32_t next = plan->fine_at[smaller((run + 1) * own->blocks, plan->receive_table.blocks)];
        const size_t sixteens = (size_t)((float)at[0] + within * (float)(next - at[0])) / 16 * 16;
        const int last = share + 1 == own->shares;
        own->ends[share] = last ? pieces : (size_t)piece[0] + (size_t)(within * (float)(piece[1] - piece[0]) + 0.5f);
        own->ranges[share] = (sonod_fine_range){.begin = begin, .end = last ? fine : sixteens > begin ? smaller(sixteens, fine) : begin};
        begin = own->ranges[share].end;
        find_words(&plan->resampling, own->ranges + share);
    }
}

static void run_group(group_work *own) {
    const sonod_das_blocks *plan = own->plan;
    size_t ends[MOST_SHARES];
    /* Each thread resamples about one transmission at a time, which stays in the second cache from the search for its peak on. */
    for (own->from = 0; own->from < own->count; own->from += own->together) {
        own->together = smaller(own->count - own->from, own->shares);
        sonod_parallel(own->together * plan->channels, one_group_peak, own);
        choose_scales(plan, own->first + own->from, own->together);
        for (size_t share = 0; share < own->shares; share++)
            ends[share] = (share + 1) * own->together * parties(plan);
        sonod_parallel_shares(own->shares, ends, one_resample, own);
    }
    sonod_parallel_shares(own->shares, own->ends, one_piece, own);
}

void sonod_run_das_blocks(const sonod_das_blocks *plan) {
    sonod_das_blocks own = *plan;
    const size_t together = plan->receive_table.table ? 1 : PASSING_BLOCKS;
    group_work work = {.plan = &own, .blocks = together, .runs = (plan->receive_table.blocks + together - 1) / together,
                       .shares = smaller((size_t)sonod_threads_count(), MOST_SHARES)};
    find_pieces(&work);
    find_shares(&work);
    sonod_series_begin();
    for (work.first = 0; work.first < plan->transmits; work.first += plan->group) {
        work.count = smaller(plan->transmits - work.first, plan->group);
        run_group(&work);
        own.adding = 1;
    }
    sonod_series_end();
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
    sonod_series_begin();
    sonod_parallel(common->transmits * common->channels, one_peak, (void *)common);
    choose_scales(common, 0, common->transmits);
    for (size_t first = 0; first < common->transmits; first += common->group) {
        const size_t left = common->transmits - first;
        point_group group = {plan, first, left < common->group ? left : common->group};
        sonod_parallel(group.count * ((common->channels + 7) / 8), one_points_resample, &group);
        sonod_parallel((plan->points + POINT_BAND - 1) / POINT_BAND, one_point_band, &group);
    }
    sonod_series_end();
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
