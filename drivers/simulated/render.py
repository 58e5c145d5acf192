"""Frames of channel RF: what stands still is computed once for a setting, what moves is added to every frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sonod.cext.simulate import EchoModel, EchoSimulator, Meeting, Reflectors
from sonod.drivers.frame import GroundTruth, Injectate
from sonod.drivers.probe import FloatArray, Probe
from sonod.drivers.sequence import Sequence, TransmitEvent
from sonod.drivers.simulated.beside import Beside
from sonod.drivers.simulated.needle import Needle, Placed, Steering
from sonod.drivers.simulated.scene import Scene, Standing
from sonod.drivers.simulated.shade import Shade
from sonod.drivers.simulated.wave import arrival_s, direction

# Transmissions whose echoes are summed at a time: bounds the memory of the grid.
TRANSMITS_AT_ONCE = 4
# Reflectors that a wave meets this much weaker than the strongest (-46 dB) are left out: focused beams are narrow.
WEAKEST_SHARE = 5e-3
# Waves are followed on a grid of this many wavelengths (across, down), and interpolated; focused beams are narrow.
BROAD_GRID, NARROW_GRID = (2.0, 2.0), (0.7, 2.5)
NOISE_TILE = 1 << 18
# Nearer to the face than this nothing moves.
NEAREST_M = 5e-4
# Fluid pushes tissue aside up to this many of its radii away.
PUSHED_RADII = 2.0

FULL_SCALE = 8191.0  # 14 bit


@dataclass(frozen=True)
class View:
    """Where the probe and the needle are, and how finely tissue is simulated; of the scene's knobs.

    `steering` is None for the scripted needle; `needle` False takes it away. `injectate` is the share that a client has
    injected, None = as the script has it.
    """

    probe_x_m: float = 0.0
    probe_tilt_rad: float = 0.0
    needle: bool = True
    steering: Steering | None = None
    injectate: float | None = None
    quality: float = 1.0


@dataclass(frozen=True, eq=False)
class Background:
    """Echoes of everything that stands still, before gain: `echoes (transmits, channels, samples)`, float32.

    `movable` are the tissue reflectors around the place where fluid may come, which are not in it.
    """

    simulator: EchoSimulator
    sequence: Sequence
    start_s: FloatArray
    echoes: NDArray[np.float32]
    shade: Shade
    waves: WaveMap
    movable: Reflectors

    @property
    def model(self) -> EchoModel:
        return self.simulator.model

    def shortened(self, samples: int) -> Background:
        """The same with only the first so many samples."""
        if samples == self.echoes.shape[2]:
            return self
        return replace(self, echoes=np.ascontiguousarray(self.echoes[..., :samples]))


def render_background(
    model: EchoModel,
    sequence: Sequence,
    weights: FloatArray,
    probe: Probe,
    scene: Scene,
    view: View,
    share: float,
    to_depth_m: float,
    usual_attenuation: float,
    samples: int,
) -> Background:
    """Follow every transmission to every reflector and back. Needs no device and takes a fraction of a second."""
    simulator = EchoSimulator(model)
    shade = Shade(
        scene.labels,
        scene.attenuation(usual_attenuation),
        usual_attenuation,
        scene.field,
        model.stations_m(),
        view.probe_x_m,
        to_depth_m,
    )
    standing = scene.standing(to_depth_m, share)
    own, lag = _seen_by_the_probe(standing, scene, view)
    waves = WaveMap(simulator, sequence, weights, probe, scene, shade, to_depth_m)
    movable = Reflectors.none()
    around = _injection_area(scene)
    if around is not None:
        center, radii = around
        across = (own.x_m + view.probe_x_m - center[0]) / radii[0]
        down = (own.z_m - center[1]) / radii[1]
        moves = (np.hypot(across, down) < PUSHED_RADII) & (own.smooth == 0)
        movable = own.take(np.flatnonzero(moves))
        own, lag = own.take(np.flatnonzero(~moves)), lag[~moves]
    own = replace(own, loss=shade.factors(own.x_m, own.z_m, model.pulse.frequency_hz))
    start = _mean_start(sequence)
    echoes = np.empty((len(sequence.events), len(model.positions_m), samples), np.float32)
    for first in range(0, len(sequence.events), TRANSMITS_AT_ONCE):
        part = slice(first, first + TRANSMITS_AT_ONCE)
        amplitude = waves.at(own.x_m, own.z_m, part)
        size = np.abs(amplitude)
        met = np.flatnonzero((size >= WEAKEST_SHARE * size.max(initial=0.0)).any(axis=0))
        chosen = own if len(met) == len(own) else own.take(met)
        meeting = _meeting(sequence.events[part], probe, chosen, lag[met], amplitude[:, met], model.sound_speed_m_s)
        echoes[part] = simulator.echoes(chosen, meeting, sequence.t0_s[part], samples, start[part])
    return Background(simulator, sequence, start, echoes, shade, waves, movable)


def _seen_by_the_probe(standing: Standing, scene: Scene, view: View) -> tuple[Reflectors, FloatArray]:
    """Reflectors in the image or beside it, in transducer coordinates, as a tilted probe meets them."""
    own = standing.reflectors
    x = own.x_m - np.float32(view.probe_x_m)
    inside = np.flatnonzero(scene.field.seen(x, own.z_m))
    moved = replace(own, x_m=x).take(inside)
    tilt = view.probe_tilt_rad
    if tilt:
        axis, smooth = moved.axis.copy(), moved.smooth.copy()
        through, edge = standing.through[inside], standing.edge[inside]
        axis[1, through] = math.sin(tilt)
        # An edge mirrors the beam out of the plane: so much of the elevation aperture gets its own sound back.
        probe = scene.field.probe
        focus = probe.elevation_focus_m if math.isfinite(probe.elevation_focus_m) else scene.field.depth_m
        opening = probe.element_height_m / focus or 0.2
        smooth[edge] *= max(0.0, 1 - abs(math.tan(2 * tilt)) / opening)
        moved = replace(moved, axis=axis, smooth=smooth)
    return moved, standing.lag_m[inside]


def _injection_area(scene: Scene) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Centre and greatest radii of the injectate, in scene coordinates."""
    file = scene.file
    if file.injectate is None or file.needle is None:
        return None
    scale = scene.scale
    x, z = file.needle.end_m
    return (x * scale, z * scale), (file.injectate.radius_m[0] * scale, file.injectate.radius_m[1] * scale)


def _mean_start(sequence: Sequence) -> FloatArray:
    return np.asarray(np.nanmean(sequence.delays_s, axis=1))


def _meeting(
    events: tuple[TransmitEvent, ...],
    probe: Probe,
    reflectors: Reflectors,
    lag_m: FloatArray,
    amplitude: NDArray[np.complex64],
    sound_speed_m_s: float,
) -> Meeting:
    x, z = reflectors.x_m.astype(float), reflectors.z_m.astype(float)
    arrivals = np.stack([arrival_s(event, probe, x, z, sound_speed_m_s) for event in events])
    arrivals += lag_m / sound_speed_m_s
    incoming = np.zeros(arrivals.shape, np.float32)
    smooth = np.flatnonzero(reflectors.smooth)
    if len(smooth):
        axis = reflectors.axis[:, smooth]
        for index, event in enumerate(events):
            dx, dz = direction(event, probe, x[smooth], z[smooth])
            incoming[index, smooth] = dx * axis[0] + dz * axis[1]
    return Meeting(arrivals, amplitude, incoming)


class WaveMap:
    """Complex amplitude of every transmission in the field, on a regular grid, relative to its arrival there."""

    def __init__(
        self,
        simulator: EchoSimulator,
        sequence: Sequence,
        weights: FloatArray,
        probe: Probe,
        scene: Scene,
        shade: Shade,
        to_depth_m: float,
    ) -> None:
        narrow = any(event.kind == "focused" for event in sequence.events)
        wavelength = simulator.model.wavelength_m
        self._step_x, self._step_z = (share * wavelength for share in (NARROW_GRID if narrow else BROAD_GRID))
        half, top, _ = scene.field.bounds_m()
        half -= scene.field.slide_m
        self._first_x, self._first_z = -half, top
        columns, rows = int(2 * half / self._step_x) + 2, int((to_depth_m - top) / self._step_z) + 2
        x = (self._first_x + np.arange(columns) * self._step_x).astype(np.float32)
        z = (self._first_z + np.arange(rows) * self._step_z).astype(np.float32)
        grid_x, grid_z = (part.ravel() for part in np.meshgrid(x, z))
        loss = shade.factors(grid_x, grid_z, simulator.model.pulse.frequency_hz)
        c = simulator.model.sound_speed_m_s
        arrivals = np.stack([arrival_s(event, probe, grid_x, grid_z, c) for event in sequence.events])
        self._map = simulator.amplitude(grid_x, grid_z, sequence.delays_s, weights, arrivals, loss)
        self._columns, self._rows = columns, rows

    def at(
        self, x_m: NDArray[np.float32], z_m: NDArray[np.float32], transmits: slice = slice(None)
    ) -> NDArray[np.complex64]:
        """(transmits, places)"""
        at_x = np.clip((x_m - self._first_x) / self._step_x, 0, self._columns - 1.001)
        at_z = np.clip((z_m - self._first_z) / self._step_z, 0, self._rows - 1.001)
        column, row = at_x.astype(np.intp), at_z.astype(np.intp)
        right, down = (at_x - column).astype(np.float32), (at_z - row).astype(np.float32)
        corner = row * self._columns + column
        table = self._map[transmits]
        out = table.take(corner, axis=1) * ((1 - right) * (1 - down))
        out += table.take(corner + 1, axis=1) * (right * (1 - down))
        out += table.take(corner + self._columns, axis=1) * ((1 - right) * down)
        out += table.take(corner + self._columns + 1, axis=1) * (right * down)
        return np.asarray(out, np.complex64)


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
            meeting = _meeting(
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
        area = _injection_area(self._scene)
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
        area = _injection_area(self._scene)
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


def neper_per_m_hz(decibels_cm_mhz: float) -> float:
    """One-way amplitude attenuation that rises with frequency."""
    return decibels_cm_mhz * 100 / 1e6 * math.log(10) / 20
