"""A clock that moves only when somebody waits on it: emulated boards and their tests take no real time."""

from __future__ import annotations

import threading


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
