"""What the simulated probe looks at: fixed reflectors, the same whatever the settings are.

Places are given as shares of the probe's usual depth, so that one phantom suits every probe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sonod.drivers.probe import ArrayKind, FloatArray, Probe
from sonod.drivers.simulated.needle import Needle, NeedleCourse
from sonod.drivers.simulated.scan import half_angle_rad

# Reflectors in a square of 1.5 wavelengths, about a resolution cell at an f-number of 1.5: enough for full speckle.
REFLECTORS_PER_CELL = 4
CELL_WAVELENGTHS = 1.5
# Tissue comes in layers of this share of the usual depth, each with its own seed: a deeper setting adds layers.
LAYER_SHARE = 1 / 16
# Strengths are in units of one tissue reflector.
WIRE_STRENGTH = 60.0
# Margin beside the image from which echoes still come in.
MARGIN_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Reflectors:
    """Points in the image plane, `x_m`, `z_m` and `strength (points,)`, in order of depth."""

    x_m: FloatArray
    z_m: FloatArray
    strength: FloatArray

    def __len__(self) -> int:
        return len(self.x_m)


@dataclass(frozen=True)
class Field:
    """Where the image is: `width_m` of the face, `half_angle_rad` of the sector (0 = straight), usual depth."""

    probe: Probe
    depth_m: float
    wavelength_m: float

    @property
    def half_angle_rad(self) -> float:
        return half_angle_rad(self.probe)

    def at(self, across: float, share: float) -> tuple[float, float]:
        """(x, z) at `share` of the usual depth and `across` (-1..1) from edge to edge of the image there."""
        depth = share * self.depth_m
        if self.half_angle_rad == 0:
            return across * self.probe.aperture_m / 2, depth
        radius = self.probe.radius_m
        angle = across * self.half_angle_rad
        return (radius + depth) * math.sin(angle), (radius + depth) * math.cos(angle) - radius


class Scene(Protocol):
    """How strongly tissue reflects at (x, z), relative to the average; and the points that stand out."""

    def tissue(self, field: Field, x_m: FloatArray, z_m: FloatArray) -> FloatArray: ...

    def points(self, field: Field) -> tuple[tuple[float, float, float], ...]: ...

    def needle(self, field: Field) -> Needle | None: ...


def reflectors(scene: Scene, field: Field, to_depth_m: float, seed: int, share: float = 1.0) -> Reflectors:
    """Everything that stands still down to `to_depth_m`; with `share` < 1 that part of the tissue's reflectors, each
    so much stronger that the echoes keep their level."""
    places: list[FloatArray] = []
    thickness = LAYER_SHARE * field.depth_m
    for layer in range(math.ceil(to_depth_m / thickness)):
        # A layer is always drawn whole, so that the depth setting changes nothing in it.
        random = np.random.default_rng((seed, layer))
        x, z = _scatter(field, layer * thickness, (layer + 1) * thickness, random)
        kept = round(share * len(x))
        strength = random.standard_normal(len(x))[:kept] / math.sqrt(share)
        x, z = x[:kept], z[:kept]
        strength *= scene.tissue(field, x, z)
        seen = (strength != 0) & (_depth(field, x, z) <= to_depth_m)
        order = np.argsort(x[seen], kind="stable")
        places.append(np.stack([x[seen], z[seen], strength[seen]])[:, order])
    points = np.array(scene.points(field), dtype=np.float64).reshape(-1, 3).T
    places.append(points[:, points[1] <= to_depth_m])
    x, z, strength = np.concatenate(places, axis=1)
    return Reflectors(x, z, strength)


def _depth(field: Field, x: FloatArray, z: FloatArray) -> FloatArray:
    if field.half_angle_rad == 0:
        return z
    return np.asarray(np.hypot(x, z + field.probe.radius_m) - field.probe.radius_m)


def _scatter(field: Field, top: float, bottom: float, random: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Points evenly over one layer of the image and a margin beside it."""
    density = REFLECTORS_PER_CELL / (CELL_WAVELENGTHS * field.wavelength_m) ** 2
    if field.half_angle_rad == 0:
        half = field.probe.aperture_m * (0.5 + MARGIN_SHARE)
        count = round(density * 2 * half * (bottom - top))
        x, z = random.uniform(-half, half, count), random.uniform(top, bottom, count)
        return x, z
    radius, half = field.probe.radius_m, field.half_angle_rad * (1 + MARGIN_SHARE)
    inner, outer = radius + top, radius + bottom
    count = round(density * half * (outer**2 - inner**2))
    distance = np.sqrt(random.uniform(inner**2, outer**2, count))
    angle = random.uniform(-half, half, count)
    return distance * np.sin(angle), distance * np.cos(angle) - radius


def _disc(field: Field, x: FloatArray, z: FloatArray, across: float, share: float, radius: float) -> FloatArray:
    """Distance from a disc's centre in units of its radius; `radius` is a share of the usual depth."""
    cx, cz = field.at(across, share)
    return np.asarray(np.hypot(x - cx, z - cz) / (radius * field.depth_m))


class Wires:
    """Thin wires in water: a column in the middle, and rows across at three depths."""

    def tissue(self, field: Field, x_m: FloatArray, z_m: FloatArray) -> FloatArray:
        return np.zeros_like(x_m)

    def points(self, field: Field) -> tuple[tuple[float, float, float], ...]:
        column = [field.at(0.0, share) for share in np.arange(1, 13) / 8]
        rows = [
            field.at(across, share)
            for share in (0.25, 0.5, 0.75)
            for across in (-0.8, -0.6, -0.4, -0.2, 0.2, 0.4, 0.6, 0.8)
        ]
        return tuple((x, z, WIRE_STRENGTH) for x, z in column + rows)

    def needle(self, field: Field) -> None:
        return None


class Cyst:
    """Speckle with echo-free cysts, a bright and a faint mass, and two wires."""

    # Place across, depth, radius (shares of the usual depth), strength of the tissue inside.
    DISCS = (
        (-0.45, 0.25, 0.06, 0.0),
        (0.45, 0.25, 0.06, 4.0),
        (0.0, 0.5, 0.07, 0.0),
        (-0.5, 0.7, 0.08, 0.4),
        (0.5, 0.75, 0.08, 0.0),
    )

    def tissue(self, field: Field, x_m: FloatArray, z_m: FloatArray) -> FloatArray:
        strength = np.ones_like(x_m)
        for across, share, radius, inside in self.DISCS:
            strength[_disc(field, x_m, z_m, across, share, radius) < 1] = inside
        return strength

    def points(self, field: Field) -> tuple[tuple[float, float, float], ...]:
        return tuple((*field.at(0.0, share), WIRE_STRENGTH) for share in (0.3, 0.85))

    def needle(self, field: Field) -> None:
        return None


class NeedleInTissue:
    """Skin, fat, fascia and muscle with a vessel; a needle goes down to the vessel and back every few seconds."""

    VESSEL = (0.5, 0.42, 0.075)
    FASCIA_SHARE = 0.2

    def tissue(self, field: Field, x_m: FloatArray, z_m: FloatArray) -> FloatArray:
        share = _depth(field, x_m, z_m) / field.depth_m
        across = x_m / field.depth_m
        fascia = self.FASCIA_SHARE + 0.012 * np.sin(9 * across) - 0.05 * across
        strength = np.where(share < fascia, 0.55, 0.9)
        strength[share < 0.035] = 2.0
        # Muscle shows as bright fibre bundles that rise a little to one side.
        bundles = np.sin(2 * math.pi * (share - 0.08 * across) / 0.055 + 1.5 * np.sin(11 * across))
        strength = np.where((share > fascia) & (bundles > 0.86), 2.0, strength)
        strength[np.abs(share - fascia) < 0.006] = 3.5
        distance = _disc(field, x_m, z_m, *self.VESSEL)
        strength[distance < 1.12] = 2.5
        strength[distance < 1.0] = 0.0
        return strength

    def points(self, field: Field) -> tuple[tuple[float, float, float], ...]:
        return ()

    def needle(self, field: Field) -> Needle | None:
        across, share, radius = self.VESSEL
        vessel_x, vessel_z = field.at(across, share)
        end = vessel_x - 1.25 * radius * field.depth_m, vessel_z - 0.35 * radius * field.depth_m
        angle = math.radians(25 if field.probe.kind is ArrayKind.LINEAR else 35)
        return Needle(
            NeedleCourse(
                end_m=end,
                angle_rad=angle,
                travel_m=0.22 * field.depth_m,
                period_s=8.0,
            ),
            length_m=0.7 * field.depth_m,
        )


SCENES: dict[str, Scene] = {"needle": NeedleInTissue(), "cyst": Cyst(), "wires": Wires()}
