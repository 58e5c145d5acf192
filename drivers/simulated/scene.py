"""A scene in front of one probe: tissues on a raster, and what in them sends echoes.

Places are those of the scene: x = 0 and z = 0 are where the middle of the face is before the probe is moved. The scene
is the same at every y (it is drawn out through the image plane), but for the needle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sonod.cext.simulate import Reflectors, elevation
from sonod.drivers.frame import LabelMap
from sonod.drivers.probe import FloatArray
from sonod.drivers.simulated.field import Field
from sonod.drivers.simulated.outline import inside, outline, packed, pieces
from sonod.drivers.simulated.scene_file import FibresFile, FlowFile, LayerFile, SceneFile, TissueFile

# Tissue reflectors in a square of 1.5 wavelengths of the probe's centre frequency: a handful in a resolution cell. They
# make full speckle all the same: there are equally many everywhere, which alone would make the echoes of so few too
# even (mean over standard deviation 1.96), and their strengths spread by this share to either side of 1, which makes up
# for it (a spread from 0 on would give 1.86; a Gaussian field has 1.91).
REFLECTORS_PER_CELL = 3.2
CELL_WAVELENGTHS = 1.5
STRENGTH_SPREAD = 0.6
# Blood has this share of the reflectors that tissue has: they are elsewhere for every transmission, which costs.
BLOOD_SHARE = 0.5
# Tissue comes in layers of this share of the usual depth, each with its own seed: a deeper setting adds layers.
LAYER_SHARE = 1 / 16
# Steps of the raster of tissues, in wavelengths.
RASTER_WAVELENGTHS = 0.75
# Pieces of edges, in wavelengths, and how much of an edge's strength scatters everywhere.
EDGE_WAVELENGTHS = 1.2
EDGE_ROUGH = 0.35
# Strength of what stands out is given against this many tissue reflectors' usual echo.
OUTSIDE = "outside"
# Echoes that run to and fro between the face and a strong edge are followed this many times.
REVERBERATIONS = 4


@dataclass(frozen=True, eq=False)
class Standing:
    """Reflectors at rest in scene coordinates, in order of depth, and how much later than by its place each is heard
    (`lag_m (n,)`, extra way). `through` marks fibres that run through the image plane, `edge` pieces of edges."""

    reflectors: Reflectors
    lag_m: FloatArray
    through: NDArray[np.bool_]
    edge: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Stream:
    """Blood in a tube: places along the axis and beside it (-1..1), strengths, and the flow."""

    along_m: FloatArray
    beside: FloatArray
    strength: FloatArray
    first: FloatArray
    direction: FloatArray
    length_m: float
    radius_m: float
    flow: FlowFile

    def places(self, time_s: float) -> FloatArray:
        """(2, n) in scene coordinates at a time."""
        flow = self.flow
        swing = 2 * math.pi * flow.rate_hz
        pulse = time_s / 2 - (math.sin(swing * time_s) / (2 * swing) if swing else 0.0)
        way = flow.rest_m_s * time_s + (flow.peak_m_s - flow.rest_m_s) * pulse
        along = (self.along_m + way * (1 - self.beside**2)) % self.length_m
        across = np.array([-self.direction[1], self.direction[0]])
        return np.asarray(
            self.first[:, None] + self.direction[:, None] * along + across[:, None] * (self.radius_m * self.beside)
        )


class Scene:
    """The scene of a file, laid out for a field."""

    def __init__(self, file: SceneFile, field: Field, seed: int) -> None:
        self.file, self.field, self._seed = file, field, seed
        self.scale = field.depth_m / file.scene.depth_m if file.scene.fits_any_probe else 1.0
        self._tissues = dict(file.tissues)
        self.names = (OUTSIDE, *self._tissues)
        self._index = {name: place for place, name in enumerate(self.names)}
        self.labels = self._paint()
        self._layers: dict[tuple[int, float], Reflectors] = {}
        self._structures = self._outstanding()

    # -- tissues -------------------------------------------------------------------------------------------------------

    def tissue_at(self, x_m: FloatArray, z_m: FloatArray) -> NDArray[np.uint8]:
        """The label of the tissue at each place."""
        return self.labels.at(x_m, z_m)

    def attenuation(self, usual: float) -> FloatArray:
        """dB/cm/MHz of each label."""
        own = [usual]
        own += [
            usual if tissue.attenuation_db_cm_mhz is None else tissue.attenuation_db_cm_mhz
            for tissue in self._tissues.values()
        ]
        return np.array(own)

    def _paint(self) -> LabelMap:
        field, scale = self.field, self.scale
        step = RASTER_WAVELENGTHS * field.wavelength_m
        half, top, bottom = field.bounds_m()
        x = np.arange(-half, half + step, step)
        z = np.arange(top, bottom + step, step)
        grid_x, grid_z = np.meshgrid(x, z)
        depth = field.depth(grid_x, grid_z)
        labels = np.full(depth.shape, self._index[self.file.scene.tissue], np.uint8)
        for place in reversed(range(len(self.file.layers))):
            layer = self.file.layers[place]
            labels[depth < _edge_depth(layer, place, grid_x / scale) * scale] = self._index[layer.tissue]
        for shape in self.file.shapes:
            line = outline(shape, scale)
            mask = inside(line, x, z)
            labels[mask] = self._index[shape.tissue]
            if shape.fill is not None:
                middle = float(line[:, 0].mean()), float(line[:, 1].mean())
                fill = shape.fill
                mask &= packed(x[None, :], z[:, None], fill.radius_m * scale, fill.spacing_m * scale, middle)
                labels[mask] = self._index[fill.tissue]
        labels[depth < 0] = 0
        return LabelMap(self.names, labels, float(x[0]), float(z[0]), step)

    # -- what stands still ---------------------------------------------------------------------------------------------

    def standing(self, to_depth_m: float, share: float) -> Standing:
        """Everything that stands still down to a depth; with `share` other than 1 that part of the tissue's
        reflectors, each so much stronger or weaker that the echoes keep their level."""
        thickness = LAYER_SHARE * self.field.depth_m
        count = math.ceil(min(to_depth_m, self.field.deepest_m) / thickness)
        layers = [self._layer(number, share) for number in range(count)]
        tissue = _join(layers)
        own = self._structures
        parts = _join([tissue, own.reflectors])
        lag = np.concatenate([np.zeros(len(tissue)), own.lag_m])
        through = np.concatenate([np.zeros(len(tissue), bool), own.through])
        edge = np.concatenate([np.zeros(len(tissue), bool), own.edge])
        depth = self.field.depth(parts.x_m, parts.z_m) + lag / 2
        order = np.argsort(depth, kind="stable")
        order = order[: np.searchsorted(depth[order], to_depth_m)]
        return Standing(parts.take(order), lag[order], through[order], edge[order])

    def streams(self, share: float) -> tuple[Stream, ...]:
        """What flows, thinned or thickened like the tissue."""
        streams = []
        share *= BLOOD_SHARE
        for place, shape in enumerate(self.file.shapes):
            if shape.flow is None:
                continue
            assert shape.from_m is not None
            assert shape.to_m is not None
            assert shape.radius_m is not None
            first, last = np.array(shape.from_m) * self.scale, np.array(shape.to_m) * self.scale
            length, radius = float(np.linalg.norm(last - first)), shape.radius_m * self.scale
            random = np.random.default_rng((self._seed, 0x626C, place))
            count = max(1, round(self._density * share * 2 * radius * length))
            sign = random.choice([-1.0, 1.0], count)
            level = _level(self._tissues[shape.tissue].echo_db) / math.sqrt(share)
            along, beside = random.uniform(0, length, count), random.uniform(-1, 1, count)
            direction = (last - first) / length
            middle = first[:, None] + direction[:, None] * along
            strength = sign * level * self._thickness(middle[0], middle[1])
            streams.append(Stream(along, beside, strength, first, direction, length, radius, shape.flow))
        return tuple(streams)

    @property
    def _density(self) -> float:
        return REFLECTORS_PER_CELL / (CELL_WAVELENGTHS * self.field.wavelength_m) ** 2

    def _layer(self, number: int, share: float) -> Reflectors:
        """Tissue of one layer, always drawn whole, so that the depth setting changes nothing in it; kept."""
        found = self._layers.get((number, share))
        if found is not None:
            return found
        random = np.random.default_rng((self._seed, number))
        thickness = LAYER_SHARE * self.field.depth_m
        top, bottom = number * thickness, (number + 1) * thickness
        x, z = self.field.scatter(self._density * share, top, bottom, random)
        sign = random.choice(np.array([-1.0, 1.0]), len(x))
        size = random.uniform(1 - STRENGTH_SPREAD, 1 + STRENGTH_SPREAD, len(x)) / math.sqrt(1 + STRENGTH_SPREAD**2 / 3)
        strength = sign * size / math.sqrt(share)
        levels = np.array([0.0] + [_level(tissue.echo_db) for tissue in self._tissues.values()])
        for shape in self.file.shapes:
            if shape.flow is not None:
                levels[self._index[shape.tissue]] = 0.0
        strength *= levels[self.tissue_at(x, z)]
        strength *= self._thickness(x, z)
        heard = strength != 0
        made = Reflectors.points(x[heard], z[heard], strength[heard])
        self._layers[number, share] = made
        return made

    def _thickness(self, x_m: FloatArray, z_m: FloatArray) -> FloatArray:
        """Strength of all the tissue through the plane that one reflector stands for: the root of the thickness of the
        slice that the elevation beam hears, against that at half the usual depth."""
        depth, root = self._slice
        return np.asarray(np.interp(self.field.depth(x_m, z_m), depth, root))

    @cached_property
    def _slice(self) -> tuple[FloatArray, FloatArray]:
        """Depths, and the root of the slice's relative thickness there."""
        probe = self.field.probe
        if probe.element_height_m <= 0:
            return np.zeros(1), np.ones(1)
        usual = self.field.depth_m / 2
        depth = np.append(np.geomspace(1e-3, self.field.deepest_m * 1.2, 40), usual)
        half = probe.element_height_m
        y = np.linspace(0, 1.5 * half, 41)
        beam = elevation(depth, y, half, probe.elevation_focus_m, self.field.wavelength_m)
        # Two ways squared, for energy adds up over the slice; both sides of the plane are alike.
        share = (beam / beam[0]) ** 4
        slice_m = 2 * share.sum(axis=0) - share[0]
        root = np.sqrt(slice_m / slice_m[-1])
        return depth[:-1], root[:-1]

    # -- edges, fibres and wires ---------------------------------------------------------------------------------------

    def _outstanding(self) -> Standing:
        """What stands out of the tissue, whatever the depth."""
        random = np.random.default_rng((self._seed, 0x6564))
        parts: list[tuple[Reflectors, float, bool, bool]] = []
        length = EDGE_WAVELENGTHS * self.field.wavelength_m
        for place, layer in enumerate(self.file.layers):
            if layer.edge_db is not None:
                line = self._layer_edge(layer, place)
                parts.append(
                    (self._edge(line, length, layer.edge_db, random, closed=False, top=False), 0.0, False, True)
                )
        for shape in self.file.shapes:
            if shape.edge_db is None:
                continue
            line = outline(shape, self.scale)
            own = self._edge(line, length, shape.edge_db, random, closed=True, top=shape.edge == "top")
            parts.append((own, 0.0, False, True))
            if shape.reverberation and len(own):
                depth = 2 * float(self.field.depth(own.x_m, own.z_m).min())
                for turn in range(1, REVERBERATIONS + 1):
                    weaker = _scaled(own, shape.reverberation**turn)
                    parts.append((weaker, turn * depth, False, True))
        for name, tissue in self._tissues.items():
            if tissue.fibres is not None:
                parts.append((self._fibres(name, tissue, tissue.fibres, random), 0.0, tissue.fibres.across, False))
        wires = self.file.points
        if wires:
            x, z = self.scale * np.array([wire.at_m for wire in wires]).T
            strength = np.array([_level(wire.echo_db) for wire in wires])
            parts.append((Reflectors.points(x, z, strength), 0.0, False, False))
        return Standing(
            _join([own for own, _, _, _ in parts]),
            np.concatenate([np.full(len(own), lag) for own, lag, _, _ in parts] or [np.zeros(0)]),
            np.concatenate([np.full(len(own), across) for own, _, across, _ in parts] or [np.zeros(0, bool)]),
            np.concatenate([np.full(len(own), edge) for own, _, _, edge in parts] or [np.zeros(0, bool)]),
        )

    def _layer_edge(self, layer: LayerFile, place: int) -> FloatArray:
        half, _, _ = self.field.bounds_m()
        x = np.linspace(-half, half, 400)
        depth = _edge_depth(layer, place, x / self.scale) * self.scale
        if self.field.half_angle_rad == 0:
            return np.stack([x, depth], axis=1)
        radius = self.field.probe.radius_m
        reach = np.abs(x) < 0.999 * (radius + depth)
        x, depth = x[reach], depth[reach]
        return np.stack([x, np.sqrt((radius + depth) ** 2 - x**2) - radius], axis=1)

    def _edge(
        self, line: FloatArray, length: float, echo_db: float, random: np.random.Generator, *, closed: bool, top: bool
    ) -> Reflectors:
        middles, axis, own = pieces(line, length, closed=closed)
        keep = np.ones(middles.shape[1], bool)
        if top:
            # Outward is to the side on which the middle of the shape is not.
            centre = line.mean(axis=0)[:, None]
            normal = np.stack([axis[1], -axis[0]])
            outward = normal * np.sign((normal * (middles - centre)).sum(axis=0))
            keep = outward[1] < 0.1
        keep &= self.field.depth(middles[0], middles[1]) > 0
        level: FloatArray = _level(echo_db) * np.asarray(random.uniform(0.6, 1.3, middles.shape[1]))
        rough = EDGE_ROUGH * level * random.choice([-1.0, 1.0], len(level))
        return Reflectors(
            middles[0][keep].astype(np.float32),
            middles[1][keep].astype(np.float32),
            rough[keep].astype(np.float32),
            level[keep].astype(np.float32),
            axis[:, keep].astype(np.float32),
            np.full(int(keep.sum()), own, np.float32),
        )

    def _fibres(self, name: str, tissue: TissueFile, fibres: FibresFile, random: np.random.Generator) -> Reflectors:
        own = self.labels.raster == self._index[name]
        if not own.any():
            return Reflectors.none()
        rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
        step = self.labels.spacing_m
        x0, x1 = self.labels.first_x_m + step * columns[[0, -1]]
        z0, z1 = self.labels.first_z_m + step * rows[[0, -1]]
        spacing, length = fibres.spacing_m * self.scale, fibres.length_m * self.scale
        middle = np.array([(x0 + x1) / 2, (z0 + z1) / 2])
        reach = math.hypot(x1 - x0, z1 - z0) / 2 + length
        along = np.array([math.cos(fibres.angle_rad), math.sin(fibres.angle_rad)])
        if fibres.across:
            count = round((x1 - x0 + spacing) * (z1 - z0 + spacing) / spacing**2)
            x, z = random.uniform(x0, x1, count), random.uniform(z0, z1, count)
            axis = np.zeros((2, count))
        else:
            lines = np.arange(-reach, reach, spacing)
            u = np.arange(-reach, reach, length)
            v = lines[:, None] + random.uniform(-0.25, 0.25, (len(lines), 1)) * spacing
            # Fibres wander a little from their line.
            v = v + 0.3 * spacing * np.cumsum(random.standard_normal((len(lines), len(u))), axis=1) / math.sqrt(len(u))
            u = np.broadcast_to(u + random.uniform(0, length, (len(lines), 1)), v.shape)
            x = (middle[0] + along[0] * u - along[1] * v).ravel()
            z = (middle[1] + along[1] * u + along[0] * v).ravel()
            axis = np.broadcast_to(along[:, None], (2, len(x)))
        keep = self.tissue_at(x, z) == self._index[name]
        strength = _level(fibres.echo_db) * random.uniform(0.2, 1.2, len(x))
        strength *= self._thickness(x, z) if fibres.across else 1.0
        return Reflectors(
            x[keep].astype(np.float32),
            z[keep].astype(np.float32),
            np.zeros(int(keep.sum()), np.float32),
            strength[keep].astype(np.float32),
            axis[:, keep].astype(np.float32),
            np.full(int(keep.sum()), length, np.float32),
        )


def _edge_depth(layer: LayerFile, place: int, x: FloatArray) -> FloatArray:
    """Depth of a layer's lower edge below the face."""
    wave = layer.wave_m * np.sin(2 * math.pi * x / layer.wave_length_m + 1.7 * place)
    return np.asarray(layer.to_m + wave + layer.slope * x)


def _level(echo_db: float | None) -> float:
    return 0.0 if echo_db is None else 10 ** (echo_db / 20)


def _scaled(own: Reflectors, factor: float) -> Reflectors:
    return Reflectors(
        own.x_m, own.z_m, own.rough * np.float32(factor), own.smooth * np.float32(factor), own.axis, own.piece_m
    )


def _join(parts: list[Reflectors]) -> Reflectors:
    if not parts:
        return Reflectors.none()
    return Reflectors(
        np.concatenate([part.x_m for part in parts]),
        np.concatenate([part.z_m for part in parts]),
        np.concatenate([part.rough for part in parts]),
        np.concatenate([part.smooth for part in parts]),
        np.concatenate([part.axis for part in parts], axis=1),
        np.concatenate([part.piece_m for part in parts]),
    )
