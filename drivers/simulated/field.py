"""Where the simulated probe looks: what its image covers, and a little beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.probe import AnyFloatArray, FloatArray, Probe
from sonod.drivers.simulated.scan import half_angle_rad

# Margin beside the image from which echoes still come in.
MARGIN_SHARE = 0.1
# How far the probe can be moved along the skin, as a share of its aperture.
SLIDE_SHARE = 0.4


@dataclass(frozen=True)
class Field:
    """The probe, its usual and its greatest depth, and the wavelength of its centre frequency."""

    probe: Probe
    depth_m: float
    deepest_m: float
    wavelength_m: float

    @property
    def half_angle_rad(self) -> float:
        """Half the angle of a sector image, 0 for a straight one."""
        return half_angle_rad(self.probe)

    @property
    def slide_m(self) -> float:
        """How far the probe can be moved to either side."""
        return SLIDE_SHARE * self.probe.aperture_m

    @property
    def _reach_rad(self) -> float:
        radius = max(self.probe.radius_m, self.depth_m)
        return min(self.half_angle_rad * (1 + MARGIN_SHARE) + self.slide_m / radius, math.radians(85))

    def at(self, across: float, share: float) -> tuple[float, float]:
        """(x, z) at `share` of the usual depth and `across` (-1..1) from edge to edge of the image there."""
        depth = share * self.depth_m
        if self.half_angle_rad == 0:
            return across * self.probe.aperture_m / 2, depth
        radius = self.probe.radius_m
        angle = across * self.half_angle_rad
        return (radius + depth) * math.sin(angle), (radius + depth) * math.cos(angle) - radius

    def depth(self, x_m: AnyFloatArray, z_m: AnyFloatArray) -> AnyFloatArray:
        """Distance below the face."""
        if self.half_angle_rad == 0:
            return z_m
        return np.asarray(np.hypot(x_m, z_m + self.probe.radius_m) - self.probe.radius_m)

    def seen(self, x_m: AnyFloatArray, z_m: AnyFloatArray) -> NDArray[np.bool_]:
        """Which points lie in the image or the margin beside it (bool)."""
        if self.half_angle_rad == 0:
            return np.asarray(np.abs(x_m) <= self.probe.aperture_m * (0.5 + MARGIN_SHARE))
        angle = np.abs(np.arctan2(x_m, z_m + self.probe.radius_m))
        return np.asarray(angle <= self.half_angle_rad * (1 + MARGIN_SHARE))

    def bounds_m(self) -> tuple[float, float, float]:
        """Half width, top and bottom of everything that can come into view."""
        if self.half_angle_rad == 0:
            return self.probe.aperture_m * (0.5 + MARGIN_SHARE) + self.slide_m, 0.0, self.deepest_m
        reach, radius = self._reach_rad, self.probe.radius_m
        return (radius + self.deepest_m) * math.sin(reach), radius * (math.cos(reach) - 1), self.deepest_m

    def scatter(self, density: float, top: float, bottom: float, random: np.random.Generator) -> FloatArray:
        """Points (2, n), `density` to a square metre, over a layer of everything that can come into view: anywhere in
        equal compartments, one in each, so that every resolution cell has nearly as many as every other."""
        rows = max(1, round((bottom - top) * math.sqrt(density)))
        edges = np.linspace(top, bottom, rows + 1)
        parts = [self._scatter_row(density, above, below, random) for above, below in pairwise(edges.tolist())]
        return np.concatenate(parts, axis=1)

    def _scatter_row(self, density: float, top: float, bottom: float, random: np.random.Generator) -> FloatArray:
        if self.half_angle_rad == 0:
            half = self.bounds_m()[0]
            count = round(density * 2 * half * (bottom - top))
            across = (np.arange(count) + random.random(count)) / max(count, 1)
            return np.stack([half * (2 * across - 1), random.uniform(top, bottom, count)])
        radius, half = self.probe.radius_m, self._reach_rad
        inner, outer = radius + top, radius + bottom
        count = round(density * half * (outer**2 - inner**2))
        across = (np.arange(count) + random.random(count)) / max(count, 1)
        distance = np.sqrt(random.uniform(inner**2, outer**2, count))
        angle = half * (2 * across - 1)
        return np.stack([distance * np.sin(angle), distance * np.cos(angle) - radius])
