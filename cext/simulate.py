"""Echoes of point reflectors before an array, by linear acoustics in the x-z plane.

What is modelled, and how:
- an element sends and hears as a strip in a soft baffle (sinc times cosine), and its sound spreads cylindrically,
  1 / sqrt(d), as between the focus of an elevation lens and infinity; elevation is otherwise left out;
- attenuation is that of the pulse's centre frequency (the downshift of the spectrum with depth is left out);
- a transmitted wave has, at each point, the amplitude of the superposition of its elements at the centre frequency
  (B. D. Steinberg, Principles of Aperture and Array System Design, 1976), and the arrival time that the caller gives,
  so that the edges of a beam, its focus and its side lobes are there while every echo is one undistorted pulse;
- reflectors do not see each other (first Born approximation): no reverberation, no shadow;
- a moving reflector may be a piece of a straight line, which mirrors: its strength falls as the sinc of the phase
  along the piece, the difference of the ways in and out.

`reference_echoes` is the same in plain NumPy float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonod.cext import _native

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

FINE = _native.SIMULATE_FINE
PHASES = _native.SIMULATE_PHASES
_LANES = 8
_DIRECTIVITY_STEPS = 1024
_DECAY_STEPS = 4096
_LOBE_STEPS = 2048
# Beyond this many side lobes a piece of a line reflects next to nothing.
_LOBE_END = 8.0
# Nearer than this the far-field law of an element would grow without limit.
NEAREST_M = 1e-3


@dataclass(frozen=True, eq=False)
class EchoModel:
    """Elements, medium and pulse. Element `positions_m (elements, 3)` and `normals (elements, 3)` lie in the x-z plane.

    `attenuation_np_m`: amplitude loss in neper per metre, one way. The pulse is a cosine of `frequency_hz` under a
    Gaussian whose spectrum has the standard deviation `deviation_hz`; its peak comes `pulse_delay_s` after arrival.
    """

    positions_m: FloatArray
    normals: FloatArray
    element_width_m: float
    sound_speed_m_s: float
    attenuation_np_m: float
    farthest_m: float
    sampling_hz: float
    frequency_hz: float
    deviation_hz: float
    pulse_delay_s: float

    def directivity(self, cosine: FloatArray) -> FloatArray:
        """Sensitivity of an element to a direction whose cosine to its normal is given; 0 behind it."""
        ahead = np.clip(cosine, 0, 1)
        width = self.element_width_m * self.frequency_hz / self.sound_speed_m_s
        return np.asarray(np.sinc(width * np.sqrt(1 - ahead**2)) * ahead)

    def decay(self, distance_m: FloatArray) -> FloatArray:
        """One-way loss by spreading and attenuation, 1 at 10 mm without attenuation."""
        spread = np.sqrt(0.01 / np.maximum(distance_m, NEAREST_M))
        return np.asarray(spread * np.exp(-self.attenuation_np_m * distance_m))

    def pulse(self, time_s: FloatArray) -> FloatArray:
        """The pulse at times counted from its peak."""
        envelope = np.exp(-2 * (np.pi * self.deviation_hz * time_s) ** 2)
        return np.asarray(envelope * np.cos(2 * np.pi * self.frequency_hz * time_s))


class EchoSimulator:
    """Planned simulation for one model; methods drop the GIL, one thread uses one simulator."""

    def __init__(self, model: EchoModel) -> None:
        self.model = model
        self.count = len(model.positions_m)
        padded = -(-self.count // _LANES) * _LANES
        elements = np.zeros((5, padded), np.float32)
        # Deaf elements fill the last lanes; they must not sit where a reflector is.
        elements[1] = -1.0
        elements[0, : self.count], elements[1, : self.count] = model.positions_m[:, 0], model.positions_m[:, 2]
        elements[2, : self.count], elements[3, : self.count] = model.normals[:, 0], model.normals[:, 2]
        elements[4, : self.count] = 1.0
        self._elements = elements
        self._padded = padded
        cosines = np.append(np.arange(_DIRECTIVITY_STEPS + 1) / _DIRECTIVITY_STEPS, 1.0)
        self._directivity = model.directivity(cosines).astype(np.float32)
        step = model.farthest_m / _DECAY_STEPS
        self._decay = model.decay(np.arange(_DECAY_STEPS + 2, dtype=np.float64) * np.float64(step)).astype(np.float32)
        self._decay_per_m = 1 / step
        self._scratch = np.zeros(2 * padded, np.float32)
        turn = 2 * np.pi * (np.arange(_native.SIMULATE_TURN + 1) + 0.5) / _native.SIMULATE_TURN
        self._cosine, self._sine = np.cos(turn).astype(np.float32), np.sin(turn).astype(np.float32)
        self._lobe = np.append(np.sinc(np.linspace(0, _LOBE_END, _LOBE_STEPS + 1)), 0.0).astype(np.float32)
        # Far enough out that the Gaussian has fallen to -80 dB.
        half_s = np.sqrt(np.log(1e4) / 2) / (np.pi * model.deviation_hz)
        self._half = int(np.ceil(half_s * model.sampling_hz)) + 1
        self._taps = -(-(2 * self._half + 1) // _LANES) * _LANES
        places = np.arange(self._taps) - self._half
        shares = (np.arange(PHASES + 1) + 0.5) / PHASES
        self._phases = model.pulse((places[None, :] - shares[:, None]) / model.sampling_hz).astype(np.float32)
        fine = np.arange(2 * FINE * self._half + 1) - FINE * self._half
        self._fine_pulse = model.pulse(-fine / (FINE * model.sampling_hz)).astype(np.float32)
        self._frame_scratch = np.zeros(0, np.float32)

    def amplitude(
        self, x_m: Float32Array, z_m: Float32Array, delays_s: FloatArray, apodization: FloatArray, out: Float32Array
    ) -> None:
        """Amplitude of each transmission at each point into `out (transmits, points)`.

        `delays_s (transmits, elements)`, NaN = silent; `apodization` of the same shape.
        """
        model = self.model
        delays = np.zeros((len(delays_s), self._padded), np.float32)
        weights = np.zeros((len(delays_s), self._padded), np.float32)
        silent = np.isnan(delays_s)
        # Only differences of phase matter; positive ones keep the arithmetic simple.
        own = np.where(silent, 0.0, delays_s - np.nanmin(delays_s, axis=1, keepdims=True))
        delays[:, : self.count] = own * model.frequency_hz
        weights[:, : self.count] = np.where(silent, 0.0, apodization)
        _native.simulate_field(
            self.count,
            self._elements,
            self._directivity,
            self._decay,
            self._decay_per_m,
            x_m,
            z_m,
            delays,
            weights,
            model.frequency_hz / model.sound_speed_m_s,
            self._cosine,
            self._sine,
            self._scratch,
            out,
        )

    def echoes(
        self,
        x_m: Float32Array,
        z_m: Float32Array,
        arrival_s: FloatArray,
        amplitude: Float32Array,
        t0_s: FloatArray,
        samples: int,
    ) -> Float32Array:
        """Echoes of fixed reflectors (transmits, channels, samples), every element a channel.

        `arrival_s` and `amplitude (transmits, points)`: when and how strongly each transmission meets each reflector.
        Points in order of depth are several times faster than points in no order.
        """
        model = self.model
        transmits = len(arrival_s)
        fine = FINE * samples + 2 * FINE * self._half + FINE
        grid = np.zeros((transmits, self.count, fine), np.float32)
        rate = FINE * model.sampling_hz
        offset = (model.pulse_delay_s - np.asarray(t0_s)) * rate + FINE * self._half
        arrival = (arrival_s * rate + offset[:, None]).astype(np.float32)
        _native.simulate_deposit(
            self.count,
            self._elements,
            self._directivity,
            self._decay,
            self._decay_per_m,
            x_m,
            z_m,
            arrival,
            amplitude,
            rate / model.sound_speed_m_s,
            self._scratch,
            grid,
        )
        out = np.empty((transmits * self.count, samples), np.float32)
        _native.simulate_convolve(
            grid.reshape(transmits * self.count, fine), self._fine_pulse, np.empty(fine, np.float32), out
        )
        return out.reshape(transmits, self.count, samples)

    def arrival_in_samples(self, arrival_s: FloatArray, t0_s: FloatArray) -> FloatArray:
        """`meeting[:, 1]` of `frame` for arrival times (transmits, points)."""
        model = self.model
        offset = (model.pulse_delay_s - np.asarray(t0_s)) * model.sampling_hz + self._taps - self._half
        return np.asarray(arrival_s * model.sampling_hz + offset[:, None])

    def frame(
        self,
        points: Float32Array,
        meeting: Float32Array,
        axis: tuple[float, float],
        piece_m: float,
        background: Float32Array,
        noise: Float32Array,
        noise_start: NDArray[np.int32],
        noise_level: float,
        level: float,
        gain: Float32Array,
        limit: float,
        out: NDArray[np.int16],
    ) -> None:
        """One frame into `out (transmits, channels, samples)`: (echoes * level + noise) * gain, rounded and clipped.

        `points (4, n)`: x, z, strength as a mirror, strength as a point; `meeting (transmits, 3, n)`: amplitude,
        `arrival_in_samples`, cosine between the way in and `axis`, the unit direction of pieces of length `piece_m`.
        `noise` is read from `noise_start (transmits, channels)` on; `gain (samples,)`.
        """
        model = self.model
        samples = out.shape[2]
        needed = 2 * self._padded + self.count * (samples + 2 * self._taps)
        if len(self._frame_scratch) < needed:
            self._frame_scratch = np.zeros(needed, np.float32)
        wavelength = model.sound_speed_m_s / model.frequency_hz
        _native.simulate_frame(
            self.count,
            self._elements,
            self._directivity,
            self._decay,
            self._decay_per_m,
            points,
            meeting,
            axis[0],
            axis[1],
            model.sampling_hz / model.sound_speed_m_s,
            self._lobe,
            piece_m / wavelength * _LOBE_STEPS / _LOBE_END,
            self._phases,
            background,
            noise,
            noise_start,
            noise_level,
            level,
            gain,
            limit,
            self._frame_scratch,
            out,
        )


def reference_amplitude(
    model: EchoModel, points_m: FloatArray, delays_s: FloatArray, weights: FloatArray
) -> FloatArray:
    """Amplitude of each transmission at `points_m (points, 3)`: (transmits, points); in NumPy float64."""
    offset = points_m[:, None] - model.positions_m[None]
    distance = np.linalg.norm(offset, axis=-1)
    cosine = (offset * model.normals[None]).sum(axis=-1) / distance
    way = model.directivity(cosine) * model.decay(distance)
    out = np.empty((len(delays_s), len(points_m)))
    for index, (delays, weight) in enumerate(zip(delays_s, weights, strict=True)):
        firing = np.isfinite(delays)
        time = delays[firing] + distance[:, firing] / model.sound_speed_m_s
        wave = weight[firing] * way[:, firing] * np.exp(2j * np.pi * model.frequency_hz * time)
        out[index] = np.abs(wave.sum(axis=1))
    return out


def reference_echoes(
    model: EchoModel,
    points_m: FloatArray,
    arrival_s: FloatArray,
    strength: FloatArray,
    t0_s: FloatArray,
    samples: int,
) -> FloatArray:
    """Echoes (transmits, channels, samples) of reflectors; `strength (transmits, points)` or, where it depends on the
    element that hears, (transmits, points, elements). NumPy float64, written to be read."""
    offset = points_m[:, None] - model.positions_m[None]
    distance = np.linalg.norm(offset, axis=-1)
    cosine = (offset * model.normals[None]).sum(axis=-1) / distance
    way = model.directivity(cosine) * model.decay(distance)
    sampled = np.arange(samples) / model.sampling_hz
    out = np.zeros((len(arrival_s), len(model.positions_m), samples))
    for t, arrivals in enumerate(arrival_s):
        for p, arrival in enumerate(arrivals):
            peak = arrival + distance[p] / model.sound_speed_m_s + model.pulse_delay_s
            value = way[p] * strength[t, p]
            out[t] += value[:, None] * model.pulse(t0_s[t] + sampled[None, :] - peak[:, None])
    return out
