"""The conventions of the PLUS toolkit: orientation letters, and `ImageToProbe` in millimetres.

PLUS names an image's orientation by two letters, for its column axis and its row axis; each is the side that the axis
increases towards: M marked, U unmarked, F far from the face, N near. sonod publishes UF: the first column is at the
marked side. PLUS keeps B-mode images as MF, so a matrix that PLUS made is for an image whose columns run the other way.
"""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from sonod.client.conventions.matrices import as_array, as_matrix, in_metres, in_millimetres, product
from sonod.client.wire.geometry import ORIENTATIONS, ImageGeometry, Matrix

PLUS_ORIENTATION = "MF"


def turned(pixels: NDArray[Any], letters: str, wanted: str) -> NDArray[Any]:
    """A view of pixels (row, column, ...) of one orientation in another; ValueError for letters that are none."""
    for given in (letters, wanted):
        _check(given)
    if letters[0] != wanted[0]:
        pixels = pixels[:, ::-1]
    if letters[1] != wanted[1]:
        pixels = pixels[::-1]
    return pixels


def pixel_change(geometry: ImageGeometry, wanted: str) -> Matrix:
    """(column, row, 0, 1) of the geometry's picture to (column, row, 0, 1) of the same picture turned."""
    _check(wanted)
    rows, columns = geometry.shape
    change = np.eye(4)
    if geometry.orientation_letters[0] != wanted[0]:
        change[0, 0], change[0, 3] = -1.0, columns - 1
    if geometry.orientation_letters[1] != wanted[1]:
        change[1, 1], change[1, 3] = -1.0, rows - 1
    return as_matrix(change)


def image_to_probe_mm(
    geometry: ImageGeometry, image_to_probe: Matrix | None = None, letters: str = PLUS_ORIENTATION
) -> Matrix:
    """`ImageToProbe` as PLUS stores it: (column, row, 0, 1) of the image in `letters` to millimetres.

    `image_to_probe` gives metres for the geometry's own picture; without it the probe's frame is the transducer's. The
    third axis is at right angles to the first two and as long as their mean, since a plane has none of its own.
    """
    matrix = geometry.image_to_transducer if image_to_probe is None else image_to_probe
    back = np.linalg.inv(as_array(pixel_change(geometry, letters)))
    array = as_array(in_millimetres(as_matrix(as_array(matrix) @ back)))
    normal = np.cross(array[:3, 0], array[:3, 1])
    length = (np.linalg.norm(array[:3, 0]) + np.linalg.norm(array[:3, 1])) / 2
    array[:3, 2] = normal / np.linalg.norm(normal) * length
    return as_matrix(array + 0.0)


def image_to_probe_m(geometry: ImageGeometry, matrix_mm: Matrix, letters: str = PLUS_ORIENTATION) -> Matrix:
    """The other way round: a matrix that PLUS made for this picture in `letters`, in metres for the picture as
    published."""
    return product(in_metres(matrix_mm), pixel_change(geometry, letters))


def transform_element(matrix_mm: Matrix, source: str = "Image", target: str = "Probe") -> str:
    """The `Transform` element of a PLUS configuration's `CoordinateDefinitions`."""
    numbers = "  ".join(" ".join(f"{number:.10g}" for number in row) for row in matrix_mm)
    return f"<Transform From={quoteattr(source)} To={quoteattr(target)} Matrix={quoteattr(numbers)} />"


def _check(letters: str) -> None:
    if letters not in ORIENTATIONS:
        raise ValueError(f"orientation: must be one of {', '.join(ORIENTATIONS)}; got {letters!r}")
