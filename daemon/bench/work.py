"""The works by which beamformers are compared: an array, its transmissions, a grid and channel data, made in numbers.

`common` is the usual one: 128 elements of 0.3 mm, 5 MHz, baseband at 20 MS/s, 1536 samples, 384 x 607 points from 5 to
50 mm, f-number 1.75, rectangular window. An active point is one point x element x transmission inside the f-number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext.aperture import Aperture

FloatArray = NDArray[np.float64]
AnyFloat = NDArray[np.floating[Any]]

SOUND_SPEED_M_S = 1540.0
LARGEST_ANGLE_RAD = np.radians(8)
# Points whose echoes fill the traces, and the relative bandwidth of their pulse.
POINTS, PULSE_BANDWIDTH = 300, 0.5


@dataclass(frozen=True, eq=False)
class Work:
    """One beamforming task. Points lie on lines, point j of line i at origins + directions * (first + j * spacing).

    `arrivals_m (transmissions, 3)` describes the waves: the angle of a plane wave in x with z = inf, or the source of a
    spherical one. `demodulation_hz` is 0 for RF. `data (transmissions, elements, samples)`.
    """

    name: str
    elements_m: FloatArray
    normals: FloatArray
    origins_m: FloatArray
    directions: FloatArray
    first_m: float
    spacing_m: float
    count: int
    sampling_hz: float
    center_hz: float
    samples: int
    f_number: float
    waves: FloatArray
    data: NDArray[np.complex64] | NDArray[np.float32]
    single_points: bool = False
    """Beamformed as points that might lie anywhere, not as lines."""

    @property
    def transmits(self) -> int:
        return len(self.waves)

    @property
    def is_rf(self) -> bool:
        return self.data.dtype == np.float32

    @property
    def linear_plane(self) -> bool:
        """Whether it is a linear array on straight columns with plane waves, which every beamformer knows."""
        return bool(
            np.isinf(self.waves[:, 2]).all()
            and (self.elements_m[:, 2] == 0).all()
            and (self.directions[:, 2] == 1).all()
        )

    @cached_property
    def points_m(self) -> FloatArray:
        """(lines, points, 3)"""
        distances = self.first_m + np.arange(self.count) * self.spacing_m
        return np.asarray(self.origins_m[:, None] + self.directions[:, None] * distances[None, :, None])

    @cached_property
    def aperture(self) -> Aperture:
        return Aperture(
            self.elements_m,
            self.normals,
            f_number=self.f_number,
            apodization="rectangular",
            origins_m=self.origins_m,
            directions=self.directions,
            first_m=self.first_m,
            spacing_m=self.spacing_m,
            count=self.count,
        )

    @cached_property
    def half_apertures_m(self) -> FloatArray:
        """(lines, points)"""
        heights = self.first_m + np.arange(self.count) * self.spacing_m - self.aperture.feet_m[:, None]
        return np.asarray(np.maximum(heights * self.aperture.per_half, self.aperture.least_half_m))

    def arrival_s(self, transmit: int, points_m: FloatArray) -> FloatArray:
        """When a transmission reaches points (..., 3)."""
        return arrival_s(self.waves[transmit], points_m)

    @cached_property
    def active_points(self) -> int:
        lateral = np.sort(self.aperture.lateral_of_lines(), axis=1)
        inside = [
            np.searchsorted(own, half, side="right") for own, half in zip(lateral, self.half_apertures_m, strict=True)
        ]
        return self.transmits * int(np.sum(inside))

    def part(self, transmits: int) -> Work:
        """The same with only the first so many transmissions."""
        return replace(self, waves=self.waves[:transmits], data=self.data[:transmits])


def arrival_s(wave: FloatArray, points_m: FloatArray) -> FloatArray:
    """Arrival of one wave as `Work.waves` describes it."""
    if np.isinf(wave[2]):
        along = np.cos(wave[0]) * points_m[..., 2] + np.sin(wave[0]) * points_m[..., 0]
        return np.asarray(along / SOUND_SPEED_M_S)
    return np.asarray((np.linalg.norm(points_m - wave, axis=-1) - np.linalg.norm(wave)) / SOUND_SPEED_M_S)


def common(transmits: int = 1, elements: int = 128, lines: int = 384, points: int = 607) -> Work:
    """The common work with so many plane waves over +-8 degrees; other numbers fill the same array and field."""
    positions, normals = _flat(elements, 38.4e-3 / elements)
    origins, directions = _columns(np.linspace(-19.05e-3, 19.05e-3, lines))
    name = f"common-{transmits}" if transmits > 1 else "common"
    return _filled(
        name, positions, normals, origins, directions, (5e-3, 50e-3, points), 20e6, 5e6, 1536, 1.75, _plane(transmits)
    )


def rf() -> Work:
    """RF at 31.25 MS/s, 7.6 MHz, on the grid of the common work."""
    elements, normals = _flat(128, 0.3e-3)
    origins, directions = _columns(np.linspace(-19.05e-3, 19.05e-3, 384))
    return _filled(
        "rf", elements, normals, origins, directions, (5e-3, 50e-3, 607), 31.25e6, 7.6e6, 2400, 1.75, _plane(1), rf=True
    )


def curvilinear() -> Work:
    """128 elements of 0.5 mm on a radius of 60 mm, 3.5 MHz, one diverging wave, 192 radial lines of 600 points."""
    radius, angles = 60e-3, (np.arange(128) - 63.5) * (0.5 / 60)
    normals = _fan(angles)
    apex = np.array([0.0, 0.0, -radius])
    directions = _fan(np.linspace(angles[0], angles[-1], 192))
    return _filled(
        "curvilinear-192", apex + radius * normals, normals, apex + radius * directions, directions,
        (8e-3, 128e-3, 600), 12.5e6, 3.5e6, 2304, 1.75, apex[None],
    )  # fmt: skip


def phased() -> Work:
    """64 elements of 0.3 mm, 2.5 MHz, one diverging wave, 128 lines over +-45 degrees of 600 points."""
    elements, normals = _flat(64, 0.3e-3)
    directions = _fan(np.linspace(-np.pi / 4, np.pi / 4, 128))
    return _filled(
        "phased-128", elements, normals, np.zeros((128, 3)), directions,
        (8e-3, 128e-3, 600), 10e6, 2.5e6, 1792, 1.0, np.array([[0.0, 0.0, -15e-3]]),
    )  # fmt: skip


def synthetic() -> Work:
    """64 x 64 synthetic aperture: every element fires once, all receive; 192 x 512 points."""
    elements, normals = _flat(64, 0.3e-3)
    origins, directions = _columns((np.arange(192) - 95.5) * 0.1e-3)
    return _filled(
        "synthetic-64", elements, normals, origins, directions, (5e-3, 45e-3, 512), 20e6, 5e6, 1408, 1.75, elements
    )


WORKS = {
    "common": common,
    "common-11": lambda: common(11),
    "common-75": lambda: common(75),
    "elements-256": lambda: replace(common(elements=256), name="elements-256"),
    "points-1024": lambda: replace(common(lines=1024, points=1024), name="points-1024"),
    "single-points": lambda: replace(common(), name="single-points", single_points=True),
    "rf": rf,
    "curvilinear-192": curvilinear,
    "phased-128": phased,
    "synthetic-64": synthetic,
}


def _flat(count: int, pitch_m: float) -> tuple[FloatArray, FloatArray]:
    elements = np.zeros((count, 3))
    elements[:, 0] = (np.arange(count) - (count - 1) / 2) * pitch_m
    return elements, np.tile([0.0, 0.0, 1.0], (count, 1))


def _columns(x_m: AnyFloat) -> tuple[FloatArray, FloatArray]:
    origins = np.zeros((len(x_m), 3))
    origins[:, 0] = x_m
    return origins, np.tile([0.0, 0.0, 1.0], (len(x_m), 1))


def _fan(angles_rad: AnyFloat) -> FloatArray:
    return np.stack([np.sin(angles_rad), np.zeros_like(angles_rad), np.cos(angles_rad)], axis=1).astype(np.float64)


def _plane(transmits: int) -> FloatArray:
    waves = np.zeros((transmits, 3))
    waves[:, 0] = np.linspace(-LARGEST_ANGLE_RAD, LARGEST_ANGLE_RAD, transmits) if transmits > 1 else 0.0
    waves[:, 2] = np.inf
    return waves


def _filled(
    name: str,
    elements: FloatArray,
    normals: FloatArray,
    origins: FloatArray,
    directions: FloatArray,
    depths: tuple[float, float, int],
    sampling_hz: float,
    center_hz: float,
    samples: int,
    f_number: float,
    waves: FloatArray,
    *,
    rf: bool = False,
) -> Work:
    """The work with echoes of a few hundred points between its lines, so that pictures can be compared."""
    first, last, count = depths
    rng = np.random.default_rng(1)
    line = rng.integers(0, len(origins), POINTS)
    targets = origins[line] + directions[line] * rng.uniform(first * 1.2, last * 0.96, (POINTS, 1))
    times = np.arange(samples) / sampling_hz
    data = np.zeros((len(waves), len(elements), samples), np.complex64)
    sigma_s = np.sqrt(2 * np.log(2)) / (np.pi * PULSE_BANDWIDTH * center_hz)
    reach = int(4 * sigma_s * sampling_hz)
    rows = np.arange(len(elements))[:, None]
    for index, wave in enumerate(waves):
        for target in targets:
            delay = arrival_s(wave, target) + np.linalg.norm(target - elements, axis=1) / SOUND_SPEED_M_S
            begin = np.clip((delay * sampling_hz).astype(int) - reach, 0, samples - 2 * reach)
            window = begin[:, None] + np.arange(2 * reach)
            offset = times[window] - delay[:, None]
            phase = center_hz * (offset if rf else -delay[:, None])
            data[index, rows, window] += np.exp(-0.5 * (offset / sigma_s) ** 2 + 2j * np.pi * phase).astype(
                np.complex64
            )
    own = np.ascontiguousarray(data.real) if rf else data
    spacing = (last - first) / (count - 1)
    return Work(
        name, elements, normals, origins, directions, first, spacing, count, sampling_hz, center_hz, samples, f_number,
        waves, own,
    )  # fmt: skip
