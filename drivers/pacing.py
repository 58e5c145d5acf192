"""When a simulated or recorded probe fires: at a steady rate on the monotonic clock, without drift."""

from __future__ import annotations

import time
from typing import Protocol

# Frames that a probe's memory holds while nobody reads; later ones are lost. As in a front-end with a few MB of FIFO.
HELD_FRAMES = 4


class Clock(Protocol):
    """The monotonic clock; tests pass their own."""

    def now_ns(self) -> int: ...

    def sleep_until(self, deadline_ns: int) -> None: ...


class MonotonicClock:
    """The host's monotonic clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, deadline_ns: int) -> None:
        remaining = deadline_ns - time.monotonic_ns()
        if remaining > 0:
            time.sleep(remaining / 1e9)


class Pacer:
    """Due times of frames. A reader that is late catches up with the frames a probe would have held for it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._period_ns = 0
        self._next_ns = 0

    def start(self, rate_hz: float) -> None:
        """Fire the first frame now, and then at `rate_hz`; 0 = whenever asked."""
        self._period_ns = round(1e9 / rate_hz) if rate_hz > 0 else 0
        self._next_ns = self.clock.now_ns()

    def change(self, rate_hz: float) -> None:
        """Keep the due time of the next frame, and go on at `rate_hz` from there."""
        self._period_ns = round(1e9 / rate_hz) if rate_hz > 0 else 0

    @property
    def period_ns(self) -> int:
        """Time between two frames; 0 = whenever asked."""
        return self._period_ns

    @property
    def due_ns(self) -> int:
        """When the next frame fires."""
        return self._next_ns if self._period_ns else self.clock.now_ns()

    def wait(self, due_ns: int, timeout_s: float) -> bool:
        """Sleep until `due_ns`, at most `timeout_s`; whether the time has come."""
        limit = self.clock.now_ns() + int(timeout_s * 1e9)
        self.clock.sleep_until(min(due_ns, limit))
        return self.clock.now_ns() >= due_ns

    def late_frames(self) -> int:
        """How many frames are lost because nobody read them while a probe could hold them; moves on past them."""
        if not self._period_ns:
            return 0
        late = (self.clock.now_ns() - self._next_ns) // self._period_ns - HELD_FRAMES
        if late <= 0:
            return 0
        self._next_ns += late * self._period_ns
        return late

    def postpone(self) -> None:
        """Like `late_frames` for a source that loses nothing: the schedule moves instead."""
        if self._period_ns:
            self._next_ns = max(self._next_ns, self.clock.now_ns() - HELD_FRAMES * self._period_ns)

    def advance(self) -> None:
        """The due frame has been taken."""
        self._next_ns += self._period_ns
