"""Arrays, grids, transmissions and echoes for the tests of the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SPEED = 1540.0


@dataclass(frozen=True, eq=False)
class Scene:
    """An array and the lines it looks along."""

    elements: FloatArray
    normals: FloatArray
    origins: FloatArray
    directions: FloatArray
    first: float
    spacing: float
    count: int

    @property
    def distances(self) -> FloatArray:
        return self.first + np.arange(self.count) * self.spacing

    @property
    def points(self) -> FloatArray:
        return self.origins[:, None] + self.directions[:, None] * self.distances[None, :, None]

    def lines(self) -> dict[str, Any]:
        return {
            "origins_m": self.origins,
            "directions": self.directions,
            "first_m": self.first,
            "spacing_m": self.spacing,
            "count": self.count,
        }

    def array(self) -> dict[str, Any]:
        return {"element_positions_m": self.elements, "element_normals": self.normals}


def flat(x: FloatArray, pitch: float = 0.0) -> tuple[FloatArray, FloatArray]:
    elements = np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=1)
    return elements, np.tile([0.0, 0.0, 1.0], (len(x), 1))


def fan(angles: FloatArray) -> FloatArray:
    return np.stack([np.sin(angles), np.zeros_like(angles), np.cos(angles)], axis=1)


def centred(count: int, pitch: float) -> FloatArray:
    return np.asarray((np.arange(count) - (count - 1) / 2) * pitch)


def linear(
    elements: int = 32,
    pitch: float = 0.3e-3,
    lines: int = 11,
    *,
    first: float = 1e-3,
    spacing: float = 75e-6,
    count: int = 181,
) -> Scene:
    x, normals = flat(centred(elements, pitch))
    origins = np.zeros((lines, 3))
    origins[:, 0] = centred(lines, 0.51e-3)
    return Scene(x, normals, origins, np.tile([0.0, 0.0, 1.0], (lines, 1)), first, spacing, count)


def steered(angle: float = 0.3) -> Scene:
    scene = linear()
    directions = np.tile(fan(np.array([angle])), (len(scene.origins), 1))
    return Scene(scene.elements, scene.normals, scene.origins, directions, 1e-3, 75e-6, 181)


def curvilinear(elements: int = 32, pitch: float = 0.5e-3, radius: float = 20e-3, lines: int = 11) -> Scene:
    angles = centred(elements, pitch / radius)
    normals = fan(angles)
    apex = np.array([0.0, 0.0, -radius])
    directions = fan(np.linspace(-0.45, 0.45, lines))
    return Scene(apex + radius * normals, normals, np.tile(apex, (lines, 1)), directions, radius + 1e-3, 75e-6, 181)


def phased(elements: int = 32, pitch: float = 0.2e-3, lines: int = 11) -> Scene:
    x, normals = flat(centred(elements, pitch))
    return Scene(x, normals, np.zeros((lines, 3)), fan(np.linspace(-0.75, 0.75, lines)), 1e-3, 75e-6, 181)


def arbitrary(elements: int = 30, seed: int = 3) -> Scene:
    """Elements scattered over a bowl-like patch, lines in all directions."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-4e-3, 4e-3, (elements, 3)) * [1, 1, 0.1]
    normals = np.stack([-20 * positions[:, 0], -20 * positions[:, 1], np.ones(elements)], axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    directions = np.stack([rng.uniform(-0.3, 0.3, 7), rng.uniform(-0.3, 0.3, 7), np.ones(7)], axis=1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origins = rng.uniform(-2e-3, 2e-3, (7, 3)) * [1, 1, 0]
    return Scene(positions, normals, origins, directions, 2e-3, 75e-6, 150)


SCENES = {
    "linear": linear(),
    "steered": steered(),
    "curvilinear": curvilinear(),
    "phased": phased(),
    "arbitrary": arbitrary(),
}


def plane_times(points: FloatArray, angles: list[float], speed: float = SPEED) -> FloatArray:
    return np.stack([(points[..., 2] * np.cos(a) + points[..., 0] * np.sin(a)) / speed for a in angles])


def spherical_times(points: FloatArray, sources: FloatArray, speed: float = SPEED) -> FloatArray:
    return np.stack([np.linalg.norm(points - s, axis=-1) / speed for s in sources])


def pulse(time: FloatArray, center_hz: float, bandwidth: float) -> NDArray[np.complex128]:
    """Analytic Gaussian pulse of that fractional -6 dB bandwidth round `center_hz`."""
    sigma = np.sqrt(2 * np.log(2)) / (np.pi * bandwidth * center_hz)
    return np.asarray(np.exp(-0.5 * (time / sigma) ** 2) * np.exp(2j * np.pi * center_hz * time))


def echoes(
    scene: Scene,
    targets: FloatArray,
    transmit_times: FloatArray,
    *,
    sampling_hz: float,
    samples: int,
    t0_s: FloatArray | None = None,
    center_hz: float = 5e6,
    bandwidth: float = 0.6,
    speed: float = SPEED,
    amplitudes: FloatArray | None = None,
) -> NDArray[np.complex128]:
    """Analytic RF (T, E, samples) of point targets (n, 3); `transmit_times (T, n)` is when each is reached."""
    time = np.arange(samples) / sampling_hz
    rf = np.zeros((len(transmit_times), len(scene.elements), samples), dtype=np.complex128)
    starts = np.zeros(len(transmit_times)) if t0_s is None else t0_s
    for index, target in enumerate(targets):
        back = np.linalg.norm(scene.elements - target, axis=-1) / speed
        tau = transmit_times[:, index, None] + back[None, :] - starts[:, None]
        scale = 1.0 if amplitudes is None else amplitudes[index]
        rf += scale * pulse(time - tau[..., None], center_hz, bandwidth)
    return rf


def to_baseband(
    analytic: NDArray[np.complex128], sampling_hz: float, center_hz: float, t0_s: FloatArray | None = None
) -> NDArray[np.float32]:
    """float32 (T, E, samples, 2) of analytic RF."""
    starts = np.zeros(len(analytic)) if t0_s is None else t0_s
    time = starts[:, None] + np.arange(analytic.shape[-1]) / sampling_hz
    return pairs(analytic * np.exp(-2j * np.pi * center_hz * time)[:, None, :])


def pairs(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.stack([values.real, values.imag], axis=-1), dtype=np.float32)


def joined(values: NDArray[np.float32]) -> NDArray[np.complex128]:
    return np.asarray(values[..., 0].astype(np.float64) + 1j * values[..., 1])


def error_db(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Error energy over the energy wanted."""
    difference = np.linalg.norm(got.astype(np.complex128) - wanted)
    return float(20 * np.log10(max(difference, 1e-300) / np.linalg.norm(wanted)))
