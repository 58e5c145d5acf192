"""Where beamformed points lie, and which elements listen to each."""

from __future__ import annotations

import copy
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonod.cext.arrays import FloatArray, finite

# Numbers of the windows in kernels.h.
WINDOWS = {"rectangular": 0, "hann": 1, "hamming": 2, "tukey": 3}
# Lines closer than this to lying in the face (cosine to its normal) leave it at their nearest point to an element.
GRAZING_COSINE = 0.05
# Added to the distance of elements that look away from a line, so that they are never the nearest.
FAR_M = 1e3
# Of an aperture, what is taken to be within when bounds are sought.
ACTIVE_MARGIN = 1.001
# Distances to this many (point, element) pairs are held at once.
PAIRS_AT_ONCE = 4_000_000


class Aperture:
    """Points and their receive apertures.

    The aperture of a point lies round its foot, where the line through the point leaves the array: where the line of
    a grid meets the plane that touches the array at the element nearest to the line; for single points, straight
    back along the normal of the nearest element. It reaches r / (2 F) to each side, r being the distance from the
    foot to the point, and never less than one pitch, so that the nearest element stays. An element e takes part with
    window(|e - foot| / half aperture); those whose normal points away from the line do not. For lines straight down
    from a linear array this is |x - x_e| <= z / (2 F); for radial lines of curvilinear and phased arrays it is the same
    in polar form. With `f_number` 0 all elements take part and the window spans the whole array.

    Windows: `rectangular`, `hann`, `hamming`, `tukey` (25 % of each half tapered).
    """

    def __init__(
        self,
        element_positions_m: ArrayLike,
        element_normals: ArrayLike,
        *,
        f_number: float,
        apodization: str,
        origins_m: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        first_m: float = 0.0,
        spacing_m: float = 0.0,
        count: int = 0,
        points_m: ArrayLike | None = None,
    ) -> None:
        self.element_positions_m = finite(element_positions_m, "element_positions_m", (None, 3))
        self.elements = len(self.element_positions_m)
        if self.elements == 0:
            raise ValueError("element_positions_m: needs at least one element")
        self.element_normals = unit(finite(element_normals, "element_normals", (self.elements, 3)), "element_normals")
        if apodization not in WINDOWS:
            raise ValueError(f"apodization: must be one of {', '.join(WINDOWS)}, got {apodization!r}")
        self.window = WINDOWS[apodization]
        if not (math.isfinite(f_number) and f_number >= 0):
            raise ValueError(f"f_number: must be finite and >= 0 (0: all elements), got {f_number}")
        self.pitch_m = pitch_m(self.element_positions_m)
        self.points_m: FloatArray | None = None
        self.heights_m: FloatArray | None = None
        if points_m is None:
            self._take_lines(origins_m, directions, first_m, spacing_m, count)
        else:
            if origins_m is not None or directions is not None:
                raise ValueError("points_m: give either points, or lines with origins_m and directions")
            self._take_points(points_m)
        self.lateral_m: NDArray[np.float32] | None = None
        if f_number == 0:
            centre = self.element_positions_m.mean(axis=0)
            lateral = np.linalg.norm(self.element_positions_m - centre, axis=-1)
            self.lateral_m = lateral.astype(np.float32)
            self.per_half = 0.0
            self.least_half_m = float(lateral.max()) + self.pitch_m / 2
        else:
            self.per_half = 1 / (2 * f_number)
            self.least_half_m = self.pitch_m

    def _take_lines(
        self, origins_m: ArrayLike | None, directions: ArrayLike | None, first_m: float, spacing_m: float, count: int
    ) -> None:
        if origins_m is None or directions is None:
            raise ValueError("origins_m: needs origins_m and directions, or points_m")
        self.origins_m = finite(origins_m, "origins_m", (None, 3))
        self.lines = len(self.origins_m)
        if self.lines == 0:
            raise ValueError("origins_m: needs at least one line")
        self.directions = unit(finite(directions, "directions", (self.lines, 3)), "directions")
        if count < 1:
            raise ValueError(f"count: must be >= 1, got {count}")
        if not (math.isfinite(first_m) and math.isfinite(spacing_m) and spacing_m > 0):
            raise ValueError(f"first_m, spacing_m: must be finite, spacing_m > 0, got {first_m}, {spacing_m}")
        self.count, self.first_m, self.spacing_m = count, float(first_m), float(spacing_m)
        self.feet_m = feet(self.origins_m, self.directions, self.element_positions_m, self.element_normals)

    def _take_points(self, points_m: ArrayLike) -> None:
        points = finite(points_m, "points_m", (None, None, 3))
        if points.size == 0:
            raise ValueError("points_m: needs at least one point")
        self.points_m = points
        self.lines, self.count = points.shape[:2]
        self.first_m = self.spacing_m = 0.0
        flat = points.reshape(-1, 3)
        nearest = self._find_nearest(flat)
        self.directions = np.ascontiguousarray(self.element_normals[nearest])
        heights = np.einsum("pk,pk->p", flat - self.element_positions_m[nearest], self.directions)
        self.heights_m = heights.reshape(points.shape[:2])
        self.origins_m = np.zeros((0, 3))
        self.feet_m = np.zeros(0)

    def _find_nearest(self, points: FloatArray) -> NDArray[np.intp]:
        """The element nearest to each of `points (n, 3)`, or any where all share one plane: it makes no difference."""
        nearest = np.zeros(len(points), np.intp)
        if _is_flat(self.element_positions_m, self.element_normals):
            return nearest
        step = max(1, PAIRS_AT_ONCE // self.elements)
        # |p - e|^2 without |p|^2, which is the same for all elements.
        middle = self.element_positions_m.mean(axis=0)
        elements = self.element_positions_m - middle
        squares = np.einsum("ek,ek->e", elements, elements)
        for start in range(0, len(points), step):
            products = (points[start : start + step] - middle) @ (2 * elements.T)
            nearest[start : start + step] = (squares - products).argmin(axis=1)
        return nearest

    def part(self, begin: int, count: int) -> Aperture:
        """Of a line grid, points `begin` to `begin + count` of every line."""
        own = copy.copy(self)
        own.first_m, own.count = self.first_m + begin * self.spacing_m, count
        return own

    def active_bounds_m(
        self, firsts: NDArray[np.intp], lasts: NDArray[np.intp], lines: NDArray[np.intp]
    ) -> tuple[FloatArray, FloatArray]:
        """Bounds of the distances (ranges, lines) from points `firsts` to `lasts (ranges,)` of a line to the elements
        that listen to any of them; infinite where none does."""
        first, last = (self.first_m + at[:, None] * self.spacing_m for at in (firsts, lasts))
        half = np.maximum((last - self.feet_m[lines]) * self.per_half, self.least_half_m)
        # Elements at the edge may be within for the kernels, which compute in single precision.
        active = self.lateral_of_lines(lines) <= ACTIVE_MARGIN * half[..., None]
        offset = self.element_positions_m - self.origins_m[lines, None]
        along = np.einsum("lek,lk->le", offset, self.directions[lines])
        across = np.maximum(np.einsum("lek,lek->le", offset, offset) - along**2, 0)
        before, behind = (at[..., None] - along for at in (first, last))
        nearest = np.sqrt(across + np.clip(0, before, behind) ** 2)
        farthest = np.sqrt(across + np.maximum(before**2, behind**2))
        return np.where(active, nearest, np.inf).min(axis=2), np.where(active, farthest, -np.inf).max(axis=2)

    def lateral_of_lines(self, lines: NDArray[np.intp] | None = None) -> FloatArray:
        """Distance of every element from the middle of the aperture of each line, or of some `lines`, (lines,
        elements); infinite if unused."""
        chosen = slice(None) if lines is None else lines
        origins, directions, feet_m = self.origins_m[chosen], self.directions[chosen], self.feet_m[chosen]
        if self.lateral_m is not None:
            return np.tile(self.lateral_m.astype(np.float64), (len(origins), 1))
        foot = origins + feet_m[:, None] * directions
        lateral = np.linalg.norm(foot[:, None] - self.element_positions_m, axis=-1)
        lateral[directions @ self.element_normals.T <= 0] = np.inf
        return np.asarray(lateral)


def unit(vectors: FloatArray, name: str) -> FloatArray:
    """`vectors (n, 3)` checked to have unit length to 1e-3, and brought to it."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if np.abs(lengths - 1).max(initial=0) > 1e-3:
        raise ValueError(f"{name}: must have unit length")
    return np.ascontiguousarray(vectors / lengths)


def pitch_m(elements_m: FloatArray) -> float:
    """Median distance from an element to its nearest neighbour; 0 for a single element."""
    if len(elements_m) < 2:
        return 0.0
    nearest = np.empty(len(elements_m))
    step = max(1, PAIRS_AT_ONCE // len(elements_m))
    for start in range(0, len(elements_m), step):
        offset = elements_m[start : start + step, None] - elements_m
        squares = np.einsum("abk,abk->ab", offset, offset)
        squares[np.arange(len(squares)), np.arange(start, start + len(squares))] = np.inf
        nearest[start : start + step] = np.sqrt(squares.min(axis=1))
    return float(np.median(nearest))


def feet(origins_m: FloatArray, directions: FloatArray, elements_m: FloatArray, normals: FloatArray) -> FloatArray:
    """Distance along each line, from its origin, at which it leaves the array (lines,)."""
    if _is_flat(elements_m, normals) and (np.abs(directions @ normals[0]) >= GRAZING_COSINE).all():
        # All elements share one plane, whichever is nearest.
        return np.asarray((elements_m[0] @ normals[0] - origins_m @ normals[0]) / (directions @ normals[0]))
    result = np.empty(len(origins_m))
    step = max(1, PAIRS_AT_ONCE // len(elements_m))
    for start in range(0, len(origins_m), step):
        own = slice(start, start + step)
        direction = directions[own]
        offset = elements_m[None] - origins_m[own, None]
        along = np.einsum("lek,lk->le", offset, direction)
        across = np.sqrt(np.maximum(np.einsum("lek,lek->le", offset, offset) - along**2, 0))
        across[direction @ normals.T <= 0] += FAR_M
        nearest = across.argmin(axis=1)
        rows = np.arange(len(nearest))
        cosine = np.einsum("lk,lk->l", direction, normals[nearest])
        height = np.einsum("lk,lk->l", offset[rows, nearest], normals[nearest])
        grazing = np.abs(cosine) < GRAZING_COSINE
        result[own] = np.where(grazing, along[rows, nearest], height / np.where(grazing, 1, cosine))
    return result


def _is_flat(elements_m: FloatArray, normals: FloatArray) -> bool:
    """Whether all elements lie in one plane and look the same way."""
    return bool(np.abs(normals - normals[0]).max() == 0 and np.ptp(elements_m @ normals[0]) == 0)
