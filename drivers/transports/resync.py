"""Find the messages in a byte stream again after anything has been lost, and count exactly what was.

    resynchroniser = Resynchroniser(stream, MagicLengthCrc(...))
    length = resynchroniser.next(timeout_s)     the stream now begins with a whole message of this many bytes
    stream.read_into(memoryview(buffer)[:length])

How messages are recognised is a `Framing`: a magic, length and CRC; a magic and a fixed length; a marker at a fixed
stride; lines of text.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from sonod.drivers.errors import DriverTimeout
from sonod.drivers.link_counters import LinkCounters
from sonod.drivers.transports.stream import ByteStream

# A search looks at this many bytes at a time.
SEARCH_BYTES = 4096


@dataclass
class StreamCounters:
    """What became of the stream. Every number missing from the sequence is in exactly one of `lost` (by the transport,
    or damaged) and `device_drops` (the device says that it could not send them)."""

    messages: int = 0
    bytes_skipped: int = 0
    crc_errors: int = 0
    lost: int = 0
    device_drops: int = 0
    duplicates: int = 0

    def link(self, errors: int, halts: int) -> LinkCounters:
        """The same for whoever asks the driver, with what the transfers below have seen."""
        return LinkCounters(
            self.lost, self.device_drops, self.crc_errors, self.duplicates, self.bytes_skipped, errors, halts
        )


@dataclass(frozen=True)
class Verdict:
    """What the bytes at the front of a stream are: `skip` of them are no message, or a whole message is there of
    `message` bytes, or the answer needs to see `need` bytes. `crc_error`: they looked like a message, but were not."""

    skip: int = 0
    message: int = 0
    need: int = 0
    crc_error: bool = False


class Framing(ABC):
    """How to recognise a message. `least_bytes` are needed for a first look."""

    least_bytes: int

    @abstractmethod
    def look(self, head: bytes) -> Verdict:
        """What `head`, the front of the stream and at least `least_bytes` long, begins with."""


class MagicLengthCrc(Framing):
    """A magic, then a header that tells the whole length, then, perhaps, a check over all of it.

    `length(header)` gives the length of the whole message from its first `header_bytes`, or None when the header
    cannot be true. `check(message)` says whether a whole message is undamaged; without it only the header counts, which
    then should have a check of its own inside `length`.
    """

    def __init__(
        self,
        magic: bytes,
        header_bytes: int,
        length: Callable[[bytes], int | None],
        most_bytes: int,
        check: Callable[[bytes], bool] | None = None,
    ) -> None:
        if not magic or header_bytes < len(magic):
            raise ValueError(f"framing: needs a magic within the header, got {magic!r} and {header_bytes} bytes")
        self.least_bytes = header_bytes
        self._magic = magic
        self._length = length
        self._most_bytes = most_bytes
        self._check = check

    def look(self, head: bytes) -> Verdict:
        if not head.startswith(self._magic):
            return Verdict(skip=_to_magic(head, self._magic))
        length = self._length(head[: self.least_bytes])
        if length is None or not self.least_bytes <= length <= self._most_bytes:
            return Verdict(skip=_to_magic(head, self._magic, 1), crc_error=True)
        if self._check is None:
            return Verdict(message=length)
        if len(head) < length:
            return Verdict(need=length)
        if not self._check(head[:length]):
            return Verdict(skip=_to_magic(head, self._magic, 1), crc_error=True)
        return Verdict(message=length)


class MagicFixed(Framing):
    """A magic, and messages that are all of one length."""

    def __init__(self, magic: bytes, length: int) -> None:
        if not magic or length < len(magic):
            raise ValueError(f"framing: needs a magic within the message, got {magic!r} and {length} bytes")
        self.least_bytes = len(magic)
        self._magic = magic
        self._bytes = length

    def look(self, head: bytes) -> Verdict:
        if not head.startswith(self._magic):
            return Verdict(skip=_to_magic(head, self._magic))
        return Verdict(message=self._bytes)


class MarkerStride(Framing):
    """A marker too short to be trusted alone: it must also stand where the next message begins. So the last message
    before a pause is delivered only after it."""

    def __init__(self, marker: bytes, stride: int) -> None:
        if not marker or stride < len(marker):
            raise ValueError(f"framing: needs a marker within the stride, got {marker!r} and {stride} bytes")
        self.least_bytes = stride + len(marker)
        self._marker = marker
        self._stride = stride

    def look(self, head: bytes) -> Verdict:
        if head.startswith(self._marker) and head.startswith(self._marker, self._stride):
            return Verdict(message=self._stride)
        return Verdict(skip=_to_magic(head, self._marker, 1))


class TextLines(Framing):
    """Lines that end with a line feed, which is part of the message; longer ones than `most_bytes` are no lines."""

    def __init__(self, most_bytes: int = 4096) -> None:
        self.least_bytes = 1
        self._most_bytes = most_bytes

    def look(self, head: bytes) -> Verdict:
        end = head.find(b"\n", 0, self._most_bytes)
        if end >= 0:
            return Verdict(message=end + 1)
        if len(head) >= self._most_bytes:
            return Verdict(skip=self._most_bytes)
        return Verdict(need=len(head) + 1)


class Resynchroniser:
    """Brings the stream to the beginning of the next message; what is skipped on the way is counted."""

    def __init__(
        self,
        stream: ByteStream,
        framing: Framing,
        counters: StreamCounters | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.counters = counters or StreamCounters()
        self._stream = stream
        self._framing = framing
        self._now_ns = now_ns

    def next(self, timeout_s: float) -> int:
        """Length of the whole message that the stream now begins with; it stays there until it is read or skipped.

        DriverTimeout and Disconnected come from the stream; a later call goes on where this one ended.
        """
        stream, framing, counters = self._stream, self._framing, self.counters
        deadline = self._now_ns() + int(timeout_s * 1e9)
        need = framing.least_bytes
        while True:
            # Without time left there may still be a whole message waiting.
            stream.wait(need, max(0.0, (deadline - self._now_ns()) / 1e9))
            verdict = framing.look(stream.peek(need))
            if verdict.skip:
                # Lost: from here on a wider view finds the next message faster.
                verdict = framing.look(stream.peek(max(need, min(stream.available, SEARCH_BYTES))))
            if verdict.message:
                stream.wait(verdict.message, max(0.0, (deadline - self._now_ns()) / 1e9))
                counters.messages += 1
                return verdict.message
            if verdict.crc_error:
                counters.crc_errors += 1
            if verdict.skip:
                stream.skip(verdict.skip)
                counters.bytes_skipped += verdict.skip
                need = framing.least_bytes
                if stream.available < need:
                    # More than a few bytes at a time, or the device drops frames while the search lasts.
                    stream.look_ahead(SEARCH_BYTES, max(0.0, (deadline - self._now_ns()) / 1e9))
            else:
                need = verdict.need

    def read(self, timeout_s: float) -> bytes:
        """The next message itself."""
        message = bytearray(self.next(timeout_s))
        self._stream.read_into(memoryview(message))
        return bytes(message)

    def damaged(self, length: int) -> None:
        """The message last found, still at the front, is wrong inside (its payload's CRC, say): step into it, so that a
        message that begins within what it claimed to be is not lost with it."""
        self.counters.messages -= 1
        self.counters.crc_errors += 1
        self.counters.bytes_skipped += 1
        self._stream.skip(1)

    def all(self) -> list[bytes]:
        """Every whole message that is already there."""
        found = []
        try:
            while True:
                found.append(self.read(0.0))
        except DriverTimeout:
            return found


class SequenceCheck:
    """Follows a device's numbers of its messages, modulo `modulus`; counts what is missing and what comes twice."""

    def __init__(self, counters: StreamCounters, modulus: int) -> None:
        self._counters = counters
        self._modulus = modulus
        self._expected: int | None = None
        self._drops: int | None = None

    def restart(self) -> None:
        """The device has been started anew: the next number follows nothing."""
        self._expected = self._drops = None

    def follow(self, number: int, device_drops: int | None = None) -> int:
        """How many messages are missing before this one; -1 when it has been seen already and must be left out.

        `device_drops`, where a device counts what it could not send, tells how many of them were its own.
        """
        counters = self._counters
        if self._expected is None:
            missing = 0
        else:
            missing = (number - self._expected) % self._modulus
            # More than half way round is behind, not ahead.
            if missing > self._modulus // 2:
                counters.duplicates += 1
                return -1
        own = 0
        if device_drops is not None:
            if self._drops is not None:
                own = min((device_drops - self._drops) & 0xFFFFFFFF, missing)
            self._drops = device_drops
        counters.device_drops += own
        counters.lost += missing - own
        self._expected = (number + 1) % self._modulus
        return missing


def _to_magic(head: bytes, magic: bytes, start: int = 0) -> int:
    """Bytes before the next place where the magic stands or may be beginning."""
    found = head.find(magic, start)
    if found >= 0:
        return found
    for keep in range(min(len(magic) - 1, len(head) - start), 0, -1):
        if head.endswith(magic[:keep]):
            return len(head) - keep
    return len(head)
