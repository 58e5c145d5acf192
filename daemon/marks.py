"""Marks: what a client says was happening at a moment, kept for the clips that show it."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

# Older ones are forgotten; a clip reaches back seconds, and nobody marks a hundred times in them.
MOST_MARKS = 1000
PHASES = ("pre", "guidance", "post")
SIDES = ("left", "right", "both", "midline")


@dataclass(frozen=True)
class Mark:
    """`monotonic_ns` and `frame` say when; `text` is for the manifest of a clip alone, and is told to nobody else."""

    phase: str
    site: str
    side: str
    text: str
    frame: int
    monotonic_ns: int
    utc_ns: int

    def block(self) -> dict[str, Any]:
        """Everything, for a manifest."""
        return asdict(self)

    def told(self) -> dict[str, Any]:
        """What everybody may hear."""
        return {name: value for name, value in asdict(self).items() if name != "text"}


class Marks:
    """The newest marks; any thread."""

    def __init__(self) -> None:
        self._marks: deque[Mark] = deque(maxlen=MOST_MARKS)
        self._lock = threading.Lock()

    def add(self, mark: Mark) -> None:
        with self._lock:
            self._marks.append(mark)

    def between(self, first_ns: int, last_ns: int) -> list[Mark]:
        """Those made in this time, in order."""
        with self._lock:
            return [mark for mark in self._marks if first_ns <= mark.monotonic_ns <= last_ns]
