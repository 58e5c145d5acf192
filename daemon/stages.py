"""How long each stage of the frame path takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Durations:
    """Last, mean and greatest duration of one stage, in nanoseconds; one thread adds, any may read."""

    count: int = 0
    last_ns: int = 0
    total_ns: int = 0
    max_ns: int = 0

    def add(self, duration_ns: int) -> None:
        self.count += 1
        self.last_ns = duration_ns
        self.total_ns += duration_ns
        self.max_ns = max(self.max_ns, duration_ns)

    @property
    def mean_ns(self) -> int:
        return self.total_ns // self.count if self.count else 0


class StageTable:
    """Durations by stage name, in the order the stages were first seen."""

    def __init__(self) -> None:
        self._stages: dict[str, Durations] = {}

    def add(self, name: str, duration_ns: int) -> None:
        stage = self._stages.get(name)
        if stage is None:
            # A new dict, so that a reader on another thread never sees one that grows.
            self._stages = {**self._stages, name: (stage := Durations())}
        stage.add(duration_ns)

    def block(self) -> dict[str, dict[str, int]]:
        """As `status` shows it."""
        return {
            name: {"last_ns": stage.last_ns, "mean_ns": stage.mean_ns, "max_ns": stage.max_ns, "count": stage.count}
            for name, stage in self._stages.items()
        }
