# Delay and sum in blocks of points; included by _native.pyx.

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
        size_t fields
        int32_t *heads
        float *paces
        int32_t *table
    ctypedef struct sonod_resampling:
        size_t taps, fine, run, words
        const int32_t *coefficients
        const int32_t *starts
        const int32_t *table_of
        const int32_t *places
        const int32_t *picks
        int headroom
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
        size_t step, width, row, rows
        int32_t step_magic, step_shift
        int32_t largest_drift
        sonod_resampling resampling
        size_t taps
        const float *coefficients
        const int32_t *starts
        const int32_t *filters
        size_t begin_at, end_at
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
        size_t out_row
        int adding
        const float *efforts
        const int32_t *fine_at
        int32_t *first_piece
        int32_t *piece_lines
    ctypedef struct sonod_das_times:
        size_t transmits, lines, block_points, count, row, step
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


cdef Py_ssize_t _row_of(const Py_ssize_t *strides, Py_ssize_t item, Py_ssize_t lines) noexcept nogil:
    """Items from one line to the next of a range of points of an array in C order; -1 for another array."""
    if strides[2] != item or strides[1] % item or strides[0] != lines * strides[1]:
        return -1
    return strides[1] // item


def das_times(const float[:, :, :] time32, const double[:, :, :] time64, const float[:, :, :] weight,
              const double[::1] t0 not None, Py_ssize_t block_points, Py_ssize_t step, double start_s, double time_offset,
              double fine_rate, double demodulation, double tolerance, float[:, :, :, ::1] quadratic not None,
              int32_t[:, :, ::1] ways not None, float[:, :, ::1] phases not None, int32_t[:, :, ::1] kind not None,
              unsigned char[:, :, ::1] whole not None, const int32_t[:, :, ::1] point_at, float[:, ::1] points):
    """Travel times (transmits, lines, count), a range of the points of larger arrays, to the second-order form of every
    block; see sonod.cext.waves."""
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
    cdef Py_ssize_t row = _row_of(time32.strides, 4, lines) if time64 is None else _row_of(time64.strides, 8, lines)
    _require(row >= count and (weight is None or _row_of(weight.strides, 4, lines) == row),
             "time, weight must be ranges of the points of arrays in C order of one shape")
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
    plan.row = row
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
    lateral, half_of_line, per_half, window, constants, fields; the caller keeps it alive."""
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
    plan.fields = geometry[14]
    _require(plan.fields == 5 or plan.fields == 6, "fields must be 5 or 6")
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


cdef int _describe_resampling(sonod_resampling *plan, object filters, Py_ssize_t step, Py_ssize_t width,
                              Py_ssize_t row, Py_ssize_t rows, Py_ssize_t used) except -1:
    """Fills the plan from a sonod.cext.resampling.WholeFilters; the caller keeps it alive."""
    cdef const int32_t[:, :, :, ::1] coefficients = filters.coefficients
    cdef const int32_t[::1] starts = filters.starts
    cdef const int32_t[::1] table_of = filters.table_of
    cdef const int32_t[::1] places = filters.places
    cdef Py_ssize_t run = filters.run
    cdef Py_ssize_t fine = step * width
    cdef const int32_t[:, ::1] picks = filters.picks
    cdef Py_ssize_t words = filters.words
    cdef Py_ssize_t taps = 2 * coefficients.shape[1]
    cdef Py_ssize_t i
    _require((taps == 8 or taps == 12) and coefficients.shape[2] == rows and coefficients.shape[3] == 16,
             "coefficients must be (tables, 4 or 6, rows, 16)")
    _require(fine > 0 and starts.shape[0] == fine and table_of.shape[0] == fine // 16 and places.shape[0] == fine // 4,
             "starts, table_of, places: wrong shape")
    _require(run == 16 or ((run == 8 or run == 4) and rows == 3), "run must be 16, or 8 or 4 with three rows")
    _require(picks is None or (picks.shape[0] == coefficients.shape[0] and picks.shape[1] == 16),
             "picks must be (tables, 16)")
    for i in range(fine):
        _require(-32 <= starts[i] <= words - 96, "starts must be within the words")
    for i in range(places.shape[0]):
        _require(0 <= places[i] <= (step - 1) * rows * row + width - (4 if i % (run // 4) else run),
                 "places must be within the planes")
    for i in range(table_of.shape[0]):
        _require(0 <= table_of[i] < coefficients.shape[0], "table_of: no such table")
    _require(words % 32 == 0 and words >= used + 64, "words must hold the samples and zeros")
    plan.taps = taps
    plan.fine = fine
    plan.run = run
    plan.words = words
    plan.coefficients = &coefficients[0, 0, 0, 0]
    plan.starts = &starts[0]
    plan.table_of = &table_of[0]
    plan.places = &places[0]
    plan.picks = &picks[0, 0] if picks is not None else NULL
    plan.headroom = filters.headroom
    return 0


@cython.final
@cython.auto_pickle(False)
cdef class BlockSums:
    """Delay and sum in blocks of points, of one depth part; see sonod.cext.blocks, which makes every argument."""

    cdef sonod_das_blocks plan
    cdef tuple held

    def __init__(self, tuple geometry not None, int32_t[:, :, ::1] heads, float[:, ::1] paces, int32_t[::1] table,
                     const int32_t[::1] order not None, const int32_t[::1] class_of not None,
                     const int32_t[::1] shift not None, const unsigned char[::1] mirrored not None,
                     const int32_t[:, ::1] receive not None, const int32_t[::1] map_of not None,
                     const int32_t[:, :, ::1] map_first not None, const int32_t[:, :, ::1] map_traces not None,
                     const unsigned char[:, ::1] map_whole not None, Py_ssize_t step, Py_ssize_t width, int32_t largest_drift,
                     object filters not None, Py_ssize_t begin_at, Py_ssize_t end_at,
                     float bound, float[:, ::1] peaks not None, float[:, ::1] scales not None,
                     const float[::1] wave_turns not None, const int32_t[:, :, ::1] time_kind not None,
                     const int32_t[:, :, ::1] weight_kind not None, const float[:, :, :, ::1] quadratic not None,
                     const int32_t[:, :, ::1] ways not None, const float[:, :, ::1] phases not None,
                     const float[:, ::1] time_points not None, const float[:, ::1] weight_points not None, Py_ssize_t samples,
                     int32_t[:, :, :, :, ::1] planes not None, const float[::1] efforts not None,
                     const int32_t[::1] fine_at not None, int32_t[:, ::1] pieces not None,
                 float factor):
        cdef Py_ssize_t lines = class_of.shape[0]
        cdef Py_ssize_t transmits = receive.shape[0]
        cdef Py_ssize_t channels = receive.shape[1]
        _describe_receive(&self.plan.receive_table, geometry)
        cdef Py_ssize_t blocks = self.plan.receive_table.blocks
        cdef Py_ssize_t row = planes.shape[4]
        cdef Py_ssize_t rows = planes.shape[3]
        if table is not None:
            _require(heads is not None and paces is not None and heads.shape[1] == <Py_ssize_t>self.plan.receive_table.lines
                     and heads.shape[0] == blocks and heads.shape[2] == 8 and paces.shape[0] == blocks
                     and paces.shape[1] == <Py_ssize_t>self.plan.receive_table.lines, "heads, paces: wrong shape")
            self.plan.receive_table.heads = &heads[0, 0, 0]
            self.plan.receive_table.paces = &paces[0, 0]
            self.plan.receive_table.table = &table[0]
        _require(order.shape[0] == lines and shift.shape[0] == lines and mirrored.shape[0] == lines and lines > 0,
                 "order, shift, mirrored must be (lines,)")
        _require(map_of.shape[0] == transmits and transmits > 0, "map_of must be (transmits,)")
        _require(map_first.shape[0] == map_traces.shape[0] == map_whole.shape[0] and map_first.shape[1] == 2
                 and map_traces.shape[1] == 2 and map_whole.shape[1] == 2 and map_first.shape[2] > 1,
                 "map_first, map_traces, map_whole must be (maps, 2, ...)")
        _require(width % 16 == 0, "width must be in sixteens")
        _require(0 <= begin_at < end_at <= samples, "begin_at, end_at must be within the samples")
        _require(peaks.shape[0] == transmits and peaks.shape[1] == channels and scales.shape[0] == 2
                 and scales.shape[1] == transmits and wave_turns.shape[0] == transmits, "peaks, scales, wave_turns: wrong shape")
        _require(row >= width + 80, "row must leave room for margins")
        _require(time_kind.shape[0] == transmits and time_kind.shape[1] == blocks and time_kind.shape[2] == lines
                 and weight_kind.shape[0] == transmits and weight_kind.shape[1] == blocks and weight_kind.shape[2] == lines
                 and ways.shape[0] == transmits and ways.shape[1] == blocks and ways.shape[2] == lines
                 and phases.shape[0] == transmits and phases.shape[1] == blocks and phases.shape[2] == lines
                 and quadratic.shape[0] == transmits and quadratic.shape[1] == blocks and quadratic.shape[2] == lines
                 and quadratic.shape[3] == 3, "waves must be (transmits, blocks, lines)")
        _require(time_points.shape[1] == <Py_ssize_t>self.plan.receive_table.block_points
                 and weight_points.shape[1] == <Py_ssize_t>self.plan.receive_table.block_points,
                 "time_points, weight_points must be (n, block_points)")
        _require(planes.shape[0] > 0 and planes.shape[1] == channels and planes.shape[2] == step and (rows == 3 or rows == 4),
                 "planes must be (group, channels, step, 3 or 4, row)")
        self.plan.lines = lines
        self.plan.transmits = transmits
        self.plan.channels = channels
        self.plan.samples = samples
        self.plan.elements = map_first.shape[2] - 1
        self.plan.order = &order[0]
        self.plan.class_of = &class_of[0]
        self.plan.shift = &shift[0]
        self.plan.mirrored = &mirrored[0]
        self.plan.receive = &receive[0, 0]
        self.plan.map_row = map_traces.shape[2]
        self.plan.map_of = &map_of[0]
        self.plan.map_first = &map_first[0, 0, 0]
        self.plan.map_traces = &map_traces[0, 0, 0]
        self.plan.map_whole = &map_whole[0, 0]
        self.plan.step = step
        self.plan.width = width
        self.plan.row = row
        self.plan.rows = rows
        self.plan.step_shift = (step - 1).bit_length()
        self.plan.step_magic = 0
        if step & (step - 1):
            self.plan.step_shift += 15
            self.plan.step_magic = ((1 << self.plan.step_shift) + step - 1) // step
        self.plan.largest_drift = largest_drift
        _describe_resampling(&self.plan.resampling, filters, step, width, row, rows, end_at - begin_at)
        _require(efforts.shape[0] == blocks and fine_at.shape[0] == blocks + 1 and pieces.shape[0] == 2
                 and pieces.shape[1] == blocks + 1, "efforts, fine_at, pieces: wrong shape")
        self.plan.begin_at = begin_at
        self.plan.end_at = end_at
        self.plan.bound = bound
        self.plan.peaks = &peaks[0, 0]
        self.plan.scales = &scales[0, 0]
        self.plan.inverse_scales = &scales[1, 0]
        self.plan.wave_turns = &wave_turns[0]
        self.plan.time_kind = &time_kind[0, 0, 0]
        self.plan.weight_kind = &weight_kind[0, 0, 0]
        self.plan.quadratic = &quadratic[0, 0, 0, 0]
        self.plan.ways = &ways[0, 0, 0]
        self.plan.phases = &phases[0, 0, 0]
        self.plan.time_points = &time_points[0, 0]
        self.plan.weight_points = &weight_points[0, 0]
        self.plan.group = planes.shape[0]
        self.plan.planes = &planes[0, 0, 0, 0, 0]
        self.plan.adding = 0
        self.plan.efforts = &efforts[0]
        self.plan.fine_at = &fine_at[0]
        self.plan.first_piece = &pieces[0, 0]
        self.plan.piece_lines = &pieces[1, 0]
        self.plan.factor = factor
        self.held = (geometry, heads, paces, table, order, class_of, shift, mirrored, receive, map_of, map_first, map_traces,
                     map_whole, filters, peaks, scales, wave_turns, time_kind, weight_kind, quadratic, ways, phases,
                     time_points, weight_points, planes, efforts, fine_at, pieces)

    def run(self, const float[:, :, :, ::1] data not None, float[:, :, ::1] out not None, Py_ssize_t begin):
        """Points from `begin` on of `out (lines, points, 2)` from `data (transmits, channels, samples, 2)`."""
        cdef sonod_das_blocks *plan = &self.plan
        _require(data.shape[0] == <Py_ssize_t>plan.transmits and data.shape[1] == <Py_ssize_t>plan.channels
                 and data.shape[2] == <Py_ssize_t>plan.samples and data.shape[3] == 2, "data: wrong shape")
        _require(out.shape[0] == <Py_ssize_t>plan.lines and out.shape[2] == 2 and begin >= 0
                 and begin + <Py_ssize_t>plan.receive_table.count <= out.shape[1], "out must be (lines, points, 2)")
        plan.data = &data[0, 0, 0, 0]
        plan.out = &out[0, begin, 0]
        plan.out_row = out.shape[1]
        with nogil:
            sonod_run_das_blocks(plan)
