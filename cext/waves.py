"""How the waves of a sequence pass the blocks of a line grid: delays and phases to second order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonod.cext import _native
from sonod.cext.arrays import FloatArray

# Deviation of a delay from its second-order form within a block, in radians of the carrier, that is accepted.
WAVE_TOLERANCE_RAD = 0.03
# Kinds of a block in kernels.h.
UNSEEN, POINTS = -2, -3


@dataclass(frozen=True, eq=False)
class Waves:
    """Delays in fine samples since the first one, `(transmits, blocks, lines)`: what a block needs lies
    together.

    `kind`: UNSEEN, second order (-1), or the row of `points (n, block_points)`; `weight_kind`: -1 where every point
    counts fully, or the row of `weights (n, block_points)`.
    """

    quadratic: NDArray[np.float32]
    ways: NDArray[np.int32]
    phases: NDArray[np.float32]
    kind: NDArray[np.int32]
    points: NDArray[np.float32]
    weight_kind: NDArray[np.int32]
    weights: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for value in vars(self).values())


def pass_waves(
    time: NDArray[np.float32] | FloatArray,
    weight: NDArray[np.float32] | None,
    *,
    t0_s: FloatArray,
    block_points: int,
    step: int,
    start_s: float,
    time_offset_s: float,
    fine_hz: float,
    demodulation_hz: float,
) -> Waves:
    """Second-order form of every wave in every block of 16 or 32 points, or its points; `time` and `weight (transmits,
    lines, count)`."""
    transmits, lines, count = time.shape
    blocks = -(-count // block_points)
    shape = (transmits, blocks, lines)
    quadratic = np.empty((*shape, 3), np.float32)
    ways, kind = np.empty(shape, np.int32), np.empty(shape, np.int32)
    phases, whole = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    time32 = np.asarray(time, dtype=np.float32) if time.dtype == np.float32 else None
    time64 = None if time32 is not None else np.asarray(time, dtype=np.float64)

    def run(point_at: NDArray[np.int32] | None, points: NDArray[np.float32] | None) -> None:
        _native.das_times(
            time32,
            time64,
            weight,
            t0_s,
            block_points,
            step,
            start_s,
            time_offset_s,
            fine_hz,
            demodulation_hz,
            WAVE_TOLERANCE_RAD * fine_hz / (2 * np.pi * demodulation_hz),
            quadratic,
            ways,
            phases,
            kind,
            whole,
            point_at,
            points,
        )

    run(None, None)
    points = np.zeros((1, block_points), np.float32)
    single = kind == POINTS
    if single.any():
        point_at = np.full(shape, -1, np.int32)
        point_at[single] = np.arange(single.sum(), dtype=np.int32)
        points = np.zeros((int(single.sum()), block_points), np.float32)
        run(point_at, points)
        kind[single] = point_at[single]
    weight_kind = np.full(shape, -1, np.int32)
    weights = np.zeros((1, block_points), np.float32)
    partial = (whole == 0) & (kind != UNSEEN)
    if partial.any():
        weight_kind[partial] = np.arange(partial.sum(), dtype=np.int32)
        own = np.zeros((transmits, lines, blocks * block_points), np.float32)
        own[:, :, :count] = np.isfinite(time)
        if weight is not None:
            own[:, :, :count] *= np.nan_to_num(weight, nan=0.0, posinf=0.0, neginf=0.0)
        by_block = own.reshape(transmits, lines, blocks, block_points).swapaxes(1, 2)
        weights = np.ascontiguousarray(by_block[partial])
    return Waves(quadratic, ways, phases, kind, points, weight_kind, weights)
