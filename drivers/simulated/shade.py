"""What tissues take from the sound on its straight way to the array: shadow behind, enhancement below fluid."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.frame import LabelMap
from sonod.drivers.probe import AnyFloatArray, FloatArray
from sonod.drivers.simulated.field import Field

# Nodes of the map over the depth, and of the fan of rays from each station.
_NODES = 90
_RAYS, _RAY_STEPS = 192, 160
# One-way loss beyond which nothing is left.
_MOST_DB = 60.0


class Shade:
    """Excess loss of one laid-out scene over the usual tissue's, from every place to each station along the array.

    `attenuation (labels,)` and `usual` in dB/cm/MHz; the probe's middle is at `probe_x_m` of the scene.
    """

    def __init__(
        self,
        labels: LabelMap,
        attenuation: FloatArray,
        usual: float,
        field: Field,
        stations_m: FloatArray,
        probe_x_m: float,
        to_depth_m: float,
    ) -> None:
        excess = (attenuation - usual) * 100.0
        excess[0] = 0.0
        present = np.unique(labels.raster)
        self.any = bool(np.abs(excess[present]).max() > 0)
        if not self.any:
            return
        half, top, _ = field.bounds_m()
        half -= field.slide_m
        self._step = to_depth_m / _NODES
        self._first = -half - 2 * self._step, top - self._step
        columns = math.ceil((half - self._first[0]) / self._step) + 3
        rows = math.ceil((to_depth_m - self._first[1]) / self._step) + 3
        x = self._first[0] + np.arange(columns) * self._step
        z = self._first[1] + np.arange(rows) * self._step
        grid_x, grid_z = np.meshgrid(x, z)
        maps = [
            _fan(labels, excess, float(station[0]), float(station[2]), grid_x, grid_z, probe_x_m)
            for station in stations_m
        ]
        self._db_mhz = np.stack(maps, axis=-1).astype(np.float32)
        self._table = 0.0, np.zeros((0, len(stations_m)), np.float32)

    def factors(self, x_m: AnyFloatArray, z_m: AnyFloatArray, frequency_hz: float) -> NDArray[np.float32]:
        """One-way amplitude factor of each place to each station, (n, stations); (0, 2) where nothing differs."""
        if not self.any:
            return np.zeros((0, 2), np.float32)
        rows, columns, stations = self._db_mhz.shape
        known_hz, flat = self._table
        if known_hz != frequency_hz:
            decibels = np.clip(self._db_mhz * np.float32(frequency_hz / 1e6), -_MOST_DB, _MOST_DB)
            flat = np.power(np.float32(10), -decibels / np.float32(20)).astype(np.float32)
            flat = flat.reshape(rows * columns, stations)
            self._table = frequency_hz, flat
        at_x = np.clip((x_m - self._first[0]) / self._step, 0, columns - 1.001)
        at_z = np.clip((z_m - self._first[1]) / self._step, 0, rows - 1.001)
        column, row = at_x.astype(np.intp), at_z.astype(np.intp)
        right = (at_x - column).astype(np.float32)[:, None]
        down = (at_z - row).astype(np.float32)[:, None]
        corner = row * columns + column
        upper = flat.take(corner, axis=0) * (1 - right) + flat.take(corner + 1, axis=0) * right
        lower = flat.take(corner + columns, axis=0) * (1 - right) + flat.take(corner + columns + 1, axis=0) * right
        return np.ascontiguousarray(upper * (1 - down) + lower * down, np.float32)


def _fan(
    labels: LabelMap,
    excess: FloatArray,
    x0: float,
    z0: float,
    grid_x: FloatArray,
    grid_z: FloatArray,
    probe_x_m: float,
) -> FloatArray:
    """Excess loss in dB per MHz between a station and every node, by sums along a fan of rays."""
    angle, distance = np.arctan2(grid_x - x0, grid_z - z0), np.hypot(grid_x - x0, grid_z - z0)
    below = grid_z > z0
    least, most = float(angle[below].min()), float(angle[below].max())
    rays = np.linspace(least, most, _RAYS)
    step = float(distance.max()) / _RAY_STEPS
    middle = (np.arange(_RAY_STEPS) + 0.5) * step
    on_x = x0 + middle * np.sin(rays)[:, None] + probe_x_m
    on_z = z0 + middle * np.cos(rays)[:, None]
    sums = np.zeros((_RAYS, _RAY_STEPS + 1))
    np.cumsum(excess[labels.at(on_x, on_z)] * step, axis=1, out=sums[:, 1:])
    at_ray = np.clip((angle - least) / (rays[1] - rays[0]), 0, _RAYS - 1.001)
    at_step = np.clip(distance / step, 0, _RAY_STEPS - 1e-3)
    ray, place = at_ray.astype(np.intp), at_step.astype(np.intp)
    aside, on = at_ray - ray, at_step - place
    near = sums[ray, place] * (1 - on) + sums[ray, place + 1] * on
    next_ray = sums[ray + 1, place] * (1 - on) + sums[ray + 1, place + 1] * on
    return np.asarray(near * (1 - aside) + next_ray * aside)
