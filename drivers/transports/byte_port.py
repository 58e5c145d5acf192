"""A stream of bytes to and from a device: what USB serial ports and ttys have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from sonod.drivers.errors import DriverTimeout
from sonod.drivers.pacing import Clock, MonotonicClock

# One read waits no longer than this: a message that ends with a full packet ends no transfer, and is handed over only
# when the read's time is up. (A dump of pic0rick whose values all have three digits is 501 full packets.)
LONGEST_READ_S = 0.01


@dataclass(frozen=True)
class Identity:
    """What the device says about itself; '' where it says nothing."""

    manufacturer: str = ""
    product: str = ""
    serial: str = ""
    place: str = ""


class BytePort(ABC):
    """An open port. Every method may raise Disconnected when the device has gone; `close` never raises."""

    identity = Identity()
    # Halts that were cleared, and transfers that failed on the wire or were longer than asked: all mean lost bytes.
    halts = 0
    failures = 0

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or MonotonicClock()

    @abstractmethod
    def read_into(self, view: memoryview, timeout_s: float) -> int:
        """Bytes that have come, into the beginning of `view`; 0 when none came in time."""

    @abstractmethod
    def write(self, data: bytes, timeout_s: float = 1.0) -> None:
        """All of `data`; DriverTimeout when the device does not take it."""

    @abstractmethod
    def set_dtr(self, up: bool) -> None:
        """Raise or drop DTR (and RTS), which many boards wait for."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the port, DTR down. Twice is allowed."""


class ByteBuffer:
    """What has been read and not used yet, in memory that stays where it is.

    `data[:length]` is there; `take` gives it up from the front.
    """

    def __init__(self, port: BytePort, capacity: int) -> None:
        self.data = bytearray(capacity)
        self.length = 0
        self._port = port
        self._view = memoryview(self.data)

    def fill(self, wanted: int, deadline_ns: int) -> bool:
        """Read until `wanted` bytes are there; False when the time is over first. What came stays."""
        clock = self._port.clock
        while self.length < wanted:
            remaining_s = (deadline_ns - clock.now_ns()) / 1e9
            came = self._read(self._view[self.length : wanted], remaining_s)
            if came == 0 and remaining_s <= 0:
                return False
        return True

    def more(self, deadline_ns: int) -> int:
        """Whatever comes next, as much as there is room for; 0 when the time is over first."""
        clock = self._port.clock
        while True:
            remaining_s = (deadline_ns - clock.now_ns()) / 1e9
            came = self._read(self._view[self.length :], remaining_s)
            if came or remaining_s <= 0:
                return came

    def take(self, count: int) -> None:
        """Give up the first `count` bytes."""
        left = self.length - count
        self._view[:left] = self._view[count : self.length]
        self.length = left

    def clear(self) -> None:
        self.length = 0

    def drain(self, quiet_s: float, limit_s: float) -> int:
        """Throw away what comes until nothing has come for `quiet_s`, at most for `limit_s`; how many bytes."""
        clock = self._port.clock
        limit_ns = clock.now_ns() + int(limit_s * 1e9)
        count = self.length
        self.clear()
        while clock.now_ns() < limit_ns:
            quiet_ns = clock.now_ns() + int(quiet_s * 1e9)
            came = self.more(min(quiet_ns, limit_ns))
            count += came
            self.clear()
            if came == 0:
                break
        return count

    def _read(self, room: memoryview, remaining_s: float) -> int:
        if len(room) == 0:
            raise DriverTimeout(f"{self._port.identity.place}: {len(self.data)} bytes came without an end")
        came = self._port.read_into(room, min(max(remaining_s, 0.0), LONGEST_READ_S))
        self.length += came
        return came
