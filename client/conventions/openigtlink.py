"""Where an image lies, as an OpenIGTLink IMAGE message says it: vectors between pixels and the place of the centre.

Millimetres; i counts columns, j rows. The message names the centre of the image, which for an even count lies between
two pixels. `RAS` sends coordinates as they are; `LPS` turns the first two axes, as that letter code asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonod.client.conventions.matrices import MILLIMETRES_PER_METRE, as_array
from sonod.client.wire.geometry import ImageGeometry, Matrix, Vector

RAS, LPS = "RAS", "LPS"
COORDINATES = (RAS, LPS)
# An image of one plane has no thickness of its own.
SLICE_MM = 1.0


@dataclass(frozen=True)
class Placement:
    """`size` (columns, rows, slices); `i_mm`, `j_mm`, `k_mm` from one pixel to the next along each axis (so their
    lengths are the spacing); `centre_mm` of the whole image. All in `coordinates`."""

    size: tuple[int, int, int]
    i_mm: Vector
    j_mm: Vector
    k_mm: Vector
    centre_mm: Vector
    coordinates: str

    @property
    def spacing_mm(self) -> Vector:
        i, j, k = (float(np.linalg.norm(vector)) for vector in (self.i_mm, self.j_mm, self.k_mm))
        return i, j, k

    @property
    def first_pixel_mm(self) -> Vector:
        """The centre of the first pixel: what most image formats call the origin."""
        columns, rows, _ = self.size
        first = np.array(self.centre_mm)
        first -= (columns - 1) / 2 * np.array(self.i_mm) + (rows - 1) / 2 * np.array(self.j_mm)
        return _vector(first)


def placement(geometry: ImageGeometry, image_to_target: Matrix | None = None, coordinates: str = RAS) -> Placement:
    """The placement in transducer coordinates, or in those of a calibration's matrix (pixels to metres).

    ValueError for coordinates other than RAS and LPS.
    """
    if coordinates not in COORDINATES:
        raise ValueError(f"coordinates: must be RAS or LPS; got {coordinates!r}")
    rows, columns = geometry.shape
    matrix = as_array(geometry.image_to_transducer if image_to_target is None else image_to_target)
    matrix[:3] *= MILLIMETRES_PER_METRE
    if coordinates == LPS:
        matrix[:2] *= -1
    i, j = matrix[:3, 0], matrix[:3, 1]
    # Right-handed, whatever the picture's orientation.
    normal = np.cross(i, j)
    k = normal / np.linalg.norm(normal) * SLICE_MM
    centre = matrix @ np.array([(columns - 1) / 2, (rows - 1) / 2, 0.0, 1.0])
    return Placement((columns, rows, 1), _vector(i), _vector(j), _vector(k), _vector(centre[:3]), coordinates)


def _vector(array: NDArray[np.float64]) -> Vector:
    # Without the negative zeros that signs leave behind.
    x, y, z = (float(value) + 0.0 for value in array)
    return x, y, z
