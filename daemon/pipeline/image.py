"""The plan for finished pictures: they pass through."""

from __future__ import annotations

from sonod.daemon.pipeline.base import Plan
from sonod.daemon.pipeline.geometry import image_geometry
from sonod.daemon.pipeline.level import Level
from sonod.daemon.pipeline.product import Product
from sonod.drivers.frame import Configuration, Slot


class ImagePlan(Plan):
    """A finished picture passes through as it is."""

    def __init__(self, configuration: Configuration, level: Level) -> None:
        super().__init__(configuration, level)
        acquisition = configuration.acquisition
        grid = acquisition.image
        if grid is None:
            raise ValueError("image plan: the acquisition has no pixel grid")
        self._geometry = image_geometry(grid, acquisition.probe, acquisition.sound_speed_m_s)

    def run(self, slot: Slot, wanted: frozenset[str]) -> tuple[Product, ...]:
        if "bmode" not in wanted:
            return ()
        self.pictures += 1
        self.stage_outputs["compress"] = slot.data
        return (Product("bmode", slot.data, self._geometry),)
