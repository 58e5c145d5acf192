"""What settings, probe, sequence and grid compile into: built once off the frame path, run for each frame."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from sonod.client.wire.geometry import ImageGeometry
from sonod.daemon.pipeline.product import Product
from sonod.drivers.frame import Acquisition, Configuration, DataKind, PixelGrid, Slot
from sonod.drivers.settings import KNOBS, Knob

# Knobs that act on the picture whatever the probe delivers.
PICTURE_KNOBS = ("gain_db", "tgc_db", "dynamic_range_db", "persistence", "grey_map")


@dataclass(frozen=True)
class ImageOptions:
    """How large the picture is. 0 = chosen from the probe, the depth and the wavelength.

    `quality` is that of the beamforming kernel: exact, default or fast.
    """

    columns: int = 0
    rows: int = 0
    pixel_m: float = 0.0
    quality: str = "default"


class Plan(ABC):
    """Immutable once built, but for its buffers; one thread runs it."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        # Duration of each stage of the last run, in nanoseconds.
        self.stage_durations_ns: dict[str, int] = {}
        self._mark_ns = 0

    @abstractmethod
    def run(self, slot: Slot, wanted: frozenset[str]) -> tuple[Product, ...]:
        """The wanted products of one raw frame; their arrays are valid until the next run."""

    def _begin(self) -> None:
        self._mark_ns = time.perf_counter_ns()

    def _end_stage(self, name: str) -> None:
        now = time.perf_counter_ns()
        self.stage_durations_ns[name] = now - self._mark_ns
        self._mark_ns = now


class ImagePlan(Plan):
    """A finished picture passes through as it is."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__(configuration)
        grid = configuration.acquisition.image
        if grid is None:
            raise ValueError("image plan: the acquisition has no pixel grid")
        self._geometry = image_geometry(grid)

    def run(self, slot: Slot, wanted: frozenset[str]) -> tuple[Product, ...]:
        return (Product("bmode", slot.data, self._geometry),) if "bmode" in wanted else ()


def image_geometry(grid: PixelGrid) -> ImageGeometry:
    """The wire's description of a pixel grid."""
    first = (grid.first_x_m, grid.y_m, grid.first_z_m)
    return ImageGeometry((grid.rows, grid.columns), (grid.spacing_z_m, grid.spacing_x_m), first)


def build_plan(configuration: Configuration, options: ImageOptions, previous: Plan | None = None) -> Plan:
    """The plan for what a driver delivers; slow, any thread. `previous` hands on what must not jump, such as levels."""
    return ImagePlan(configuration)


def processing_knobs(driver_knobs: Mapping[str, Knob], acquisition: Acquisition) -> dict[str, Knob]:
    """Every knob a user can turn: the driver's own, and those of the picture that the driver leaves to processing."""
    names = () if acquisition.kind is DataKind.IMAGE else PICTURE_KNOBS
    return {**{name: KNOBS[name] for name in names if name not in driver_knobs}, **driver_knobs}
