"""What all boards with a USB serial port (CDC-ACM) have in common: line state, and bytes that leave in due time."""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass

from sonod.drivers.emulated.description import Description, Endpoint, Interface, Transfer
from sonod.drivers.emulated.device import EmulatedDevice, Setup, Stall
from sonod.drivers.pacing import Clock

# What full-speed bulk carries (12 Mbit/s, 64-byte packets), a little below its best.
FULL_SPEED_BYTES_S = 1_000_000
PACKET_BYTES = 64
# An idle bus starts with no more credit than one frame of the bus (1 ms) times this.
LARGEST_CREDIT_NS = 4_000_000
# So much is worth waiting for at once; the bus carries it in 4 ms.
WORTH_WAITING_BYTES = 4096

SET_LINE_CODING, GET_LINE_CODING, SET_CONTROL_LINE_STATE, SEND_BREAK = 0x20, 0x21, 0x22, 0x23


@dataclass(frozen=True)
class LineCoding:
    """Baud rate and frame of a serial line; most native USB ports ignore it."""

    baud: int = 115200
    stop: int = 0
    parity: int = 0
    bits: int = 8

    def pack(self) -> bytes:
        return struct.pack("<IBBB", self.baud, self.stop, self.parity, self.bits)


def cdc_interfaces(
    notification: int, bulk_out: int, bulk_in: int, *, extra: tuple[Interface, ...] = ()
) -> tuple[Interface, ...]:
    """Interface 0 for line state, 1 for data, and what else a board has."""
    functional = bytes.fromhex("0524002001 0524010001 04240206 0524060001")
    return (
        Interface(0, 0x02, 0x02, 0, (Endpoint(notification, 8, Transfer.INTERRUPT, 16),), extra=functional),
        Interface(1, 0x0A, 0, 0, (Endpoint(bulk_out, PACKET_BYTES), Endpoint(bulk_in, PACKET_BYTES))),
        *extra,
    )


class CdcBoard(EmulatedDevice):
    """A board behind a USB serial port. It implements `received`, and sends with `send`; time is `self.clock`'s."""

    # Whether bytes leave only while the host holds DTR up.
    needs_dtr = True

    def __init__(self, description: Description, clock: Clock | None = None, seed: int = 1) -> None:
        super().__init__(description, clock, seed)
        self.line = LineCoding()
        self.dtr = False
        self._queue = bytearray()
        # Lengths of the messages in the queue, and how much of the first one has been fetched.
        self._lengths: deque[int] = deque()
        self._fetched = 0
        self._later: deque[tuple[int, bytes]] = deque()
        self._wire_ns = 0

    # -- what a board implements ---------------------------------------------------------------------------------------

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Bytes from the host, split anywhere."""

    def dtr_changed(self) -> None:
        """The host raised or dropped DTR; `self.dtr` is the new state."""

    def advance(self, now_ns: int) -> None:
        """Do what has become due: stream, time out."""

    def next_ns(self) -> int | None:
        """When `advance` will next have something to do; None = not before the host asks."""
        return None

    # -- for the board -------------------------------------------------------------------------------------------------

    def send(self, data: bytes, at_ns: int = 0) -> None:
        """Send now, or at a time that is not before that of anything sent already."""
        if at_ns or self._later:
            self._later.append((at_ns, data))
        else:
            self._enqueue(data)

    @property
    def unsent(self) -> int:
        """Bytes that the host has not fetched yet."""
        return len(self._queue) + sum(len(data) for _, data in self._later)

    def discard_unsent(self) -> None:
        """Forget what the host has not fetched."""
        self._queue.clear()
        self._later.clear()
        self._lengths.clear()
        self._fetched = 0

    def discard(self, count: int) -> None:
        """Forget so many of the bytes that are next."""
        del self._queue[:count]
        self._fetched += count
        while self._lengths and self._fetched >= self._lengths[0]:
            self._fetched -= self._lengths.popleft()

    # -- for the front -------------------------------------------------------------------------------------------------

    def control(self, setup: Setup, data: bytes) -> bytes:
        if setup.request_type & 0x60 != 0x20:
            raise Stall
        if setup.request == SET_LINE_CODING and len(data) >= 7:
            self.line = LineCoding(*struct.unpack("<IBBB", data[:7]))
        elif setup.request == GET_LINE_CODING:
            return self.line.pack()
        elif setup.request == SET_CONTROL_LINE_STATE:
            self.set_dtr(bool(setup.value & 1))
        elif setup.request != SEND_BREAK:
            raise Stall
        return b""

    def set_dtr(self, up: bool) -> None:
        """The host raises or drops DTR."""
        with self.lock:
            if up != self.dtr:
                self.dtr = up
                self.dtr_changed()

    def bulk_out(self, endpoint: int, data: bytes) -> None:
        self.advance(self.clock.now_ns())
        self.received(data)

    def bulk_in(self, endpoint: int, length: int) -> bytes | None:
        now_ns = self.clock.now_ns()
        self.advance(now_ns)
        while self._later and self._later[0][0] <= now_ns:
            self._enqueue(self._later.popleft()[1])
        if not self._queue or (self.needs_dtr and not self.dtr):
            return None
        self._wire_ns = max(self._wire_ns, now_ns - LARGEST_CREDIT_NS)
        credit = (now_ns - self._wire_ns) * FULL_SPEED_BYTES_S // 1_000_000_000
        count = min(len(self._queue), length)
        if credit < count:
            # The last packet of a message may be short; before that only whole ones leave.
            count = credit // PACKET_BYTES * PACKET_BYTES
            if count == 0:
                return None
        data = bytes(self._queue[:count])
        self.discard(count)
        self._wire_ns += count * 1_000_000_000 // FULL_SPEED_BYTES_S
        return data

    def between_messages(self, endpoint: int) -> bool:
        return self._fetched == 0

    def _enqueue(self, data: bytes) -> None:
        if data:
            self._queue += data
            self._lengths.append(len(data))

    def due_ns(self, endpoint: int) -> int | None:
        if self._queue:
            waiting = min(len(self._queue), WORTH_WAITING_BYTES)
            return self._wire_ns + waiting * 1_000_000_000 // FULL_SPEED_BYTES_S + 1
        times = [time for time in (self.next_ns(), self._later[0][0] if self._later else None) if time is not None]
        return min(times) if times else None

    def reset(self) -> None:
        self.line = LineCoding()
        self.dtr = False
        self.discard_unsent()
