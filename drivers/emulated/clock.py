"""Clocks for emulated boards: one that moves only when somebody waits on it, and one that runs fast."""

from __future__ import annotations

import threading
import time


class ManualClock:
    """Implements `sonod.drivers.pacing.Clock`. Whoever sleeps moves the time on, at once."""

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self._now_ns = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until(self, deadline_ns: int) -> None:
        with self._lock:
            self._now_ns = max(self._now_ns, deadline_ns)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now_ns += round(seconds * 1e9)


class ScaledClock:
    """Implements `sonod.drivers.pacing.Clock`; a second of it is 1 / `speed` of a real one. For fronts that are threads
    or processes and cannot be stepped."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._begun_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        return self._begun_ns + round((time.monotonic_ns() - self._begun_ns) * self._speed)

    def sleep_until(self, deadline_ns: int) -> None:
        remaining_s = (deadline_ns - self.now_ns()) / 1e9 / self._speed
        if remaining_s > 0:
            time.sleep(remaining_s)
