"""Which tissue each pixel of a picture shows: the masks that a simulated scene knows."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sonod.client.wire.geometry import Geometry
from sonod.daemon.pipeline.converters import pixel_map
from sonod.daemon.pipeline.product import Product
from sonod.drivers.frame import GroundTruth, LabelMap, LineGeometry, PixelGrid

# After the tissues of the scene.
NEEDLE, INJECTATE = "needle", "injectate"


def label_names(tissues: LabelMap) -> tuple[str, ...]:
    """What the values of a mask mean, 0 first."""
    return (*tissues.names, NEEDLE, INJECTATE)


class LabelMask:
    """Masks (rows, columns) uint8 in the pixels of a picture; tissues are looked up once for each place of a probe.

    Pixels that show none of `lines` are outside; None = every pixel shows something.
    """

    def __init__(self, grid: PixelGrid, geometry: Geometry, lines: LineGeometry | None = None) -> None:
        self._x, self._z = np.meshgrid(grid.x_m, grid.z_m)
        self._grid, self._lines = grid, lines
        self._geometry = geometry
        self._mask = np.zeros(self._x.shape, np.uint8)
        self._still = np.zeros(self._x.shape, np.uint8)
        self._seen: tuple[LabelMap, float] | None = None

    def product(self, truth: GroundTruth | None) -> tuple[Product, ...]:
        """The mask of a frame; nothing for a frame without truth."""
        if truth is None or truth.tissues is None:
            return ()
        return (Product("labels", self.run(truth, truth.tissues), self._geometry),)

    def run(self, truth: GroundTruth, tissues: LabelMap) -> NDArray[np.uint8]:
        """The mask, valid until the next call; fluid lies over tissue, the needle over both."""
        if self._seen is None or self._seen[0] is not tissues or self._seen[1] != truth.probe_x_m:
            self._still[...] = tissues.at(self._x + truth.probe_x_m, self._z)
            self._still[self._outside] = 0
            self._seen = tissues, truth.probe_x_m
        np.copyto(self._mask, self._still)
        names = label_names(tissues)
        fluid = truth.injectate
        if fluid is not None:
            across = (self._x - fluid.center_m[0]) / fluid.radii_m[0]
            down = (self._z - fluid.center_m[1]) / fluid.radii_m[1]
            self._mask[(across**2 + down**2 < 1) & (self._still > 0)] = names.index(INJECTATE)
        if truth.needle is not None:
            self._mask[self._in_needle(truth) & ~self._outside] = names.index(NEEDLE)
        return self._mask

    @cached_property
    def _outside(self) -> NDArray[np.bool_]:
        """Pixels beyond the first and last line, or above or below all samples; takes a while, and few want masks."""
        if self._lines is None:
            return np.zeros(self._x.shape, bool)
        line, sample = pixel_map(self._lines, self._grid)
        return np.asarray(np.isnan(line) | (sample < -0.5) | (sample > self._lines.count - 0.5))

    def _in_needle(self, truth: GroundTruth) -> NDArray[np.bool_]:
        """Pixels inside the shaft, where the image plane cuts it."""
        assert truth.needle is not None
        tip, shaft = np.array(truth.needle.tip_m), np.array(truth.needle.shaft_m)
        length = float(np.linalg.norm(shaft - tip)) or 1e-9
        axis = (shaft - tip) / length
        dx, dy, dz = self._x - tip[0], -tip[1], self._z - tip[2]
        along = np.clip(dx * axis[0] + dy * axis[1] + dz * axis[2], 0, length)
        beside = (dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + (dz - along * axis[2]) ** 2
        return np.asarray(beside < (truth.needle.diameter_m / 2) ** 2)
