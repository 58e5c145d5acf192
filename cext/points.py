"""The plan of the point kernel: baseband at points that lie anywhere, or whose ways back are given."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sonod.cext import _native
from sonod.cext.aperture import WINDOWS, Aperture
from sonod.cext.arrays import FloatArray
from sonod.cext.blocks import (
    FINE_RATE,
    LARGEST_HALF_BAND,
    PLANE_BYTES,
    ROUNDING_MARGIN,
)
from sonod.cext.channel_maps import channel_maps
from sonod.cext.prepare import USUAL_HALF_BAND
from sonod.cext.resampling import farrow_filters, fine_rate, plane_order
from sonod.cext.ways_back import SMALLEST_HALF_M

# Points of a block; the kernel's own numbers: more where they lie close enough for nine blocks in ten to have no
# larger radius than so many fine samples.
NEIGHBOURS = (32, 16)
CLOSE_FINE = 5.5
CLOSE_SHARE = 0.9
GROUP = 8
# Elements of the kernel's widest vectors.
ELEMENTS_TOGETHER = 16
# Rows of a trace: signal, slope, curvature; and fine samples of zeros round a row.
ROWS = 3
MARGIN = 32
# Points of a block read of a trace within so many fine samples round the middle, rounding taken off.
WINDOW_REACH = 14.9
# Largest error of a way back that is taken as a form of second order round the middle of its block, in fine samples,
# and the least way for which its factors fit 16 bits.
FORM_ERROR = 0.004
LEAST_WAY_FINE = 9.0
# The cubic term of a way r for a point at x along it and y across, x y^2 / 2 r^2, is at most this times radius^3 / r^2.
CUBIC_SHARE = 0.193
# Where the kernel takes the edge of an aperture.
APERTURE_EDGE = 1.00001
# Fine samples per turn of the carrier, at least: the kernel's polynomials give a sixth of a turn to each side.
LEAST_PER_TURN = 3.0
# Most fine samples of a record: the kernel counts them in floats.
MOST_FINE = 16_000
# A way there of a transmission that does not see the point, in fine samples.
UNSEEN = -1e6
# Depth of the points that are worked on together, in fine samples.
SLAB_FINE = 24.0
# Unity of the polynomials of a turn.
UNIT_TURN = 2**11


class PointPlan:
    """Tables of `kernels/das_points.inc.c` for one set of points and waves.

    The points are those of `aperture`: single ones, or those of its lines with `receive_time (elements, lines, count)`,
    in seconds, instead of straight ways back. OverflowError where the kernel cannot do the work: a record of too many
    fine samples, or elements that look away from some points.
    """

    def __init__(
        self,
        aperture: Aperture,
        receive: NDArray[np.int32],
        *,
        time: NDArray[np.float32] | FloatArray,
        weight: NDArray[np.float32] | None,
        receive_time: NDArray[np.float32] | None,
        sampling_hz: float,
        t0_s: FloatArray,
        samples: int,
        demodulation_hz: float,
        slowness: float,
        time_offset_s: float,
        half_bandwidth_hz: float | None,
        quality: str,
    ) -> None:
        self.receive, self.samples = receive, samples
        self.transmits, self.channels = receive.shape
        self.elements = aperture.elements
        self.count = aperture.lines * aperture.count
        half = min(half_bandwidth_hz or USUAL_HALF_BAND * demodulation_hz, LARGEST_HALF_BAND * sampling_hz)
        wanted_hz = max(FINE_RATE[quality] * half, LEAST_PER_TURN * demodulation_hz)
        fine_hz, ratio = fine_rate(wanted_hz, sampling_hz)
        while fine_hz < LEAST_PER_TURN * demodulation_hz:
            wanted_hz *= 1.01
            fine_hz, ratio = fine_rate(wanted_hz, sampling_hz)
        self.fine_per_metre = fine_hz * slowness
        # Given ways back have no form, and are read in long runs.
        sizes = NEIGHBOURS if receive_time is None else NEIGHBOURS[:1]
        radius = self._place(aperture, SLAB_FINE / (2 * self.fine_per_metre), sizes)
        self._find_span(aperture, time, receive_time, t0_s - time_offset_s, slowness, sampling_hz, fine_hz)
        resampling = farrow_filters(ratio, half / sampling_hz)
        # Turned to the carrier, a component may have the magnitude of both.
        self.bound = resampling.bound * ROUNDING_MARGIN * math.sqrt(2)
        # Polynomials in half samples.
        per_half = 0.5 ** np.arange(ROWS)[:, None]
        self.coefficients = np.ascontiguousarray(resampling.coefficients * per_half, dtype=np.float32)
        starts, phases = plane_order(1, self.width, resampling)
        self.starts = np.ascontiguousarray(np.minimum(starts[0], self.end_at - self.begin_at), dtype=np.int32)
        self.filters = np.ascontiguousarray(phases[0] * (3 * self.coefficients.shape[2]), dtype=np.int32)
        start_s = self.begin_at / sampling_hz
        self.turning = _turns(demodulation_hz / fine_hz * np.arange(self.width, dtype=np.float64))
        self.wave_phases = _turns(np.asarray(demodulation_hz * (t0_s + start_s), dtype=np.float64))
        self.turn = turn_pairs(math.pi * demodulation_hz / fine_hz)
        self.there = np.empty((self.transmits, self.points), np.float32)
        self.middles = np.empty((self.transmits, self.points // self.neighbours), np.float32)
        self.weights: NDArray[np.float32] | None = None
        if weight is not None or not np.isfinite(time).all():
            self.weights = np.ones((self.transmits, self.points), np.float32)
        spread = np.zeros(len(radius), np.float32)
        for t in range(self.transmits):
            own = np.asarray(time[t], dtype=np.float64).reshape(-1)
            seen = np.abs(own) < 1e9
            if weight is not None:
                seen &= np.isfinite(weight[t].reshape(-1))
            fine = np.clip((own + (time_offset_s - t0_s[t] - start_s)) * fine_hz, UNSEEN, -UNSEEN)
            self._place_wave(t, np.where(seen, fine, np.nan)[self._chosen], spread)
            if self.weights is not None:
                factor = seen if weight is None else np.where(seen, weight[t].reshape(-1), 0)
                self.weights[t] = factor[self._chosen]
        self.back: NDArray[np.float32] | None = None
        if receive_time is not None:
            self.back = np.take(receive_time.reshape(self.elements, -1), self._chosen, axis=1) * np.float32(fine_hz)
            radius[:] = np.inf
        # What a cubic term adds at most within a ball, and ways that do not fit a window.
        least = np.maximum(LEAST_WAY_FINE, np.sqrt(CUBIC_SHARE / FORM_ERROR * radius**3))
        least[radius + spread > WINDOW_REACH] = np.inf
        self.bounds[:, -1] = (least / self.fine_per_metre) ** 2
        self.row = self.width + 2 * MARGIN
        maps = channel_maps(receive, self.elements, ROWS * self.row)
        self.map_of = maps.of
        self.map_first = np.ascontiguousarray(maps.first[:, 0])
        self.map_traces = np.ascontiguousarray(maps.traces[:, 0])
        self.map_whole = np.ascontiguousarray(maps.whole[:, 0])
        group = min(self.transmits, max(1, PLANE_BYTES // (self.channels * self.row * ROWS * 4)))
        self.planes = np.zeros((group, self.channels, ROWS, self.row), np.int32)
        self.peaks = np.zeros((self.transmits, self.channels), np.float32)
        self.scales = np.zeros((2, self.transmits), np.float32)
        self.factor = 1.0 / (self.transmits * self.channels)

    @property
    def table_bytes(self) -> int:
        """Memory of all tables and of the resampled data."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))

    def run(self, data: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Beamforms `data (T, C, samples, 2)` into `out (lines, count, 2)`."""
        _native.das_points(self, data.reshape(-1), out.reshape(-1))

    def _place(self, aperture: Aperture, slab_m: float, sizes: tuple[int, ...]) -> FloatArray:
        """Points, the feet of their lines and their half apertures, neighbours together: slabs of equal depth, and
        columns of the array within them, so that what one block reads of a trace is read again by the next. Returns
        the largest distance of a block's points from its middle, in fine samples."""
        directions = aperture.directions
        if aperture.points_m is None or aperture.heights_m is None:
            distance = aperture.first_m + np.arange(aperture.count) * aperture.spacing_m
            places = aperture.origins_m[:, None] + directions[:, None] * distance[:, None]
            heights = (distance - aperture.feet_m[:, None]).reshape(-1)
            along = np.repeat(directions, aperture.count, axis=0)
        else:
            places, heights, along = aperture.points_m, aperture.heights_m.reshape(-1), directions
        if aperture.lateral_m is None:
            # Single points have the direction of an element.
            possible = aperture.element_normals if aperture.points_m is not None else directions
            if (possible @ aperture.element_normals.T <= 0).any():
                raise OverflowError("elements look away from some points")
        flat = places.reshape(-1, 3)
        feet = flat - along * heights[:, None]
        halves = np.maximum(np.maximum(heights * aperture.per_half, aperture.least_half_m), SMALLEST_HALF_M)
        for self.neighbours in sizes:
            order = _neighbours_together(flat, feet, heights, aperture, slab_m, self.neighbours)
            # The last point once more, up to a whole block.
            self.points = -(-self.count // self.neighbours) * self.neighbours
            self._chosen = chosen = order[np.minimum(np.arange(self.points), self.count - 1)]
            middle, radius = _balls(flat[chosen], self.neighbours)
            if (radius * self.fine_per_metre < CLOSE_FINE).mean() > CLOSE_SHARE:
                break
        self.order = chosen.astype(np.int32)
        self.order[self.count :] = -1
        self.places = np.ascontiguousarray(flat[chosen].T, dtype=np.float32)
        self.feet = np.ascontiguousarray(feet[chosen].T, dtype=np.float32)
        self.per_half = np.ascontiguousarray(1 / halves[chosen], dtype=np.float32)
        self.bounds = np.empty((self.points // self.neighbours, 9), np.float32)
        foot, reach = _balls(feet[chosen], self.neighbours)
        half = halves[chosen].reshape(-1, self.neighbours)
        # Rounding of the kernel's floats must not leave an element out.
        reach += 1e-5 * half.max(axis=1) + 1e-7
        least, largest = half.min(axis=1) - reach, half.max(axis=1) * APERTURE_EDGE + reach
        self.bounds[:, :3] = foot
        self.bounds[:, 3], self.bounds[:, 4] = largest**2, np.where(least > 0, least**2, -1)
        if aperture.lateral_m is not None:
            self.bounds[:, 3:5] = np.inf
        if aperture.window != WINDOWS["rectangular"]:
            self.bounds[:, 4] = -1
        self.bounds[:, 5:8] = middle
        self.positions = np.zeros((3, -(-self.elements // ELEMENTS_TOGETHER) * ELEMENTS_TOGETHER), np.float32)
        self.positions[:, : self.elements] = aperture.element_positions_m.T
        level = self.positions[1, 0]
        self.planar = bool((self.places[1] == level).all() and (self.positions[1, : self.elements] == level).all())
        self.lateral = aperture.lateral_m
        self.window = aperture.window
        return radius * self.fine_per_metre

    def _place_wave(self, transmit: int, fine: FloatArray, spread: NDArray[np.float32]) -> None:
        """Ways there of one transmission at the points in their order, NaN where not seen; `spread`: largest distance
        from the middle of a block so far."""
        by_block = fine.reshape(-1, self.neighbours)
        least, most = np.fmin.reduce(by_block, axis=1), np.fmax.reduce(by_block, axis=1)
        middle = np.nan_to_num(np.round((least + most) / 2), nan=UNSEEN)
        self.middles[transmit] = middle
        self.there[transmit] = np.where(np.isnan(by_block), middle[:, None], by_block).reshape(-1)
        np.fmax(spread, np.fmax(most - middle, middle - least), out=spread)

    def _find_span(
        self,
        aperture: Aperture,
        time: NDArray[np.float32] | FloatArray,
        receive_time: NDArray[np.float32] | None,
        before_s: FloatArray,
        slowness: float,
        sampling_hz: float,
        fine_hz: float,
    ) -> None:
        """Which part of the record the delays can reach, and how many fine samples cover it."""
        if receive_time is None:
            low, high = self.places.min(axis=1), self.places.max(axis=1)
            near, far = aperture.element_positions_m.min(axis=0), aperture.element_positions_m.max(axis=0)
            gap = np.maximum(0, np.maximum(near - high, low - far))
            nearest, farthest = (
                float(np.linalg.norm(part)) * slowness for part in (gap, np.maximum(high - near, far - low))
            )
        else:
            nearest, farthest = float(np.nanmin(receive_time)), float(np.nanmax(receive_time))
        with np.errstate(invalid="ignore"):
            early = np.fmin.reduce(time.reshape(len(time), -1), axis=1)
            late = np.fmax.reduce(time.reshape(len(time), -1), axis=1)
        first = float(np.fmin.reduce(early - before_s)) + nearest
        last = float(np.fmax.reduce(late - before_s)) + farthest
        if not math.isfinite(first + last):
            first = last = 0.0
        self.begin_at = min(max(math.floor(first * sampling_hz) - 2, 0), self.samples - 1)
        self.end_at = min(max(math.ceil(last * sampling_hz) + 2, self.begin_at), self.samples - 1) + 1
        fine = math.floor((self.end_at - 1 - self.begin_at) / sampling_hz * fine_hz) + 1
        if fine > MOST_FINE:
            raise OverflowError(f"{fine} fine samples")
        self.width = -(-fine // GROUP) * GROUP


def turn_pairs(half_turn_rad: float) -> NDArray[np.int32]:
    """Cosine a + b z^2 + c z^4 and negative sine z (a + b z^2 + c z^4) of `half_turn_rad` z for |z| <= 1, by least
    squares: a, 2 b and 4 c as pairs of whole numbers, for a kernel that multiplies with half the square (3,)."""
    z = np.cos(np.pi * (np.arange(200) + 0.5) / 200)
    powers = np.stack([np.ones_like(z), z**2, z**4], axis=1)
    cosine = np.linalg.lstsq(powers, np.cos(half_turn_rad * z), rcond=None)[0]
    sine = np.linalg.lstsq(powers * z[:, None], np.sin(half_turn_rad * z), rcond=None)[0]
    pairs = np.stack([cosine, -sine], axis=1) * 2 ** np.arange(3)[:, None] * UNIT_TURN
    return np.ascontiguousarray(np.round(pairs), dtype=np.int16).view(np.int32).reshape(-1)


def _neighbours_together(
    places: FloatArray, feet: FloatArray, heights: FloatArray, aperture: Aperture, slab_m: float, together: int
) -> NDArray[np.intp]:
    """Order of the points in which so many `together` lie close together, the same whichever way they are given.

    The points above a patch of the array are cut into blocks by their heights; these are ordered by slabs of equal
    depth and along the array, and behind them comes what is left of the patches.
    """
    axes = _axes(aperture.element_positions_m)
    pitch_m = aperture.pitch_m or slab_m
    patches = np.stack([_dot(feet, axis) for axis in axes], axis=1) / pitch_m
    sides = int((np.ptp(patches, axis=0) > 1).sum())
    # Blocks as wide as they are deep.
    occupied = len(np.unique(_patch_numbers(patches)))
    depth_m = together * occupied * float(np.ptp(heights)) / len(heights)
    patch = _patch_numbers(patches / max(1, round((depth_m / pitch_m) ** (1 / (sides + 1)))))
    order = np.lexsort((*places.T, heights, patch))
    first = np.flatnonzero(np.diff(patch[order], prepend=-1))
    length = np.diff(first, append=len(order))
    rank = np.arange(len(order)) - np.repeat(first, length)
    whole = rank < np.repeat(length // together * together, length)
    blocks, rest = order[whole].reshape(-1, together), order[~whole]
    slab = np.floor(heights / slab_m)
    blocks = blocks[np.lexsort((heights[blocks[:, 0]], patch[blocks[:, 0]], slab[blocks[:, 0]]))]
    rest = rest[np.lexsort((*places[rest].T, heights[rest], patch[rest], slab[rest]))]
    return np.concatenate([blocks.reshape(-1), rest])


def _patch_numbers(patches: FloatArray) -> NDArray[np.int64]:
    """Numbers of the squares in which points (n, 2) lie."""
    whole = np.floor(patches - patches.min(axis=0)).astype(np.int64)
    return np.asarray(whole[:, 0] * (whole[:, 1].max() + 1) + whole[:, 1])


def _balls(places: FloatArray, together: int) -> tuple[NDArray[np.float32], FloatArray]:
    """Middles of blocks of points (blocks, 3), and the largest distance of a point from them (blocks,)."""
    by_block = places.reshape(-1, together, 3)
    middle = ((by_block.max(axis=1) + by_block.min(axis=1)) / 2).astype(np.float32)
    offset = by_block - middle[:, None]
    return middle, np.sqrt(np.einsum("bik,bik->bi", offset, offset).max(axis=1))


def _axes(positions_m: FloatArray) -> FloatArray:
    """Directions in which the array is longest and second longest (2, 3)."""
    offset = positions_m - positions_m.mean(axis=0)
    return np.asarray(np.linalg.eigh(offset.T @ offset)[1].T[:0:-1])


def _dot(places: FloatArray, axis: FloatArray) -> FloatArray:
    """Products of rows, each for itself: those of a matrix may differ in rounding from row to row."""
    return np.asarray(places[:, 0] * axis[0] + places[:, 1] * axis[1] + places[:, 2] * axis[2])


def _turns(turns: FloatArray) -> NDArray[np.float32]:
    """Cosine and sine of so many turns (n, 2)."""
    angle = 2 * np.pi * (np.asarray(turns, dtype=np.float64) % 1)
    return np.ascontiguousarray(np.stack([np.cos(angle), np.sin(angle)], axis=1), dtype=np.float32)
