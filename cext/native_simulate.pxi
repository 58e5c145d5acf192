# Simulation; included by _native.pyx.

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
