"""The bytes of a serial port as a stream for resynchronisers, on the port's clock."""

from __future__ import annotations

from sonod.drivers.errors import DriverTimeout
from sonod.drivers.transports.byte_port import LONGEST_READ_S, BytePort
from sonod.drivers.transports.stream import FedStream


class PortStream(FedStream):
    """Reads when more is wanted than has come, and no more than that: on full-speed USB nothing is lost while nobody
    reads, and nothing beyond a message's end is waited for."""

    def __init__(self, port: BytePort, capacity: int) -> None:
        super().__init__(capacity)
        self._port = port
        self._view = memoryview(self._memory)
        # When the first byte came of what is there; 0 = nothing is.
        self.first_byte_ns = 0

    def wait(self, count: int, timeout_s: float) -> None:
        clock, counters = self._port.clock, self.counters
        deadline_ns = clock.now_ns() + int(timeout_s * 1e9)
        while self.available < count:
            missing = count - self.available
            self._make_room(missing)
            remaining_s = (deadline_ns - clock.now_ns()) / 1e9
            room = self._view[self._end : self._end + missing]
            came = self._port.read_into(room, min(max(remaining_s, 0.0), LONGEST_READ_S))
            if came:
                self._byte_ns = clock.now_ns()
                if self.available == 0:
                    self.first_byte_ns = self._byte_ns
                self._end += came
                counters.transfers += 1
                counters.bytes += came
            elif remaining_s <= 0:
                raise DriverTimeout(f"{self._port.identity.place}: {self.available} of {count} bytes came in time")

    def clear(self) -> None:
        """Forget what has come."""
        self.skip(self.available)

    def drain(self, until_ns: int) -> None:
        """Throw away what comes until then."""
        clock = self._port.clock
        while (remaining_s := (until_ns - clock.now_ns()) / 1e9) > 0:
            self.clear()
            try:
                self.wait(1, remaining_s)
            except DriverTimeout:
                break
        self.clear()
