"""Bytes in the order in which they came, whatever carries them: what resynchronisers and drivers read from.

ByteStream
├── FedStream      somebody hands the bytes over: serial ports, captures, tests
├── PolledStream   one transfer after the other through pyusb
└── RingStream     transfers kept in flight by the compiled ring (ring.py)
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from sonod.drivers.errors import Disconnected, DriverError, DriverTimeout
from sonod.drivers.transports.usb import Stalled, TransferFailed, UsbDevice

# A transfer of this size keeps a full- or high-speed link busy for milliseconds and is cheap to handle.
TRANSFER_BYTES = 16 * 1024
# So many transfers failed one after the other mean that it is not the wire's occasional error.
MOST_FAILURES = 16


@dataclass
class TransferCounters:
    """What the carrier of the bytes has seen. `overrun_bytes` came and were thrown away because nobody read."""

    transfers: int = 0
    bytes: int = 0
    errors: int = 0
    halts: int = 0
    overrun_bytes: int = 0
    overruns: int = 0
    # Times that no more was asked for because nobody had read.
    parks: int = 0


class TransferTotals:
    """Failed transfers of one stream after the other; the reader's thread writes, any may read."""

    def __init__(self) -> None:
        self.errors = self.halts = 0
        self._ended = (0, 0)

    def see(self, counters: TransferCounters) -> None:
        """The present stream's counters."""
        self.errors, self.halts = self._ended[0] + counters.errors, self._ended[1] + counters.halts

    def end(self, counters: TransferCounters) -> None:
        """The stream's last counters; the next one counts from zero."""
        self.see(counters)
        self._ended = (self.errors, self.halts)


class ByteStream(ABC):
    """Bytes that have come and have not been read yet. One thread reads."""

    counters: TransferCounters

    @property
    @abstractmethod
    def available(self) -> int:
        """Bytes that can be read without waiting."""

    @abstractmethod
    def wait(self, count: int, timeout_s: float) -> None:
        """Until `count` bytes are available. DriverTimeout when they are not in time; Disconnected when they never
        will be. What has come stays readable in both cases."""

    def look_ahead(self, count: int, timeout_s: float) -> None:  # noqa: B027  most have it in memory already
        """Bring in what comes within one transfer, up to `count` bytes, beyond what is needed: the reader is lost."""

    @abstractmethod
    def peek(self, count: int) -> bytes:
        """The next `count` available bytes, which stay."""

    @abstractmethod
    def copy_into(self, out: memoryview, offset: int = 0) -> None:
        """Copy len(out) available bytes, from `offset` on; they stay."""

    def read_into(self, out: memoryview) -> None:
        """Take len(out) available bytes."""
        self.copy_into(out)
        self.skip(len(out))

    @abstractmethod
    def skip(self, count: int) -> None:
        """Throw `count` available bytes away."""

    @property
    @abstractmethod
    def byte_ns(self) -> int:
        """Host monotonic time at which the last transfer that has been begun to be read had come; 0 = not known."""

    @abstractmethod
    def close(self) -> None:
        """Stop carrying; never raises, twice is allowed."""


class FedStream(ByteStream):
    """Holds at most `capacity` bytes that `feed` is given; more are an overrun and counted."""

    def __init__(self, capacity: int = 1 << 20, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._memory = bytearray(capacity)
        self._begin = 0
        self._end = 0
        self._byte_ns = 0
        self.counters = TransferCounters()

    @property
    def available(self) -> int:
        return self._end - self._begin

    @property
    def byte_ns(self) -> int:
        return self._byte_ns

    def feed(self, data: bytes | bytearray | memoryview | array[int]) -> None:
        """Append bytes that have come."""
        view = memoryview(data).cast("B")
        self._byte_ns = self._now_ns()
        self.counters.transfers += 1
        self.counters.bytes += len(view)
        self._make_room(len(view))
        room = len(self._memory) - self._end
        if len(view) > room:
            self.counters.overruns += 1
            self.counters.overrun_bytes += len(view) - room
            view = view[:room]
        # Assigning to a slice of the bytearray itself would make a copy first.
        with memoryview(self._memory) as memory:
            memory[self._end : self._end + len(view)] = view
        self._end += len(view)

    def wait(self, count: int, timeout_s: float) -> None:
        if self.available < count:
            raise DriverTimeout(f"stream: {self.available} of {count} bytes have come")

    def peek(self, count: int) -> bytes:
        self._require(count)
        return bytes(self._memory[self._begin : self._begin + count])

    def copy_into(self, out: memoryview, offset: int = 0) -> None:
        self._require(offset + len(out))
        start = self._begin + offset
        with memoryview(self._memory) as memory:
            out[:] = memory[start : start + len(out)]

    def skip(self, count: int) -> None:
        self._require(count)
        self._begin += count
        if self._begin == self._end:
            self._begin = self._end = 0

    def close(self) -> None:
        self._begin = self._end = 0

    def _require(self, count: int) -> None:
        if count > self.available:
            raise ValueError(f"stream: {count} bytes wanted, {self.available} have come")

    def _make_room(self, count: int) -> None:
        if self._end + count <= len(self._memory) or self._begin == 0:
            return
        left = self.available
        with memoryview(self._memory) as memory:
            memory[:left] = memory[self._begin : self._end]
        self._begin, self._end = 0, left


class PolledStream(FedStream):
    """Bulk IN transfers, one after the other: for slow devices, and where libusb's own interface is out of reach.

    A halted endpoint is cleared, a failed transfer counted; what was lost with them is for the resynchroniser to find.
    """

    def __init__(
        self,
        device: UsbDevice,
        endpoint: int,
        transfer_bytes: int = TRANSFER_BYTES,
        capacity: int = 1 << 20,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(max(capacity, 2 * transfer_bytes), now_ns)
        packet = device.packet_bytes(endpoint)
        if transfer_bytes % packet:
            raise DriverError(f"{device.name}: transfers of {transfer_bytes} bytes are not whole packets of {packet}")
        self._device = device
        self._endpoint = endpoint
        self._buffer = array("B", bytes(transfer_bytes))
        self._failures = 0

    def wait(self, count: int, timeout_s: float) -> None:
        if count > len(self._memory):
            raise DriverError(f"{self._device.name}: a message of {count} bytes does not fit {len(self._memory)}")
        deadline = self._now_ns() + int(timeout_s * 1e9)
        first = True
        while self.available < count:
            left_s = (deadline - self._now_ns()) / 1e9
            if left_s <= 0 and not first:
                raise DriverTimeout(f"{self._device.name}: {self.available} of {count} bytes within {timeout_s:g} s")
            first = False
            self._transfer(max(left_s, 0.001))

    def _transfer(self, timeout_s: float) -> None:
        try:
            came = self._device.read_into(self._endpoint, self._buffer, timeout_s)
        except DriverTimeout:
            return
        except Stalled as error:
            self.counters.halts += 1
            self._failed(error)
            self._device.clear_halt(self._endpoint)
            return
        except TransferFailed as error:
            self.counters.errors += 1
            self._failed(error)
            return
        self._failures = 0
        self.feed(memoryview(self._buffer)[:came])

    def _failed(self, error: DriverError) -> None:
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            raise Disconnected(f"{self._device.name}: {self._failures} transfers failed in a row: {error}") from error
