"""Lines that are alike but for a shift along a regular array: beside each other, or radial ones of an arc."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonod.cext.arrays import FloatArray

# Positions that differ by less than this are the same.
SAME_M = 1e-9
# Directions likewise.
SAME_DIRECTION = 1e-10
# Shifts that differ by less than this share of the pitch are the same.
SAME_SHARE = 1e-5
# Lines must share their class with so many others on average, or nothing is gained.
LEAST_LINES_PER_CLASS = 2
# The kernel holds numbers of elements in 16 bits.
MOST_ELEMENTS = 32767


@dataclass(frozen=True, eq=False)
class LineClasses:
    """Lines by class: element e of a class is element e + shift of the array, for each of its lines.

    `origins_m`, `directions (classes, 3)`; `element_positions_m`, `element_normals (elements, 3)` of an array that goes
    on to both sides as far as the lines need; `class_of`, `shift (lines,)`.
    """

    origins_m: FloatArray
    directions: FloatArray
    element_positions_m: FloatArray
    element_normals: FloatArray
    class_of: NDArray[np.int32]
    shift: NDArray[np.int32]
    example: NDArray[np.intp]


def line_classes(
    origins_m: FloatArray,
    directions: FloatArray,
    feet_m: FloatArray,
    elements_m: FloatArray,
    normals: FloatArray,
    *,
    alike: bool,
) -> LineClasses:
    """Classes of the lines; each line is one of its own when nothing repeats, or `alike` is false.

    Lines of a class leave the array at the same distance, `feet_m (lines,)`.
    """
    found = None
    if alike and len(elements_m) > 1 and len(origins_m) > 1:
        found = _straight(origins_m, directions, feet_m, elements_m, normals)
        if found is None:
            found = _round(origins_m, directions, feet_m, elements_m, normals)
    if found is not None:
        return found
    lines = np.arange(len(origins_m))
    zero = np.zeros(len(lines), np.int32)
    return LineClasses(origins_m, directions, elements_m, normals, lines.astype(np.int32), zero, lines)


def _straight(
    origins: FloatArray, directions: FloatArray, feet: FloatArray, elements: FloatArray, normals: FloatArray
) -> LineClasses | None:
    pitch = (elements[-1] - elements[0]) / (len(elements) - 1)
    length = float(np.linalg.norm(pitch))
    regular = elements[0] + np.arange(len(elements))[:, None] * pitch
    if length < SAME_M or np.abs(elements - regular).max() > SAME_M:
        return None
    if np.abs(normals - normals[0]).max() > SAME_DIRECTION or np.abs(directions - directions[0]).max() > SAME_DIRECTION:
        return None
    offset = origins - origins[0]
    place = offset @ pitch / length**2
    if np.abs(offset - place[:, None] * pitch).max() > SAME_M:
        return None
    groups = _groups(place, feet, len(elements))
    if groups is None:
        return None
    class_of, whole, example, first, count = groups
    more = (first + np.arange(count))[:, None]
    return LineClasses(
        np.ascontiguousarray(origins[example] - whole[example, None] * pitch),
        np.ascontiguousarray(directions[example]),
        np.ascontiguousarray(elements[0] + more * pitch),
        np.tile(normals[0], (count, 1)),
        class_of,
        np.asarray(whole + first, dtype=np.int32),
        example,
    )


def _round(
    origins: FloatArray, directions: FloatArray, feet: FloatArray, elements: FloatArray, normals: FloatArray
) -> LineClasses | None:
    angles = np.unwrap(np.arctan2(normals[:, 0], normals[:, 2]))
    pitch = (angles[-1] - angles[0]) / (len(angles) - 1)
    if np.abs(normals[:, 1]).max() > SAME_DIRECTION or np.abs(directions[:, 1]).max() > SAME_DIRECTION:
        return None
    if abs(pitch) < 1e-6 or np.abs(angles - angles[0] - np.arange(len(angles)) * pitch).max() > SAME_SHARE * abs(pitch):
        return None
    # Centre: where the normals of the ends meet.
    between = elements[-1] - elements[0]
    turned = normals[-1] - normals[0]
    radius = float(between @ turned / (turned @ turned))
    centre = elements[0] - radius * normals[0]
    if np.abs(elements - centre - radius * normals).max() > SAME_M:
        return None
    heading = np.unwrap(np.arctan2(directions[:, 0], directions[:, 2]))
    if np.abs(_turned(origins - centre, -heading) - _turned(origins[:1] - centre, -heading[:1])).max() > SAME_M:
        return None
    place = (heading - heading[0]) / pitch
    groups = _groups(place, feet, len(elements))
    if groups is None:
        return None
    class_of, whole, example, first, count = groups
    back = -whole[example] * pitch
    more = angles[0] + (first + np.arange(count)) * pitch
    radial = np.stack([np.sin(more), np.zeros(count), np.cos(more)], axis=1)
    return LineClasses(
        np.ascontiguousarray(centre + _turned(origins[example] - centre, back)),
        np.ascontiguousarray(_turned(directions[example], back)),
        np.ascontiguousarray(centre + radius * radial),
        radial,
        class_of,
        np.asarray(whole + first, dtype=np.int32),
        example,
    )


def _groups(
    place: FloatArray, feet: FloatArray, elements: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.intp], int, int] | None:
    """Class and whole shift of each line, an example of each class, first number and count of the longer array."""
    whole = np.floor(place + SAME_SHARE).astype(np.int64)
    # Neighbouring numbers may be one class that rounding parts; then there are a few more classes than needed.
    marks = np.stack([np.round((place - whole) / SAME_SHARE), np.round(feet / SAME_M)], axis=1).astype(np.int64)
    _, example, class_of = np.unique(marks, axis=0, return_index=True, return_inverse=True)
    first = -int(whole.max())
    count = elements + int(whole.max() - whole.min())
    if len(example) * LEAST_LINES_PER_CLASS > len(place) or count > MOST_ELEMENTS:
        return None
    return class_of.reshape(-1).astype(np.int32), whole, example, first, count


def _turned(vectors: FloatArray, angles: FloatArray) -> FloatArray:
    """`vectors (n, 3)` turned by `angles (n,)` about y, from z towards x."""
    sine, cosine = np.sin(angles), np.cos(angles)
    x, z = vectors[:, 0], vectors[:, 2]
    return np.stack([x * cosine + z * sine, vectors[:, 1], z * cosine - x * sine], axis=1)
