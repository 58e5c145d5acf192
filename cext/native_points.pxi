# -- points that lie anywhere ------------------------------------------------------------------------------------------

cdef extern from "kernels.h":
    ctypedef struct sonod_das_points:
        sonod_das_blocks common
        size_t points
        size_t neighbours
        const int32_t *order
        const float *x
        const float *y
        const float *z
        const float *places[3]
        const float *feet[3]
        const float *per_half
        const float *bounds
        const float *lateral
        int window
        int planar
        float fine_per_metre
        const float *back
        const float *there
        const float *middles
        const float *weights
        const float *turning
        const float *wave_phases
        int32_t turn[3]
    void sonod_run_das_points(const sonod_das_points *plan) nogil


def das_points(object tables not None, const float[::1] data not None, float[::1] out not None):
    """Delay and sum at single points; `tables`: a sonod.cext.points.PointPlan."""
    cdef sonod_das_points plan
    cdef const int32_t[:, ::1] receive = tables.receive
    cdef const float[:, ::1] positions = tables.positions
    cdef const int32_t[::1] order = tables.order
    cdef const float[:, ::1] places = tables.places
    cdef const float[:, ::1] feet = tables.feet
    cdef const float[::1] per_half = tables.per_half
    cdef const float[:, ::1] bounds = tables.bounds
    cdef const float[::1] lateral = tables.lateral
    cdef const float[:, ::1] back = tables.back
    cdef const float[:, ::1] there = tables.there
    cdef const float[:, ::1] middles = tables.middles
    cdef const float[:, ::1] weights = tables.weights
    cdef const float[:, ::1] turning = tables.turning
    cdef const float[:, ::1] wave_phases = tables.wave_phases
    cdef const int32_t[::1] turn = tables.turn
    cdef const int32_t[::1] map_of = tables.map_of
    cdef const int32_t[:, ::1] map_first = tables.map_first
    cdef const int32_t[:, ::1] map_traces = tables.map_traces
    cdef const uint8_t[::1] map_whole = tables.map_whole
    cdef const float[:, :, ::1] coefficients = tables.coefficients
    cdef const int32_t[::1] starts = tables.starts
    cdef const int32_t[::1] filters = tables.filters
    cdef float[:, ::1] peaks = tables.peaks
    cdef float[:, ::1] scales = tables.scales
    cdef int32_t[:, :, :, ::1] planes = tables.planes
    cdef Py_ssize_t transmits = receive.shape[0]
    cdef Py_ssize_t channels = receive.shape[1]
    cdef Py_ssize_t points = tables.points
    cdef Py_ssize_t neighbours = tables.neighbours
    cdef Py_ssize_t count = tables.count
    cdef Py_ssize_t elements = tables.elements
    cdef Py_ssize_t samples = tables.samples
    cdef Py_ssize_t width = tables.width
    cdef Py_ssize_t begin_at = tables.begin_at
    cdef Py_ssize_t end_at = tables.end_at
    cdef Py_ssize_t i
    _require(neighbours in (16, 32) and points % neighbours == 0 and 0 < count <= points < count + neighbours
             and order.shape[0] == points,
             "points must be in whole blocks of 16 or 32 neighbours")
    _require(positions.shape[0] == 3 and positions.shape[1] % 16 == 0 and 0 <= positions.shape[1] - elements < 16,
             "positions must be (3, elements in whole sixteens)")
    _require(places.shape[0] == feet.shape[0] == 3 and places.shape[1] == feet.shape[1] == per_half.shape[0] == points,
             "places, feet, per_half: wrong shape")
    _require(bounds.shape[0] == points // neighbours and bounds.shape[1] == 9, "bounds must be (points / neighbours, 9)")
    _require(lateral is None or lateral.shape[0] == elements, "lateral must be (elements,)")
    _require(back is None or (back.shape[0] == elements and back.shape[1] == points), "back must be (elements, points)")
    _require(there.shape[0] == transmits and there.shape[1] == points, "there must be (transmits, points)")
    _require(middles.shape[0] == transmits and middles.shape[1] == points // neighbours,
             "middles must be (transmits, points / neighbours)")
    _require(weights is None or (weights.shape[0] == transmits and weights.shape[1] == points),
             "weights must be (transmits, points)")
    _require(turning.shape[0] == width and turning.shape[1] == 2 and wave_phases.shape[0] == transmits
             and wave_phases.shape[1] == 2, "turning, wave_phases: wrong shape")
    _require(turn.shape[0] == 3, "turn must be (3,)")
    _require(map_of.shape[0] == transmits and map_first.shape[0] == map_traces.shape[0] == map_whole.shape[0]
             and map_first.shape[1] == elements + 1, "maps: wrong shape")
    _require(coefficients.shape[1] == 3 and starts.shape[0] == width and filters.shape[0] == width and width % 8 == 0,
             "coefficients, starts, filters: wrong shape")
    _require(0 <= begin_at < end_at <= samples, "begin_at, end_at must be within the samples")
    _require(peaks.shape[0] == transmits and peaks.shape[1] == channels and scales.shape[0] == 2
             and scales.shape[1] == transmits, "peaks, scales: wrong shape")
    _require(planes.shape[0] > 0 and planes.shape[1] == channels and planes.shape[2] == 3 and planes.shape[3] == width + 64,
             "planes must be (group, channels, 3, width and margins)")
    _require(data.shape[0] == transmits * channels * samples * 2 and out.shape[0] == count * 2, "data, out: wrong size")
    plan.points = points
    plan.neighbours = neighbours
    plan.order = &order[0]
    plan.x = &positions[0, 0]
    plan.y = &positions[1, 0]
    plan.z = &positions[2, 0]
    for i in range(3):
        plan.places[i] = &places[i, 0]
        plan.feet[i] = &feet[i, 0]
        plan.turn[i] = turn[i]
    plan.per_half = &per_half[0]
    plan.bounds = &bounds[0, 0]
    plan.lateral = &lateral[0] if lateral is not None else NULL
    plan.window = tables.window
    plan.planar = tables.planar
    plan.fine_per_metre = tables.fine_per_metre
    plan.back = &back[0, 0] if back is not None else NULL
    plan.there = &there[0, 0]
    plan.middles = &middles[0, 0]
    plan.weights = &weights[0, 0] if weights is not None else NULL
    plan.turning = &turning[0, 0]
    plan.wave_phases = &wave_phases[0, 0]
    plan.common.transmits = transmits
    plan.common.channels = channels
    plan.common.samples = samples
    plan.common.elements = elements
    plan.common.receive = &receive[0, 0]
    plan.common.map_row = map_traces.shape[1]
    plan.common.map_of = &map_of[0]
    plan.common.map_first = &map_first[0, 0]
    plan.common.map_traces = &map_traces[0, 0]
    plan.common.map_whole = &map_whole[0]
    plan.common.width = width
    plan.common.row = planes.shape[3]
    plan.common.taps = coefficients.shape[2]
    plan.common.coefficients = &coefficients[0, 0, 0]
    plan.common.starts = &starts[0]
    plan.common.filters = &filters[0]
    plan.common.begin_at = begin_at
    plan.common.end_at = end_at
    plan.common.bound = tables.bound
    plan.common.peaks = &peaks[0, 0]
    plan.common.scales = &scales[0, 0]
    plan.common.inverse_scales = &scales[1, 0]
    plan.common.group = planes.shape[0]
    plan.common.planes = &planes[0, 0, 0, 0]
    plan.common.factor = tables.factor
    plan.common.data = &data[0]
    plan.common.out = &out[0]
    with nogil:
        sonod_run_das_points(&plan)
