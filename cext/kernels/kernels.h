/* The table of kernels that one instruction set offers; dispatch.c owns one table per set. */
#ifndef SONOD_KERNELS_H
#define SONOD_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* -- simulation ------------------------------------------------------------------------------------------------- */

/* Elements worked on together; the arrays of a simulated array are padded with deaf ones to a multiple of it. */
#define SIMULATE_BAND 16
/* Samples that share one pulse, which changes with depth. */
#define SIMULATE_BLOCK 32
/* Transmits of a frame whose echoes are strewn together: the ways back are the same, and the grid stays in the cache. */
#define SIMULATE_TOGETHER 4

/* Elements in the x-z plane; tables over cosine and over distance. What tissue takes from the way to an element is
   interpolated between `stations` along the array: element k lies at share[k] between station[k] and the next. */
typedef struct {
    int count, padded;
    const float *x, *z, *normal_x, *normal_z, *listening;
    const float *directivity;
    int directivity_count;
    const float *decay;
    int decay_count;
    float decay_per_m;
    int stations;
    const int32_t *station;
    const float *share;
} sonod_simulated_array;

/* Points that scatter everywhere (rough) and pieces of lines that mirror (smooth); loss (count, stations) or NULL. */
typedef struct {
    size_t count;
    const float *x, *z, *rough, *smooth, *axis_x, *axis_z, *lobe_scale;
    const float *lobe;
    float lobe_last;
    const float *loss;
} sonod_simulated_reflectors;

typedef struct {
    sonod_simulated_array array;
    const float *x, *z, *loss;
    size_t points, transmits;
    const float *delay_turns, *apodization, *reference_turns;
    float turns_per_m;
    const float *window;
    float window_scale, window_last;
    float *out;
} sonod_simulated_field;

/* Arrival in samples and complex meeting (transmits, points, 2) of the waves at the reflectors, and the cosine between
   the way in and the axis of a piece; `length` places in a row of the grid. */
typedef struct {
    sonod_simulated_array array;
    sonod_simulated_reflectors reflectors;
    const float *arrival, *meeting, *incoming;
    size_t transmits, length;
    float samples_per_m, turns_per_m;
    int half;
} sonod_simulated_echoes;

typedef struct {
    sonod_simulated_echoes echoes;
    float *grid;
} sonod_simulated_deposit;

/* pulse (transmits, blocks, taps, 2), carrier (samples, 2). */
typedef struct {
    const float *grid;
    size_t rows, channels, length, samples, taps;
    const float *pulse, *carrier;
    float *out;
} sonod_simulated_convolve;

/* pulse and carrier as for the convolution. */
typedef struct {
    sonod_simulated_echoes echoes;
    size_t samples, taps;
    const float *pulse, *carrier;
    const float *background, *noise;
    const int32_t *noise_start;
    float noise_level, level;
    const float *gain;
    float limit;
    int16_t *out;
} sonod_simulated_frame;

typedef struct {
    void (*field)(const sonod_simulated_field *plan, size_t first, size_t last);
    void (*deposit)(const sonod_simulated_deposit *plan, size_t band);
    void (*convolve)(const sonod_simulated_convolve *plan, size_t row);
    void (*frame)(const sonod_simulated_frame *plan, size_t which);
} sonod_simulate_kernels;

/* Over the pool. */
void sonod_run_simulate_field(const sonod_simulated_field *plan);
void sonod_run_simulate_deposit(const sonod_simulated_deposit *plan);
void sonod_run_simulate_convolve(const sonod_simulated_convolve *plan);
void sonod_run_simulate_frame(const sonod_simulated_frame *plan);

/* Type of raw samples. */
enum { SONOD_INT16, SONOD_UINT16, SONOD_UINT8, SONOD_INT32, SONOD_FLOAT32 };

/* Receive windows. */
enum { SONOD_RECTANGULAR, SONOD_HANN, SONOD_HAMMING, SONOD_TUKEY };

/* -- prepare -------------------------------------------------------------------------------------------------------- */

/* A complex polyphase filter over real traces. Outputs p, p + phases, p + 2 phases ... have the coefficients of phase p;
   output m reads `taps` samples from floor(m step / phases) - left on; it is then multiplied by its turn and by that of
   the trace's transmit. */
typedef struct {
    int type;
    size_t transmits, channels, samples, outputs, taps, left, step, phases;
    const void *raw;           /* (transmits, channels, samples) */
    const float *gain;         /* scale times gain, (samples) or (transmits, samples) */
    size_t gain_stride;        /* 0 or samples */
    int remove_offset;
    const float *coefficients; /* (phases, 2, taps) */
    const int32_t *whole;      /* (phases, 2, taps / 2) pairs of the same in whole numbers, for samples of 16 bits, or NULL */
    float whole_unit;          /* of these */
    const float *turns;        /* (2, outputs + 16) real, imaginary, phase after phase, NULL: no turning */
    size_t turns_stride;
    const float *transmit_turns; /* (transmits, 2) */
    const float *output_gain;  /* (outputs) on the magnitude, NULL: complex output */
    float *out;                /* (transmits, channels, outputs, 2), or (..., outputs) magnitudes or real parts */
    int real_part;             /* 1: out holds the real part */
} sonod_filter;

/* Scale and gain of baseband samples. */
typedef struct {
    int type;
    size_t transmits, channels, samples;
    const void *raw;   /* (transmits, channels, samples, 2) */
    const float *gain; /* (samples) or (transmits, samples) */
    size_t gain_stride;
    int remove_offset;
    float *out; /* (transmits, channels, samples, 2) */
} sonod_baseband;

/* -- beamform ------------------------------------------------------------------------------------------------------- */

/* Delay and sum with the delay of every point computed in double and linear interpolation. The points lie on straight
   lines (points NULL), or anywhere, each with the direction and the height of its own way out of the array. */
typedef struct {
    size_t lines, count, transmits, channels, samples, elements;
    const double *origins;    /* (lines, 3) */
    const double *directions; /* (lines, 3), with points (lines, count, 3) */
    double first, spacing;
    const double *feet;       /* (lines) distance along the line at which it leaves the array */
    const double *points;     /* (lines, count, 3) or NULL */
    const double *heights;    /* (lines, count) distance of each point from its foot, with points */
    const double *elements_m, *normals; /* (elements, 3) */
    const float *lateral;     /* (elements) distance from the middle of an aperture that is the same everywhere, or NULL */
    const int32_t *receive;   /* (transmits, channels), -1 = not measured */
    const void *transmit_time; /* (transmits, lines, count), NaN = not seen */
    int transmit_time_is_double;
    const float *transmit_weight; /* (transmits, lines, count) or NULL */
    const float *receive_time;    /* (elements, lines, count) or NULL */
    const uint8_t *seen;          /* (transmits, lines): any finite time */
    const double *t0;             /* (transmits) */
    double sampling, demodulation, slowness, time_offset;
    double per_half; /* 1 / (2 F); 0: the half aperture is least_half everywhere */
    double least_half;
    int window;
    float factor; /* of the whole sum */
    const float *data; /* (transmits, channels, samples, 2), or without the last axis when demodulation is 0 */
    float *out;        /* (lines, count, 2), or (lines, count) */
} sonod_das_exact;

/* What is known of the delay of a transmission in a block of a line; 0 and above: its points' index. */
enum { SONOD_QUADRATIC = -1, SONOD_UNSEEN = -2, SONOD_POINTS = -3 };

/* How elements hear the blocks of lines; see das_receive.inc.c. */
typedef struct {
    size_t lines, block_points, blocks, count, elements; /* block_points: of a block, 16 or 32 */
    const double *origins, *directions; /* (lines, 3) */
    double first, spacing;
    float spacing_float;
    const double *feet;                 /* (lines) */
    const double *elements_m, *normals; /* (elements, 3) */
    const float *x, *y, *z;             /* (elements in whole eights) */
    const float *lateral;        /* (elements) or NULL, as for the exact kernel */
    const int32_t *half_of_line; /* (lines) which apertures the line has */
    const float *per_half;       /* (apertures, blocks, block_points) 1 / half aperture */
    int window;
    float fine_per_metre, fine_per_point, bend, bent_limit, turns_per_fine, radians_per_fine;
    float largest_pace; /* in fine samples per point beyond the common pace, of a channel taken as a block */
    size_t fields;      /* numbers of an element in a block: 5, or 6 where phases are of third order */
    int32_t *heads;     /* (blocks, lines, 8) */
    float *paces;       /* (blocks, lines) */
    int32_t *table;     /* NULL: count only, or in passing */
} sonod_das_receive;

/* Channels that are one piece of resampling. */
#define SONOD_RESAMPLED 2

/* Filters that take 16-bit samples to fine samples, sixteen at a time; see das_resample.inc.c. These are runs of 16, 8 or 4
   that follow each other in a plane: where there are several planes, their runs take turns. */
typedef struct {
    size_t taps;  /* 8 or 12 */
    size_t fine;  /* fine samples of all planes, a multiple of 16 */
    size_t run;
    size_t words; /* of a component of a trace with zeros before and behind, a multiple of 32 */
    const int32_t *coefficients; /* (tables, taps / 2, rows, 16) pairs, in 2^-(16 - headroom) */
    const int32_t *starts;       /* (fine) first sample read, counted from the first one used */
    const int32_t *table_of;     /* (fine / 16) */
    const int32_t *places;       /* (fine / 4) where four of them go, counted from the first one of the first plane */
    const int32_t *picks;        /* (tables, 16) pairs of samples from the first start on, or NULL: not within 32 */
    int headroom;                /* samples are rounded in 2^-headroom of what fine samples are */
} sonod_resampling;

/* Fine samples `begin` to `end`, in sixteens, and which samples they read. */
typedef struct {
    size_t begin, end;
    int32_t first_word;
    size_t end_word;
} sonod_fine_range;

/* Delay and sum of baseband data on line grids, a block of points at a time; see das_blocks.inc.c. */
typedef struct {
    sonod_das_receive receive_table; /* of classes of lines that are alike but for a shift along the array */
    size_t lines, transmits, channels, samples, elements;
    const int32_t *order;            /* (lines) as they are worked on */
    const int32_t *class_of, *shift; /* (lines) element of the array = element of the class + shift */
    const uint8_t *mirrored;         /* (lines) 1: elements count from the other end of the array */
    const int32_t *receive;          /* (transmits, channels) element, -1 = not measured */
    /* Channels that hear a transmission, by element and by element from the other end, equal for many transmissions. */
    size_t map_row;
    const int32_t *map_of;     /* (transmits) */
    const int32_t *map_first;  /* (maps, 2, elements + 1) place of an element's first channel */
    const int32_t *map_traces; /* (maps, 2, map_row) where the planes of these channels begin */
    const uint8_t *map_whole;  /* (maps, 2) every element has one channel */
    /* The fine rate. */
    size_t step;  /* fine samples from one point to the next */
    size_t width; /* fine samples of a plane, a multiple of 16; of single points of 8 */
    size_t row;   /* pairs from one row of a plane to the next */
    size_t rows;  /* of a plane, 3 or 4 */
    int32_t step_magic, step_shift;  /* n / step = n step_magic >> step_shift, or n >> step_shift with 0 */
    int32_t largest_drift; /* of a channel taken as a block, in 2^-15 fine samples per half a block */
    sonod_resampling resampling; /* of lines */
    /* The resampling filters of single points; starts count from the first input sample used. */
    size_t taps;                     /* a multiple of 4 */
    const float *coefficients;       /* (phases, 3, taps) */
    const int32_t *starts, *filters; /* (width) first sample read, first float of the coefficients */
    size_t begin_at, end_at;         /* input samples used */
    float bound;                     /* of a fine sample's polynomial over the largest input component */
    float *peaks;                    /* (transmits, channels); negative where a sample is not finite */
    float *scales, *inverse_scales;  /* (transmits) to 16 bits, and from the integer sums to the output */
    /* The waves. */
    const float *wave_turns;                /* (transmits) phase of the carrier at the first fine sample, in turns */
    const int32_t *time_kind, *weight_kind; /* (transmits, blocks, lines) */
    const float *quadratic;                 /* (transmits, blocks, lines, 3) */
    const int32_t *ways;                    /* (transmits, blocks, lines) delay of the first point, 2^15 */
    const float *phases;                    /* (transmits, blocks, lines) in turns, of the middle */
    const float *time_points, *weight_points; /* (..., block_points) */
    size_t group;    /* transmissions whose planes are held at once */
    int32_t *planes; /* (group, channels, step, rows, row) */
    float factor;
    const float *data; /* (transmits, channels, samples, 2) */
    float *out;        /* (lines, count, 2), `out_row` points from one line to the next */
    size_t out_row;
    int adding; /* to what `out` holds */
    /* For the shares of threads, in depth; see run.c, which writes the pieces. */
    const float *efforts;               /* (blocks) what each takes of all */
    const int32_t *fine_at;             /* (blocks + 1) fine samples that are usual where a block begins */
    int32_t *first_piece, *piece_lines; /* (blocks + 1) each */
} sonod_das_blocks;

/* Lines, in the order in which they are worked on, and blocks of them. */
typedef struct {
    size_t begin, end, first_block, end_block;
} sonod_das_part;

/* Most single points that are taken together, as one block. */
#define SONOD_NEIGHBOURS 32

/* Delay and sum of baseband data at points that lie anywhere; see das_points.inc.c. */
typedef struct {
    sonod_das_blocks common; /* what both kernels have of record, channels and resampling; the fields of lines and waves are
                                not used, `planes` are (group, channels, 3, row) */
    size_t points, neighbours;        /* points in whole blocks of so many neighbours: SONOD_NEIGHBOURS or half of that */
    const int32_t *order;             /* (points) which one of the output each is, or -1 */
    const float *x, *y, *z;           /* (elements in whole sixteens) */
    const float *places[3], *feet[3]; /* (points) where they are, and where their lines leave the array */
    const float *per_half;            /* (points) 1 / half aperture */
    const float *bounds;  /* (blocks, 9) middle of the feet; largest square distance from it of an element that may listen,
                             and of one that listens fully to all points; middle of the points; least square distance from it of
                             an element whose ways back are a form of second order */
    const float *lateral; /* (elements) or NULL, as for the exact kernel */
    int window, planar;   /* planar: all elements and points have the same y */
    float fine_per_metre;
    const float *back;        /* (elements, points) ways back in fine samples, or NULL: straight ones */
    const float *there;       /* (transmits, points) ways there in fine samples since the first one */
    const float *middles;     /* (transmits, blocks) about the middle of these, whole numbers; far below 0: none is seen */
    const float *weights;     /* (transmits, points) or NULL */
    const float *turning;     /* (width, 2) carrier at the fine samples */
    const float *wave_phases; /* (transmits, 2) carrier at the first fine sample */
    int32_t turn[3]; /* of a turn within a fine sample: cosine and negative sine as pairs, polynomials in half samples */
} sonod_das_points;

/* From travel times of points to blocks. */
typedef struct {
    size_t transmits, lines, block_points, count, step;
    size_t row;       /* points from one line to the next of `time` and `weight` */
    const void *time; /* (transmits, lines, count) */
    int time_is_double;
    const float *weight;
    const double *t0;
    double start_s; /* time of the first fine sample after t0 */
    double time_offset, fine_rate, demodulation, tolerance;
    float *quadratic; /* (transmits, blocks, lines, 3) */
    int32_t *ways, *kind; /* (transmits, blocks, lines) */
    float *phases;
    uint8_t *whole;          /* the same: every point counts fully */
    const int32_t *point_at; /* the same: where the delays of the points of a block go in `points`, or -1 */
    float *points;           /* (n, block_points), or NULL */
} sonod_das_times;

/* -- adaptive beamforming ------------------------------------------------------------------------------------------- */

enum { SONOD_PLAIN, SONOD_COHERENCE, SONOD_SIGNS, SONOD_MULTIPLY, SONOD_SHORT_LAG };

/* Points of a strip, points beyond it on each side for the short-lag coherence, and lines of a band. */
#define SONOD_ADAPTIVE_STRIP 64
#define SONOD_ADAPTIVE_HALO 8
#define SONOD_ADAPTIVE_LINES ((size_t)8)
/* Zeros before and behind the fine samples of a trace. */
#define SONOD_ADAPTIVE_MARGIN ((size_t)2)
#define SONOD_MOST_BINS 4

/* See das_adaptive.inc.c. */
typedef struct {
    size_t lines, count, transmits, channels, elements, samples;
    const double *origins, *directions; /* (lines, 3) */
    double first, spacing;
    const double *feet; /* (lines) */
    double per_half, least_half;
    int window;
    const float *element_x, *element_y, *element_z; /* (elements) */
    const uint8_t *heard;         /* (elements) 1: some transmission has a channel for it */
    const float *lateral;         /* (lines, elements), infinity: looks away */
    const int32_t *channel_of;    /* (transmits, elements), -1: not measured */
    const float *transmit_fine;   /* (transmits, lines, count) fine samples from the first of a trace, NaN: not seen */
    const float *transmit_weight; /* the same or NULL */
    const float *wave_turns;      /* (transmits) phase at the first fine sample, in cycles */
    float fine_per_metre, turns_per_fine;
    int method, bins, lags, reach; /* reach: points to each side that a coherence is taken over */
    size_t taps, left, numerator, denominator; /* of the resampling filter: taps a multiple of 8 */
    const float *coefficients;    /* (denominator, 2 taps), each twice */
    size_t width;                 /* fine samples of a trace, its margins included */
    float *traces;                /* (transmits, channels, width, 2) */
    float factor;
    const float *data;            /* (transmits, channels, samples, 2) */
    float *out;                   /* (lines, count, 2) */
} sonod_adaptive;

/* -- scan conversion ------------------------------------------------------------------------------------------------ */

typedef struct {
    size_t rows, columns;
    const int32_t *base; /* (rows, columns) offset of the first of four samples, -1 = outside */
    const int32_t *spans; /* (rows, 2) first column that is inside, and the one behind the last */
    const float *line_share, *sample_share;
    size_t line_step, sample_step;
    const float *lines;
    float *out; /* (rows, columns) */
} sonod_scan_convert;

/* -- compress ------------------------------------------------------------------------------------------------------- */

/* Rows that are compressed together. */
#define SONOD_COMPRESS_ROWS ((size_t)16)

/* Greys of one of four sources: an envelope (rows, columns); lines of envelope or of baseband that are the columns; or
   the pixels of a scan conversion. */
typedef struct {
    size_t rows, columns;
    const float *envelope;    /* (rows, columns), or NULL */
    const float *lines;       /* (columns, rows), or (columns, rows, 2) of baseband, or NULL */
    int baseband;
    const sonod_scan_convert *scan; /* its lines are the source, its out is not used; or NULL */
    float slope;             /* greys per factor of two of the amplitude */
    const float *row_offset; /* (rows + 16) greys */
    float persistence;       /* share of the old level; 0 = none */
    float *level;            /* (rows, columns) 0..255 of the previous frame, NULL without persistence */
    int first;               /* 1: there is no previous frame */
    const uint8_t *table;    /* (256), or NULL: greys are levels */
    uint8_t *out;
} sonod_compress;

/* -- bytes from a wire ---------------------------------------------------------------------------------------------- */

/* How 16-bit samples arrive: u16 with an offset, or `bits` two's-complement bits each, packed from the lowest bit on. */
enum { SONOD_OFFSET_16, SONOD_PACKED_10, SONOD_PACKED_12, SONOD_PACKED_14 };

typedef struct {
    uint32_t (*crc32c)(const uint8_t *data, size_t length, uint32_t crc);
    void (*unpack)(const uint8_t *packed, size_t count, int format, int offset, int16_t *out);
    void (*deinterleave_2)(const uint16_t *in, size_t samples, size_t channels, uint16_t *out);
    void (*deinterleave_4)(const uint32_t *in, size_t samples, size_t channels, uint32_t *out);
} sonod_byte_kernels;

/* Delay and sum in blocks of one size. */
typedef struct {
    void (*das_receive)(const sonod_das_receive *plan, size_t line);
    void (*das_times)(const sonod_das_times *plan, size_t index);
    void (*das_blocks)(const sonod_das_blocks *plan, size_t first_transmit, size_t transmits, const sonod_das_part *part);
} sonod_block_kernels;

typedef struct {
    const char *name;
    void (*filter)(const sonod_filter *plan, size_t trace);
    void (*baseband)(const sonod_baseband *plan, size_t trace);
    void (*das_exact)(const sonod_das_exact *plan, size_t line);
    void (*das_peak)(const sonod_das_blocks *plan, size_t trace);
    void (*das_resample)(const sonod_das_blocks *plan, size_t transmit, size_t place, size_t party,
                         const sonod_fine_range *range);
    sonod_block_kernels blocks_16;        /* by points of a block */
    const sonod_block_kernels *blocks_32;
    void (*das_points_resample)(const sonod_das_points *plan, size_t first_transmit, size_t party);
    void (*das_points)(const sonod_das_points *plan, size_t first_transmit, size_t transmits, size_t begin, size_t end);
    void (*adaptive_resample)(const sonod_adaptive *plan, size_t trace);
    void (*adaptive)(const sonod_adaptive *plan, size_t group);
    void (*envelope)(const float *iq, float *out, size_t count);
    const sonod_simulate_kernels *simulate;
    void (*compress)(const sonod_compress *plan, size_t band);
    void (*scan_convert)(const sonod_scan_convert *plan, size_t row);
    sonod_byte_kernels bytes;
} sonod_kernels;

/* The table in use. */
const sonod_kernels *sonod_kernels_current(void);
/* Names of the sets this build and this processor offer; returns how many. */
int sonod_kernels_available(const char **names, int capacity);
/* Selects a set by name; returns 0, or -1 when it is not available. */
int sonod_kernels_select(const char *name);

/* The same over all traces, lines, rows or pixels, on all threads. */
void sonod_run_filter(const sonod_filter *plan);
void sonod_run_baseband(const sonod_baseband *plan);
void sonod_run_das_exact(const sonod_das_exact *plan);
void sonod_run_das_receive(const sonod_das_receive *plan);
void sonod_run_das_blocks(const sonod_das_blocks *plan);
void sonod_run_das_points(const sonod_das_points *plan);
void sonod_run_das_times(const sonod_das_times *plan);
void sonod_run_adaptive(const sonod_adaptive *plan);
void sonod_run_envelope(const float *iq, float *out, size_t count);
void sonod_run_compress(const sonod_compress *plan);
void sonod_run_scan_convert(const sonod_scan_convert *plan);

#endif
