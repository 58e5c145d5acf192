"""Frames of channel RF: what stands still is computed once for a setting, what moves is added to every frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sonod.cext.simulate import Reflectors
from sonod.drivers.frame import GroundTruth, Injectate
from sonod.drivers.probe import FloatArray, Probe
from sonod.drivers.simulated.background import NEAREST_M, PUSHED_RADII, Background, View, injection_area, meet
from sonod.drivers.simulated.beside import Beside
from sonod.drivers.simulated.needle import Needle, Placed
from sonod.drivers.simulated.scene import Scene

NOISE_TILE = 1 << 18
FULL_SCALE = 8191.0  # 14 bit


@dataclass(frozen=True)
class FrontEnd:
    """Noise and gain: `gain (samples,)` multiplies the echoes and the noise; `level` turns an echo of 1 into counts."""

    noise: NDArray[np.float32]
    noise_level: float
    level: float
    gain: NDArray[np.float32]


class Renderer:
    """Frames over one background: adds what moves and the noise, applies the gain. One thread uses one renderer."""

    def __init__(
        self,
        background: Background,
        probe: Probe,
        scene: Scene,
        needle: Needle | None,
        view: View,
        share: float,
        front_end: FrontEnd,
        seed: int,
    ) -> None:
        self._background, self._probe, self._scene = background, probe, scene
        self._needle, self._view, self._front = needle if view.needle else None, view, front_end
        self._streams = scene.streams(share)
        transmits, channels, samples = background.echoes.shape
        sequence = background.sequence
        parts = range(transmits) if self._streams else (0,)
        self._shots = [slice(part, part + 1) if self._streams else slice(None) for part in parts]
        self._moving = [
            background.simulator.moving(samples, sequence.t0_s[shot], background.start_s[shot]) for shot in self._shots
        ]
        # One shot after the other, each as long as its record.
        self._shot_s = samples / background.model.sampling_hz
        self._offsets = np.zeros((transmits, channels), np.int32)
        rows = np.arange(transmits * channels, dtype=np.uint64).reshape(transmits, channels)
        self._row_keys = _mix(rows + np.uint64(seed) * np.uint64(1 << 32))
        self._room = np.uint64(max(len(front_end.noise) - samples, 1))

    def frame(self, index: int, scene_time_s: float, out: NDArray[np.int16]) -> GroundTruth:
        """Frame `index` at a time in the scene into `out (transmits, channels, samples)`, and the truth about it."""
        background, view, front, scene = self._background, self._view, self._front, self._scene
        placed = self._placed(scene_time_s)
        growth = self._growth(scene_time_s)
        keys = _mix(self._row_keys ^ np.uint64(index))
        np.remainder(keys, self._room, out=keys)
        self._offsets[...] = keys
        still = self._still_parts(placed, growth)
        for number, (shot, moving) in enumerate(zip(self._shots, self._moving, strict=True)):
            flowing = self._flowing(scene_time_s + number * self._shot_s)
            own, lag = _together([*still, *flowing])
            events = background.sequence.events[shot]
            meeting = meet(
                events,
                self._probe,
                own,
                lag,
                background.waves.at(own.x_m, own.z_m, shot),
                background.model.sound_speed_m_s,
            )
            moving.frame(
                own,
                meeting,
                background.echoes[shot],
                front.noise,
                self._offsets[shot],
                front.noise_level,
                front.level,
                front.gain,
                FULL_SCALE,
                out[shot],
            )
        pose = None
        if placed is not None and self._needle is not None:
            pose = placed.pose(self._needle.length_m, self._needle.diameter_m, view.probe_x_m)
        return GroundTruth(
            scene_time_s,
            pose,
            tissues=scene.labels,
            injectate=self._injectate(growth),
            probe_x_m=view.probe_x_m,
        )

    @cached_property
    def _beside(self) -> Beside:
        return Beside(self._probe, self._background.model.wavelength_m, self._scene.field.deepest_m)

    # -- what moves ----------------------------------------------------------------------------------------------------

    def _placed(self, scene_time_s: float) -> Placed | None:
        if self._needle is None:
            return None
        steering = self._view.steering
        return self._needle.scripted(scene_time_s) if steering is None else self._needle.steered(steering)

    def _growth(self, scene_time_s: float) -> float:
        """How far the injectate has spread, 0..1."""
        file = self._scene.file
        if file.injectate is None or file.needle is None:
            return 0.0
        if self._view.injectate is not None:
            return self._view.injectate
        if self._needle is None:
            return 0.0
        since = scene_time_s % file.needle.period_s - file.injectate.start_s
        return min(max(since / file.injectate.duration_s, 0.0), 1.0)

    def _injectate(self, growth: float) -> Injectate | None:
        area = injection_area(self._scene)
        if area is None or growth <= 0:
            return None
        (x, z), (wide, high) = area
        share = math.sqrt(growth)
        return Injectate((x - self._view.probe_x_m, z), (wide * share, high * share))

    def _still_parts(self, placed: Placed | None, growth: float) -> list[tuple[Reflectors, FloatArray]]:
        """Needle and pushed tissue, the same for every shot of a frame; in transducer coordinates."""
        parts = []
        if placed is not None and self._needle is not None:
            parts.append(self._needle_parts(self._needle, placed))
        movable = self._background.movable
        if len(movable):
            moved = self._pushed(movable, growth)
            parts.append((moved, np.zeros(len(moved))))
        return parts

    def _needle_parts(self, needle: Needle, placed: Placed) -> tuple[Reflectors, FloatArray]:
        field, view = self._scene.field, self._view
        x, y, z = needle.places(placed)
        x = x - view.probe_x_m
        depth = np.asarray(field.depth(x, z))
        seen = np.flatnonzero((depth > NEAREST_M) & field.seen(x, z))
        x, y, z, depth = x[seen], y[seen], z[seen], depth[seen]
        rough, mirror, lag = needle.rough[seen], needle.mirror[seen], needle.lag_m[seen]
        if np.any(y != 0):
            beside = self._beside.share(depth, y)
            near = beside > 1e-3
            x, y, z, depth, seen = x[near], y[near], z[near], depth[near], seen[near]
            rough, mirror, lag = rough[near] * beside[near], mirror[near] * beside[near], lag[near] + y**2 / depth
        axis = np.broadcast_to(np.array([[placed.axis[0]], [placed.axis[2]]]), (2, len(x)))
        own = Reflectors(
            x.astype(np.float32),
            z.astype(np.float32),
            rough.astype(np.float32),
            mirror.astype(np.float32),
            axis.astype(np.float32),
            needle.pieces_m[seen].astype(np.float32),
        )
        return self._shaded(own), lag

    def _pushed(self, movable: Reflectors, growth: float) -> Reflectors:
        """Tissue around the injectate, pushed aside so that none is left in it and its area is kept."""
        area = injection_area(self._scene)
        assert area is not None
        if growth > 0:
            (x, z), (wide, high) = area
            across = (movable.x_m + self._view.probe_x_m - x) / wide
            down = (movable.z_m - z) / high
            distance = np.maximum(np.hypot(across, down), 1e-6)
            pushed = np.sqrt(distance**2 + growth * np.maximum(1 - (distance / PUSHED_RADII) ** 2, 0))
            factor = pushed / distance
            movable = replace(
                movable,
                x_m=(across * factor * wide + x - self._view.probe_x_m).astype(np.float32),
                z_m=(down * factor * high + z).astype(np.float32),
            )
        return self._shaded(movable)

    def _flowing(self, time_s: float) -> list[tuple[Reflectors, FloatArray]]:
        parts = []
        for stream in self._streams:
            x, z = stream.places(time_s)
            x = x - self._view.probe_x_m
            seen = self._scene.field.seen(x, z) & (self._scene.field.depth(x, z) > NEAREST_M)
            own = Reflectors.points(x[seen], z[seen], stream.strength[seen])
            parts.append((self._shaded(own), np.zeros(len(own))))
        return parts

    def _shaded(self, own: Reflectors) -> Reflectors:
        background = self._background
        return replace(own, loss=background.shade.factors(own.x_m, own.z_m, background.model.pulse.frequency_hz))


def _together(parts: list[tuple[Reflectors, FloatArray]]) -> tuple[Reflectors, FloatArray]:
    if not parts:
        return Reflectors.none(), np.zeros(0)
    if len(parts) == 1:
        return parts[0]
    own = [part for part, _ in parts]
    losses = [part.loss for part in own if len(part)]
    joined = Reflectors(
        np.concatenate([part.x_m for part in own]),
        np.concatenate([part.z_m for part in own]),
        np.concatenate([part.rough for part in own]),
        np.concatenate([part.smooth for part in own]),
        np.concatenate([part.axis for part in own], axis=1),
        np.concatenate([part.piece_m for part in own]),
        np.concatenate(losses) if losses and len(losses[0]) else own[0].loss[:0],
    )
    return joined, np.concatenate([lag for _, lag in parts])


def noise_tile(seed: int) -> NDArray[np.float32]:
    """White Gaussian noise of unit strength, from which every trace of every frame takes its own stretch."""
    return np.random.default_rng((seed, 0x6E6F)).standard_normal(NOISE_TILE, dtype=np.float32)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014."""
    mixed = values * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
