"""Frames of channel RF: what stands still is computed once for a setting, what moves is added to every frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonod.cext.simulate import EchoModel, EchoSimulator
from sonod.drivers.frame import GroundTruth
from sonod.drivers.probe import FloatArray, Probe
from sonod.drivers.sequence import Sequence
from sonod.drivers.simulated.needle import PIECES, Needle
from sonod.drivers.simulated.phantom import Field, Reflectors, _depth
from sonod.drivers.simulated.wave import arrival_s, incoming_cosine

# Transmissions whose echoes are summed at a time: bounds the memory of the fine grid.
TRANSMITS_AT_ONCE = 4
# Reflectors that a wave meets this much weaker than the strongest (-46 dB) are left out: focused beams are narrow.
WEAKEST_SHARE = 5e-3
# Waves are followed on a grid of this many wavelengths, and interpolated.
GRID_WAVELENGTHS = 2.0
NOISE_TILE = 1 << 18

FULL_SCALE = 8191.0  # 14 bit


@dataclass(frozen=True, eq=False)
class Background:
    """Echoes of everything that stands still, before gain: `echoes (transmits, channels, samples)`, float32."""

    model: EchoModel
    sequence: Sequence
    weights: FloatArray
    echoes: NDArray[np.float32]


def render_background(
    model: EchoModel,
    sequence: Sequence,
    weights: FloatArray,
    probe: Probe,
    reflectors: Reflectors,
    field: Field,
    samples: int,
) -> Background:
    """Follow every transmission to every reflector and back. Needs no device and takes a fraction of a second."""
    simulator = EchoSimulator(model)
    x, z = reflectors.x_m.astype(np.float32), reflectors.z_m.astype(np.float32)
    echoes = np.empty((len(sequence.events), len(model.positions_m), samples), np.float32)
    amplitudes = _WaveMap(simulator, field, reflectors)
    delays = sequence.delays_s
    for start in range(0, len(sequence.events), TRANSMITS_AT_ONCE):
        part = slice(start, start + TRANSMITS_AT_ONCE)
        events = sequence.events[part]
        amplitude = amplitudes.at_reflectors(delays[part], weights[part])
        strongest = float(amplitude.max(initial=0.0))
        amplitude[amplitude < WEAKEST_SHARE * strongest] = 0.0
        met = np.flatnonzero(amplitude.any(axis=0))
        arrivals = np.stack(
            [
                arrival_s(event, probe, reflectors.x_m[met], reflectors.z_m[met], model.sound_speed_m_s)
                for event in events
            ]
        )
        strength = np.ascontiguousarray(amplitude[:, met] * reflectors.strength[met], dtype=np.float32)
        echoes[part] = simulator.echoes(x[met], z[met], arrivals, strength, sequence.t0_s[part], samples)
    return Background(model, sequence, weights, echoes)


class _WaveMap:
    """Amplitude of waves at the reflectors, from a regular grid over them."""

    def __init__(self, simulator: EchoSimulator, field: Field, reflectors: Reflectors) -> None:
        self._simulator = simulator
        if not len(reflectors):
            self._shape = (0, 0)
            return
        step = GRID_WAVELENGTHS * field.wavelength_m
        x, z = reflectors.x_m, reflectors.z_m
        columns, rows = int(np.ptp(x) / step) + 2, int(np.ptp(z) / step) + 2
        self._few = len(x) <= rows * columns
        self._shape = (rows, columns)
        if self._few:
            self._x, self._z = x.astype(np.float32), z.astype(np.float32)
            return
        grid_x, grid_z = np.meshgrid(x.min() + np.arange(columns) * step, z.min() + np.arange(rows) * step)
        self._x, self._z = grid_x.ravel().astype(np.float32), grid_z.ravel().astype(np.float32)
        at_x, at_z = (x - x.min()) / step, (z - z.min()) / step
        column, row = at_x.astype(np.intp), at_z.astype(np.intp)
        self._corner = row * columns + column
        self._share_x, self._share_z = (at_x - column).astype(np.float32), (at_z - row).astype(np.float32)

    def at_reflectors(self, delays_s: FloatArray, weights: FloatArray) -> NDArray[np.float32]:
        """(transmits, reflectors)"""
        if self._shape == (0, 0):
            return np.zeros((len(delays_s), 0), np.float32)
        out = np.empty((len(delays_s), len(self._x)), np.float32)
        self._simulator.amplitude(self._x, self._z, delays_s, weights, out)
        if self._few:
            return out
        columns, corner, right, down = self._shape[1], self._corner, self._share_x, self._share_z
        upper = out[:, corner] * (1 - right) + out[:, corner + 1] * right
        lower = out[:, corner + columns] * (1 - right) + out[:, corner + columns + 1] * right
        return np.asarray(upper * (1 - down) + lower * down)


class Renderer:
    """Frames over one background: adds the needle and the noise, applies the gain. One thread uses one renderer.

    `gain (samples,)` multiplies the echoes and the noise; `level` turns one unit of echo into counts.
    """

    def __init__(
        self,
        background: Background,
        probe: Probe,
        field: Field,
        needle: Needle | None,
        noise: NDArray[np.float32],
        noise_level: float,
        level: float,
        gain: NDArray[np.float32],
        seed: int,
    ) -> None:
        self._background, self._probe, self._field, self._needle = background, probe, field, needle
        self._noise, self._noise_level, self._level, self._gain = noise, noise_level, level, gain
        self._simulator = EchoSimulator(background.model)
        transmits, channels, samples = background.echoes.shape
        pieces = 0 if needle is None else PIECES
        self._points = np.zeros((4, pieces), np.float32)
        self._meeting = np.zeros((transmits, 3, pieces), np.float32)
        self._amplitude = np.zeros((transmits, pieces), np.float32)
        self._distances: FloatArray = np.zeros(0)
        if needle is not None:
            self._points[2], self._points[3] = needle.roughness(seed)
            self._distances = needle.distances_m()
        self._offsets = np.zeros((transmits, channels), np.int32)
        rows = np.arange(transmits * channels, dtype=np.uint64).reshape(transmits, channels)
        self._row_keys = _mix(rows + np.uint64(seed) * np.uint64(1 << 32))
        self._room = np.uint64(max(len(noise) - samples, 1))

    def frame(self, index: int, scene_time_s: float, out: NDArray[np.int16]) -> GroundTruth:
        """Frame `index` at a time in the scene into `out (transmits, channels, samples)`, and the truth about it."""
        pose = None
        axis, piece = (0.0, 1.0), 1e-6
        if self._needle is not None:
            pose, axis = self._needle.pose(scene_time_s)
            piece = self._needle.piece_m
            self._place(pose.tip_m, axis)
        keys = _mix(self._row_keys ^ np.uint64(index))
        np.remainder(keys, self._room, out=keys)
        self._offsets[...] = keys
        self._simulator.frame(
            self._points,
            self._meeting,
            axis,
            piece,
            self._background.echoes,
            self._noise,
            self._offsets,
            self._noise_level,
            self._level,
            self._gain,
            FULL_SCALE,
            out,
        )
        return GroundTruth(scene_time_s, pose)

    def _place(self, tip_m: tuple[float, float, float], axis: tuple[float, float]) -> None:
        background = self._background
        model, sequence = background.model, background.sequence
        x = tip_m[0] - self._distances * axis[0]
        z = tip_m[2] - self._distances * axis[1]
        self._points[0], self._points[1] = x, z
        self._simulator.amplitude(
            self._points[0], self._points[1], sequence.delays_s, background.weights, self._amplitude
        )
        outside = _depth(self._field, x, z) < 5e-4
        self._amplitude[:, outside] = 0.0
        self._meeting[:, 0] = self._amplitude
        arrivals = np.stack([arrival_s(event, self._probe, x, z, model.sound_speed_m_s) for event in sequence.events])
        self._meeting[:, 1] = self._simulator.arrival_in_samples(arrivals, sequence.t0_s)
        for transmit, event in enumerate(sequence.events):
            self._meeting[transmit, 2] = incoming_cosine(event, self._probe, x, z, axis)


def noise_tile(seed: int) -> NDArray[np.float32]:
    """White Gaussian noise of unit strength, from which every trace of every frame takes its own stretch."""
    return np.random.default_rng((seed, 0x6E6F)).standard_normal(NOISE_TILE, dtype=np.float32)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014."""
    mixed = values * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def neper_per_m(decibels_cm_mhz: float, frequency_hz: float) -> float:
    """One-way amplitude attenuation."""
    return decibels_cm_mhz * 100 * frequency_hz / 1e6 * math.log(10) / 20
