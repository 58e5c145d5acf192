"""Bulk IN transfers in flight: the C ring of transfer_ring.c for Python. Waits without the GIL; all else is short."""

from libc.stdint cimport uint8_t, uint64_t, uintptr_t

cdef extern from "transfer_ring.h":
    ctypedef struct sonod_usb_calls:
        void *(*alloc_transfer)(int packets) noexcept nogil
        void (*free_transfer)(void *transfer) noexcept nogil
        int (*submit_transfer)(void *transfer) noexcept nogil
        int (*cancel_transfer)(void *transfer) noexcept nogil
        int (*handle_events_timeout_completed)(void *context, void *timeval, int *completed) noexcept nogil
        void (*interrupt_event_handler)(void *context) noexcept nogil
    ctypedef struct sonod_ring_counters:
        uint64_t transfers, bytes, errors, halts, overruns, overrun_bytes, parks
    ctypedef struct sonod_ring:
        pass
    sonod_ring *sonod_ring_new(const sonod_usb_calls *calls, void *context, void *handle, uint8_t endpoint,
                               size_t transfer_bytes, int depth, int slots, int policy) nogil
    int sonod_ring_start(sonod_ring *ring) nogil
    int sonod_ring_wait(sonod_ring *ring, size_t count, double timeout_s) nogil
    int sonod_ring_ready(sonod_ring *ring, size_t count) nogil
    size_t sonod_ring_available(sonod_ring *ring) nogil
    uint64_t sonod_ring_byte_ns(sonod_ring *ring) nogil
    int sonod_ring_copy(sonod_ring *ring, size_t offset, size_t count, uint8_t *out) nogil
    int sonod_ring_skip(sonod_ring *ring, size_t count) nogil
    void sonod_ring_resume(sonod_ring *ring) nogil
    void sonod_ring_count(sonod_ring *ring, sonod_ring_counters *out) nogil
    int sonod_ring_in_flight(sonod_ring *ring) nogil
    int sonod_ring_free(sonod_ring *ring) nogil

# How a wait ends.
READY, TIMEOUT, GONE, HALTED, FAILED = range(5)
cdef enum:
    READY_NOW = 0


cdef class TransferRing:
    """See sonod.drivers.transports.ring, which is the public face."""

    cdef sonod_ring *ring

    def __cinit__(self, calls not None, uintptr_t context, uintptr_t handle, int endpoint, size_t transfer_bytes,
                  int depth, int slots, int policy):
        cdef sonod_usb_calls own
        cdef uintptr_t address
        if not (0x80 <= endpoint <= 0x8F and transfer_bytes > 0 and 0 < depth <= slots and policy in (0, 1)):
            raise ValueError(f"ring: endpoint {endpoint:#x}, {depth} of {slots} slots of {transfer_bytes} bytes")
        if not handle or len(calls) != 6 or not all(calls):
            raise ValueError("ring: needs an open handle and six entry points of libusb")
        address = calls[0]
        own.alloc_transfer = <void *(*)(int) noexcept nogil>address
        address = calls[1]
        own.free_transfer = <void (*)(void *) noexcept nogil>address
        address = calls[2]
        own.submit_transfer = <int (*)(void *) noexcept nogil>address
        address = calls[3]
        own.cancel_transfer = <int (*)(void *) noexcept nogil>address
        address = calls[4]
        own.handle_events_timeout_completed = <int (*)(void *, void *, int *) noexcept nogil>address
        address = calls[5]
        own.interrupt_event_handler = <void (*)(void *) noexcept nogil>address
        self.ring = sonod_ring_new(&own, <void *>context, <void *>handle, <uint8_t>endpoint, transfer_bytes, depth,
                                   slots, policy)
        if self.ring == NULL:
            raise MemoryError(f"ring: {slots} slots of {transfer_bytes} bytes")

    def __dealloc__(self):
        if self.ring != NULL:
            with nogil:
                sonod_ring_free(self.ring)

    cdef sonod_ring *_open(self) except NULL:
        if self.ring == NULL:
            raise ValueError("ring: is closed")
        return self.ring

    def start(self):
        """0, a negative error of libusb, or a positive errno."""
        cdef sonod_ring *ring = self._open()
        cdef int error
        with nogil:
            error = sonod_ring_start(ring)
        return error

    def wait(self, size_t count, double timeout_s):
        """READY, TIMEOUT, GONE, HALTED or FAILED; keeps the GIL when the bytes are there already."""
        cdef sonod_ring *ring = self._open()
        cdef int result = sonod_ring_ready(ring, count)
        if result == READY_NOW or timeout_s <= 0:
            return result
        with nogil:
            result = sonod_ring_wait(ring, count, timeout_s)
        return result

    def available(self):
        return sonod_ring_available(self._open())

    def byte_ns(self):
        return sonod_ring_byte_ns(self._open())

    def copy_into(self, unsigned char[::1] out not None, size_t offset):
        """Copy available bytes; ValueError when they are not there."""
        if out.shape[0] and sonod_ring_copy(self._open(), offset, out.shape[0], &out[0]):
            raise ValueError(f"ring: {out.shape[0]} bytes from {offset} wanted, {self.available()} have come")

    def skip(self, size_t count):
        """Throw available bytes away; ValueError when they are not there."""
        if sonod_ring_skip(self._open(), count):
            raise ValueError(f"ring: {count} bytes to skip, {self.available()} have come")

    def resume(self):
        sonod_ring_resume(self._open())

    def in_flight(self):
        return sonod_ring_in_flight(self._open())

    def counters(self):
        """transfers, bytes, errors, halts, overruns, overrun_bytes, parks"""
        cdef sonod_ring_counters own
        sonod_ring_count(self._open(), &own)
        return own.transfers, own.bytes, own.errors, own.halts, own.overruns, own.overrun_bytes, own.parks

    def close(self):
        """True when every transfer has ended; twice is allowed."""
        cdef sonod_ring *ring = self.ring
        cdef int result
        if ring == NULL:
            return True
        self.ring = NULL
        with nogil:
            result = sonod_ring_free(ring)
        return result == 0
