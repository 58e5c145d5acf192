"""What stands still, computed once for a setting: the waves of its transmissions, and their echoes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sonod.cext.simulate import EchoModel, EchoSimulator, Meeting, Reflectors
from sonod.drivers.probe import FloatArray, Probe
from sonod.drivers.sequence import Sequence, TransmitEvent
from sonod.drivers.simulated.needle import Steering
from sonod.drivers.simulated.scene import Scene, Standing
from sonod.drivers.simulated.shade import Shade
from sonod.drivers.simulated.wave import arrival_s, direction

# Transmissions whose echoes are summed at a time: bounds the memory of the grid.
TRANSMITS_AT_ONCE = 4
# Reflectors that a wave meets this much weaker than the strongest (-46 dB) are left out: focused beams are narrow.
WEAKEST_SHARE = 5e-3
# Waves are followed on a grid of this many wavelengths (across, down), and interpolated; focused beams are narrow.
BROAD_GRID, NARROW_GRID = (2.0, 2.0), (0.7, 2.5)
# Nearer to the face than this nothing moves.
NEAREST_M = 5e-4
# Fluid pushes tissue aside up to this many of its radii away.
PUSHED_RADII = 2.0


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
    around = injection_area(scene)
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
        meeting = meet(sequence.events[part], probe, chosen, lag[met], amplitude[:, met], model.sound_speed_m_s)
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


def injection_area(scene: Scene) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Centre and greatest radii of the injectate, in scene coordinates."""
    file = scene.file
    if file.injectate is None or file.needle is None:
        return None
    scale = scene.scale
    x, z = file.needle.end_m
    return (x * scale, z * scale), (file.injectate.radius_m[0] * scale, file.injectate.radius_m[1] * scale)


def _mean_start(sequence: Sequence) -> FloatArray:
    return np.asarray(np.nanmean(sequence.delays_s, axis=1))


def meet(
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
