"""Lines out of a free-running board's bytes, which have a start byte, a fixed length and a weak checksum."""

from __future__ import annotations

from sonod.drivers.errors import DriverTimeout
from sonod.drivers.open_echo import protocol
from sonod.drivers.transports.byte_port import BytePort
from sonod.drivers.transports.port_stream import PortStream
from sonod.drivers.transports.resync import Framing, Resynchroniser, StreamCounters, Verdict


class LineFraming(Framing):
    """Any byte may look like a start, and one alignment in 256 passes the checksum by chance: out of step, a line is
    believed only when another good one follows it."""

    def __init__(self, samples: int) -> None:
        self.least_bytes = protocol.frame_bytes(samples)
        self._samples = samples
        self.in_step = False
        # Lines that were in step and wrong.
        self.spoilt = 0

    def look(self, head: bytes) -> Verdict:
        length = self.least_bytes
        view = memoryview(head)
        if not protocol.is_frame(view, 0, self._samples):
            self.spoilt += self.in_step
            self.in_step = False
            return Verdict(skip=_to_start(head))
        if not self.in_step:
            if len(head) < 2 * length:
                return Verdict(need=2 * length)
            if not protocol.is_frame(view, length, self._samples):
                return Verdict(skip=_to_start(head))
            self.in_step = True
        return Verdict(message=length)


class LineStream:
    """`next` waits for the next line. `counters.crc_errors` are lines that were in step and wrong: they are lost."""

    def __init__(self, port: BytePort, samples: int) -> None:
        self.counters = StreamCounters()
        self._clock = port.clock
        length = protocol.frame_bytes(samples)
        self._stream = PortStream(port, 4 * length)
        self._framing = LineFraming(samples)
        self._resync = Resynchroniser(self._stream, self._framing, self.counters, port.clock.now_ns)
        self._line = memoryview(bytearray(length))
        self._fresh = True
        # Of the spoilt lines, those that have been told.
        self._known = 0
        self.samples = self._line[protocol.HEADER_BYTES : protocol.HEADER_BYTES + samples]
        self.first_byte_ns = 0

    def restart(self) -> None:
        """Forget what came so far; the next line is one sent from now on."""
        self._stream.clear()
        self._framing.in_step = False
        self._fresh = True
        self._known = self._framing.spoilt

    def next(self, deadline_ns: int) -> tuple[protocol.FrameHeader, int] | None:
        """The next line's header and how many lines were lost before it; its samples stay in `samples` until the next
        call. None when the time is over."""
        if not self._take(deadline_ns):
            return None
        if self._fresh:
            # The line that proved the first one right is there too, and newer.
            self._fresh = False
            if not self._take(deadline_ns):
                return None
        lost = self._framing.spoilt - self._known
        self._known = self._framing.spoilt
        self.counters.lost += lost
        return protocol.parse_header(self._line), lost

    def _take(self, deadline_ns: int) -> bool:
        try:
            self._resync.next((deadline_ns - self._clock.now_ns()) / 1e9)
        except DriverTimeout:
            return False
        finally:
            self.counters.crc_errors = self._framing.spoilt
        self.first_byte_ns = self._stream.first_byte_ns
        self._stream.read_into(self._line)
        return True


def _to_start(head: bytes) -> int:
    found = head.find(protocol.START, 1)
    return found if found >= 0 else len(head)
