"""What the daemon holds at rest in the same state, again and again through the campaign, and whether that grows."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Allowed from the first to the last of the rests that are judged.
MEMORY_GROWTH_BYTES = 12 << 20
DESCRIPTOR_GROWTH = 6
# With fewer rests the last less the first is judged, and what each fault takes when it first comes (a heap of its own
# for a thread) is not told from growth: a short campaign finds large leaks only.
FEWEST_RESTS, SHORT_GROWTH_BYTES = 5, 32 << 20
# Of the rests of a long campaign, these come before everything has been seen once.
WARMING_SHARE = 0.25


@dataclass(frozen=True)
class Rest:
    """One look at the daemon at rest."""

    at_s: float
    memory_bytes: int
    descriptors: int


@dataclass(frozen=True)
class Growth:
    """Over the rests that were judged. `memory_bytes_s` is None when there were too few for a slope."""

    memory_bytes: float
    descriptors: float
    memory_bytes_s: float | None

    @property
    def broken(self) -> list[str]:
        """What is not flat."""
        broken = []
        allowed = SHORT_GROWTH_BYTES if self.memory_bytes_s is None else MEMORY_GROWTH_BYTES
        if self.memory_bytes > allowed:
            broken.append(f"memory has grown by {self.memory_bytes / 1e6:.1f} MB")
        if self.descriptors > DESCRIPTOR_GROWTH:
            broken.append(f"open descriptors have grown by {self.descriptors:.0f}")
        return broken


def growth(rests: Sequence[Rest]) -> Growth:
    """By the median of the slopes between all pairs of rests, which a few odd ones do not change."""
    if len(rests) < 2:
        return Growth(0.0, 0.0, None)
    if len(rests) < FEWEST_RESTS:
        first, last = rests[0], rests[-1]
        return Growth(last.memory_bytes - first.memory_bytes, last.descriptors - first.descriptors, None)
    judged = rests[round(WARMING_SHARE * len(rests)) :]
    span_s = judged[-1].at_s - judged[0].at_s
    memory = _slope([(rest.at_s, rest.memory_bytes) for rest in judged])
    descriptors = _slope([(rest.at_s, rest.descriptors) for rest in judged])
    return Growth(memory * span_s, descriptors * span_s, memory)


def _slope(points: Sequence[tuple[float, int]]) -> float:
    pairs = itertools.combinations(points, 2)
    return statistics.median((late - early) / (late_s - early_s) for (early_s, early), (late_s, late) in pairs)
