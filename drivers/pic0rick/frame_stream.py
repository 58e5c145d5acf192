"""Frames and reply lines out of one stream of bytes, with everything that is lost counted."""

from __future__ import annotations

from sonod.drivers.errors import DriverTimeout
from sonod.drivers.pic0rick import p0rk
from sonod.drivers.pic0rick.p0rk import FrameHeader
from sonod.drivers.transports.byte_port import BytePort
from sonod.drivers.transports.port_stream import PortStream
from sonod.drivers.transports.resync import Framing, Resynchroniser, StreamCounters, Verdict

_MAGIC_BYTES = 4


class FramesOrLines(Framing):
    """Frames (magic, version, type and lengths agree, and the checksum is right) abutting lines of text."""

    least_bytes = _MAGIC_BYTES

    def look(self, head: bytes) -> Verdict:
        if head[:_MAGIC_BYTES] in p0rk.MAGICS:
            if len(head) < p0rk.HEADER_BYTES:
                return Verdict(need=p0rk.HEADER_BYTES)
            header = p0rk.parse_header(head)
            if header is None:
                return Verdict(skip=_garbage(head, 1))
            total = p0rk.HEADER_BYTES + header.payload.length
            if len(head) < total:
                return Verdict(need=total)
            if p0rk.checksum(memoryview(head)[p0rk.HEADER_BYTES : total]) != header.crc:
                # The frame may have been cut short: the next one would begin inside this one's payload.
                return Verdict(skip=min(_garbage(head, _MAGIC_BYTES), total), crc_error=True)
            return Verdict(message=total)
        end = head.find(b"\n", 0, p0rk.LONGEST_LINE)
        if end >= 0 and _is_text(head[: end + 1]):
            return Verdict(message=end + 1)
        if end < 0 and len(head) < p0rk.LONGEST_LINE and _is_text(head):
            return Verdict(need=len(head) + 1)
        return Verdict(skip=_garbage(head, 1))


class FrameStream:
    """`next` gives the next reply line or the next frame; `counters` what was lost on the way."""

    def __init__(self, port: BytePort) -> None:
        self.counters = StreamCounters()
        self._clock = port.clock
        self._stream = PortStream(port, 2 * p0rk.LONGEST_FRAME)
        self._resync = Resynchroniser(self._stream, FramesOrLines(), self.counters, port.clock.now_ns)
        self._buffer = memoryview(bytearray(p0rk.LONGEST_FRAME))
        self._sequence = -1
        self._dropped = -1
        self._crc_errors = 0
        self.payload = self._buffer[:0]
        self.first_byte_ns = 0

    def forget_sequence(self) -> None:
        """A new stream begins: what was missed in between is no loss."""
        self._sequence = self._dropped = -1
        self._crc_errors = self.counters.crc_errors

    def next(self, deadline_ns: int) -> bytes | tuple[FrameHeader, int] | None:
        """A line with its end, or a frame and how many were lost before it, or None when the time is over.

        `payload` is that of the frame until the next call.
        """
        while True:
            try:
                length = self._resync.next((deadline_ns - self._clock.now_ns()) / 1e9)
            except DriverTimeout:
                return None
            message = self._buffer[:length]
            self.first_byte_ns = self._stream.first_byte_ns
            self._stream.read_into(message)
            header = p0rk.parse_header(message)
            if header is None:
                line = bytes(message)
                if line.strip():
                    return line
                continue
            if header.sequence == self._sequence:
                self.counters.duplicates += 1
                continue
            self.payload = message[p0rk.HEADER_BYTES :]
            return header, self._lost(header)

    def _lost(self, header: FrameHeader) -> int:
        """Frames lost between the last good one and this.

        A capture that the device refuses takes no sequence number but counts as dropped; one that it drops later does
        both; one spoilt on the wire leaves only a gap.
        """
        gap = drops = 0
        if self._sequence >= 0:
            gap = (header.sequence - self._sequence - 1) % (1 << 32)
            drops = (header.dropped - self._dropped) % (1 << 32)
        spoilt = self.counters.crc_errors - self._crc_errors
        self._crc_errors = self.counters.crc_errors
        self._sequence, self._dropped = header.sequence, header.dropped
        lost = max(gap, drops + min(spoilt, gap))
        self.counters.device_drops += drops
        self.counters.lost += lost - drops
        return lost


def _garbage(head: bytes, first: int) -> int:
    """How many bytes to give up: up to the next magic or the end of a line from `first` on, but at least one."""
    places = [head.find(magic, first) for magic in p0rk.MAGICS]
    line = head.find(b"\n") + 1
    found = [place for place in (*places, line) if place >= first]
    # The beginning of a magic may be the last thing that came.
    return min(found, default=max(len(head) - _MAGIC_BYTES + 1, 1))


def _is_text(data: bytes) -> bool:
    return all(0x20 <= byte < 0x7F or byte in b"\t\r\n" for byte in data)
