"""Echoes of reflectors before an array in the x-z plane, by linear acoustics in the time domain.

What is modelled, and how:
- an element sends and hears as a strip, `sinc(width sin / wavelength)` at the centre frequency, in a soft baffle (times
  the cosine) or a rigid one (A. R. Selfridge, G. S. Kino, B. T. Khuri-Yakub, Appl. Phys. Lett. 37, 35, 1980);
- in elevation it is a strip of finite height behind a lens: a Fresnel integral over the height, at the centre
  frequency; without a height the sound stays in the plane, 1 / sqrt(d);
- a transmission is the superposition of all its elements at each point, each weighed by how much of its pulse falls
  into the pulse that arrives at the reference time: exact for single elements, and elsewhere all that one pulse can
  carry. Edge waves that arrive apart from the main wave are left out;
- loss rises with frequency: each block of samples has the pulse that its way has left (`attenuation_np_m_hz`); losses
  of certain tissues come on top, as factors on the straight way to some stations along the array (shadow, enhancement);
- a reflector scatters everywhere alike (`rough`), or is a piece of a straight line that mirrors (`smooth`): the sinc of
  the phase along the piece, the difference of the ways in and out;
- reflectors do not see each other (first Born approximation) and rays are straight: no refraction.

`cext/simulate_reference.py` is the same in plain NumPy float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sonod.cext import _native
from sonod.cext.pulse import Pulse

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

BLOCK = _native.SIMULATE_BLOCK
_BAND = _native.SIMULATE_BAND
_DIRECTIVITY_STEPS = 1024
_DECAY_STEPS = 4096
_LOBE_STEPS = 2048
_WINDOW_STEPS = 512
# Beyond this many side lobes a piece of a line reflects next to nothing.
_LOBE_END = 8.0
# Nearer than this the far-field law of an element would grow without limit.
NEAREST_M = 1e-3
# Distance at which the spreading of the sound is 1.
REFERENCE_M = 0.01
_HEIGHT_STEPS = 129
# Share of an element's height that is fully sensitive; the rest falls off as a cosine.
EVEN_SHARE = 0.3
# Stations along the array to which the loss in tissue is followed.
MOST_STATIONS = 8
_NO_LOSS = np.zeros((0, 2), np.float32)


def elevation(
    distance_m: FloatArray, y_m: FloatArray, height_m: float, focus_m: float, wavelength_m: float
) -> FloatArray:
    """One-way amplitude at `distance_m (n,)` and `y_m (m,)` beside the plane, (m, n): Fresnel integral over the height.

    The sensitivity falls off towards the upper and lower edge, as behind a lens that absorbs; a sharp edge at one
    frequency would ripple. An endless height gives 1 / sqrt(d); 1 at `REFERENCE_M`. A height of 0 means
    endless too: nobody knows it.
    """
    near = np.maximum(distance_m, NEAREST_M)
    if height_m <= 0:
        return np.broadcast_to(np.sqrt(REFERENCE_M / near), (len(y_m), len(near))).copy()
    steps = np.linspace(-0.5, 0.5, _HEIGHT_STEPS) * height_m
    weight = 0.5 + 0.5 * np.cos(np.pi * np.clip((np.abs(2 * steps / height_m) - EVEN_SHARE) / (1 - EVEN_SHARE), 0, 1))
    bend = 1 / near - (0.0 if math.isinf(focus_m) else 1 / focus_m)
    out = np.empty((len(y_m), len(near)))
    for row, y in enumerate(y_m):
        phase = np.pi / wavelength_m * (steps[:, None] ** 2 * bend[None] - 2 * steps[:, None] * y / near[None])
        integral = np.abs((weight[:, None] * np.exp(1j * phase)).mean(axis=0)) * height_m
        out[row] = integral / near * math.sqrt(REFERENCE_M / wavelength_m)
    return out


@dataclass(frozen=True, eq=False)
class EchoModel:
    """Elements, medium and pulse. Element `positions_m (elements, 3)` and `normals (elements, 3)` lie in the x-z plane.

    `attenuation_np_m_hz`: amplitude loss in neper per metre and hertz, one way, of the medium as a whole.
    """

    positions_m: FloatArray
    normals: FloatArray
    element_width_m: float
    sound_speed_m_s: float
    attenuation_np_m_hz: float
    farthest_m: float
    sampling_hz: float
    pulse: Pulse
    element_height_m: float = 0.0
    elevation_focus_m: float = math.inf
    soft_baffle: bool = True

    @property
    def wavelength_m(self) -> float:
        return self.sound_speed_m_s / self.pulse.frequency_hz

    def directivity(self, cosine: FloatArray) -> FloatArray:
        """Sensitivity of an element to a direction whose cosine to its normal is given; 0 behind it."""
        ahead = np.clip(cosine, 0, 1)
        strip = np.sinc(self.element_width_m / self.wavelength_m * np.sqrt(1 - ahead**2))
        return np.asarray(strip * (ahead if self.soft_baffle else cosine > 0))

    def decay(self, distance_m: FloatArray) -> FloatArray:
        """One-way spreading in the image plane, with the elevation lens; 1 at 10 mm where there is no lens."""
        if self.element_height_m <= 0:
            return np.asarray(np.sqrt(REFERENCE_M / np.maximum(distance_m, NEAREST_M)))
        # Smooth over distance: a geometric grid, finer near the face, is enough to interpolate on.
        nodes = np.geomspace(NEAREST_M, max(self.farthest_m, float(distance_m.max(initial=0)), 2 * NEAREST_M), 600)
        own = elevation(nodes, np.zeros(1), self.element_height_m, self.elevation_focus_m, self.wavelength_m)[0]
        return np.asarray(np.interp(distance_m, nodes, own))

    def stations_x(self) -> FloatArray:
        """Share of the array (0..1) at which each station of loss lies: (stations,), evenly spaced."""
        return np.linspace(0, 1, max(2, min(MOST_STATIONS, len(self.positions_m))))

    def stations_m(self) -> FloatArray:
        """Where the stations of loss are, (stations, 3)."""
        place = self.stations_x() * (len(self.positions_m) - 1)
        elements = np.arange(len(self.positions_m))
        return np.stack([np.interp(place, elements, axis) for axis in self.positions_m.T], axis=1)


@dataclass(frozen=True, eq=False)
class Reflectors:
    """What sends echoes, in float32: `x_m`, `z_m (n,)`; strengths `rough` and `smooth (n,)`.

    Pieces that mirror have a unit direction `axis (2, n)` in the plane, as far as it lies in it, and a length
    `piece_m (n,)`. `loss (n, stations)` are factors on the way to each station; none = (0, any).
    """

    x_m: Float32Array
    z_m: Float32Array
    rough: Float32Array
    smooth: Float32Array
    axis: Float32Array
    piece_m: Float32Array
    loss: Float32Array = field(default_factory=lambda: _NO_LOSS)

    def __len__(self) -> int:
        return len(self.x_m)

    @classmethod
    def points(cls, x_m: FloatArray, z_m: FloatArray, strength: FloatArray) -> Reflectors:
        """Points that scatter everywhere."""
        none = np.zeros(len(x_m), np.float32)
        return cls(
            np.asarray(x_m, np.float32),
            np.asarray(z_m, np.float32),
            np.asarray(strength, np.float32),
            none,
            np.zeros((2, len(x_m)), np.float32),
            none,
        )

    @classmethod
    def none(cls) -> Reflectors:
        return cls.points(np.zeros(0), np.zeros(0), np.zeros(0))

    def take(self, which: NDArray[np.intp]) -> Reflectors:
        """The reflectors of these indices, in this order."""
        return Reflectors(
            self.x_m[which],
            self.z_m[which],
            self.rough[which],
            self.smooth[which],
            self.axis[:, which],
            self.piece_m[which],
            self.loss[which] if len(self.loss) else self.loss,
        )


@dataclass(frozen=True, eq=False)
class Meeting:
    """How transmissions meet reflectors: `arrival_s (transmits, n)` after time zero, complex `amplitude (transmits, n)`
    relative to that arrival, and `incoming (transmits, n)`, the cosine between the way in and the axis of a piece."""

    arrival_s: FloatArray
    amplitude: NDArray[np.complex64]
    incoming: Float32Array


class EchoSimulator:
    """Planned simulation for one model; methods drop the GIL and run on the core's threads; one caller at a time."""

    def __init__(self, model: EchoModel) -> None:
        self.model = model
        self.count = len(model.positions_m)
        padded = -(-self.count // _BAND) * _BAND
        elements = np.zeros((6, padded), np.float32)
        # Deaf elements fill the last band; they must not sit where a reflector is.
        elements[1] = -1.0
        elements[0, : self.count], elements[1, : self.count] = model.positions_m[:, 0], model.positions_m[:, 2]
        elements[2, : self.count], elements[3, : self.count] = model.normals[:, 0], model.normals[:, 2]
        elements[4, : self.count] = 1.0
        self.stations = len(model.stations_x())
        place = np.linspace(0, self.stations - 1, self.count) if self.count > 1 else np.zeros(1)
        station = np.minimum(place.astype(np.int32), self.stations - 2)
        elements[5, : self.count] = place - station
        self._station = np.zeros(padded, np.int32)
        self._station[: self.count] = station
        self._elements = elements
        self._padded = padded
        cosines = np.append(np.arange(_DIRECTIVITY_STEPS + 1) / _DIRECTIVITY_STEPS, 1.0)
        self._directivity = model.directivity(cosines).astype(np.float32)
        step = model.farthest_m / _DECAY_STEPS
        self._decay = model.decay(np.arange(_DECAY_STEPS + 2, dtype=np.float64) * np.float64(step)).astype(np.float32)
        self._array = (
            self.count,
            self._elements,
            self._station,
            self.stations,
            self._directivity,
            self._decay,
            1 / step,
        )
        self._lobe = np.append(np.sinc(np.linspace(0, _LOBE_END, _LOBE_STEPS + 1)), 0.0).astype(np.float32)
        half_s = model.pulse.half_length_s
        lags = np.linspace(0, 2 * half_s, _WINDOW_STEPS + 1)
        self._window = np.append(model.pulse.correlation(lags), 0.0).astype(np.float32)
        self._window_scale = _WINDOW_STEPS / (2 * half_s * model.pulse.frequency_hz)
        self._half = math.ceil(half_s * model.sampling_hz) + 1
        self._taps = -(-(2 * self._half + 2) // 8) * 8
        self._known_pulses: dict[tuple[bytes, bytes], Float32Array] = {}
        self._turns_per_m = 1 / model.wavelength_m
        self._samples_per_m = model.sampling_hz / model.sound_speed_m_s

    def amplitude(
        self,
        x_m: Float32Array,
        z_m: Float32Array,
        delays_s: FloatArray,
        apodization: FloatArray,
        arrival_s: FloatArray,
        loss: Float32Array = _NO_LOSS,
    ) -> NDArray[np.complex64]:
        """Complex amplitude (transmits, points) of each transmission relative to a pulse that arrives at `arrival_s
        (transmits, points)`.

        `delays_s (transmits, elements)`, NaN = silent; `apodization` of the same shape; `loss (points, stations)`.
        """
        frequency = self.model.pulse.frequency_hz
        delays = np.zeros((len(delays_s), self._padded), np.float32)
        weights = np.zeros((len(delays_s), self._padded), np.float32)
        silent = np.isnan(delays_s)
        delays[:, : self.count] = np.where(silent, 0.0, delays_s) * frequency
        weights[:, : self.count] = np.where(silent, 0.0, apodization)
        out = np.empty((len(delays_s), len(x_m), 2), np.float32)
        _native.simulate_field(
            *self._array,
            x_m,
            z_m,
            loss,
            delays,
            weights,
            (arrival_s * frequency).astype(np.float32),
            self._turns_per_m,
            self._window,
            self._window_scale,
            out,
        )
        return out.view(np.complex64)[..., 0]

    def echoes(
        self, reflectors: Reflectors, meeting: Meeting, t0_s: FloatArray, samples: int, start_s: FloatArray
    ) -> Float32Array:
        """Echoes of fixed reflectors (transmits, channels, samples), every element a channel.

        `start_s (transmits,)`: mean time at which the firing elements fire, from which the lossy way counts.
        Reflectors in order of depth are several times faster than reflectors in no order.
        """
        transmits = len(meeting.arrival_s)
        pulse = self._pulses(samples, t0_s, start_s)
        length = samples + self._taps + BLOCK
        grid = np.zeros((transmits, self.count, length, 2), np.float32)
        out = np.zeros((transmits, self.count, samples), np.float32)
        arrival, amplitude = self._meet(meeting, t0_s)
        _native.simulate_deposit(
            *self._array,
            self._table(reflectors),
            self._lobe,
            reflectors.loss,
            arrival,
            amplitude,
            meeting.incoming,
            self._samples_per_m,
            self._turns_per_m,
            self._half,
            grid,
        )
        _native.simulate_convolve(grid, pulse, self._carrier(samples), out)
        return out

    def moving(self, samples: int, t0_s: FloatArray, start_s: FloatArray) -> MovingEchoes:
        """Frames of so many samples over a background."""
        return MovingEchoes(self, samples, t0_s, start_s)

    # -- tables ----------------------------------------------------------------------------------------------------

    def _carrier(self, count: int) -> Float32Array:
        turns = (np.arange(count) * (self.model.pulse.frequency_hz / self.model.sampling_hz)) % 1.0
        return np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=1).astype(np.float32)

    def _loss_of_block(self, samples: int, t0_s: FloatArray, start_s: FloatArray) -> FloatArray:
        """Neper per hertz that the way has cost in the middle of each block of samples: (transmits, blocks)."""
        model = self.model
        middle = (np.arange(-(-samples // BLOCK)) + 0.5) * BLOCK / model.sampling_hz - model.pulse.delay_s
        way = np.maximum(middle[None] + (np.asarray(t0_s) - start_s)[:, None], 0) * model.sound_speed_m_s
        return np.asarray(model.attenuation_np_m_hz * way)

    def _pulses(self, samples: int, t0_s: FloatArray, start_s: FloatArray) -> Float32Array:
        """(transmits, blocks, taps, 2): tap m is the envelope at half - m samples; kept, also for shorter records.

        Impulses are shared between two samples, which takes sinc(f / rate)^2 from the edges of the band; given back.
        """
        key = np.asarray(t0_s).tobytes(), np.asarray(start_s).tobytes()
        blocks = -(-samples // BLOCK)
        known = self._known_pulses.get(key)
        if known is None or known.shape[1] < blocks:
            model = self.model
            times = (self._half - np.arange(self._taps)) / model.sampling_hz
            share = np.sinc((model.pulse.spectrum_hz - model.pulse.frequency_hz) / model.sampling_hz) ** 2
            sharper = Pulse(model.pulse.frequency_hz, model.pulse.spectrum_hz, model.pulse.spectrum / share)
            envelope = sharper.envelope(times, self._loss_of_block(samples, t0_s, start_s))
            known = np.stack([envelope.real, envelope.imag], axis=-1).astype(np.float32)
            self._known_pulses[key] = known
        return np.ascontiguousarray(known[:, :blocks])

    def _table(self, reflectors: Reflectors) -> Float32Array:
        lobe = reflectors.piece_m * np.float32(_LOBE_STEPS / _LOBE_END / self.model.wavelength_m)
        return np.stack(
            [reflectors.x_m, reflectors.z_m, reflectors.rough, reflectors.smooth, *reflectors.axis, lobe]
        ).astype(np.float32)

    def _meet(self, meeting: Meeting, t0_s: FloatArray) -> tuple[Float32Array, Float32Array]:
        """Arrivals in samples of the peak, and amplitudes turned back to the first sample's carrier."""
        model = self.model
        arrival = meeting.arrival_s + (model.pulse.delay_s - np.asarray(t0_s))[:, None]
        turns = (-2 * np.pi * ((arrival * model.pulse.frequency_hz) % 1.0)).astype(np.float32)
        turned = np.empty(arrival.shape, np.complex64)
        turned.real, turned.imag = np.cos(turns), np.sin(turns)
        turned *= meeting.amplitude
        amplitude = turned.view(np.float32).reshape(*arrival.shape, 2)
        return (arrival * model.sampling_hz).astype(np.float32), amplitude


class MovingEchoes:
    """Frames: reflectors that move, over a background; one frame takes a few milliseconds."""

    def __init__(self, simulator: EchoSimulator, samples: int, t0_s: FloatArray, start_s: FloatArray) -> None:
        self._simulator = simulator
        self._t0_s = np.asarray(t0_s)
        self._pulse = simulator._pulses(samples, self._t0_s, start_s)
        self._carrier = simulator._carrier(samples)

    def frame(
        self,
        reflectors: Reflectors,
        meeting: Meeting,
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

        `noise` is read from `noise_start (transmits, channels)` on; `gain (samples,)`.
        """
        simulator = self._simulator
        arrival, amplitude = simulator._meet(meeting, self._t0_s)
        _native.simulate_frame(
            *simulator._array,
            simulator._table(reflectors),
            simulator._lobe,
            reflectors.loss,
            arrival,
            amplitude,
            meeting.incoming,
            simulator._samples_per_m,
            simulator._turns_per_m,
            simulator._half,
            self._pulse,
            self._carrier,
            background,
            noise,
            noise_start,
            noise_level,
            level,
            gain,
            limit,
            out,
        )
