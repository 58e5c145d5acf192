"""The probe: where its elements are and what sound they make."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
# Places and other values of any precision, as an argument.
AnyFloatArray = NDArray[np.floating[Any]]
FLOAT64 = np.dtype(np.float64).str

# Element positions closer than this to a straight line or circle count as lying on it: far below any wavelength in use.
POSITION_TOLERANCE_M = 1e-6


class ArrayKind(StrEnum):
    """How the elements are arranged, which decides the natural beam grid."""

    LINEAR = "linear"
    CURVILINEAR = "curvilinear"
    PHASED = "phased"
    ARBITRARY = "arbitrary"
    SINGLE = "single"


def frozen_array(values: ArrayLike, name: str, shape: tuple[int | None, ...]) -> FloatArray:
    """A read-only float64 copy of `values`, or `values` itself when it is frozen; ValueError when its shape differs."""
    array = values if _is_frozen(values) else np.array(values, dtype=np.float64)
    if array.ndim != len(shape) or any(
        want is not None and want != have for want, have in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name}: shape must be ({wanted}), got {array.shape}")
    array.flags.writeable = False
    return array


def _is_frozen(values: ArrayLike) -> TypeGuard[FloatArray]:
    """Whether nobody can write to the array or to what it is a view of, so that it may be shared."""
    if not isinstance(values, np.ndarray) or values.dtype.str != FLOAT64 or values.flags.writeable:
        return False
    flags = getattr(values.base, "flags", None)
    return values.base is None or (flags is not None and not flags.writeable)


@dataclass(frozen=True, eq=False)
class Probe:
    """Transducer and front-end.

    `element_positions_m (elements, 3)` and `element_normals (elements, 3)` are in transducer coordinates: x lateral,
    y elevation, z depth, origin at the centre of the array face. A curvilinear array has its apex at z = -radius_m.
    """

    name: str
    kind: ArrayKind
    element_positions_m: FloatArray
    center_frequency_hz: float
    fractional_bandwidth: float = 0.6
    element_width_m: float = 0.0
    element_height_m: float = 0.0
    elevation_focus_m: float = math.inf
    radius_m: float = 0.0
    # Rows of length 1; without any, they follow from the kind.
    element_normals: FloatArray = field(default_factory=lambda: np.empty((0, 3)))

    def __post_init__(self) -> None:
        positions = frozen_array(self.element_positions_m, "probe.element_positions_m", (None, 3))
        if len(positions) == 0 or not np.isfinite(positions).all():
            raise ValueError("probe.element_positions_m: needs at least one element, all coordinates finite")
        object.__setattr__(self, "element_positions_m", positions)
        if len(self.element_normals) == 0:
            normals = np.zeros_like(positions)
            if self.kind is ArrayKind.CURVILINEAR:
                normals[:] = positions - np.array([0.0, 0.0, -self.radius_m])
                normals[:, 1] = 0.0
                normals /= np.linalg.norm(normals, axis=1, keepdims=True)
            else:
                normals[:, 2] = 1.0
        else:
            normals = np.asarray(self.element_normals)
        object.__setattr__(self, "element_normals", frozen_array(normals, "probe.element_normals", positions.shape))
        if not (self.center_frequency_hz > 0 or math.isnan(self.center_frequency_hz)):
            raise ValueError(f"probe.center_frequency_hz: must be > 0 or NaN (unknown), got {self.center_frequency_hz}")
        if not 0 < self.fractional_bandwidth <= 2:
            raise ValueError(f"probe.fractional_bandwidth: must be in 0..2, got {self.fractional_bandwidth}")
        for name in ("element_width_m", "element_height_m", "radius_m"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"probe.{name}: must be >= 0, got {getattr(self, name)}")
        if not self.elevation_focus_m > 0:
            raise ValueError(f"probe.elevation_focus_m: must be > 0, got {self.elevation_focus_m}")
        if self.kind is ArrayKind.CURVILINEAR and self.radius_m <= 0:
            raise ValueError("probe.radius_m: a curvilinear probe needs a radius > 0")

    @property
    def element_count(self) -> int:
        return len(self.element_positions_m)

    @property
    def aperture_m(self) -> float:
        """Extent of the element centres plus one element, along x (0 for one point-like element)."""
        x = self.element_positions_m[:, 0]
        return float(np.ptp(x)) + self.pitch_m

    @property
    def pitch_m(self) -> float:
        """Median distance between neighbouring elements; the element width for a single element."""
        if self.element_count < 2:
            return self.element_width_m
        steps = np.linalg.norm(np.diff(self.element_positions_m, axis=0), axis=1)
        return float(np.median(steps))

    @classmethod
    def linear(
        cls,
        name: str,
        elements: int,
        pitch_m: float,
        center_frequency_hz: float,
        *,
        fractional_bandwidth: float = 0.6,
        element_width_m: float | None = None,
        element_height_m: float = 0.0,
        elevation_focus_m: float = math.inf,
        phased: bool = False,
    ) -> Probe:
        """A flat, regular array along x; `phased` only changes the natural beam grid to a sector."""
        if elements < 1 or not pitch_m > 0:
            raise ValueError(f"probe: needs elements >= 1 and pitch_m > 0, got {elements} and {pitch_m}")
        positions = np.zeros((elements, 3))
        positions[:, 0] = (np.arange(elements) - (elements - 1) / 2) * pitch_m
        return cls(
            name,
            ArrayKind.PHASED if phased else ArrayKind.LINEAR,
            positions,
            center_frequency_hz,
            fractional_bandwidth,
            pitch_m * 0.9 if element_width_m is None else element_width_m,
            element_height_m,
            elevation_focus_m,
        )

    @classmethod
    def curvilinear(
        cls,
        name: str,
        elements: int,
        pitch_m: float,
        radius_m: float,
        center_frequency_hz: float,
        *,
        fractional_bandwidth: float = 0.6,
        element_width_m: float | None = None,
        element_height_m: float = 0.0,
        elevation_focus_m: float = math.inf,
    ) -> Probe:
        """A convex, regular array; `pitch_m` is measured along the arc."""
        if elements < 1 or not pitch_m > 0 or not radius_m > 0:
            raise ValueError(
                f"probe: needs elements >= 1, pitch_m > 0 and radius_m > 0, got {elements}, {pitch_m} and {radius_m}"
            )
        angles = (np.arange(elements) - (elements - 1) / 2) * pitch_m / radius_m
        positions = np.zeros((elements, 3))
        positions[:, 0] = radius_m * np.sin(angles)
        positions[:, 2] = radius_m * (np.cos(angles) - 1)
        return cls(
            name,
            ArrayKind.CURVILINEAR,
            positions,
            center_frequency_hz,
            fractional_bandwidth,
            pitch_m * 0.9 if element_width_m is None else element_width_m,
            element_height_m,
            elevation_focus_m,
            radius_m,
        )

    @classmethod
    def from_positions(
        cls,
        name: str,
        positions_m: ArrayLike,
        center_frequency_hz: float,
        *,
        fractional_bandwidth: float = 0.6,
        element_width_m: float = 0.0,
    ) -> Probe:
        """A probe of unstated kind: recognised as single, linear or curvilinear from its positions, else arbitrary."""
        positions = frozen_array(positions_m, "element_positions_m", (None, 3))
        kind, radius = _recognise(positions)
        return cls(name, kind, positions, center_frequency_hz, fractional_bandwidth, element_width_m, radius_m=radius)


def _recognise(positions: FloatArray) -> tuple[ArrayKind, float]:
    """Kind and radius of an array in the x-z plane whose face centre is the origin."""
    if len(positions) == 1:
        return ArrayKind.SINGLE, 0.0
    x, y, z = positions.T
    if np.ptp(y) > POSITION_TOLERANCE_M:
        return ArrayKind.ARBITRARY, 0.0
    if np.ptp(z) <= POSITION_TOLERANCE_M:
        return ArrayKind.LINEAR, 0.0
    # Circle x^2 + (z + R)^2 = R^2 through the origin: x^2 + z^2 = -2 R z.
    radius = -float(np.sum((x**2 + z**2) * z) / (2 * np.sum(z**2)))
    if radius > 0 and np.abs(np.hypot(x, z + radius) - radius).max() <= 10 * POSITION_TOLERANCE_M:
        return ArrayKind.CURVILINEAR, radius
    return ArrayKind.ARBITRARY, 0.0
