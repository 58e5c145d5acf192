"""How the elements hear the blocks of lines: what `kernels/das_receive.inc.c` is given and what it counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext import _native
from sonod.cext.aperture import Aperture
from sonod.cext.arrays import FloatArray
from sonod.cext.symmetry import MOST_ELEMENTS, LineClasses
from sonod.cext.waves import WAVE_TOLERANCE_RAD

# Elements are taken in eights.
ELEMENT_GROUP = 8
# By how much the phase of the way back may turn from the middle of a block to its end, beyond the common pace of the
# block, where it is held to second or third order; elements that turn faster have a phase for each point.
LARGEST_TURN_RAD = {2: 0.7, 3: 1.1}
# Numbers of an element in a block: delay, pace and number, and those of its phase.
FIELDS = {2: 5, 3: 6}
# A half aperture of a single element, so that its own place is within and nothing else is.
SMALLEST_HALF_M = 1e-30
# Fields of the head of a block in das_receive.inc.c.
HEAD_START, HEAD_COUNT, HEAD_LEFT, HEAD_RIGHT, HEAD_STEEP, HEAD_SLOWEST, HEAD_FASTEST, HEAD_SIZE = (
    0,
    1,
    2,
    3,
    4,
    6,
    7,
    8,
)
# Numbers of an element in four points of a block, where it is taken in such pieces.
PIECE_INTS = 6


@dataclass(frozen=True, eq=False)
class Heard:
    """Counts by block and class of lines: `heads (blocks, classes, 8)`; `paces (blocks, classes)`, what the delays of a
    block have in common, in fine samples a point; and the geometry that the kernels want with them."""

    geometry: tuple[Any, ...]
    heads: NDArray[np.int32]
    paces: NDArray[np.float32]


def hear(
    aperture: Aperture,
    classes: LineClasses,
    block_points: int,
    *,
    fine_hz: float,
    slowness: float,
    demodulation_hz: float,
    phase_order: int = 2,
) -> Heard:
    """Counts how elements hear the blocks of each class of lines."""
    last = last_point(block_points)
    own_feet = aperture.feet_m[classes.example]
    feet, half_of_class = _distinct(own_feet if aperture.lateral_m is None else np.zeros(len(own_feet)))
    blocks = -(-aperture.count // block_points)
    heights = aperture.first_m + np.arange(blocks * block_points) * aperture.spacing_m - feet[:, None]
    per_half = _per_half(aperture, heights).reshape(len(feet), blocks, block_points)
    elements = len(classes.element_positions_m)
    if elements > MOST_ELEMENTS:
        raise OverflowError(f"{elements} elements")
    positions = np.zeros((3, -(-elements // ELEMENT_GROUP) * ELEMENT_GROUP), np.float32)
    positions[:, :elements] = classes.element_positions_m.T
    fine_per_metre, spacing = fine_hz * slowness, aperture.spacing_m
    turns = demodulation_hz / fine_hz
    constants = np.array(
        [
            spacing,
            fine_per_metre,
            fine_per_metre * spacing,
            0.5 * fine_per_metre * spacing**2,
            # Third-order term of the delay at the end of a block over what is accepted.
            2 * math.pi * turns * last**3 * spacing / WAVE_TOLERANCE_RAD,
            turns,
            2 * math.pi * turns,
            LARGEST_TURN_RAD[phase_order] / (2 * math.pi * turns) / last,
        ],
        np.float32,
    )
    geometry = (
        classes.origins_m,
        classes.directions,
        aperture.first_m,
        spacing,
        aperture.count,
        own_feet,
        classes.element_positions_m,
        classes.element_normals,
        positions,
        aperture.lateral_m,
        half_of_class,
        per_half,
        aperture.window,
        constants,
        FIELDS[phase_order],
    )
    heads = np.zeros((blocks, len(own_feet), HEAD_SIZE), np.int32)
    paces = np.zeros((blocks, len(own_feet)), np.float32)
    _native.das_receive(geometry, heads, paces, None)
    return Heard(geometry, heads, paces)


def last_point(block_points: int) -> float:
    """From the middle of a block to its last point, in points."""
    return (block_points - 1) / 2


def _distinct(values: FloatArray) -> tuple[FloatArray, NDArray[np.int32]]:
    """The values that differ by more than rounding, and which of them each one is."""
    distinct, inverse = np.unique(np.round(values, 12), return_inverse=True)
    return distinct, np.ascontiguousarray(inverse.reshape(-1), dtype=np.int32)


def _per_half(aperture: Aperture, heights: FloatArray) -> NDArray[np.float32]:
    """1 / half aperture at those distances from the foot."""
    half = np.maximum(heights * aperture.per_half, aperture.least_half_m)
    return np.ascontiguousarray(1 / np.maximum(half, SMALLEST_HALF_M), dtype=np.float32)
