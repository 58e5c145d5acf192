"""A needle that goes in and out of the tissue, and what it reflects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonod.drivers.frame import NeedlePose
from sonod.drivers.probe import FloatArray

# 21 gauge, common for injections.
DIAMETER_M = 0.8e-3
PIECES = 256
# Strengths in units of one tissue reflector. A polished shaft mirrors, and scatters a little from its scratches and
# markings; the bevel of the tip sends echoes everywhere.
SHAFT_MIRROR = 22.0
SHAFT_ROUGH = 12.0
TIP_STRENGTH = 90.0
# Slow swing of the hand that holds it.
SWING_RAD = math.radians(1.5)
SWING_PERIOD_S = 5.3


@dataclass(frozen=True)
class NeedleCourse:
    """The tip goes `travel_m` along the shaft to `end_m` (x, z) and back in `period_s`; the shaft points down to the
    right, `angle_rad` from the face."""

    end_m: tuple[float, float]
    angle_rad: float
    travel_m: float
    period_s: float


@dataclass(frozen=True)
class Needle:
    """The needle's course and the length of shaft that can be seen."""

    course: NeedleCourse
    length_m: float

    def pose(self, scene_time_s: float) -> tuple[NeedlePose, tuple[float, float]]:
        """Where it truly is at a time in the scene, and the unit direction (x, z) in which it points."""
        course = self.course
        angle = course.angle_rad + SWING_RAD * math.sin(2 * math.pi * scene_time_s / SWING_PERIOD_S)
        axis = math.cos(angle), math.sin(angle)
        back = course.travel_m * (0.5 + 0.5 * math.cos(2 * math.pi * scene_time_s / course.period_s))
        tip = course.end_m[0] - back * axis[0], course.end_m[1] - back * axis[1]
        up = self.length_m
        pose = NeedlePose((tip[0], 0.0, tip[1]), (tip[0] - up * axis[0], 0.0, tip[1] - up * axis[1]), DIAMETER_M)
        return pose, axis

    @property
    def piece_m(self) -> float:
        """Length of one piece of the shaft."""
        return self.length_m / PIECES

    def roughness(self, seed: int) -> tuple[FloatArray, FloatArray]:
        """(mirror, rough) strengths of the pieces from the tip upwards, the same at every time."""
        rough = SHAFT_ROUGH * np.random.default_rng((seed, 0x6E65)).standard_normal(PIECES)
        rough[0] = TIP_STRENGTH
        mirror = np.full(PIECES, SHAFT_MIRROR)
        mirror[0] = 0.0
        return mirror, rough

    def distances_m(self) -> FloatArray:
        """Distance of each piece from the tip; the first is the tip."""
        distances = (np.arange(PIECES, dtype=np.float64) + 0.5) * self.piece_m
        distances[0] = 0.0
        return np.asarray(distances, dtype=np.float64)
