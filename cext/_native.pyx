"""The only compiled module: checks shapes and dtypes, drops the GIL, calls C. No arithmetic."""

cimport cython
from libc.errno cimport EBUSY
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t


# -- instruction sets and threads ---------------------------------------------------------------------------------------

cdef extern from "kernels.h":
    ctypedef struct sonod_kernels:
        const char *name
    const sonod_kernels *sonod_kernels_current() nogil
    int sonod_kernels_available(const char **names, int capacity) nogil
    int sonod_kernels_select(const char *name) nogil

cdef extern from "threads.h":
    int sonod_threads_set(int count) nogil
    int sonod_threads_count() nogil
    void sonod_series_begin() nogil
    void sonod_series_end() nogil


def instruction_sets():
    """Names of the instruction sets this build and this processor offer, narrowest first."""
    cdef const char *names[8]
    cdef int count = sonod_kernels_available(names, 8)
    return tuple(names[i].decode() for i in range(count))


def instruction_set():
    """Name of the instruction set in use."""
    return sonod_kernels_current().name.decode()


def select_instruction_set(str name not None):
    """Use the named instruction set from now on; ValueError when it is not available."""
    if sonod_kernels_select(name.encode()) != 0:
        raise ValueError(f"instruction set {name!r} is not available here; choose one of {instruction_sets()}")


def set_thread_count(int count):
    """Let `count` threads work, the caller included; ValueError outside 1..256, OSError when none can be made."""
    cdef int error
    if not 1 <= count <= 256:
        raise ValueError(f"thread count must be in 1..256, got {count}")
    with nogil:
        error = sonod_threads_set(count)
    if error == EBUSY:
        raise OSError(error, "the thread count cannot change within a series")
    if error != 0:
        raise OSError(error, f"cannot start {count - 1} worker threads")


def thread_count():
    """How many threads work, the caller included."""
    return sonod_threads_count()


@cython.final
@cython.auto_pickle(False)
cdef class Series:
    """Round kernels that follow each other at once, by one thread; see sonod.cext.threads."""

    def __enter__(self):
        sonod_series_begin()

    def __exit__(self, kind, value, traceback):
        sonod_series_end()


def _require(bint condition, str message not None):
    if not condition:
        raise ValueError(message)


# -- prepare ------------------------------------------------------------------------------------------------------------

cdef extern from "kernels.h":
    ctypedef struct sonod_filter:
        int type
        size_t transmits, channels, samples, outputs, taps, left, step, phases
        const void *raw
        const float *gain
        size_t gain_stride
        int remove_offset
        const float *coefficients
        const int32_t *whole
        float whole_unit
        const float *turns
        size_t turns_stride
        const float *transmit_turns
        const float *output_gain
        float *out
        int real_part
    ctypedef struct sonod_baseband:
        int type
        size_t transmits, channels, samples
        const void *raw
        const float *gain
        size_t gain_stride
        int remove_offset
        float *out
    void sonod_run_filter(const sonod_filter *plan) nogil
    void sonod_run_baseband(const sonod_baseband *plan) nogil


cdef size_t _bytes_of(int sample_type):
    return 2 if sample_type <= 1 else 1 if sample_type == 2 else 4


def filter_traces(int sample_type, const unsigned char[::1] raw not None, Py_ssize_t channels,
                  const float[:, ::1] gain not None, bint remove_offset, const float[:, :, ::1] coefficients not None,
                  const int32_t[:, :, ::1] whole, float whole_unit, Py_ssize_t step, Py_ssize_t outputs, Py_ssize_t left, const float[:, ::1] turns,
                  const float[:, ::1] transmit_turns not None, const float[::1] output_gain, bint real_part,
                  float[::1] out not None):
    """Filter every trace of `raw` bytes (transmits, channels, samples) into `out`; see sonod.cext.prepare."""
    cdef sonod_filter plan
    cdef Py_ssize_t samples = gain.shape[1]
    cdef Py_ssize_t transmits = transmit_turns.shape[0]
    cdef Py_ssize_t phases = coefficients.shape[0]
    cdef Py_ssize_t components = 1 if real_part or output_gain is not None else 2
    _require(0 <= sample_type <= 4, "sample_type must be in 0..4")
    _require(raw.shape[0] == transmits * channels * samples * <Py_ssize_t>_bytes_of(sample_type), "raw: wrong size")
    _require(gain.shape[0] == 1 or gain.shape[0] == transmits, "gain must be (1 or transmits, samples)")
    _require(coefficients.shape[1] == 2 and 0 < coefficients.shape[2] <= 512 and phases > 0,
             "coefficients must be (phases, 2, 1..512)")
    _require(whole is None or (whole.shape[0] == phases and whole.shape[1] == 2
             and 2 * whole.shape[2] == coefficients.shape[2]), "whole must be (phases, 2, taps / 2)")
    _require(step > 0 and outputs > 0 and (outputs - 1) * step // phases < samples, "step or outputs: too large")
    _require(turns is None or (turns.shape[0] == 2 and turns.shape[1] == outputs + 16), "turns must be (2, outputs + 16)")
    _require(transmit_turns.shape[1] == 2, "transmit_turns must be (transmits, 2)")
    _require(output_gain is None or output_gain.shape[0] == outputs, "output_gain must be (outputs,)")
    _require(out.shape[0] == transmits * channels * outputs * components, "out: wrong size")
    _require(left >= 0 and left <= coefficients.shape[2], "left must be in 0..taps")
    plan.type = sample_type
    plan.transmits = transmits
    plan.channels = channels
    plan.samples = samples
    plan.outputs = outputs
    plan.taps = coefficients.shape[2]
    plan.left = left
    plan.step = step
    plan.phases = phases
    plan.raw = &raw[0]
    plan.gain = &gain[0, 0]
    plan.gain_stride = samples if gain.shape[0] > 1 else 0
    plan.remove_offset = remove_offset
    plan.coefficients = &coefficients[0, 0, 0]
    plan.whole = &whole[0, 0, 0] if whole is not None else NULL
    plan.whole_unit = whole_unit
    plan.turns = &turns[0, 0] if turns is not None else NULL
    plan.turns_stride = outputs + 16
    plan.transmit_turns = &transmit_turns[0, 0]
    plan.output_gain = &output_gain[0] if output_gain is not None else NULL
    plan.out = &out[0]
    plan.real_part = real_part
    with nogil:
        sonod_run_filter(&plan)


def scale_baseband(int sample_type, const unsigned char[::1] raw not None, Py_ssize_t transmits, Py_ssize_t channels,
                   const float[:, ::1] gain not None, bint remove_offset, float[::1] out not None):
    """Scale baseband `raw` bytes (transmits, channels, samples, 2) into float `out` of the same shape."""
    cdef sonod_baseband plan
    cdef Py_ssize_t samples = gain.shape[1]
    _require(0 <= sample_type <= 4, "sample_type must be in 0..4")
    _require(out.shape[0] == transmits * channels * samples * 2 and out.shape[0] > 0, "out: wrong size")
    _require(raw.shape[0] == out.shape[0] * <Py_ssize_t>_bytes_of(sample_type), "raw: wrong size")
    _require(gain.shape[0] == 1 or gain.shape[0] == transmits, "gain must be (1 or transmits, samples)")
    plan.type = sample_type
    plan.transmits = transmits
    plan.channels = channels
    plan.samples = samples
    plan.raw = &raw[0]
    plan.gain = &gain[0, 0]
    plan.gain_stride = samples if gain.shape[0] > 1 else 0
    plan.remove_offset = remove_offset
    plan.out = &out[0]
    with nogil:
        sonod_run_baseband(&plan)


# -- beamform -----------------------------------------------------------------------------------------------------------

cdef extern from "kernels.h":
    ctypedef struct sonod_das_exact:
        size_t lines, count, transmits, channels, samples, elements
        const double *origins
        const double *directions
        double first, spacing
        const double *feet
        const double *points
        const double *heights
        const double *elements_m
        const double *normals
        const float *lateral
        const int32_t *receive
        const void *transmit_time
        int transmit_time_is_double
        const float *transmit_weight
        const float *receive_time
        const uint8_t *seen
        const double *t0
        double sampling, demodulation, slowness, time_offset
        double per_half, least_half
        int window
        float factor
        const float *data
        float *out
    void sonod_run_das_exact(const sonod_das_exact *plan) nogil


def das_exact(const double[:, ::1] origins not None, const double[:, ::1] directions not None, double first,
              double spacing, Py_ssize_t count, const double[::1] feet not None, const double[:, :, ::1] points,
              const double[:, ::1] heights, const double[:, ::1] elements not None,
              const double[:, ::1] normals not None, const float[::1] lateral, const int32_t[:, ::1] receive not None, const float[:, :, ::1] time32,
              const double[:, :, ::1] time64, const float[:, :, ::1] weight, const float[:, :, ::1] receive_time,
              const unsigned char[:, ::1] seen not None, const double[::1] t0 not None, double sampling,
              double demodulation, double slowness, double time_offset, double per_half, double least_half, int window,
              float factor, Py_ssize_t samples, const float[::1] data not None, float[::1] out not None):
    """Delay and sum with every delay computed; see sonod.cext.das. One of `time32` and `time64` is given."""
    cdef sonod_das_exact plan
    cdef Py_ssize_t lines = origins.shape[0] if points is None else points.shape[0]
    cdef Py_ssize_t transmits = receive.shape[0]
    cdef Py_ssize_t components = 1 if demodulation == 0 else 2
    cdef Py_ssize_t size = lines * count * components
    _require(directions.shape[0] == (lines if points is None else lines * count) and directions.shape[1] == 3,
             "directions must be (lines, 3), or (lines * count, 3) with points")
    if points is None:
        _require(origins.shape[1] == 3 and feet.shape[0] == lines, "origins or feet: wrong shape")
    else:
        _require(points.shape[1] == count and points.shape[2] == 3, "points must be (lines, count, 3)")
        _require(heights is not None and heights.shape[0] == lines and heights.shape[1] == count,
                 "heights must be (lines, count)")
    _require(elements.shape[1] == 3 and elements.shape[0] > 0, "elements must be (elements, 3)")
    _require(normals.shape[0] == elements.shape[0] and normals.shape[1] == 3, "normals must be (elements, 3)")
    _require(lateral is None or lateral.shape[0] == elements.shape[0], "lateral must be (elements,)")
    _require((time32 is None) != (time64 is None), "one of time32 and time64 must be given")
    _require(time32 is None or (time32.shape[0] == transmits and time32.shape[1] == lines and time32.shape[2] == count),
             "time32 must be (transmits, lines, count)")
    _require(time64 is None or (time64.shape[0] == transmits and time64.shape[1] == lines and time64.shape[2] == count),
             "time64 must be (transmits, lines, count)")
    _require(weight is None or (weight.shape[0] == transmits and weight.shape[1] == lines and weight.shape[2] == count),
             "weight must be (transmits, lines, count)")
    _require(receive_time is None or (receive_time.shape[0] == elements.shape[0] and receive_time.shape[1] == lines
                                      and receive_time.shape[2] == count), "receive_time must be (elements, lines, count)")
    _require(seen.shape[0] == transmits and seen.shape[1] == lines, "seen must be (transmits, lines)")
    _require(t0.shape[0] == transmits and transmits > 0 and receive.shape[1] > 0, "t0 must be (transmits,)")
    _require(data.shape[0] == transmits * receive.shape[1] * samples * components and samples > 0, "data: wrong size")
    _require(out.shape[0] == size and size > 0, "out: wrong size")
    cdef Py_ssize_t t, c
    for t in range(transmits):
        for c in range(receive.shape[1]):
            _require(receive[t, c] < elements.shape[0], "receive: no such element")
    plan.lines = lines
    plan.count = count
    plan.transmits = transmits
    plan.channels = receive.shape[1]
    plan.samples = samples
    plan.elements = elements.shape[0]
    plan.origins = &origins[0, 0] if points is None else NULL
    plan.directions = &directions[0, 0]
    plan.first = first
    plan.spacing = spacing
    plan.feet = &feet[0] if points is None else NULL
    plan.points = &points[0, 0, 0] if points is not None else NULL
    plan.heights = &heights[0, 0] if points is not None else NULL
    plan.elements_m = &elements[0, 0]
    plan.normals = &normals[0, 0]
    plan.lateral = &lateral[0] if lateral is not None else NULL
    plan.receive = &receive[0, 0]
    plan.transmit_time = <const void *>&time64[0, 0, 0] if time64 is not None else <const void *>&time32[0, 0, 0]
    plan.transmit_time_is_double = time64 is not None
    plan.transmit_weight = &weight[0, 0, 0] if weight is not None else NULL
    plan.receive_time = &receive_time[0, 0, 0] if receive_time is not None else NULL
    plan.seen = &seen[0, 0]
    plan.t0 = &t0[0]
    plan.sampling = sampling
    plan.demodulation = demodulation
    plan.slowness = slowness
    plan.time_offset = time_offset
    plan.per_half = per_half
    plan.least_half = least_half
    plan.window = window
    plan.factor = factor
    plan.data = &data[0]
    plan.out = &out[0]
    with nogil:
        sonod_run_das_exact(&plan)


include "native_blocks.pxi"
include "native_points.pxi"


# -- adaptive beamforming -----------------------------------------------------------------------------------------------

cdef extern from "kernels.h":
    ctypedef struct sonod_adaptive:
        size_t lines, count, transmits, channels, elements, samples
        const double *origins
        const double *directions
        double first, spacing
        const double *feet
        double per_half, least_half
        int window
        const float *element_x
        const float *element_y
        const float *element_z
        const uint8_t *heard
        const float *lateral
        const int32_t *channel_of
        const float *transmit_fine
        const float *transmit_weight
        const float *wave_turns
        float fine_per_metre, turns_per_fine
        int method, bins, lags, reach
        size_t taps, left, numerator, denominator
        const float *coefficients
        size_t width
        float *traces
        float factor
        const float *data
        float *out
    void sonod_run_adaptive(const sonod_adaptive *plan) nogil


def adaptive(const double[:, ::1] origins not None, const double[:, ::1] directions not None, double first,
             double spacing, const double[::1] feet not None, double per_half, double least_half, int window,
             const float[:, ::1] positions not None, const unsigned char[::1] heard not None,
             const float[:, ::1] lateral not None, const int32_t[:, ::1] channel_of not None,
             const float[:, :, ::1] transmit_fine not None, const float[:, :, ::1] transmit_weight,
             const float[::1] wave_turns not None, float fine_per_metre, float turns_per_fine, int method, int bins,
             int lags, int reach, Py_ssize_t left, Py_ssize_t numerator, const float[:, ::1] coefficients not None,
             float[:, :, :, ::1] traces not None, float factor, const float[:, :, :, ::1] data not None,
             float[:, :, ::1] out not None):
    """Products of the delayed channels; see sonod.cext.adaptive, which makes every argument."""
    cdef sonod_adaptive plan
    cdef Py_ssize_t lines = out.shape[0]
    cdef Py_ssize_t count = out.shape[1]
    cdef Py_ssize_t transmits = data.shape[0]
    cdef Py_ssize_t channels = data.shape[1]
    cdef Py_ssize_t samples = data.shape[2]
    cdef Py_ssize_t elements = heard.shape[0]
    cdef Py_ssize_t taps = coefficients.shape[1] // 2
    cdef Py_ssize_t denominator = coefficients.shape[0]
    cdef Py_ssize_t fine = traces.shape[2] - 4
    cdef Py_ssize_t t, e
    _require(lines > 0 and count > 0 and out.shape[2] == 2, "out must be (lines, count, 2)")
    _require(transmits > 0 and channels > 0 and samples > 0 and data.shape[3] == 2, "data must be (T, C, M, 2)")
    _require(origins.shape[0] == lines and origins.shape[1] == 3 and directions.shape[0] == lines
             and directions.shape[1] == 3 and feet.shape[0] == lines, "lines: wrong shape")
    _require(positions.shape[0] == 3 and positions.shape[1] == elements and elements > 0, "positions: (3, elements)")
    _require(lateral.shape[0] == lines and lateral.shape[1] == elements, "lateral must be (lines, elements)")
    _require(channel_of.shape[0] == transmits and channel_of.shape[1] == elements, "channel_of: (transmits, elements)")
    _require(transmit_fine.shape[0] == transmits and transmit_fine.shape[1] == lines
             and transmit_fine.shape[2] == count, "transmit_fine must be (transmits, lines, count)")
    _require(transmit_weight is None or (transmit_weight.shape[0] == transmits and transmit_weight.shape[1] == lines
             and transmit_weight.shape[2] == count), "transmit_weight must be (transmits, lines, count)")
    _require(wave_turns.shape[0] == transmits, "wave_turns must be (transmits,)")
    _require(0 <= method <= 4 and 0 <= bins <= 4 and lags >= 1 and 0 <= reach <= 8, "method, bins, lags, reach: out of range")
    _require(taps > 0 and coefficients.shape[1] == 2 * taps and taps % 8 == 0 and 0 <= left <= taps,
             "coefficients must be (phases, 2 taps), taps a multiple of 8")
    _require(traces.shape[0] == transmits and traces.shape[1] == channels and fine > 0 and traces.shape[3] == 2,
             "traces must be (transmits, channels, 4 + fine, 2)")
    _require(numerator > 0 and (fine - 1) * numerator // denominator < samples, "traces: longer than the data")
    for t in range(transmits):
        for e in range(elements):
            _require(channel_of[t, e] < channels, "channel_of: no such channel")
    plan.lines = lines
    plan.count = count
    plan.transmits = transmits
    plan.channels = channels
    plan.elements = elements
    plan.samples = samples
    plan.origins = &origins[0, 0]
    plan.directions = &directions[0, 0]
    plan.first = first
    plan.spacing = spacing
    plan.feet = &feet[0]
    plan.per_half = per_half
    plan.least_half = least_half
    plan.window = window
    plan.element_x = &positions[0, 0]
    plan.element_y = &positions[1, 0]
    plan.element_z = &positions[2, 0]
    plan.heard = &heard[0]
    plan.lateral = &lateral[0, 0]
    plan.channel_of = &channel_of[0, 0]
    plan.transmit_fine = &transmit_fine[0, 0, 0]
    plan.transmit_weight = &transmit_weight[0, 0, 0] if transmit_weight is not None else NULL
    plan.wave_turns = &wave_turns[0]
    plan.fine_per_metre = fine_per_metre
    plan.turns_per_fine = turns_per_fine
    plan.method = method
    plan.bins = bins
    plan.lags = lags
    plan.reach = reach
    plan.taps = taps
    plan.left = left
    plan.numerator = numerator
    plan.denominator = denominator
    plan.coefficients = &coefficients[0, 0]
    plan.width = traces.shape[2]
    plan.traces = &traces[0, 0, 0, 0]
    plan.factor = factor
    plan.data = &data[0, 0, 0, 0]
    plan.out = &out[0, 0, 0]
    with nogil:
        sonod_run_adaptive(&plan)


# -- detect -------------------------------------------------------------------------------------------------------------

cdef extern from "kernels.h":
    void sonod_run_envelope(const float *iq, float *out, size_t count) nogil


def envelope(const float[:, ::1] iq not None, float[::1] out not None):
    """Magnitude of `iq (count, 2)` into `out (count,)`."""
    _require(iq.shape[1] == 2 and iq.shape[0] == out.shape[0], "iq must be (count, 2) and out (count,)")
    cdef size_t count = out.shape[0]
    if count == 0:
        return
    with nogil:
        sonod_run_envelope(&iq[0, 0], &out[0], count)


# -- scan conversion ----------------------------------------------------------------------------------------------------

cdef extern from "kernels.h":
    ctypedef struct sonod_scan_convert:
        size_t rows, columns
        const int32_t *base
        const int32_t *spans
        const float *line_share
        const float *sample_share
        size_t line_step, sample_step
        const float *lines
        float *out
    void sonod_run_scan_convert(const sonod_scan_convert *plan) nogil


cdef int describe_scan(sonod_scan_convert *plan, const float[:, ::1] lines, const int32_t[:, ::1] base,
                       const int32_t[:, ::1] spans, const float[:, ::1] line_share,
                       const float[:, ::1] sample_share) except -1:
    cdef Py_ssize_t rows = base.shape[0]
    cdef Py_ssize_t columns = base.shape[1]
    _require(lines.shape[0] > 0 and lines.shape[1] > 0 and rows > 0 and columns > 0, "lines must not be empty")
    _require(spans.shape[0] == rows and spans.shape[1] == 2, "spans must be (rows, 2)")
    _require(line_share.shape[0] == rows and line_share.shape[1] == columns and sample_share.shape[0] == rows
             and sample_share.shape[1] == columns, "the table must be (rows, columns)")
    plan.rows = rows
    plan.columns = columns
    plan.base = &base[0, 0]
    plan.spans = &spans[0, 0]
    plan.line_share = &line_share[0, 0]
    plan.sample_share = &sample_share[0, 0]
    plan.line_step = lines.shape[1] if lines.shape[0] > 1 else 0
    plan.sample_step = 1 if lines.shape[1] > 1 else 0
    plan.lines = &lines[0, 0]
    plan.out = NULL
    return 0


def scan_convert(const float[:, ::1] lines not None, const int32_t[:, ::1] base not None,
                 const int32_t[:, ::1] spans not None, const float[:, ::1] line_share not None,
                 const float[:, ::1] sample_share not None, float[:, ::1] out not None):
    """Pixels `out` from `lines (lines, samples)` by table; `base` must be below lines * samples. See scanconvert."""
    cdef sonod_scan_convert plan
    describe_scan(&plan, lines, base, spans, line_share, sample_share)
    _require(out.shape[0] == base.shape[0] and out.shape[1] == base.shape[1], "out must be (rows, columns)")
    plan.out = &out[0, 0]
    with nogil:
        sonod_run_scan_convert(&plan)


# -- compress -----------------------------------------------------------------------------------------------------------

cdef extern from "kernels.h":
    ctypedef struct sonod_compress:
        size_t rows, columns
        const float *envelope
        const float *lines
        int baseband
        const sonod_scan_convert *scan
        float slope
        const float *row_offset
        float persistence
        float *level
        int first
        const uint8_t *table
        uint8_t *out
    void sonod_run_compress(const sonod_compress *plan) nogil


cdef int describe_compress(sonod_compress *plan, float slope, const float[::1] row_offset, float persistence,
                           float[:, ::1] level, bint first, const unsigned char[::1] table,
                           unsigned char[:, ::1] out) except -1:
    cdef Py_ssize_t rows = out.shape[0]
    cdef Py_ssize_t columns = out.shape[1]
    _require(rows > 0 and columns > 0, "out must not be empty")
    _require(row_offset.shape[0] == rows + 16, "row_offset must be (rows + 16,)")
    _require(level is None or (level.shape[0] == rows and level.shape[1] == columns), "level: wrong shape")
    _require(table is None or table.shape[0] == 256, "table must be (256,)")
    plan.rows = rows
    plan.columns = columns
    plan.envelope = NULL
    plan.lines = NULL
    plan.baseband = 0
    plan.scan = NULL
    plan.slope = slope
    plan.row_offset = &row_offset[0]
    plan.persistence = persistence
    plan.level = &level[0, 0] if level is not None else NULL
    plan.first = first
    plan.table = &table[0] if table is not None else NULL
    plan.out = &out[0, 0]
    return 0


def compress(const float[:, ::1] envelope not None, float slope, const float[::1] row_offset not None,
             float persistence, float[:, ::1] level, bint first, const unsigned char[::1] table,
             unsigned char[:, ::1] out not None):
    """Greys `out` of `envelope`, both (rows, columns); see sonod.cext.compress."""
    cdef sonod_compress plan
    describe_compress(&plan, slope, row_offset, persistence, level, first, table, out)
    _require(envelope.shape[0] == out.shape[0] and envelope.shape[1] == out.shape[1], "out: wrong shape")
    plan.envelope = &envelope[0, 0]
    with nogil:
        sonod_run_compress(&plan)


def compress_lines(const float[:, :, ::1] lines not None, float slope, const float[::1] row_offset not None,
                   float persistence, float[:, ::1] level, bint first, const unsigned char[::1] table,
                   unsigned char[:, ::1] out not None):
    """Greys `out (rows, columns)` of `lines (columns, rows, 1)` envelope or (columns, rows, 2) baseband."""
    cdef sonod_compress plan
    describe_compress(&plan, slope, row_offset, persistence, level, first, table, out)
    _require(lines.shape[0] == out.shape[1] and lines.shape[1] == out.shape[0] and 1 <= lines.shape[2] <= 2,
             "lines must be (columns, rows, 1 or 2)")
    plan.lines = &lines[0, 0, 0]
    plan.baseband = lines.shape[2] == 2
    with nogil:
        sonod_run_compress(&plan)


def compress_scan(const float[:, ::1] lines not None, const int32_t[:, ::1] base not None,
                  const int32_t[:, ::1] spans not None, const float[:, ::1] line_share not None,
                  const float[:, ::1] sample_share not None, float slope, const float[::1] row_offset not None,
                  float persistence, float[:, ::1] level, bint first, const unsigned char[::1] table,
                  unsigned char[:, ::1] out not None):
    """Greys `out (rows, columns)` of the scan conversion of `lines`; arguments as of `scan_convert` and `compress`."""
    cdef sonod_compress plan
    cdef sonod_scan_convert scan
    describe_scan(&scan, lines, base, spans, line_share, sample_share)
    describe_compress(&plan, slope, row_offset, persistence, level, first, table, out)
    _require(base.shape[0] == out.shape[0] and base.shape[1] == out.shape[1], "out: wrong shape")
    plan.scan = &scan
    with nogil:
        sonod_run_compress(&plan)


# -- simulation --------------------------------------------------------------------------------------------------------

include "native_simulate.pxi"


# -- bytes from a wire --------------------------------------------------------------------------------------------------

include "native_bytes.pxi"
