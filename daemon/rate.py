"""Frames per second, over the last moments."""

from __future__ import annotations

from collections import deque

# Long enough to be steady at a few frames a second, short enough to show a change at once.
WINDOW_FRAMES = 32
# A rate older than this says nothing about now.
STALE_NS = 2_000_000_000


class FrameRate:
    """Mean rate of the last frames; one thread adds, any may read."""

    def __init__(self) -> None:
        self._times: deque[int] = deque(maxlen=WINDOW_FRAMES)

    def add(self, time_ns: int) -> None:
        self._times.append(time_ns)

    def hertz(self, now_ns: int) -> float:
        """0.0 when there are too few frames or the last is long ago, measured by their own period."""
        times = tuple(self._times)
        if len(times) < 2 or times[-1] <= times[0]:
            return 0.0
        period_ns = (times[-1] - times[0]) / (len(times) - 1)
        if now_ns - times[-1] > max(STALE_NS, 3 * period_ns):
            return 0.0
        return round(1e9 / period_ns, 3)
