"""Checks that the faces of the operators share: shapes, dtypes, outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

FloatArray = NDArray[np.float64]

# Types of raw samples and their numbers in kernels.h.
SAMPLE_TYPES: dict[np.dtype[Any], int] = {
    np.dtype(np.int16): 0,
    np.dtype(np.uint16): 1,
    np.dtype(np.uint8): 2,
    np.dtype(np.int32): 3,
    np.dtype(np.float32): 4,
}


def sample_type(dtype: DTypeLike) -> int:
    """The kernel's number of a raw sample type; ValueError for any other."""
    own = np.dtype(dtype)
    if own not in SAMPLE_TYPES:
        names = ", ".join(str(known) for known in SAMPLE_TYPES)
        raise ValueError(f"dtype: must be one of {names}, got {own}")
    return SAMPLE_TYPES[own]


def checked_shape(shape: Sequence[int], axes: str) -> tuple[int, ...]:
    """`shape` as a tuple of as many lengths >= 1 as `axes` names."""
    own = tuple(int(length) for length in shape)
    if len(own) != len(axes.split(",")) or min(own) < 1:
        raise ValueError(f"shape: must be ({axes}), every length >= 1, got {tuple(shape)}")
    return own


def positive(value: float, name: str) -> float:
    """`value` as a float; ValueError unless it is finite and > 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: must be finite and > 0, got {value}")
    return float(value)


def finite(value: ArrayLike, name: str, shape: tuple[int | None, ...]) -> FloatArray:
    """`value` as a C-ordered float64 array of `shape` (None: any length); ValueError when it is not finite."""
    array = np.ascontiguousarray(value, dtype=np.float64)
    if array.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name}: must have shape ({wanted}), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: must be finite")
    return array


def checked_input(array: NDArray[Any], shape: tuple[int, ...], dtype: DTypeLike, name: str) -> NDArray[Any]:
    """`array` in C order; ValueError for another shape or dtype."""
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name}: must be {np.dtype(dtype)} of shape {shape}, got {array.dtype} of {array.shape}")
    return np.ascontiguousarray(array)


Scalar = TypeVar("Scalar", bound=np.generic)


class OutputBuffer(Generic[Scalar]):
    """Where a kernel writes: the caller's array, or one of our own that the next run overwrites."""

    def __init__(self, shape: tuple[int, ...], dtype: type[Scalar]) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._own: NDArray[Scalar] | None = None

    def take(self, out: NDArray[Scalar] | None) -> NDArray[Scalar]:
        """`out` when it fits, our own array when it is None; ValueError otherwise."""
        if out is None:
            if self._own is None:
                self._own = np.zeros(self.shape, self.dtype)
            return self._own
        if out.shape != self.shape or out.dtype != self.dtype:
            raise ValueError(f"out: must be {self.dtype} of shape {self.shape}, got {out.dtype} of {out.shape}")
        if not (out.flags.c_contiguous and out.flags.writeable):
            raise ValueError("out: must be C-ordered and writeable")
        return out


def as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The memory of a C-ordered array as bytes."""
    return array.reshape(-1).view(np.uint8)


def gain_table(gain: ArrayLike | None, transmits: int, samples: int, scale: float) -> NDArray[np.float32]:
    """`scale` times `gain`, (1, samples) or (transmits, samples)."""
    if not math.isfinite(scale) or scale == 0:
        raise ValueError(f"sample_scale: must be finite and not 0, got {scale}")
    if gain is None:
        return np.full((1, samples), scale, np.float32)
    own = np.asarray(gain, dtype=np.float64)
    if own.shape not in ((samples,), (transmits, samples)):
        raise ValueError(f"time_gain: must be ({samples},) or ({transmits}, {samples}), got {own.shape}")
    if not np.isfinite(own).all():
        raise ValueError("time_gain: must be finite")
    return np.ascontiguousarray(np.atleast_2d(own) * scale, dtype=np.float32)
