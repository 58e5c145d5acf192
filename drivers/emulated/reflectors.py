"""What an emulated board hears: a few reflectors, some of which move, through a short pulse; linear acoustics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sonod.drivers.probe import FloatArray

# Half width of a Gaussian at -6 dB in standard deviations.
HALF_WIDTH_DEVIATIONS = math.sqrt(2 * math.log(2))
# A pulse is computed this many standard deviations to each side.
PULSE_REACH = 4.0
# Distance at which a reflector of strength 1 returns an echo of amplitude 1.
REFERENCE_DISTANCE_M = 0.02
# Closer than this nothing gets louder: the near field.
NEAREST_M = 0.004


@dataclass(frozen=True)
class Reflector:
    """A point at `position_m` that swings by `swing_m` (amplitudes of x, y, z) `rate_hz` times a second."""

    position_m: tuple[float, float, float]
    strength: float = 1.0
    swing_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rate_hz: float = 0.0

    def at(self, time_s: float) -> tuple[float, float, float]:
        """Where it is at a time."""
        turn = math.sin(2 * math.pi * self.rate_hz * time_s)
        x, y, z = (place + swing * turn for place, swing in zip(self.position_m, self.swing_m, strict=True))
        return x, y, z


# In front of a single element: something that breathes, and a wall behind it.
SINGLE_ELEMENT_SCENE = (
    Reflector((0.0, 0.0, 0.012), 0.25),
    Reflector((0.0, 0.0, 0.026), 1.0, (0.0, 0.0, 0.004), 0.4),
    Reflector((0.0, 0.0, 0.043), 0.6),
)
# In front of a small array: one that moves across, three that stay.
ARRAY_SCENE = (
    Reflector((0.0, 0.0, 0.018), 1.0, (0.003, 0.0, 0.002), 0.25),
    Reflector((-0.002, 0.0, 0.010), 0.5),
    Reflector((0.002, 0.0, 0.026), 0.8),
    Reflector((0.0, 0.0, 0.034), 0.9),
)


@dataclass(frozen=True)
class EchoScene:
    """Reflectors in a medium, heard by a transducer whose best frequency is `center_hz`.

    Echoes have a Gaussian envelope of `fractional_bandwidth`, fall with distance, are attenuated by
    `attenuation_db_cm_mhz` both ways, and grow weaker when the drive is away from the transducer's frequency.
    """

    reflectors: Sequence[Reflector]
    center_hz: float
    fractional_bandwidth: float = 0.6
    sound_speed_m_s: float = 1540.0
    attenuation_db_cm_mhz: float = 0.3

    @property
    def deviation_s(self) -> float:
        """Standard deviation of the pulse's envelope."""
        return HALF_WIDTH_DEVIATIONS / (math.pi * self.fractional_bandwidth * self.center_hz)

    @property
    def pulse_delay_s(self) -> float:
        """From firing to the peak of the envelope of an echo at no distance."""
        return PULSE_REACH / 1.5 * self.deviation_s

    def drive_gain(self, frequency_hz: float) -> float:
        """How much of a drive at this frequency the transducer passes, 1 at its own."""
        deviation = self.fractional_bandwidth * self.center_hz / 2 / HALF_WIDTH_DEVIATIONS
        return math.exp(-((frequency_hz - self.center_hz) ** 2) / (4 * deviation**2))

    def receive(
        self,
        time_s: float,
        transmitters_m: FloatArray,
        receivers_m: FloatArray,
        *,
        frequency_hz: float,
        sampling_hz: float,
        samples: int,
        t0_s: float = 0.0,
    ) -> FloatArray:
        """The sum (samples,) of what `receivers_m (n, 3)` hear when `transmitters_m (m, 3)` fire together at t = 0.

        The first sample is at `t0_s`.
        """
        out = np.zeros(samples)
        amplitude = self.drive_gain(frequency_hz)
        deviation = self.deviation_s
        reach = PULSE_REACH * deviation
        for reflector in self.reflectors:
            place = np.array(reflector.at(time_s))
            forth = np.linalg.norm(transmitters_m - place, axis=1)
            back = np.linalg.norm(receivers_m - place, axis=1)
            for way in (forth[:, None] + back[None, :]).ravel():
                center_s = way / self.sound_speed_m_s + self.pulse_delay_s - t0_s
                first = max(math.ceil((center_s - reach) * sampling_hz), 0)
                last = min(math.floor((center_s + reach) * sampling_hz), samples - 1)
                if last < first:
                    continue
                t = np.arange(first, last + 1) / sampling_hz - center_s
                # The path there and back, each with its own spreading, is taken as twice its middle.
                fall = REFERENCE_DISTANCE_M / max(way / 2, NEAREST_M)
                loss = 10 ** (-self.attenuation_db_cm_mhz * way * 100 * frequency_hz / 1e6 / 20)
                strength = amplitude * reflector.strength * fall * loss
                out[first : last + 1] += (
                    strength * np.exp(-(t**2) / (2 * deviation**2)) * np.cos(2 * np.pi * frequency_hz * t)
                )
        return out


def excitation(frequency_hz: float, sampling_hz: float, samples: int, t0_s: float, decay_s: float) -> FloatArray:
    """The transmit pulse as the receiver sees it, and the transducer's ringing after it (samples,), 1 at its peak."""
    t = t0_s + np.arange(samples) / sampling_hz
    after = np.where(t >= 0, np.exp(-np.clip(t, 0, 50 * decay_s) / decay_s), 0.0)
    return np.asarray(after * np.sin(2 * np.pi * frequency_hz * t))
