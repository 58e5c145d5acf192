"""The only compiled module: checks shapes and dtypes, drops the GIL, calls C. No arithmetic."""

cdef extern from "kernels.h":
    ctypedef struct sonod_kernels:
        const char *name
        void (*envelope)(const float *iq, float *out, size_t count) nogil
    const sonod_kernels *sonod_kernels_current() nogil
    int sonod_kernels_available(const char **names, int capacity) nogil
    int sonod_kernels_select(const char *name) nogil


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


def envelope(const float[:, ::1] iq not None, float[::1] out not None):
    """Magnitude of `iq (count, 2)` into `out (count,)`."""
    if iq.shape[1] != 2 or iq.shape[0] != out.shape[0]:
        raise ValueError("iq must be (count, 2) and out (count,)")
    cdef size_t count = out.shape[0]
    if count == 0:
        return
    with nogil:
        sonod_kernels_current().envelope(&iq[0, 0], &out[0], count)


# -- simulation --------------------------------------------------------------------------------------------------------

from libc.stdint cimport int16_t, int32_t

cdef extern from "kernels.h":
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

    ctypedef struct sonod_simulated_motion:
        int count
        const float *x
        const float *z
        const float *amplitude
        const float *arrival
        const float *incoming
        const float *smooth
        const float *rough
        float axis_x
        float axis_z
        float samples_per_m
        const float *lobe
        float lobe_scale
        float lobe_last
        const float *pulse
        int taps

    ctypedef struct sonod_simulate_kernels:
        void (*field)(const sonod_simulated_array *array, const float *x, const float *z, size_t points,
                      const float *delay_turns, const float *apodization, size_t transmits, float turns_per_m,
                      const float *cosine, const float *sine, float *scratch, float *out) nogil
        void (*deposit)(const sonod_simulated_array *array, const float *x, const float *z, size_t points,
                        const float *arrival, const float *amplitude, size_t transmits, float fine_per_m,
                        float *scratch, float *grid, size_t fine) nogil
        void (*convolve)(const float *grid, size_t rows, size_t fine, const float *pulse, size_t taps,
                         float *scratch, float *out, size_t samples) nogil
        void (*frame)(const sonod_simulated_array *array, const sonod_simulated_motion *motion,
                      const float *background, const float *noise, const int32_t *noise_start, float noise_level,
                      float level, const float *gain, float limit, float *scratch, int16_t *out,
                      size_t samples) nogil

    ctypedef struct sonod_simulation_table "sonod_kernels":
        sonod_simulate_kernels simulate
    const sonod_simulation_table *sonod_simulation_current "sonod_kernels_current"() nogil

SIMULATE_FINE = 4
SIMULATE_PHASES = 32
SIMULATE_TURN = 1024


cdef int describe_array(sonod_simulated_array *array, int count, const float[:, ::1] elements,
                        const float[::1] directivity, const float[::1] decay, float decay_per_m) except -1:
    if elements.shape[0] != 5 or elements.shape[1] % 8 or not 1 <= count <= elements.shape[1]:
        raise ValueError("elements must be (5, count padded to a multiple of 8)")
    if directivity.shape[0] < 3 or decay.shape[0] < 3:
        raise ValueError("directivity and decay need 3 entries or more")
    array.count = count
    array.padded = <int>elements.shape[1]
    array.x = &elements[0, 0]
    array.z = &elements[1, 0]
    array.normal_x = &elements[2, 0]
    array.normal_z = &elements[3, 0]
    array.listening = &elements[4, 0]
    array.directivity = &directivity[0]
    array.directivity_count = <int>directivity.shape[0]
    array.decay = &decay[0]
    array.decay_count = <int>decay.shape[0]
    array.decay_per_m = decay_per_m
    return 0


def simulate_field(int count, const float[:, ::1] elements not None, const float[::1] directivity not None,
                   const float[::1] decay not None, float decay_per_m, const float[::1] x not None,
                   const float[::1] z not None, const float[:, ::1] delay_turns not None,
                   const float[:, ::1] apodization not None, float turns_per_m, const float[::1] cosine not None,
                   const float[::1] sine not None, float[::1] scratch not None, float[:, ::1] out not None):
    """Amplitude of each transmit's wave at each point into `out (transmits, points)`."""
    cdef sonod_simulated_array array
    describe_array(&array, count, elements, directivity, decay, decay_per_m)
    cdef size_t points = x.shape[0], transmits = delay_turns.shape[0]
    if z.shape[0] != x.shape[0] or out.shape[0] != delay_turns.shape[0] or out.shape[1] != x.shape[0]:
        raise ValueError("x and z must be (points,) and out (transmits, points)")
    if (delay_turns.shape[1] != array.padded or apodization.shape[1] != array.padded
            or apodization.shape[0] != delay_turns.shape[0]):
        raise ValueError("delay_turns and apodization must be (transmits, padded elements)")
    if cosine.shape[0] <= SIMULATE_TURN or sine.shape[0] <= SIMULATE_TURN or scratch.shape[0] < 2 * array.padded:
        raise ValueError("cosine and sine must have more than one turn, scratch twice the padded elements")
    if points == 0 or transmits == 0:
        return
    with nogil:
        sonod_simulation_current().simulate.field(
            &array, &x[0], &z[0], points, &delay_turns[0, 0], &apodization[0, 0], transmits, turns_per_m, &cosine[0],
            &sine[0], &scratch[0], &out[0, 0])


def simulate_deposit(int count, const float[:, ::1] elements not None, const float[::1] directivity not None,
                     const float[::1] decay not None, float decay_per_m, const float[::1] x not None,
                     const float[::1] z not None, const float[:, ::1] arrival not None,
                     const float[:, ::1] amplitude not None, float fine_per_m, float[::1] scratch not None,
                     float[:, :, ::1] grid not None):
    """Add the echoes of points as impulses to `grid (transmits, channels, fine)`; `arrival` is in fine steps."""
    cdef sonod_simulated_array array
    describe_array(&array, count, elements, directivity, decay, decay_per_m)
    cdef size_t points = x.shape[0], transmits = grid.shape[0], fine = grid.shape[2]
    if z.shape[0] != x.shape[0] or arrival.shape[1] != x.shape[0] or amplitude.shape[1] != x.shape[0]:
        raise ValueError("x and z must be (points,), arrival and amplitude (transmits, points)")
    if arrival.shape[0] != grid.shape[0] or amplitude.shape[0] != grid.shape[0] or grid.shape[1] != count:
        raise ValueError("grid must be (transmits, channels, fine)")
    if fine < 4 or scratch.shape[0] < 2 * array.padded:
        raise ValueError("grid needs 4 fine steps or more, scratch twice the padded elements")
    if points == 0 or transmits == 0:
        return
    with nogil:
        sonod_simulation_current().simulate.deposit(
            &array, &x[0], &z[0], points, &arrival[0, 0], &amplitude[0, 0], transmits, fine_per_m, &scratch[0],
            &grid[0, 0, 0], fine)


def simulate_convolve(const float[:, ::1] grid not None, const float[::1] pulse not None, float[::1] scratch not None,
                      float[:, ::1] out not None):
    """Apply the pulse to `grid (rows, fine)` and keep every fourth value: `out (rows, samples)`."""
    cdef size_t rows = grid.shape[0], fine = grid.shape[1], taps = pulse.shape[0], samples = out.shape[1]
    if out.shape[0] != grid.shape[0] or fine % SIMULATE_FINE or fine < SIMULATE_FINE * samples + taps:
        raise ValueError("grid must be (rows, 4 samples + taps or more, a multiple of 4) and out (rows, samples)")
    if scratch.shape[0] < grid.shape[1]:
        raise ValueError("scratch must hold one row of the grid")
    if rows == 0 or samples == 0 or taps == 0:
        return
    with nogil:
        sonod_simulation_current().simulate.convolve(
            &grid[0, 0], rows, fine, &pulse[0], taps, &scratch[0], &out[0, 0], samples)


def simulate_frame(int count, const float[:, ::1] elements not None, const float[::1] directivity not None,
                   const float[::1] decay not None, float decay_per_m, const float[:, ::1] points not None,
                   const float[:, :, ::1] meeting not None, float axis_x, float axis_z, float samples_per_m,
                   const float[::1] lobe not None, float lobe_scale, const float[:, ::1] pulse not None,
                   const float[:, :, ::1] background not None, const float[::1] noise not None,
                   const int32_t[:, ::1] noise_start not None, float noise_level, float level,
                   const float[::1] gain not None, float limit, float[::1] scratch not None,
                   int16_t[:, :, ::1] out not None):
    """One frame `out (transmits, channels, samples)`: background, moving points, noise, gain, rounding to integers.

    `points (4, n)`: x, z, smooth, rough; `meeting (transmits, 3, n)`: amplitude, arrival in samples, incoming cosine.
    """
    cdef sonod_simulated_array array
    cdef sonod_simulated_motion motion
    describe_array(&array, count, elements, directivity, decay, decay_per_m)
    cdef size_t samples = out.shape[2]
    cdef Py_ssize_t transmits = out.shape[0], i, k
    if (out.shape[1] != count or background.shape[0] != transmits or background.shape[1] != count
            or background.shape[2] != out.shape[2]):
        raise ValueError("background and out must be (transmits, channels, samples)")
    if noise_start.shape[0] != transmits or noise_start.shape[1] != count or gain.shape[0] != out.shape[2]:
        raise ValueError("noise_start must be (transmits, channels), gain (samples,)")
    if points.shape[0] != 4 or meeting.shape[0] != transmits or meeting.shape[1] != 3:
        raise ValueError("points must be (4, n), meeting (transmits, 3, n)")
    if meeting.shape[2] != points.shape[1] or pulse.shape[0] != SIMULATE_PHASES + 1 or lobe.shape[0] < 3:
        raise ValueError("meeting must match points, pulse be (33, taps), lobe have 3 entries or more")
    motion.taps = <int>pulse.shape[1]
    if scratch.shape[0] < <Py_ssize_t>(2 * array.padded + count * (samples + 2 * motion.taps)):
        raise ValueError("scratch is too small")
    cdef int start
    for i in range(transmits):
        for k in range(count):
            start = noise_start[i, k]
            if start < 0 or start + <Py_ssize_t>samples > noise.shape[0]:
                raise ValueError("noise_start must leave room for all samples in noise")
    if transmits == 0 or samples == 0 or motion.taps == 0:
        return
    motion.count = <int>points.shape[1]
    if motion.count:
        motion.x = &points[0, 0]
        motion.z = &points[1, 0]
        motion.smooth = &points[2, 0]
        motion.rough = &points[3, 0]
    motion.axis_x = axis_x
    motion.axis_z = axis_z
    motion.samples_per_m = samples_per_m
    motion.lobe = &lobe[0]
    motion.lobe_scale = lobe_scale
    motion.lobe_last = lobe.shape[0] - 2
    motion.pulse = &pulse[0, 0]
    with nogil:
        for i in range(transmits):
            if motion.count:
                motion.amplitude = &meeting[i, 0, 0]
                motion.arrival = &meeting[i, 1, 0]
                motion.incoming = &meeting[i, 2, 0]
            sonod_simulation_current().simulate.frame(
                &array, &motion, &background[i, 0, 0], &noise[0], &noise_start[i, 0], noise_level, level, &gain[0],
                limit, &scratch[0], &out[i, 0, 0], samples)
