"""What the transducers of emulated boards hear: a few reflectors, one of which moves, in weakly scattering tissue.

Places are (x, z) in metres, x lateral and z depth, in the plane of a swept single element.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A Gaussian's half width at -6 dB, in standard deviations.
HALF_WIDTH_DEVIATIONS = math.sqrt(2 * math.log(2))
# The pulse is computed to this many standard deviations on either side: -87 dB.
PULSE_DEVIATIONS = 4.5
# One way, soft tissue.
ATTENUATION_DB_PER_M_MHZ = 50.0
# Echoes weaker than this, of a wall at the face, are far below any noise.
WEAKEST = 1e-5
# Strength falls with distance from here on; nearer, the beam does not spread yet.
NEAR_FIELD_M = 0.01


@dataclass(frozen=True)
class EchoPulse:
    """A Gaussian band around `frequency_hz`, seen in echo; `amplitude` compares it with the best frequency."""

    frequency_hz: float
    deviation_hz: float
    amplitude: float = 1.0

    @property
    def deviation_s(self) -> float:
        return 1 / (2 * math.pi * self.deviation_hz)

    @property
    def half_s(self) -> float:
        """From its middle to where nothing is left of it."""
        return PULSE_DEVIATIONS * self.deviation_s


def echo_pulse(drive_hz: float, transducer_hz: float, fractional_bandwidth: float) -> EchoPulse:
    """A short drive pulse of centre `drive_hz` (90 % wide) through a transducer: the product of two Gaussian bands."""
    drive = 0.9 * drive_hz / 2 / HALF_WIDTH_DEVIATIONS
    own = fractional_bandwidth * transducer_hz / 2 / HALF_WIDTH_DEVIATIONS
    total = drive**2 + own**2
    frequency = (drive_hz * own**2 + transducer_hz * drive**2) / total
    return EchoPulse(
        frequency, drive * own / math.sqrt(total), math.exp(-((drive_hz - transducer_hz) ** 2) / (2 * total))
    )


@dataclass(frozen=True)
class Scene:
    """Reflectors that stay, and one that goes to and fro along z.

    `places_m (reflectors, 2)`, `strengths (reflectors,)`: 1 is a flat wall. The moving one is at `moving_m` on average.
    """

    places_m: Floats
    strengths: Floats
    moving_m: tuple[float, float]
    moving_strength: float
    stroke_m: float
    stroke_hz: float

    def moving_at(self, time_s: float) -> tuple[float, float]:
        """Where the moving reflector is."""
        x, z = self.moving_m
        return x, z + self.stroke_m * math.sin(2 * math.pi * self.stroke_hz * time_s)

    def still_heard(self, origin_m: Floats, angle_rad: float, width_rad: float) -> tuple[Floats, Floats]:
        """Distances and amplitudes of what stays, along a beam from `origin_m` (2,) of this half width."""
        return _heard(self.places_m, self.strengths, origin_m, angle_rad, width_rad)

    def moving_heard(
        self, time_s: float, origin_m: Floats, angle_rad: float, width_rad: float
    ) -> tuple[Floats, Floats]:
        """The same for the moving one, (1,) each."""
        place = np.array([self.moving_at(time_s)])
        return _heard(place, np.array([self.moving_strength]), origin_m, angle_rad, width_rad)


def _heard(
    places: Floats, strengths: Floats, origin: Floats, angle_rad: float, width_rad: float
) -> tuple[Floats, Floats]:
    across, along = places[:, 0] - origin[0], places[:, 1] - origin[1]
    distances = np.hypot(across, along)
    off = np.arctan2(across, along) - angle_rad
    beam = np.exp(-((off / width_rad) ** 2) / 2)
    return distances, strengths * beam * NEAR_FIELD_M / np.maximum(distances, NEAR_FIELD_M)


def tissue(
    depth_m: float, half_angle_rad: float, apex_z_m: float, count: int, strength: float, seed: int
) -> tuple[Floats, Floats]:
    """Weak scatterers strewn evenly over a sector with its apex at z = `apex_z_m`: places and strengths."""
    random = np.random.default_rng(seed)
    radius = -apex_z_m + depth_m * np.sqrt(random.random(count))
    angle = (2 * random.random(count) - 1) * half_angle_rad
    places = np.stack([radius * np.sin(angle), apex_z_m + radius * np.cos(angle)], axis=1)
    return places, strength * random.standard_normal(count)


def phantom(half_angle_rad: float = 0.0, apex_z_m: float = 0.0, seed: int = 1) -> Scene:
    """A wall at 45 mm, wires at 12 and 30 mm, tissue, and a reflector that moves 3 mm about 20 mm, once in 2 s.

    With a sector, further wires stand to the sides. Depths are along the axis, from the face at z = 0.
    """
    wires = [(0.0, 0.012, 0.25), (0.0, 0.030, 0.3), (0.0, 0.045, 0.8)]
    spread = math.sin(min(half_angle_rad, 1.2)) if half_angle_rad > 0 else 0.0
    if half_angle_rad > 0:
        wires += [(side * spread * z, z, 0.3) for side in (-0.6, 0.6) for z in (0.025, 0.04, 0.055)]
    places, strengths = tissue(0.12, half_angle_rad or 0.02, apex_z_m, 4000 if half_angle_rad else 900, 0.02, seed)
    still = np.array(wires)
    return Scene(
        np.concatenate([still[:, :2], places]),
        np.concatenate([still[:, 2], strengths]),
        (spread * 0.004, 0.020),
        0.5,
        0.003,
        0.5,
    )


def add_echoes(
    line: NDArray[np.float32] | NDArray[np.complex64],
    distances_m: Floats,
    amplitudes: Floats,
    pulse: EchoPulse,
    sampling_hz: float,
    sound_speed_m_s: float,
    first_s: float,
) -> None:
    """Add echoes to `line (samples,)`, whose first sample is taken `first_s` after the sound leaves.

    The middle of an echo's pulse lies at the two-way time. A complex line gets the analytic signal at 0 Hz.
    """
    decibels = 2 * ATTENUATION_DB_PER_M_MHZ * distances_m * pulse.frequency_hz / 1e6
    strong = amplitudes * pulse.amplitude * 10 ** (-decibels / 20)
    kept = np.abs(strong) > WEAKEST
    distances_m, strong = distances_m[kept], strong[kept]
    if not len(strong):
        return
    arrival = 2 * distances_m / sound_speed_m_s - first_s
    half = math.ceil(pulse.half_s * sampling_hz)
    nearest = np.rint(arrival * sampling_hz).astype(np.int64)
    index = nearest[:, None] + np.arange(-half, half + 1)
    time = index / sampling_hz - arrival[:, None]
    envelope = strong[:, None] * np.exp(-((time / pulse.deviation_s) ** 2) / 2)
    inside = (index >= 0) & (index < len(line))
    index = index[inside]
    if np.iscomplexobj(line):
        phase = -2 * math.pi * pulse.frequency_hz * np.broadcast_to((arrival + first_s)[:, None], time.shape)[inside]
        weights = envelope[inside]
        line.real += np.bincount(index, weights * np.cos(phase), len(line)).astype(np.float32)
        line.imag += np.bincount(index, weights * np.sin(phase), len(line)).astype(np.float32)
    else:
        wave = (envelope * np.cos(2 * math.pi * pulse.frequency_hz * time))[inside]
        line += np.bincount(index, wave, len(line)).astype(np.float32)
