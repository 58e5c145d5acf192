"""Programs that have flooded a socket, and how long each must wait before it is let in again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# The first time; twice as long each time after that, as far as the last. Long, because a program that floods does so
# anew whenever it is let in, and every flood costs the others a moment.
FIRST_S, LONGEST_S = 30.0, 600.0
# Whoever has behaved for so long after a penalty is a newcomer again.
FORGIVEN_S = 600.0
# Programs that are remembered; beyond it the oldest offence is forgotten.
REMEMBERED = 256


@dataclass(frozen=True)
class _Penalty:
    until_s: float
    length_s: float


class Penalties:
    """By process id; one thread adds, another one asks. A process whose id is not known (0) has no penalty."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, _Penalty] = {}

    def add(self, process: int) -> None:
        """The process has flooded."""
        if process <= 0:
            return
        now_s = self._clock()
        with self._lock:
            former = self._known.pop(process, None)
            length_s = FIRST_S
            if former is not None and now_s < former.until_s + FORGIVEN_S:
                length_s = min(2 * former.length_s, LONGEST_S)
            self._known[process] = _Penalty(now_s + length_s, length_s)
            while len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]

    def left_s(self, process: int) -> float:
        """How long the process still has to wait, 0 = not at all."""
        with self._lock:
            penalty = self._known.get(process)
        return 0.0 if penalty is None else max(0.0, penalty.until_s - self._clock())
