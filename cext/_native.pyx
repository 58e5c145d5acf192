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
