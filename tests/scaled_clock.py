"""A clock that runs faster than the world, for fronts that are threads and cannot be stepped."""

from __future__ import annotations

import time


class ScaledClock:
    """Implements `sonod.drivers.pacing.Clock`; a second of it is 1 / `speed` of a real one."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._begun_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        return self._begun_ns + round((time.monotonic_ns() - self._begun_ns) * self._speed)

    def sleep_until(self, deadline_ns: int) -> None:
        remaining_s = (deadline_ns - self.now_ns()) / 1e9 / self._speed
        if remaining_s > 0:
            time.sleep(remaining_s)
