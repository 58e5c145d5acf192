"""Lines out of a free-running board's bytes, which have a start byte, a fixed length and a weak checksum."""

from __future__ import annotations

from sonod.drivers.open_echo import protocol
from sonod.drivers.transports.byte_port import ByteBuffer, BytePort


class LineStream:
    """`next` waits for the next line. Any byte may look like a start, and one alignment in 256 passes the checksum by
    chance, so that a line is trusted only when another good one follows it, until the stream is in step.

    Counters: `bad_checksums` lines that were in step and wrong, `skipped_bytes` bytes that belong to no line.
    """

    def __init__(self, port: BytePort, samples: int) -> None:
        self._length = protocol.frame_bytes(samples)
        self._samples = samples
        self._buffer = ByteBuffer(port, 3 * self._length)
        self._view = memoryview(self._buffer.data)
        self._clock = port.clock
        self._used = 0
        self._locked = False
        self._fresh = True
        self._lost = 0
        self.samples = self._view[protocol.HEADER_BYTES : protocol.HEADER_BYTES + samples]
        self.first_byte_ns = 0
        self.bad_checksums = 0

    @property
    def skipped_bytes(self) -> int:
        return self._buffer.skipped

    def restart(self) -> None:
        """Forget what came so far; the next line is one sent from now on."""
        self._buffer.clear()
        self._used = 0
        self._locked = False
        self._fresh = True
        self._lost = 0

    def next(self, deadline_ns: int) -> tuple[protocol.FrameHeader, int] | None:
        """The next line's header and how many lines were lost before it; its samples stay in `samples` until the next
        call. None when the time is over."""
        buffer, length = self._buffer, self._length
        if self._used:
            buffer.take(self._used)
            self._used = 0
        while True:
            if not self._fill(length, deadline_ns):
                return None
            if protocol.is_frame(self._view[: buffer.length], 0, self._samples):
                if not self._locked:
                    if not self._fill(2 * length, deadline_ns):
                        return None
                    self._locked = protocol.is_frame(self._view[: buffer.length], length, self._samples)
                    if self._locked and self._fresh:
                        # The line that proved the first one right is the newer of the two.
                        self._fresh = False
                        buffer.take(length)
                        continue
                if self._locked:
                    self._used = length
                    lost, self._lost = self._lost, 0
                    return protocol.parse_header(buffer.data), lost
            elif self._locked:
                # In step until now: this line is spoilt.
                self.bad_checksums += 1
                self._lost += 1
                self._locked = False
            buffer.skip(self._next_start())

    def _next_start(self) -> int:
        found = self._buffer.data.find(protocol.START, 1, self._buffer.length)
        return found if found >= 0 else self._buffer.length

    def _fill(self, wanted: int, deadline_ns: int) -> bool:
        there = self._buffer.length
        done = self._buffer.fill(wanted, deadline_ns)
        if there == 0 and self._buffer.length:
            self.first_byte_ns = self._clock.now_ns()
        return done
