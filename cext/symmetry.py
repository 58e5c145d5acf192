"""Lines that are alike but for a shift along a regular array, side by side or radial on an arc, or for a reflection."""

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
# Classes of lines that are only mirror images of each other, of all lines, at most.
MOST_CLASSES_WHEN_REFLECTED = 0.75
# The kernel holds numbers of elements in 16 bits.
MOST_ELEMENTS = 32767


@dataclass(frozen=True, eq=False)
class LineClasses:
    """Lines by class: element e of a class is element e + shift of the array, from its other end where mirrored.

    `origins_m`, `directions (classes, 3)`; `element_positions_m`, `element_normals (elements, 3)` of an array that goes
    on to both sides as far as the lines need; `class_of`, `shift`, `mirrored (lines,)`; an `example` of each class.
    """

    origins_m: FloatArray
    directions: FloatArray
    element_positions_m: FloatArray
    element_normals: FloatArray
    class_of: NDArray[np.int32]
    shift: NDArray[np.int32]
    mirrored: NDArray[np.uint8]
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
        if found is None:
            found = _reflected(origins_m, directions, feet_m, elements_m, normals)
    if found is not None:
        return found
    lines = np.arange(len(origins_m))
    zero = np.zeros(len(lines), np.int32)
    return LineClasses(
        origins_m, directions, elements_m, normals, lines.astype(np.int32), zero, zero.astype(np.uint8), lines
    )


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
    offset = origins - elements[0]
    place = offset @ pitch / length**2
    across = offset - place[:, None] * pitch
    if np.abs(across - across[0]).max() > SAME_M:
        return None
    upright = abs(directions[0] @ pitch) < SAME_DIRECTION * length and abs(normals[0] @ pitch) < SAME_DIRECTION * length
    groups = _grouped(place, feet, len(elements), reflected=upright)
    if groups is None:
        return None
    more = (groups.first + np.arange(groups.count))[:, None]
    return groups.classes(
        elements[0] + across[0] + groups.places[:, None] * pitch,
        np.tile(directions[0], (len(groups.places), 1)),
        elements[0] + more * pitch,
        np.tile(normals[0], (groups.count, 1)),
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
    heading += 2 * np.pi * np.round((angles.mean() - heading.mean()) / (2 * np.pi))
    own = _turned(origins - centre, -heading)
    if np.abs(own - own[0]).max() > SAME_M:
        return None
    groups = _grouped((heading - angles[0]) / pitch, feet, len(elements), reflected=abs(own[0, 0]) < SAME_M)
    if groups is None:
        return None
    turned_by = angles[0] + groups.places * pitch
    more = angles[0] + (groups.first + np.arange(groups.count)) * pitch
    radial = np.stack([np.sin(more), np.zeros(groups.count), np.cos(more)], axis=1)
    ahead = np.tile([0.0, 0.0, 1.0], (len(turned_by), 1))
    return groups.classes(
        centre + _turned(np.tile(own[0], (len(turned_by), 1)), turned_by),
        _turned(ahead, turned_by),
        centre + radius * radial,
        radial,
    )


def _reflected(
    origins: FloatArray, directions: FloatArray, feet: FloatArray, elements: FloatArray, normals: FloatArray
) -> LineClasses | None:
    """Lines that are each other's mirror images in the plane between the two halves of the array."""
    across = elements[-1] - elements[0]
    length = float(np.linalg.norm(across))
    if length < SAME_M:
        return None
    across, middle = across / length, (elements[-1] + elements[0]) / 2

    def image(vectors: FloatArray) -> FloatArray:
        return np.asarray(vectors - 2 * (vectors @ across)[:, None] * across)

    if np.abs(image(elements - middle) - (elements - middle)[::-1]).max() > SAME_M:
        return None
    if np.abs(image(normals) - normals[::-1]).max() > SAME_DIRECTION:
        return None
    own = np.column_stack([(origins - middle) / SAME_M, directions / SAME_DIRECTION, feet / SAME_M])
    seen = np.column_stack([image(origins - middle) / SAME_M, image(directions) / SAME_DIRECTION, feet / SAME_M])
    # Lines and images that rounding parts stay classes of their own.
    lines, images = (np.round(marks / 4).astype(np.int64) for marks in (own, seen))
    where = {key.tobytes(): line for line, key in enumerate(lines)}
    partner = [where.get(key.tobytes(), line) for line, key in enumerate(images)]
    first = np.minimum(np.arange(len(origins)), partner)
    example, class_of = np.unique(first, return_inverse=True)
    if len(example) > MOST_CLASSES_WHEN_REFLECTED * len(origins):
        return None
    mirrored = (first != np.arange(len(origins))).astype(np.uint8)
    zero = np.zeros(len(origins), np.int32)
    return LineClasses(
        origins[example], directions[example], elements, normals, class_of.astype(np.int32), zero, mirrored, example
    )


@dataclass(frozen=True, eq=False)
class _Groups:
    """Lines by where they lie between two elements; `places (classes,)` in pitches from the array's first element."""

    places: FloatArray
    class_of: NDArray[np.int32]
    shift: NDArray[np.int64]
    mirrored: NDArray[np.uint8]
    example: NDArray[np.intp]
    first: int
    count: int

    def classes(
        self, origins: FloatArray, directions: FloatArray, elements: FloatArray, normals: FloatArray
    ) -> LineClasses:
        return LineClasses(
            np.ascontiguousarray(origins),
            np.ascontiguousarray(directions),
            np.ascontiguousarray(elements),
            np.ascontiguousarray(normals),
            self.class_of,
            np.asarray(self.shift + self.first, dtype=np.int32),
            self.mirrored,
            self.example,
        )


def _grouped(place: FloatArray, feet: FloatArray, elements: int, *, reflected: bool) -> _Groups | None:
    """Lines at `place`, in pitches from the first element, that lie alike between two elements and leave alike."""
    # Lines on one side all count from one end: neighbours then read the same channels one after the other.
    mirrored = (place > (elements - 1) / 2 + SAME_SHARE) & reflected
    own = np.where(mirrored, elements - 1 - place, place)
    whole = np.floor(own + SAME_SHARE).astype(np.int64)
    # Neighbouring numbers may be one class that rounding parts; then there are a few more classes than needed.
    marks = np.stack([np.round((own - whole) / SAME_SHARE), np.round(feet / SAME_M)], axis=1).astype(np.int64)
    _, example, class_of = np.unique(marks, axis=0, return_index=True, return_inverse=True)
    first = -int(whole.max())
    count = elements + int(whole.max() - whole.min())
    if len(example) * LEAST_LINES_PER_CLASS > len(place) or count > MOST_ELEMENTS:
        return None
    return _Groups(
        own[example] - whole[example],
        class_of.reshape(-1).astype(np.int32),
        whole,
        mirrored.astype(np.uint8),
        example,
        first,
        count,
    )


def _turned(vectors: FloatArray, angles: FloatArray) -> FloatArray:
    """`vectors (n, 3)` turned by `angles (n,)` about y, from z towards x."""
    sine, cosine = np.sin(angles), np.cos(angles)
    x, z = vectors[:, 0], vectors[:, 2]
    return np.stack([x * cosine + z * sine, vectors[:, 1], z * cosine - x * sine], axis=1)
