"""Frames and reply lines out of one stream of bytes, with everything that is lost counted."""

from __future__ import annotations

from sonod.drivers.pic0rick import p0rk
from sonod.drivers.pic0rick.p0rk import FrameHeader
from sonod.drivers.transports.byte_port import ByteBuffer, BytePort

_MAGIC_BYTES = 4


class FrameStream:
    """`next` gives the next reply line or the next frame.

    A frame is trusted when its magic, version, type and lengths agree and its checksum is right. Counters: `crc_errors`
    frames whose checksum was wrong, `duplicates` frames that came twice, `skipped_bytes` bytes that belong to nothing,
    `device_drops` frames that the device says it has dropped.
    """

    def __init__(self, port: BytePort) -> None:
        self._buffer = ByteBuffer(port, 2 * p0rk.LONGEST_FRAME)
        self._view = memoryview(self._buffer.data)
        self._clock = port.clock
        self._used = 0
        self._sequence = -1
        self._dropped = -1
        self._bad = 0
        self.payload: memoryview = self._view[:0]
        self.first_byte_ns = 0
        self.crc_errors = 0
        self.duplicates = 0
        self.device_drops = 0

    @property
    def skipped_bytes(self) -> int:
        return self._buffer.skipped

    def forget_sequence(self) -> None:
        """A new stream begins: what was missed in between is no loss."""
        self._sequence = self._dropped = -1
        self._bad = 0

    def next(self, deadline_ns: int) -> bytes | tuple[FrameHeader, int] | None:
        """A line with its end, or a frame and how many were lost before it, or None when the time is over.

        `payload` is that of the frame until the next call.
        """
        buffer = self._buffer
        buffer.take(self._used)
        self._used = 0
        if buffer.length == 0:
            self.first_byte_ns = 0
        while True:
            # No more than a header is asked for, so that nothing beyond a frame's end is waited for.
            if buffer.length < _MAGIC_BYTES and not self._fill(_MAGIC_BYTES, deadline_ns):
                return None
            if bytes(self._view[:_MAGIC_BYTES]) in p0rk.MAGICS:
                if not self._fill(p0rk.HEADER_BYTES, deadline_ns):
                    return None
                header = p0rk.parse_header(buffer.data)
                if header is None:
                    buffer.skip(self._garbage(1))
                    continue
                total = p0rk.HEADER_BYTES + header.payload.length
                if not self._fill(total, deadline_ns):
                    return None
                payload = self._view[p0rk.HEADER_BYTES : total]
                if p0rk.checksum(payload) != header.crc:
                    self.crc_errors += 1
                    self._bad += 1
                    # A frame may have been cut short: the next one would begin inside this one's payload.
                    buffer.skip(min(self._garbage(_MAGIC_BYTES), total))
                    continue
                if header.sequence == self._sequence:
                    self.duplicates += 1
                    buffer.take(total)
                    continue
                self._used = total
                self.payload = payload
                return header, self._lost(header)
            end = buffer.data.find(b"\n", 0, min(buffer.length, p0rk.LONGEST_LINE))
            if end >= 0 and _is_text(self._view[: end + 1]):
                line = bytes(self._view[: end + 1])
                buffer.take(end + 1)
                if line.strip():
                    return line
                continue
            if buffer.length < p0rk.LONGEST_LINE and _is_text(self._view[: buffer.length]):
                if not self._fill(buffer.length + 1, deadline_ns):
                    return None
                continue
            buffer.skip(self._garbage(1))

    def _fill(self, wanted: int, deadline_ns: int) -> bool:
        there = self._buffer.length
        done = self._buffer.fill(wanted, deadline_ns)
        if self.first_byte_ns == 0 and self._buffer.length > there:
            self.first_byte_ns = self._clock.now_ns()
        return done

    def _garbage(self, first: int) -> int:
        """How many bytes to give up: up to the next magic or the end of a line from `first` on, but at least one."""
        buffer = self._buffer
        places = [buffer.data.find(magic, first, buffer.length) for magic in p0rk.MAGICS]
        line = buffer.data.find(b"\n", 0, buffer.length)
        found = [place for place in (*places, line + 1 if line >= 0 else -1) if place >= first]
        # The beginning of a magic may be the last thing that came.
        return min(found, default=max(buffer.length - _MAGIC_BYTES + 1, 1))

    def _lost(self, header: FrameHeader) -> int:
        """Frames lost between the last good one and this.

        A capture that the device refuses takes no sequence number but counts as dropped; one that it drops later does
        both; one spoilt on the wire leaves only a gap.
        """
        gap = drops = 0
        if self._sequence >= 0:
            gap = (header.sequence - self._sequence - 1) % (1 << 32)
            drops = (header.dropped - self._dropped) % (1 << 32)
        bad, self._bad = self._bad, 0
        self._sequence, self._dropped = header.sequence, header.dropped
        self.device_drops += drops
        return max(gap, drops + min(bad, gap))


def _is_text(data: memoryview) -> bool:
    return all(0x20 <= byte < 0x7F or byte in (0x09, 0x0A, 0x0D) for byte in data)
