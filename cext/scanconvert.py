"""Scan conversion: lines of samples to a picture of pixels, by a precomputed bilinear table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonod.cext import _native
from sonod.cext.arrays import FloatArray, OutputBuffer, checked_input, checked_shape, finite, positive

# Pixels up to this many steps beyond the outermost line or sample take its value.
EDGE = 0.5


class ScanConverter:
    """Bilinear scan conversion: `run(lines (L, N) float32) -> float32 (rows, columns)`.

    Pixel (row, column) shows the place `line_index`, `sample_index` (rows, columns), fractional; it is 0 where one of
    them is NaN or more than half a step outside the lines, and `inside (rows, columns)` is False there.
    """

    def __init__(self, shape: Sequence[int], line_index: ArrayLike, sample_index: ArrayLike) -> None:
        self._shape = lines, samples = _line_shape(shape)
        across, along = np.asarray(line_index, dtype=np.float64), np.asarray(sample_index, dtype=np.float64)
        if across.ndim != 2 or across.shape != along.shape or across.size == 0:
            raise ValueError(
                f"line_index, sample_index: must both be (rows, columns), got {across.shape} and {along.shape}"
            )
        self.inside = (
            (across >= -EDGE) & (across <= lines - 1 + EDGE) & (along >= -EDGE) & (along <= samples - 1 + EDGE)
        )
        line, line_share = _split(np.where(self.inside, across, 0), lines)
        sample, sample_share = _split(np.where(self.inside, along, 0), samples)
        self.table = ScanTable(
            np.where(self.inside, line * samples + sample, -1).astype(np.int32),
            _spans(self.inside),
            np.ascontiguousarray(line_share, dtype=np.float32),
            np.ascontiguousarray(sample_share, dtype=np.float32),
        )
        self.output_shape = across.shape
        self._output = OutputBuffer(self.output_shape, np.float32)

    @property
    def input_shape(self) -> tuple[int, int]:
        """(lines, samples)"""
        return self._shape

    def run(self, lines: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Pixels of `lines`, into `out` or an array that the next call overwrites."""
        lines = checked_input(lines, self._shape, np.float32, "lines")
        target = self._output.take(out)
        table = self.table
        _native.scan_convert(lines, table.base, table.spans, table.line_share, table.sample_share, target)
        return target


@dataclass(frozen=True, eq=False)
class ScanTable:
    """What the kernel reads, all (rows, columns): offset of the first of the four samples round a pixel (-1: outside)
    and the shares of the next line and sample; and (rows, 2): columns between which there are pixels inside."""

    base: NDArray[np.int32]
    spans: NDArray[np.int32]
    line_share: NDArray[np.float32]
    sample_share: NDArray[np.float32]


def sector_map(
    angles_rad: ArrayLike,
    radius_first_m: float,
    spacing_m: float,
    apex_z_m: float,
    x_m: ArrayLike,
    z_m: ArrayLike,
    *,
    apex_x_m: float = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """(line index, sample index), each (rows, columns), of pixels at `x_m (columns,)`, `z_m (rows,)` in a sector.

    Line i leaves the apex at `angles_rad[i]` from the z axis towards +x (evenly spaced or not, ascending or
    descending); its sample j lies `radius_first_m + j * spacing_m` from the apex. NaN more than half a line outside.
    """
    angles = finite(angles_rad, "angles_rad", (None,))
    x, z = np.meshgrid(finite(x_m, "x_m", (None,)) - apex_x_m, finite(z_m, "z_m", (None,)) - apex_z_m)
    line_index = places_between(np.arctan2(x, z), angles)
    return line_index, (np.hypot(x, z) - radius_first_m) / positive(spacing_m, "spacing_m")


def parallel_map(
    line_x_m: ArrayLike,
    angle_rad: float,
    first_m: float,
    spacing_m: float,
    x_m: ArrayLike,
    z_m: ArrayLike,
    *,
    origin_z_m: float = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """(line index, sample index) of pixels among parallel lines that leave z = origin_z_m at `line_x_m`.

    All lines are steered `angle_rad` from the z axis towards +x; their positions may be uneven. Straight lines
    (angle 0) make a plain resampling.
    """
    places = finite(line_x_m, "line_x_m", (None,))
    x, z = np.meshgrid(finite(x_m, "x_m", (None,)), finite(z_m, "z_m", (None,)) - origin_z_m)
    line_index = places_between(x - z * np.tan(angle_rad), places)
    return line_index, (z / np.cos(angle_rad) - first_m) / positive(spacing_m, "spacing_m")


def places_between(places: FloatArray, line_places: FloatArray) -> FloatArray:
    """Fractional index of each place among `line_places` (monotonic); NaN more than half a step outside. A single line
    is everywhere."""
    if len(line_places) == 1:
        return np.zeros_like(places)
    step = np.diff(line_places)
    if not ((step > 0).all() or (step < 0).all()):
        raise ValueError("lines: their places must ascend or descend")
    numbers = np.arange(len(line_places), dtype=np.float64)
    order = slice(None) if step[0] > 0 else slice(None, None, -1)
    ascending, numbers = line_places[order], numbers[order]
    index = np.interp(places, ascending, numbers)
    before, behind = (ascending[1] - ascending[0]) / 2, (ascending[-1] - ascending[-2]) / 2
    outside = (places < ascending[0] - before) | (places > ascending[-1] + behind)
    return np.where(outside, np.nan, index)


def _line_shape(shape: Sequence[int]) -> tuple[int, int]:
    lines, samples = checked_shape(shape, "lines, samples")
    if lines * samples >= 2**31:
        raise ValueError(f"shape: must have fewer than 2^31 samples, got {lines} x {samples}")
    return lines, samples


def _split(index: FloatArray, length: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Whole part, at most length - 2 (or 0), and the rest."""
    bounded = np.clip(index, 0, length - 1)
    whole = np.minimum(bounded.astype(np.int64), max(length - 2, 0))
    return whole, bounded - whole


def _spans(inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(rows, 2): the first column that is inside and the one behind the last; (0, 0) for none."""
    any_inside = inside.any(axis=1)
    first = np.where(any_inside, inside.argmax(axis=1), 0)
    end = np.where(any_inside, inside.shape[1] - inside[:, ::-1].argmax(axis=1), 0)
    return np.ascontiguousarray(np.stack([first, end], axis=1), dtype=np.int32)
