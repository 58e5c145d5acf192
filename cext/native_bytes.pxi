# Bytes from a wire; included by _native.pyx.

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
