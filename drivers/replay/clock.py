"""The clock of the device that made a recording, on the host's while the recording is played."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.clock import ClockLine
from sonod.drivers.frame import Slot


class ReplayedClock:
    """Recorded ticks (frames,), -1 = not known, against the times at which the frames are played.

    The clock is played with the frames: as fast as they are, and with an epoch of its own for each stretch that is
    played without a break. One thread.
    """

    def __init__(self, ticks: NDArray[np.int64]) -> None:
        self._ticks = ticks
        steps = np.diff(ticks)[(ticks[:-1] >= 0) & (ticks[1:] >= 0)]
        steps = steps[steps > 0]
        # Ticks from one frame to the next, and by which share of them single frames were nearer together or farther
        # apart (lost frames, for example): they are all played at one pace.
        self._step = float(np.median(steps)) if len(steps) else 0.0
        self._spread = float(np.abs(self._step / steps - 1).max()) if len(steps) else 0.0
        self._epoch = 0
        # Frame, ticks, time and period of what was played last.
        self._last: tuple[int, int, int, int] | None = None

    def stamp(self, slot: Slot, index: int, fired_ns: int, period_ns: int) -> None:
        """Frame `index` is played as if fired at that host time, the next one `period_ns` later (0 = whenever)."""
        ticks = int(self._ticks[index]) if index < len(self._ticks) else -1
        if ticks < 0:
            return
        slot.device_ticks = ticks
        if not self._step or not period_ns:
            return
        if self._last is not None:
            last_index, last_ticks, last_ns, last_period_ns = self._last
            went_on = (index, period_ns) == (last_index + 1, last_period_ns) and ticks > last_ticks
            self._epoch += not (went_on and fired_ns == last_ns + period_ns)
        self._last = index, ticks, fired_ns, period_ns
        slot.device_clock = ClockLine(ticks, fired_ns, period_ns / self._step, 0, self._spread, 0, self._epoch)
