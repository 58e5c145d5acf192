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
        clock = self._port.clock
        deadline_ns = clock.now_ns() + int(timeout_s * 1e9)
        while self.available < count:
            missing = count - self.available
            self._make_room(missing)
            remaining_s = (deadline_ns - clock.now_ns()) / 1e9
            room = self._view[self._end : self._end + missing]
            came = self._port.read_into(room, min(max(remaining_s, 0.0), LONGEST_READ_S))
            self._take(came)
            if not came and remaining_s <= 0:
                raise DriverTimeout(f"{self._port.identity.place}: {self.available} of {count} bytes came in time")

    def look_ahead(self, count: int, timeout_s: float) -> None:
        missing = count - self.available
        if missing > 0:
            self._make_room(missing)
            room = self._view[self._end : min(self._end + missing, len(self._view))]
            self._take(self._port.read_into(room, min(timeout_s, LONGEST_READ_S)))

    def skip(self, count: int) -> None:
        super().skip(count)
        # What is left came with the last read.
        self.first_byte_ns = self._byte_ns if self.available else 0

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

    def _take(self, came: int) -> None:
        """So many bytes have been read to the end of what is there."""
        if came == 0:
            return
        self._byte_ns = self._port.clock.now_ns()
        if self.available == 0:
            self.first_byte_ns = self._byte_ns
        self._end += came
        self.counters.transfers += 1
        self.counters.bytes += came
