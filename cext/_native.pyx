"""The only compiled module: checks shapes and dtypes, drops the GIL, calls C. No arithmetic."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t


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
    if error != 0:
        raise OSError(error, f"cannot start {count - 1} worker threads")


def thread_count():
    """How many threads work, the caller included."""
    return sonod_threads_count()


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
                  Py_ssize_t step, Py_ssize_t outputs, Py_ssize_t left, const float[:, ::1] turns,
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
    _require(step > 0 and outputs > 0 and (outputs - 1) * step // phases < samples, "step or outputs: too large")
    _require(turns is None or (turns.shape[0] == 2 and turns.shape[1] == outputs + 8), "turns must be (2, outputs + 8)")
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
    plan.turns = &turns[0, 0] if turns is not None else NULL
    plan.turns_stride = outputs + 8
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


cdef extern from "kernels.h":
    ctypedef struct sonod_das_receive:
        size_t lines, block_points, blocks, count, elements
        const double *origins
        const double *directions
        double first, spacing
        float spacing_float
        const double *feet
        const double *elements_m
        const double *normals
        const float *x
        const float *y
        const float *z
        const float *lateral
        const int32_t *half_of_line
        const float *per_half
        int window
        float fine_per_metre, fine_per_point, bend, bent_limit, turns_per_fine, radians_per_fine, largest_pace
        int32_t *heads
        float *paces
        int32_t *table
    ctypedef struct sonod_das_blocks:
        sonod_das_receive receive_table
        size_t lines, transmits, channels, samples, elements
        const int32_t *order
        const int32_t *class_of
        const int32_t *shift
        const uint8_t *mirrored
        const int32_t *receive
        size_t map_row
        const int32_t *map_of
        const int32_t *map_first
        const int32_t *map_traces
        const uint8_t *map_whole
        size_t step, width, row
        int32_t step_magic, step_shift
        int32_t largest_drift
        size_t taps
        const float *coefficients
        const int32_t *starts
        const int32_t *filters
        size_t begin_at, end_at
        int real
        const float *mixing
        float bound
        float *peaks
        float *scales
        float *inverse_scales
        const float *wave_turns
        const int32_t *time_kind
        const int32_t *weight_kind
        const float *quadratic
        const int32_t *ways
        const float *phases
        const float *time_points
        const float *weight_points
        size_t group
        int32_t *planes
        float factor
        const float *data
        float *out
    ctypedef struct sonod_das_times:
        size_t transmits, lines, block_points, count, step
        const void *time
        int time_is_double
        const float *weight
        const double *t0
        double start_s, time_offset, fine_rate, demodulation, tolerance
        float *quadratic
        int32_t *ways
        int32_t *kind
        float *phases
        uint8_t *whole
        const int32_t *point_at
        float *points
    void sonod_run_das_receive(const sonod_das_receive *plan) nogil
    void sonod_run_das_blocks(const sonod_das_blocks *plan) nogil
    void sonod_run_das_times(const sonod_das_times *plan) nogil


def das_times(const float[:, :, ::1] time32, const double[:, :, ::1] time64, const float[:, :, ::1] weight,
              const double[::1] t0 not None, Py_ssize_t block_points, Py_ssize_t step, double start_s, double time_offset,
              double fine_rate, double demodulation, double tolerance, float[:, :, :, ::1] quadratic not None,
              int32_t[:, :, ::1] ways not None, float[:, :, ::1] phases not None, int32_t[:, :, ::1] kind not None,
              unsigned char[:, :, ::1] whole not None, const int32_t[:, :, ::1] point_at, float[:, ::1] points):
    """Travel times (transmits, lines, count) to the second-order form of every block; see sonod.cext.waves."""
    cdef sonod_das_times plan
    cdef Py_ssize_t transmits = kind.shape[0]
    cdef Py_ssize_t lines = kind.shape[2]
    cdef Py_ssize_t blocks = kind.shape[1]
    _require((time32 is None) != (time64 is None), "one of time32 and time64 must be given")
    cdef Py_ssize_t count = time32.shape[2] if time64 is None else time64.shape[2]
    _require(time32 is None or (time32.shape[0] == transmits and time32.shape[1] == lines), "time32: wrong shape")
    _require(time64 is None or (time64.shape[0] == transmits and time64.shape[1] == lines), "time64: wrong shape")
    _require(weight is None or (weight.shape[0] == transmits and weight.shape[1] == lines and weight.shape[2] == count),
             "weight must be (transmits, lines, count)")
    _require(block_points == 16 or block_points == 32, "block_points must be 16 or 32")
    _require(transmits * lines * count > 0 and t0.shape[0] == transmits
             and (blocks - 1) * block_points < count <= blocks * block_points,
             "kind must be (transmits, blocks, lines)")
    _require(quadratic.shape[0] == transmits and quadratic.shape[1] == blocks and quadratic.shape[2] == lines
             and quadratic.shape[3] == 3, "quadratic must be (transmits, blocks, lines, 3)")
    _require(ways.shape[0] == transmits and ways.shape[1] == blocks and ways.shape[2] == lines
             and phases.shape[0] == transmits and phases.shape[1] == blocks and phases.shape[2] == lines
             and whole.shape[0] == transmits and whole.shape[1] == blocks and whole.shape[2] == lines,
             "ways, phases, whole must be (transmits, blocks, lines)")
    _require((point_at is None) == (points is None), "point_at and points go together")
    if points is not None:
        _require(point_at.shape[0] == transmits and point_at.shape[1] == blocks and point_at.shape[2] == lines
                 and points.shape[0] > 0 and points.shape[1] == block_points, "point_at, points: wrong shape")
    plan.transmits = transmits
    plan.lines = lines
    plan.block_points = block_points
    plan.count = count
    plan.step = step
    plan.time = <const void *>&time64[0, 0, 0] if time64 is not None else <const void *>&time32[0, 0, 0]
    plan.time_is_double = time64 is not None
    plan.weight = &weight[0, 0, 0] if weight is not None else NULL
    plan.t0 = &t0[0]
    plan.start_s = start_s
    plan.time_offset = time_offset
    plan.fine_rate = fine_rate
    plan.demodulation = demodulation
    plan.tolerance = tolerance
    plan.quadratic = &quadratic[0, 0, 0, 0]
    plan.ways = &ways[0, 0, 0]
    plan.phases = &phases[0, 0, 0]
    plan.kind = &kind[0, 0, 0]
    plan.whole = &whole[0, 0, 0]
    plan.point_at = &point_at[0, 0, 0] if point_at is not None else NULL
    plan.points = &points[0, 0] if points is not None else NULL
    with nogil:
        sonod_run_das_times(&plan)


cdef int _describe_receive(sonod_das_receive *plan, object geometry) except -1:
    """Fills in the geometry, a tuple: origins, directions, first, spacing, count, feet, elements, normals, positions,
    lateral, half_of_line, per_half, window, constants; the caller keeps it alive."""
    cdef const double[:, ::1] origins = geometry[0]
    cdef const double[:, ::1] directions = geometry[1]
    cdef const double[::1] feet = geometry[5]
    cdef const double[:, ::1] elements = geometry[6]
    cdef const double[:, ::1] normals = geometry[7]
    cdef const float[:, ::1] positions = geometry[8]
    cdef const float[::1] lateral = geometry[9]
    cdef const int32_t[::1] half_of_line = geometry[10]
    cdef const float[:, :, ::1] per_half = geometry[11]
    cdef const float[::1] constants = geometry[13]
    cdef Py_ssize_t lines = origins.shape[0]
    cdef Py_ssize_t count = geometry[4]
    cdef Py_ssize_t blocks = per_half.shape[1]
    _require(directions.shape[0] == lines and feet.shape[0] == lines and half_of_line.shape[0] == lines and lines > 0,
             "lines: wrong shape")
    _require(origins.shape[1] == 3 and directions.shape[1] == 3 and elements.shape[1] == 3 and normals.shape[1] == 3,
             "positions must have three coordinates")
    cdef Py_ssize_t block_points = per_half.shape[2]
    _require((block_points == 16 or block_points == 32) and count > 0
             and (blocks - 1) * block_points < count <= blocks * block_points,
             "per_half must be (apertures, blocks, 16 or 32)")
    _require(normals.shape[0] == elements.shape[0] and 0 < elements.shape[0] < 32768
             and (lateral is None or lateral.shape[0] == elements.shape[0]), "elements: wrong shape")
    _require(positions.shape[0] == 3 and positions.shape[1] % 8 == 0
             and 0 <= positions.shape[1] - elements.shape[0] < 8, "positions must be (3, elements in whole eights)")
    _require(constants.shape[0] == 8, "constants must be (8,)")
    plan.lines = lines
    plan.block_points = block_points
    plan.blocks = blocks
    plan.count = count
    plan.elements = elements.shape[0]
    plan.origins = &origins[0, 0]
    plan.directions = &directions[0, 0]
    plan.first = geometry[2]
    plan.spacing = geometry[3]
    plan.feet = &feet[0]
    plan.elements_m = &elements[0, 0]
    plan.normals = &normals[0, 0]
    plan.x = &positions[0, 0]
    plan.y = &positions[1, 0]
    plan.z = &positions[2, 0]
    plan.lateral = &lateral[0] if lateral is not None else NULL
    plan.half_of_line = &half_of_line[0]
    plan.per_half = &per_half[0, 0, 0]
    plan.window = geometry[12]
    plan.spacing_float = constants[0]
    plan.fine_per_metre = constants[1]
    plan.fine_per_point = constants[2]
    plan.bend = constants[3]
    plan.bent_limit = constants[4]
    plan.turns_per_fine = constants[5]
    plan.radians_per_fine = constants[6]
    plan.largest_pace = constants[7]
    plan.heads = NULL
    plan.paces = NULL
    plan.table = NULL
    return 0


def das_receive(tuple geometry not None, int32_t[:, :, ::1] heads not None, float[:, ::1] paces not None,
                int32_t[::1] table):
    """How elements hear the blocks of lines: counts them into `heads (blocks, lines, 8)`, or fills `table`."""
    cdef sonod_das_receive plan
    _describe_receive(&plan, geometry)
    _require(heads.shape[0] == <Py_ssize_t>plan.blocks and heads.shape[1] == <Py_ssize_t>plan.lines
             and heads.shape[2] == 8 and paces.shape[0] == <Py_ssize_t>plan.blocks
             and paces.shape[1] == <Py_ssize_t>plan.lines, "heads, paces must be (blocks, lines, 8), (blocks, lines)")
    plan.heads = &heads[0, 0, 0]
    plan.paces = &paces[0, 0]
    plan.table = &table[0] if table is not None else NULL
    with nogil:
        sonod_run_das_receive(&plan)


def das_blocks(tuple geometry not None, int32_t[:, :, ::1] heads, float[:, ::1] paces, int32_t[::1] table,
               const int32_t[::1] order not None, const int32_t[::1] class_of not None,
               const int32_t[::1] shift not None, const unsigned char[::1] mirrored not None,
               const int32_t[:, ::1] receive not None, const int32_t[::1] map_of not None,
               const int32_t[:, :, ::1] map_first not None, const int32_t[:, :, ::1] map_traces not None,
               const unsigned char[:, ::1] map_whole not None, Py_ssize_t step, Py_ssize_t width, int32_t largest_drift,
               const float[:, :, ::1] coefficients not None, const int32_t[:, ::1] starts not None,
               const int32_t[:, ::1] filters not None, Py_ssize_t begin_at, Py_ssize_t end_at,
               const float[:, ::1] mixing, float bound, float[:, ::1] peaks not None, float[:, ::1] scales not None,
               const float[::1] wave_turns not None, const int32_t[:, :, ::1] time_kind not None,
               const int32_t[:, :, ::1] weight_kind not None, const float[:, :, :, ::1] quadratic not None,
               const int32_t[:, :, ::1] ways not None, const float[:, :, ::1] phases not None,
               const float[:, ::1] time_points not None, const float[:, ::1] weight_points not None, Py_ssize_t samples,
               int32_t[:, :, :, :, ::1] planes not None, float factor, const float[::1] data not None,
               float[::1] out not None):
    """Delay and sum in blocks of points; see sonod.cext.blocks, which makes every argument."""
    cdef sonod_das_blocks plan
    cdef Py_ssize_t lines = class_of.shape[0]
    cdef Py_ssize_t transmits = receive.shape[0]
    cdef Py_ssize_t channels = receive.shape[1]
    cdef Py_ssize_t parts = 2 if mixing is None else 1
    _describe_receive(&plan.receive_table, geometry)
    cdef Py_ssize_t blocks = plan.receive_table.blocks
    cdef Py_ssize_t row = planes.shape[4]
    if table is not None:
        _require(heads is not None and paces is not None and heads.shape[1] == <Py_ssize_t>plan.receive_table.lines
                 and heads.shape[0] == blocks and heads.shape[2] == 8 and paces.shape[0] == blocks
                 and paces.shape[1] == <Py_ssize_t>plan.receive_table.lines, "heads, paces: wrong shape")
        plan.receive_table.heads = &heads[0, 0, 0]
        plan.receive_table.paces = &paces[0, 0]
        plan.receive_table.table = &table[0]
    _require(order.shape[0] == lines and shift.shape[0] == lines and mirrored.shape[0] == lines and lines > 0,
             "order, shift, mirrored must be (lines,)")
    _require(map_of.shape[0] == transmits and transmits > 0, "map_of must be (transmits,)")
    _require(map_first.shape[0] == map_traces.shape[0] == map_whole.shape[0] and map_first.shape[1] == 2
             and map_traces.shape[1] == 2 and map_whole.shape[1] == 2 and map_first.shape[2] > 1,
             "map_first, map_traces, map_whole must be (maps, 2, ...)")
    _require(coefficients.shape[1] == 3 and coefficients.shape[2] > 0, "coefficients must be (phases, 3, taps)")
    _require(starts.shape[0] == step and starts.shape[1] == width and filters.shape[0] == step
             and filters.shape[1] == width and width % 8 == 0, "starts, filters must be (step, width), width of 8 n")
    _require(0 <= begin_at < end_at <= samples, "begin_at, end_at must be within the samples")
    _require(mixing is None or (mixing.shape[0] == end_at - begin_at and mixing.shape[1] == 2),
             "mixing must be (samples used, 2)")
    _require(peaks.shape[0] == transmits and peaks.shape[1] == channels and scales.shape[0] == 2
             and scales.shape[1] == transmits and wave_turns.shape[0] == transmits, "peaks, scales, wave_turns: wrong shape")
    _require(row >= width + 80, "row must leave room for margins")
    _require(time_kind.shape[0] == transmits and time_kind.shape[1] == blocks and time_kind.shape[2] == lines
             and weight_kind.shape[0] == transmits and weight_kind.shape[1] == blocks and weight_kind.shape[2] == lines
             and ways.shape[0] == transmits and ways.shape[1] == blocks and ways.shape[2] == lines
             and phases.shape[0] == transmits and phases.shape[1] == blocks and phases.shape[2] == lines
             and quadratic.shape[0] == transmits and quadratic.shape[1] == blocks and quadratic.shape[2] == lines
             and quadratic.shape[3] == 3, "waves must be (transmits, blocks, lines)")
    _require(time_points.shape[1] == <Py_ssize_t>plan.receive_table.block_points
             and weight_points.shape[1] == <Py_ssize_t>plan.receive_table.block_points,
             "time_points, weight_points must be (n, block_points)")
    _require(planes.shape[0] > 0 and planes.shape[1] == channels and planes.shape[2] == step and planes.shape[3] == 3,
             "planes must be (group, channels, step, 3, row)")
    _require(data.shape[0] == transmits * channels * samples * parts and samples > 0, "data: wrong size")
    _require(out.shape[0] == lines * <Py_ssize_t>plan.receive_table.count * parts, "out: wrong size")
    plan.lines = lines
    plan.transmits = transmits
    plan.channels = channels
    plan.samples = samples
    plan.elements = map_first.shape[2] - 1
    plan.order = &order[0]
    plan.class_of = &class_of[0]
    plan.shift = &shift[0]
    plan.mirrored = &mirrored[0]
    plan.receive = &receive[0, 0]
    plan.map_row = map_traces.shape[2]
    plan.map_of = &map_of[0]
    plan.map_first = &map_first[0, 0, 0]
    plan.map_traces = &map_traces[0, 0, 0]
    plan.map_whole = &map_whole[0, 0]
    plan.step = step
    plan.width = width
    plan.row = row
    plan.step_shift = (step - 1).bit_length()
    plan.step_magic = 0
    if step & (step - 1):
        plan.step_shift += 15
        plan.step_magic = ((1 << plan.step_shift) + step - 1) // step
    plan.largest_drift = largest_drift
    plan.taps = coefficients.shape[2]
    plan.coefficients = &coefficients[0, 0, 0]
    plan.starts = &starts[0, 0]
    plan.filters = &filters[0, 0]
    plan.begin_at = begin_at
    plan.end_at = end_at
    plan.real = mixing is not None
    plan.mixing = &mixing[0, 0] if mixing is not None else NULL
    plan.bound = bound
    plan.peaks = &peaks[0, 0]
    plan.scales = &scales[0, 0]
    plan.inverse_scales = &scales[1, 0]
    plan.wave_turns = &wave_turns[0]
    plan.time_kind = &time_kind[0, 0, 0]
    plan.weight_kind = &weight_kind[0, 0, 0]
    plan.quadratic = &quadratic[0, 0, 0, 0]
    plan.ways = &ways[0, 0, 0]
    plan.phases = &phases[0, 0, 0]
    plan.time_points = &time_points[0, 0]
    plan.weight_points = &weight_points[0, 0]
    plan.group = planes.shape[0]
    plan.planes = &planes[0, 0, 0, 0, 0]
    plan.factor = factor
    plan.data = &data[0]
    plan.out = &out[0]
    with nogil:
        sonod_run_das_blocks(&plan)


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

from libc.stdint cimport int16_t, int32_t

cdef extern from "kernels.h":
    enum:
        BAND "SIMULATE_BAND"
        BLOCK "SIMULATE_BLOCK"

    ctypedef struct sonod_simulated_array:
        int count
        int padded
        const float *x
        const float *z
        const float *normal_x
        const float *normal_z
        const float *listening
        const float *directivity
        int directivity_count
        const float *decay
        int decay_count
        float decay_per_m
        int stations
        const int32_t *station
        const float *share

    ctypedef struct sonod_simulated_reflectors:
        size_t count
        const float *x
        const float *z
        const float *rough
        const float *smooth
        const float *axis_x
        const float *axis_z
        const float *lobe_scale
        const float *lobe
        float lobe_last
        const float *loss

    ctypedef struct sonod_simulated_field:
        sonod_simulated_array array
        const float *x
        const float *z
        const float *loss
        size_t points
        size_t transmits
        const float *delay_turns
        const float *apodization
        const float *reference_turns
        float turns_per_m
        const float *window
        float window_scale
        float window_last
        float *out

    ctypedef struct sonod_simulated_echoes:
        sonod_simulated_array array
        sonod_simulated_reflectors reflectors
        const float *arrival
        const float *meeting
        const float *incoming
        size_t transmits
        size_t length
        float samples_per_m
        float turns_per_m
        int half

    ctypedef struct sonod_simulated_deposit:
        sonod_simulated_echoes echoes
        float *grid

    ctypedef struct sonod_simulated_convolve:
        const float *grid
        size_t rows
        size_t channels
        size_t length
        size_t samples
        size_t taps
        const float *pulse
        const float *carrier
        float *out

    ctypedef struct sonod_simulated_frame:
        sonod_simulated_echoes echoes
        size_t samples
        size_t taps
        const float *pulse
        const float *carrier
        const float *background
        const float *noise
        const int32_t *noise_start
        float noise_level
        float level
        const float *gain
        float limit
        int16_t *out

    void sonod_run_simulate_field(const sonod_simulated_field *plan) nogil
    void sonod_run_simulate_deposit(const sonod_simulated_deposit *plan) nogil
    void sonod_run_simulate_convolve(const sonod_simulated_convolve *plan) nogil
    void sonod_run_simulate_frame(const sonod_simulated_frame *plan) nogil

SIMULATE_BAND, SIMULATE_BLOCK = BAND, BLOCK


cdef int describe_array(sonod_simulated_array *array, int count, const float[:, ::1] elements,
                        const int32_t[::1] station, int stations, const float[::1] directivity,
                        const float[::1] decay, float decay_per_m) except -1:
    _require(elements.shape[0] == 6 and elements.shape[1] % BAND == 0 and 1 <= count <= elements.shape[1],
             "elements must be (6, count padded to whole bands)")
    _require(directivity.shape[0] >= 3 and decay.shape[0] >= 3, "directivity and decay need 3 entries or more")
    _require(station.shape[0] == elements.shape[1] and stations >= 2, "station must be (padded,), stations >= 2")
    cdef Py_ssize_t k
    for k in range(station.shape[0]):
        _require(0 <= station[k] < stations - 1, "station must be in 0..stations - 2")
    array.count = count
    array.padded = <int>elements.shape[1]
    array.x = &elements[0, 0]
    array.z = &elements[1, 0]
    array.normal_x = &elements[2, 0]
    array.normal_z = &elements[3, 0]
    array.listening = &elements[4, 0]
    array.share = &elements[5, 0]
    array.directivity = &directivity[0]
    array.directivity_count = <int>directivity.shape[0]
    array.decay = &decay[0]
    array.decay_count = <int>decay.shape[0]
    array.decay_per_m = decay_per_m
    array.station = &station[0]
    array.stations = stations
    return 0


cdef int describe_reflectors(sonod_simulated_reflectors *reflectors, const float[:, ::1] points,
                             const float[::1] lobe, const float[:, ::1] loss, int stations) except -1:
    _require(points.shape[0] == 7 and lobe.shape[0] >= 3, "points must be (7, n), lobe have 3 entries or more")
    reflectors.count = points.shape[1]
    reflectors.loss = NULL
    reflectors.lobe = &lobe[0]
    reflectors.lobe_last = lobe.shape[0] - 2
    if points.shape[1] == 0:
        return 0
    if loss.shape[0]:
        _require(loss.shape[0] == points.shape[1] and loss.shape[1] == stations, "loss must be (n, stations) or empty")
        reflectors.loss = &loss[0, 0]
    reflectors.x = &points[0, 0]
    reflectors.z = &points[1, 0]
    reflectors.rough = &points[2, 0]
    reflectors.smooth = &points[3, 0]
    reflectors.axis_x = &points[4, 0]
    reflectors.axis_z = &points[5, 0]
    reflectors.lobe_scale = &points[6, 0]
    return 0


cdef int describe_echoes(sonod_simulated_echoes *echoes, size_t transmits, size_t length,
                         const float[:, ::1] points, const float[:, ::1] arrival, const float[:, :, ::1] meeting,
                         const float[:, ::1] incoming, float samples_per_m, float turns_per_m, int half) except -1:
    _require(<size_t>arrival.shape[0] == transmits and arrival.shape[1] == points.shape[1]
             and <size_t>incoming.shape[0] == transmits and incoming.shape[1] == points.shape[1],
             "arrival and incoming must be (transmits, points)")
    _require(<size_t>meeting.shape[0] == transmits and meeting.shape[1] == points.shape[1] and meeting.shape[2] == 2,
             "meeting must be (transmits, points, 2)")
    echoes.transmits, echoes.length = transmits, length
    echoes.samples_per_m, echoes.turns_per_m, echoes.half = samples_per_m, turns_per_m, half
    echoes.arrival = echoes.meeting = echoes.incoming = NULL
    if transmits and points.shape[1]:
        echoes.arrival, echoes.meeting, echoes.incoming = &arrival[0, 0], &meeting[0, 0, 0], &incoming[0, 0]
    return 0


def simulate_field(int count, const float[:, ::1] elements not None, const int32_t[::1] station not None, int stations,
                   const float[::1] directivity not None, const float[::1] decay not None, float decay_per_m,
                   const float[::1] x not None, const float[::1] z not None, const float[:, ::1] loss not None,
                   const float[:, ::1] delay_turns not None, const float[:, ::1] apodization not None,
                   const float[:, ::1] reference_turns not None, float turns_per_m, const float[::1] window not None,
                   float window_scale, float[:, :, ::1] out not None):
    """Complex amplitude of each transmit's wave at each point into `out (transmits, points, 2)`."""
    cdef sonod_simulated_field plan
    describe_array(&plan.array, count, elements, station, stations, directivity, decay, decay_per_m)
    plan.points, plan.transmits = x.shape[0], delay_turns.shape[0]
    _require(z.shape[0] == x.shape[0] and out.shape[0] == delay_turns.shape[0] and out.shape[1] == x.shape[0]
             and out.shape[2] == 2, "x and z must be (points,) and out (transmits, points, 2)")
    _require(delay_turns.shape[1] == plan.array.padded and apodization.shape[1] == plan.array.padded
             and apodization.shape[0] == delay_turns.shape[0],
             "delay_turns and apodization must be (transmits, padded elements)")
    _require(reference_turns.shape[0] == out.shape[0] and reference_turns.shape[1] == out.shape[1],
             "reference_turns must be (transmits, points)")
    _require(window.shape[0] >= 3, "window needs 3 entries or more")
    if plan.points == 0 or plan.transmits == 0:
        return
    plan.loss = NULL
    if loss.shape[0]:
        _require(loss.shape[0] == x.shape[0] and loss.shape[1] == stations, "loss must be (points, stations) or empty")
        plan.loss = &loss[0, 0]
    plan.x, plan.z, plan.out = &x[0], &z[0], &out[0, 0, 0]
    plan.delay_turns, plan.apodization = &delay_turns[0, 0], &apodization[0, 0]
    plan.reference_turns = &reference_turns[0, 0]
    plan.turns_per_m = turns_per_m
    plan.window, plan.window_scale, plan.window_last = &window[0], window_scale, window.shape[0] - 2
    with nogil:
        sonod_run_simulate_field(&plan)


def simulate_deposit(int count, const float[:, ::1] elements not None, const int32_t[::1] station not None,
                     int stations, const float[::1] directivity not None, const float[::1] decay not None,
                     float decay_per_m, const float[:, ::1] points not None, const float[::1] lobe not None,
                     const float[:, ::1] loss not None, const float[:, ::1] arrival not None,
                     const float[:, :, ::1] meeting not None, const float[:, ::1] incoming not None,
                     float samples_per_m, float turns_per_m, int half, float[:, :, :, ::1] grid not None):
    """Add the echoes of reflectors to `grid (transmits, channels, length, 2)`; `arrival` is in samples.

    `points (7, n)`: x, z, rough, smooth, axis x, axis z, steps of the lobe table per unit of cosine.
    """
    cdef sonod_simulated_deposit plan
    describe_array(&plan.echoes.array, count, elements, station, stations, directivity, decay, decay_per_m)
    describe_reflectors(&plan.echoes.reflectors, points, lobe, loss, stations)
    _require(grid.shape[1] == count and grid.shape[3] == 2 and grid.shape[2] >= 4,
             "grid must be (transmits, channels, 4 or more, 2)")
    describe_echoes(&plan.echoes, grid.shape[0], grid.shape[2], points, arrival, meeting, incoming, samples_per_m,
                    turns_per_m, half)
    if grid.shape[0] == 0 or points.shape[1] == 0:
        return
    plan.grid = &grid[0, 0, 0, 0]
    with nogil:
        sonod_run_simulate_deposit(&plan)


def simulate_convolve(const float[:, :, :, ::1] grid not None, const float[:, :, :, ::1] pulse not None,
                      const float[:, ::1] carrier not None, float[:, :, ::1] out not None):
    """Apply the pulse of each block to `grid (transmits, channels, length, 2)`, added to `out (transmits, channels,
    samples)`.

    `pulse (transmits, blocks, taps, 2)`, `carrier (samples, 2)`.
    """
    cdef sonod_simulated_convolve plan
    plan.rows, plan.channels = out.shape[0] * out.shape[1], out.shape[1]
    plan.length, plan.samples, plan.taps = grid.shape[2], out.shape[2], pulse.shape[2]
    cdef size_t blocks = (plan.samples + BLOCK - 1) // BLOCK
    _require(grid.shape[0] == out.shape[0] and grid.shape[1] == out.shape[1] and grid.shape[3] == 2,
             "grid must be (transmits, channels, length, 2)")
    _require(plan.length >= plan.samples + plan.taps, "grid must hold samples + taps values")
    _require(pulse.shape[0] == out.shape[0] and <size_t>pulse.shape[1] == blocks and pulse.shape[3] == 2,
             "pulse must be (transmits, blocks, taps, 2)")
    _require(<size_t>carrier.shape[0] >= plan.samples and carrier.shape[1] == 2, "carrier must be (samples, 2)")
    if plan.rows == 0 or plan.samples == 0 or plan.taps == 0:
        return
    plan.grid, plan.pulse, plan.carrier, plan.out = (
        &grid[0, 0, 0, 0], &pulse[0, 0, 0, 0], &carrier[0, 0], &out[0, 0, 0])
    with nogil:
        sonod_run_simulate_convolve(&plan)


def simulate_frame(int count, const float[:, ::1] elements not None, const int32_t[::1] station not None, int stations,
                   const float[::1] directivity not None, const float[::1] decay not None, float decay_per_m,
                   const float[:, ::1] points not None, const float[::1] lobe not None,
                   const float[:, ::1] loss not None, const float[:, ::1] arrival not None,
                   const float[:, :, ::1] meeting not None, const float[:, ::1] incoming not None,
                   float samples_per_m, float turns_per_m, int half, const float[:, :, :, ::1] pulse not None,
                   const float[:, ::1] carrier not None, const float[:, :, ::1] background not None,
                   const float[::1] noise not None, const int32_t[:, ::1] noise_start not None, float noise_level,
                   float level, const float[::1] gain not None, float limit, int16_t[:, :, ::1] out not None):
    """One frame `out (transmits, channels, samples)`: background, moving reflectors, noise, gain, rounding to integers.

    Reflectors as for `simulate_deposit`; `pulse (transmits, blocks, taps, 2)`, `carrier (samples, 2)`.
    """
    cdef sonod_simulated_frame plan
    describe_array(&plan.echoes.array, count, elements, station, stations, directivity, decay, decay_per_m)
    describe_reflectors(&plan.echoes.reflectors, points, lobe, loss, stations)
    plan.samples, plan.taps = out.shape[2], pulse.shape[2]
    describe_echoes(&plan.echoes, out.shape[0], plan.samples + plan.taps + BLOCK, points, arrival, meeting, incoming,
                    samples_per_m, turns_per_m, half)
    _require(out.shape[1] == count and background.shape[0] == out.shape[0] and background.shape[1] == count
             and background.shape[2] == out.shape[2], "background and out must be (transmits, channels, samples)")
    _require(noise_start.shape[0] == out.shape[0] and noise_start.shape[1] == count
             and gain.shape[0] == out.shape[2], "noise_start must be (transmits, channels), gain (samples,)")
    cdef size_t blocks = (plan.samples + BLOCK - 1) // BLOCK
    _require(pulse.shape[0] == out.shape[0] and <size_t>pulse.shape[1] == blocks and pulse.shape[2] >= 1
             and pulse.shape[3] == 2, "pulse must be (transmits, blocks, taps, 2)")
    _require(<size_t>carrier.shape[0] >= plan.samples and carrier.shape[1] == 2, "carrier must be (samples, 2)")
    cdef int start
    cdef Py_ssize_t i, k
    for i in range(out.shape[0]):
        for k in range(count):
            start = noise_start[i, k]
            _require(start >= 0 and start + out.shape[2] <= noise.shape[0],
                     "noise_start must leave room for all samples in noise")
    if out.shape[0] == 0 or plan.samples == 0:
        return
    plan.pulse, plan.carrier = &pulse[0, 0, 0, 0], &carrier[0, 0]
    plan.background, plan.noise, plan.noise_start = &background[0, 0, 0], &noise[0], &noise_start[0, 0]
    plan.noise_level, plan.level, plan.gain, plan.limit = noise_level, level, &gain[0], limit
    plan.out = &out[0, 0, 0]
    with nogil:
        sonod_run_simulate_frame(&plan)


# -- bytes from a wire --------------------------------------------------------------------------------------------------

cdef extern from "kernels.h":
    ctypedef struct sonod_byte_kernels:
        uint32_t (*crc32c)(const uint8_t *data, size_t length, uint32_t crc) nogil
        void (*unpack)(const uint8_t *packed, size_t count, int format, int offset, int16_t *out) nogil
        void (*deinterleave_2)(const uint16_t *items, size_t samples, size_t channels, uint16_t *out) nogil
        void (*deinterleave_4)(const uint32_t *items, size_t samples, size_t channels, uint32_t *out) nogil
    # The same struct again, with the member that this part needs.
    ctypedef struct sonod_wire_kernels "sonod_kernels":
        sonod_byte_kernels bytes
    const sonod_wire_kernels *sonod_wire_current "sonod_kernels_current"() nogil

# Below this many bytes the GIL is kept: the work takes a few 10 us, while a busy Python thread would give it back
# only after 5 ms, several frame periods.
cdef enum:
    SHORT_WORK_BYTES = 1 << 20


def crc32c(const unsigned char[::1] data not None, uint32_t crc):
    """CRC-32C of the bytes, going on from `crc`."""
    cdef size_t length = data.shape[0]
    cdef uint32_t result
    if length == 0:
        return crc
    if length < SHORT_WORK_BYTES:
        return sonod_wire_current().bytes.crc32c(&data[0], length, crc)
    with nogil:
        result = sonod_wire_current().bytes.crc32c(&data[0], length, crc)
    return result


def unpack(const unsigned char[::1] packed not None, int format, int offset, int16_t[::1] out not None):
    """Samples as they arrive into int16 `out (count,)`; `format` is 0 for u16 less `offset`, 1, 2, 3 for 10, 12, 14
    packed bits."""
    cdef size_t count = out.shape[0]
    _require(0 <= format <= 3, "format must be in 0..3")
    cdef size_t bits = 16 if format == 0 else 8 + 2 * format
    _require(<size_t>packed.shape[0] == (count * bits + 7) // 8, "packed: wrong size")
    if count == 0:
        return
    if count * 2 < SHORT_WORK_BYTES:
        sonod_wire_current().bytes.unpack(&packed[0], count, format, offset, &out[0])
        return
    with nogil:
        sonod_wire_current().bytes.unpack(&packed[0], count, format, offset, &out[0])


def deinterleave(const unsigned char[::1] items not None, Py_ssize_t item_bytes, Py_ssize_t samples,
                 Py_ssize_t channels, unsigned char[::1] out not None):
    """Items (samples, channels) of 2 or 4 bytes into `out` (channels, samples)."""
    _require(item_bytes == 2 or item_bytes == 4, "item_bytes must be 2 or 4")
    _require(samples > 0 and channels > 0, "samples and channels must be > 0")
    _require(items.shape[0] == samples * channels * item_bytes, "items: wrong size")
    _require(out.shape[0] == items.shape[0], "out: wrong size")
    _require(<size_t>&items[0] % item_bytes == 0 and <size_t>&out[0] % item_bytes == 0, "items, out: not aligned")
    with nogil:
        if item_bytes == 2:
            sonod_wire_current().bytes.deinterleave_2(
                <const uint16_t *>&items[0], samples, channels, <uint16_t *>&out[0])
        else:
            sonod_wire_current().bytes.deinterleave_4(
                <const uint32_t *>&items[0], samples, channels, <uint32_t *>&out[0])
