"""A needle: where it is, and what of it sends echoes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonod.drivers.frame import NeedlePose
from sonod.drivers.probe import FloatArray
from sonod.drivers.simulated.scene_file import NeedleFile

# A shaft is so many pieces, each as long as its surface is straight.
PIECE_M = 0.11e-3
MOST_PIECES = 400
# Strengths in units of one tissue reflector, for a shaft of the usual number of pieces; more of them have less each. A
# polished shaft mirrors as a whole; its pieces mirror by themselves too, some more than others and over wider angles,
# and scatter a little; the bevel of the tip sends echoes everywhere.
USUAL_PIECES = 256
SHAFT_MIRROR = 22.0
SHAFT_FACETS = 9.0
SHAFT_ROUGH = 1.2
TIP_STRENGTH = 75.0
# Sound runs to and fro inside the shaft: so many echoes more, each this much weaker, on every second piece.
RINGS = 3
RING_SHARE = 0.4
SWING_PERIOD_S = 5.3


@dataclass(frozen=True)
class Steering:
    """Where a client has put the needle, in scene coordinates: tip, angle down from the face, turn out of the plane."""

    tip_m: tuple[float, float, float]
    angle_rad: float
    yaw_rad: float


@dataclass(frozen=True)
class Placed:
    """The needle at one time: tip (3,) and unit direction (3,) in which it points, in scene coordinates."""

    tip_m: tuple[float, float, float]
    axis: tuple[float, float, float]

    def pose(self, length_m: float, diameter_m: float, probe_x_m: float) -> NeedlePose:
        """In transducer coordinates, for a probe that has been moved."""
        x, y, z = self.tip_m
        tip = x - probe_x_m, y, z
        shaft = tip[0] - length_m * self.axis[0], y - length_m * self.axis[1], z - length_m * self.axis[2]
        return NeedlePose(tip, shaft, diameter_m)


class Needle:
    """The needle of a scene file, at a scale, with the seed of its scratches."""

    def __init__(self, file: NeedleFile, scale: float, seed: int) -> None:
        self.file = file
        # A needle is as thick as it is; only its course grows with the scene.
        self.length_m = file.length_m * scale
        self.diameter_m = file.diameter_m
        self._end = file.end_m[0] * scale, file.end_m[1] * scale
        self._travel = file.travel_m * scale
        count = min(max(round(self.length_m / PIECE_M), 4), MOST_PIECES)
        self.piece_m = self.length_m / count
        distances = (np.arange(count) + 0.5) * self.piece_m
        distances[0] = 0.0
        random = np.random.default_rng((seed, 0x6E65))
        rough = SHAFT_ROUGH * random.standard_normal(count)
        rough[0] = TIP_STRENGTH
        # The bevel takes the first piece of the mirror away.
        part = USUAL_PIECES / count
        mirror = part * SHAFT_MIRROR + math.sqrt(part) * SHAFT_FACETS * random.standard_normal(count)
        mirror[0] = 0.0
        ringing = np.arange(2, count, 2)
        rings = [2 * RING_SHARE ** (turn + 1) * mirror[ringing] for turn in range(RINGS)]
        self.distances_m = np.concatenate([distances, *[distances[ringing]] * RINGS])
        self.rough = np.concatenate([rough, *[np.zeros(len(ring)) for ring in rings]])
        self.mirror = np.concatenate([mirror, *rings])
        self.pieces_m = np.concatenate(
            [np.full(count, self.piece_m), *[np.full(len(r), 2 * self.piece_m) for r in rings]]
        )
        lags = [np.full(len(ring), 2 * (turn + 1) * self.diameter_m) for turn, ring in enumerate(rings)]
        self.lag_m = np.concatenate([np.zeros(count), *lags])

    def scripted(self, scene_time_s: float) -> Placed:
        """In and out along its shaft, with the slow swing of the hand that holds it."""
        file = self.file
        angle = file.angle_rad + file.swing_rad * math.sin(2 * math.pi * scene_time_s / SWING_PERIOD_S)
        back = self._travel * (0.5 + 0.5 * math.cos(2 * math.pi * scene_time_s / file.period_s))
        if file.plane == "in":
            axis = math.cos(angle), 0.0, math.sin(angle)
        else:
            axis = 0.0, math.cos(angle), math.sin(angle)
        x, z = self._end
        # Through the plane, the end of the course is as far behind it as the needle has to go to be seen.
        y = 0.0 if file.plane == "in" else self.diameter_m
        return Placed((x - back * axis[0], y - back * axis[1], z - back * axis[2]), axis)

    def steered(self, steering: Steering) -> Placed:
        """Where the client wants it."""
        flat, turn = steering.angle_rad, steering.yaw_rad
        axis = math.cos(flat) * math.cos(turn), math.cos(flat) * math.sin(turn), math.sin(flat)
        return Placed(steering.tip_m, axis)

    def default_steering(self) -> Steering:
        """The end of the scripted course."""
        x, z = self._end
        turn = 0.0 if self.file.plane == "in" else math.pi / 2
        return Steering((x, 0.0, z), self.file.angle_rad, turn)

    def places(self, placed: Placed) -> FloatArray:
        """Where its pieces are, (3, n)."""
        return np.asarray(np.array(placed.tip_m)[:, None] - np.array(placed.axis)[:, None] * self.distances_m)
