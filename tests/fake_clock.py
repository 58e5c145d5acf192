"""A monotonic clock that stands still until somebody sleeps."""

from __future__ import annotations


class FakeClock:
    """Sleeping takes no time and moves the clock; `pass_time` moves it too."""

    def __init__(self, now_ns: int = 1_000_000_000) -> None:
        self.time_ns = now_ns
        self.slept: list[int] = []

    def now_ns(self) -> int:
        return self.time_ns

    def sleep_until(self, deadline_ns: int) -> None:
        if deadline_ns > self.time_ns:
            self.slept.append(deadline_ns)
            self.time_ns = deadline_ns

    def pass_time(self, seconds: float) -> None:
        self.time_ns += round(seconds * 1e9)
