"""4 x 4 matrices of transform chains: rows first, for column vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonod.client.wire.geometry import Matrix, Vector

MILLIMETRES_PER_METRE = 1000.0


def as_array(matrix: Matrix) -> NDArray[np.float64]:
    """(4, 4)"""
    return np.array(matrix, dtype=np.float64)


def as_matrix(array: NDArray[np.float64]) -> Matrix:
    """The tuple form of a (4, 4) array."""
    first, second, third, last = (
        (float(a), float(b), float(c), float(d)) for a, b, c, d in np.asarray(array, dtype=np.float64).reshape(4, 4)
    )
    return first, second, third, last


def product(*matrices: Matrix) -> Matrix:
    """The matrices applied from the last to the first."""
    result = np.eye(4)
    for matrix in matrices:
        result = result @ as_array(matrix)
    return as_matrix(result)


def inverse(matrix: Matrix) -> Matrix:
    """The other direction; numpy.linalg.LinAlgError when there is none."""
    return as_matrix(np.asarray(np.linalg.inv(as_array(matrix)), dtype=np.float64))


def applied(matrix: Matrix, point: Vector) -> Vector:
    """A point transformed."""
    x, y, z, _ = (as_array(matrix) @ np.array([*point, 1.0])).tolist()
    return x, y, z


def in_millimetres(matrix: Matrix) -> Matrix:
    """A matrix that gives metres as one that gives millimetres, from the same coordinates."""
    array = as_array(matrix)
    array[:3] *= MILLIMETRES_PER_METRE
    return as_matrix(array)


def in_metres(matrix: Matrix) -> Matrix:
    """The other way round."""
    array = as_array(matrix)
    array[:3] /= MILLIMETRES_PER_METRE
    return as_matrix(array)
