"""What a device's own clock says in terms of the host's: a line through intervals.

Each observation says that the device's clock stood at `ticks` at some host time between `earliest` and `latest`. An
exchange (ask, answer) gives both; data that arrived gives the latest only: the sound left before its first byte came.
Every pair of observations bounds the clock's rate, every observation bounds its offset; what all of them allow is the
estimate and its uncertainty. So a late reply or a busy host widens an interval, and cannot shift the line.
Set-membership estimation; M. Milanese, A. Vicino, Automatica 27(6), 1991.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Observations over which the line is drawn: the tightest of each second, for a minute.
BUCKET_NS = 1_000_000_000
BUCKETS = 60
# A frame may be reported this long after the latest exchange at most; a clock that shows less has begun anew.
LONGEST_AGO_NS = 10_000_000_000
# Crystals stay within 100 parts per million of their name, cheap oscillators within 200.
LARGEST_DRIFT = 200e-6
# How far a warm crystal's rate moves within the minute.
WANDER = 0.2e-6


@dataclass(frozen=True)
class ClockLine:
    """host = host_ns + (ticks - self.ticks) * ns_per_tick, wrong by `uncertainty_ns` at most at `ticks`, and by
    `drift_uncertainty` nanoseconds more for each nanosecond away from there. `residual_ns`: median distance of the
    exchanges' middles from the line. `epoch` counts how often the device's clock began anew."""

    ticks: int
    host_ns: int
    ns_per_tick: float
    uncertainty_ns: int
    drift_uncertainty: float
    residual_ns: int
    epoch: int

    def at(self, ticks: int) -> tuple[int, int]:
        """(host time, uncertainty) of a time of the device, nanoseconds."""
        span_ns = (ticks - self.ticks) * self.ns_per_tick
        return self.host_ns + round(span_ns), self.uncertainty_ns + math.ceil(abs(span_ns) * self.drift_uncertainty)


class ClockFit:
    """Takes observations as they come and keeps the line; one thread.

    `tick_ns` is the nominal length of a tick. The line goes on through pauses; when the device's clock goes back, or an
    observation contradicts all others, it has begun anew, and so does the line.
    """

    def __init__(self, tick_ns: float) -> None:
        self.line: ClockLine | None = None
        self._tick_ns = tick_ns
        self._epoch = 0
        # (ticks, earliest offset, latest offset, bucket) against the nominal clock, all from the origins below: a clock
        # may show more ticks than a float64 tells apart.
        self._observations: deque[tuple[int, float, float, int]] = deque()
        self._origin_ticks = 0
        self._origin_ns = 0
        self._last_ticks = 0

    def forget(self) -> None:
        """The device's clock begins anew: another device, or one that was reset."""
        if self._observations:
            self._epoch += 1
        self._observations.clear()
        self.line = None

    def observe(self, ticks: int, earliest_ns: int | None, latest_ns: int) -> None:
        """The device's clock stood at `ticks` between the two host times; None = no lower bound."""
        if self._observations and (self._last_ticks - ticks) * self._tick_ns > LONGEST_AGO_NS:
            self.forget()
        if earliest_ns is None and self.line is not None:
            host_ns, uncertainty_ns = self.line.at(ticks)
            if latest_ns >= host_ns + uncertainty_ns:
                # Says nothing that is not known.
                return
        if not self._observations:
            if earliest_ns is None:
                # A line needs something to begin with that bounds it on both sides.
                return
            self._origin_ticks, self._origin_ns = ticks, latest_ns
        self._last_ticks = max(ticks, self._last_ticks) if self._observations else ticks
        nominal_ns = (ticks - self._origin_ticks) * self._tick_ns
        latest = latest_ns - self._origin_ns - nominal_ns
        earliest = -math.inf if earliest_ns is None else earliest_ns - self._origin_ns - nominal_ns
        if not self._add(ticks - self._origin_ticks, earliest, latest, int(nominal_ns // BUCKET_NS)):
            return
        if not self._draw():
            self.forget()
            self.observe(ticks, earliest_ns, latest_ns)

    def _add(self, ticks: int, earliest: float, latest: float, bucket: int) -> bool:
        """Keep of each bucket the tightest exchange and the earliest arrival; whether this one is kept."""
        exchange = earliest > -math.inf
        for index in range(len(self._observations) - 1, -1, -1):
            _, other_earliest, other_latest, other_bucket = self._observations[index]
            if other_bucket != bucket:
                break
            if (other_earliest > -math.inf) is exchange:
                width = latest - earliest if exchange else latest
                other_width = other_latest - other_earliest if exchange else other_latest
                if width >= other_width:
                    return False
                del self._observations[index]
                break
        self._observations.append((ticks, earliest, latest, bucket))
        while self._observations[0][3] < bucket - BUCKETS and len(self._observations) > 2:
            self._observations.popleft()
        return True

    def _draw(self) -> bool:
        """The line through what is kept; False when nothing satisfies it all."""
        table = np.array(self._observations, dtype=np.float64)
        x = table[:, 0] * self._tick_ns
        earliest, latest = table[:, 1], table[:, 2]
        low, high = _rate_bounds(x, earliest, latest)
        if low > high:
            return False
        rate, spread = (low + high) / 2, (high - low) / 2 + WANDER
        now = x[-1]
        ages = np.abs(now - x)
        floor = float((earliest + rate * (now - x) - spread * ages).max())
        ceiling = float((latest + rate * (now - x) + spread * ages).min())
        if floor > ceiling:
            return False
        offset = (floor + ceiling) / 2
        ticks = self._origin_ticks + self._observations[-1][0]
        bounded = np.isfinite(earliest)
        middles = (earliest[bounded] + latest[bounded]) / 2 - (offset + rate * (x[bounded] - now))
        residual = float(np.median(np.abs(middles))) if bounded.any() else 0.0
        self.line = ClockLine(
            ticks=ticks,
            host_ns=self._origin_ns + round(now + offset),
            ns_per_tick=self._tick_ns * (1 + rate),
            # A tick is not divided: an event may lie anywhere within it.
            uncertainty_ns=math.ceil((ceiling - floor) / 2 + self._tick_ns),
            drift_uncertainty=spread,
            residual_ns=round(residual),
            epoch=self._epoch,
        )
        return True


def _rate_bounds(
    x: NDArray[np.float64], earliest: NDArray[np.float64], latest: NDArray[np.float64]
) -> tuple[float, float]:
    """Least and greatest drift (offset gained for each nanosecond) that all pairs of observations allow."""
    span = x[None, :] - x[:, None]
    later = span > 0
    if not later.any():
        return -LARGEST_DRIFT, LARGEST_DRIFT
    span = np.where(later, span, 1.0)
    highest = np.where(later, (latest[None, :] - earliest[:, None]) / span, math.inf)
    lowest = np.where(later, (earliest[None, :] - latest[:, None]) / span, -math.inf)
    return max(-LARGEST_DRIFT, float(lowest.max())), min(LARGEST_DRIFT, float(highest.min()))
