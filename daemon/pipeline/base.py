"""What all plans share."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import NDArray

from sonod.daemon.pipeline.level import Level
from sonod.daemon.pipeline.product import Product
from sonod.drivers.frame import Configuration, Slot


class Plan(ABC):
    """Immutable once built, but for its buffers; one thread runs it."""

    def __init__(self, configuration: Configuration, level: Level) -> None:
        self.configuration = configuration
        # The brightness that later plans of the session take over.
        self.level = level
        # Duration of each stage of the last run, in nanoseconds.
        self.stage_durations_ns: dict[str, int] = {}
        # What the stages of the last run have made, where it can be compared; valid until the next run.
        self.stage_outputs: dict[str, NDArray[Any]] = {}
        # Pictures made so far; with persistence, each depends on those before.
        self.pictures = 0
        self._mark_ns = 0

    @property
    def slices(self) -> int:
        """Pictures in one raw frame; frame number n shows slice n modulo this. 1 but for a raster over a plane."""
        return 1

    @abstractmethod
    def run(self, slot: Slot, wanted: frozenset[str]) -> tuple[Product, ...]:
        """The wanted products of one raw frame; their arrays are valid until the next run."""

    def _begin(self) -> None:
        self.stage_outputs.clear()
        self._mark_ns = time.perf_counter_ns()

    def _end_stage(self, name: str, output: NDArray[Any] | None = None) -> None:
        now = time.perf_counter_ns()
        if output is not None:
            self.stage_outputs[name] = output
        self.stage_durations_ns[name] = now - self._mark_ns
        self._mark_ns = now

    def _end_picture(self, greys: NDArray[Any]) -> None:
        """The last stage of a picture."""
        self.pictures += 1
        self._end_stage("compress", greys)
