"""Outlines of the shapes of a scene."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.probe import FloatArray
from sonod.drivers.simulated.scene_file import ShapeFile

_ELLIPSE_POINTS = 120
_POINTS_BETWEEN = 12


def outline(shape: ShapeFile, scale: float) -> FloatArray:
    """The closed outline (n, 2) of a shape, x and z, its last point next to its first."""
    if shape.points_m is not None:
        points = np.array(shape.points_m)
        return scale * (points if shape.straight else _smooth(points))
    if shape.center_m is not None and shape.radii_m is not None:
        turn = np.linspace(0, 2 * math.pi, _ELLIPSE_POINTS, endpoint=False)
        flat = np.stack([shape.radii_m[0] * np.cos(turn), shape.radii_m[1] * np.sin(turn)])
        return scale * (_rotation(shape.angle_rad) @ flat).T + scale * np.array(shape.center_m)
    assert shape.from_m is not None
    assert shape.to_m is not None
    assert shape.radius_m is not None
    first, last = np.array(shape.from_m), np.array(shape.to_m)
    along = (last - first) / np.linalg.norm(last - first)
    across = shape.radius_m * np.array([-along[1], along[0]])
    return scale * np.stack([first - across, last - across, last + across, first + across])


def pieces(points: FloatArray, length_m: float, *, closed: bool) -> tuple[FloatArray, FloatArray, float]:
    """A curve as straight pieces: their middles (2, n), directions (2, n) and common length, about `length_m`."""
    corners = np.vstack([points, points[:1]]) if closed else points
    way = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1)))
    count = max(1, round(way[-1] / length_m))
    ends = np.linspace(0, way[-1], count + 1)
    places = np.stack([np.interp(ends, way, axis) for axis in corners.T])
    steps = np.diff(places, axis=1)
    size = np.maximum(np.linalg.norm(steps, axis=0), 1e-12)
    return (places[:, 1:] + places[:, :-1]) / 2, steps / size, float(way[-1] / count)


def inside(points: FloatArray, x_m: FloatArray, z_m: FloatArray) -> NDArray[np.bool_]:
    """Which places of a raster `x_m (columns,)`, `z_m (rows,)` lie inside an outline: (rows, columns)."""
    mask = np.zeros((len(z_m), len(x_m)), bool)
    begin, end = points, np.roll(points, -1, axis=0)
    for row in np.flatnonzero((z_m >= points[:, 1].min()) & (z_m <= points[:, 1].max())):
        z = z_m[row]
        crossing = (begin[:, 1] <= z) != (end[:, 1] <= z)
        a, b = begin[crossing], end[crossing]
        cuts = np.sort(a[:, 0] + (z - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0]))
        mask[row] = np.searchsorted(cuts, x_m) % 2 == 1
    return mask


def packed(
    x_m: FloatArray, z_m: FloatArray, radius_m: float, spacing_m: float, middle: tuple[float, float]
) -> NDArray[np.bool_]:
    """Which places lie in one of the circles that are packed in a triangular lattice about `middle`."""
    height = spacing_m * math.sqrt(3)
    x, z = x_m - middle[0], z_m - middle[1]
    nearest = np.full(np.broadcast(x, z).shape, np.inf)
    for shift in (0.0, 0.5):
        u, v = x / spacing_m - shift, z / height - shift
        distance = np.hypot((u - np.round(u)) * spacing_m, (v - np.round(v)) * height)
        nearest = np.minimum(nearest, distance)
    return np.asarray(nearest < radius_m)


def _rotation(angle: float) -> FloatArray:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _smooth(points: FloatArray) -> FloatArray:
    """A closed Catmull-Rom curve through the points (E. Catmull, R. Rom, Computer Aided Geometric Design, 1974)."""
    before, after, second = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0), np.roll(points, -2, axis=0)
    t = (np.arange(_POINTS_BETWEEN) / _POINTS_BETWEEN)[None, :, None]
    p0, p1, p2, p3 = (part[:, None] for part in (before, points, after, second))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return np.asarray(curve.reshape(-1, 2))
