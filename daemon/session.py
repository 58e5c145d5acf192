"""From start to stop of the daemon: one id, one clock."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sonod.client.wire.times import UtcMapping
from sonod.daemon.discipline import Discipline, read_discipline

# NTP slews by at most 500 parts per million; what is read every second is half a millisecond old in this sense.
REFRESH_NS = 1_000_000_000
LARGEST_SLEW = 500e-6
# A difference that slewing and slow readings cannot explain: somebody has set the clock.
STEP_NS = 2_000_000
# Both clocks are read a few times, and the reading that took least is used.
READINGS = 5
# Mappings over which the rate of UTC is measured.
KEPT = 60


@dataclass(frozen=True)
class UtcStep:
    """The host's UTC was set by `step_ns`; `mapping` holds from now on."""

    step_ns: int
    mapping: UtcMapping


class Session:
    """The session's id and the relation of its monotonic clock to UTC.

    Monotonic times never jump. When the host's UTC is set, the mapping changes, counts the step and tells `stepped`, on
    the thread that has noticed.
    """

    def __init__(
        self,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        utc_ns: Callable[[], int] = time.time_ns,
        discipline: Callable[[], Discipline] = read_discipline,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.monotonic_ns = monotonic_ns
        self.stepped: Callable[[UtcStep], None] = lambda step: None
        self.discipline = discipline()
        self.utc_rate = 1.0
        self.utc_residual_ns = 0
        self._utc_ns = utc_ns
        self._read_discipline = discipline
        self._lock = threading.Lock()
        self._utc = self._read(0)
        self._history: deque[UtcMapping] = deque([self._utc], maxlen=KEPT)

    @property
    def utc(self) -> UtcMapping:
        """The mapping in use; call `refresh` now and then."""
        return self._utc

    def check(self) -> UtcMapping:
        """The mapping, read again at once when the host's UTC has been set since; quick enough for every frame."""
        now_ns = self.monotonic_ns()
        if abs(self._utc_ns() - self._utc.utc_of(now_ns)) > self._allowed_ns(now_ns):
            self.refresh(at_once=True)
        return self._utc

    def refresh(self, at_once: bool = False) -> None:
        """Read both clocks again when the last reading is old."""
        step = None
        with self._lock:
            before = self._utc
            if not at_once and self.monotonic_ns() - before.monotonic_ns < REFRESH_NS:
                return
            self.discipline = self._read_discipline()
            mapping = self._read(before.steps)
            moved_ns = mapping.utc_ns - before.utc_of(mapping.monotonic_ns)
            if abs(moved_ns) > self._allowed_ns(mapping.monotonic_ns):
                mapping = self._read(before.steps + 1)
                self._history.clear()
                step = UtcStep(mapping.utc_ns - before.utc_of(mapping.monotonic_ns), mapping)
            self._history.append(mapping)
            self._measure_rate()
            self._utc = mapping
        if step is not None:
            self.stepped(step)

    def _allowed_ns(self, now_ns: int) -> float:
        return STEP_NS + (now_ns - self._utc.monotonic_ns) * LARGEST_SLEW

    def _read(self, steps: int) -> UtcMapping:
        best: tuple[int, int, int] | None = None
        for _ in range(READINGS):
            before = self.monotonic_ns()
            utc = self._utc_ns()
            width = self.monotonic_ns() - before
            if best is None or width < best[0]:
                best = (width, before + width // 2, utc)
        assert best is not None
        width, monotonic, utc = best
        return UtcMapping(monotonic, utc, width // 2 + 1, steps, self.discipline.synchronized)

    def _measure_rate(self) -> None:
        """A straight line through the mappings since the last step."""
        if len(self._history) < 3:
            self.utc_rate, self.utc_residual_ns = 1.0, 0
            return
        first = self._history[0]
        x = np.array([one.monotonic_ns - first.monotonic_ns for one in self._history], np.float64)
        y = np.array([one.utc_ns - first.utc_of(one.monotonic_ns) for one in self._history], np.float64)
        slope, offset = np.polyfit(x, y, 1)
        self.utc_rate = 1.0 + float(slope)
        self.utc_residual_ns = round(math.sqrt(float(((y - slope * x - offset) ** 2).mean())))
