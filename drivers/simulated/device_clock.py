"""The simulated probe's own clock: it drifts, and can be asked the time over a link that takes a while."""

from __future__ import annotations

import numpy as np

from sonod.drivers.clock import ClockLine
from sonod.drivers.device_time import DeviceTime
from sonod.drivers.frame import Slot

TICK_NS = 100
# A usual crystal, a little off its name.
DRIFT = 23e-6
# A control request's way there and back; now and then the bus or the host is busy.
LEAST_TRIP_NS, USUAL_TRIP_NS, LATE_TRIP_NS = 60_000, 150_000, 4_000_000
LATE_SHARE = 0.05
ASKED_EVERY_NS = 1_000_000_000


class SimulatedDeviceClock:
    """Ticks of 100 ns that are `DRIFT` too short, from a start of its own; the host learns them as from a device."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng((seed, 77))
        self._time = DeviceTime(TICK_NS)
        self._origin_ns: int | None = None
        self._start_ticks = int(self._random.integers(1 << 36))
        self._asked_ns = 0

    def ticks(self, host_ns: int) -> int:
        """What the device's clock shows at a host time; it was switched on at the first one."""
        if self._origin_ns is None:
            self._origin_ns = host_ns
        return self._start_ticks + int((host_ns - self._origin_ns) * (1 + DRIFT) // TICK_NS)

    def ask(self, now_ns: int) -> None:
        """Once a second, compare clocks in an exchange that has just ended."""
        if self._asked_ns and now_ns - self._asked_ns < ASKED_EVERY_NS:
            return
        self._asked_ns = now_ns
        late = self._random.random() < LATE_SHARE
        trip_ns = LEAST_TRIP_NS + int(self._random.exponential(LATE_TRIP_NS if late else USUAL_TRIP_NS))
        read_ns = now_ns - int(trip_ns * self._random.random())
        self._time.compare(self.ticks(read_ns), now_ns - trip_ns, now_ns)

    def stamp(self, slot: Slot, fired_ns: int) -> None:
        """What the host makes of a frame that the device fired then and stamped with its own time."""
        self._time.stamp(slot, self.ticks(fired_ns), slot.first_byte_ns)

    @property
    def line(self) -> ClockLine | None:
        return self._time.line
