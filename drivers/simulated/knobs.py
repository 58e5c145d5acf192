"""The knobs of a scene: where the probe and the needle are. Their names begin with `scene.`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sonod.drivers.settings import AppliedBy, Knob, Settings, Value
from sonod.drivers.simulated.background import View
from sonod.drivers.simulated.needle import Needle, Steering
from sonod.drivers.simulated.scene import Scene

SCRIPTED, STEERED, NO_NEEDLE = "scripted", "steered", "none"
# A probe that stands steeper than this on the skin has lost it.
MOST_TILT_RAD = math.radians(20)
# A needle this far beside the image plane is out of sight.
FARTHEST_BESIDE_M = 20e-3


def scene_knobs(scene: Scene, needle: Needle) -> dict[str, Knob]:
    """Every knob of a scene by name, in its ranges; all act from the next frame on."""
    half, _, deepest = scene.field.bounds_m()
    slide = scene.field.slide_m
    steering = needle.default_steering()
    x, y, z = steering.tip_m
    scripted = scene.file.needle is not None
    knobs = [
        _number("probe_x_m", "m", 0.0, "Probe moved along the skin, to +x", -slide, slide, 1e-3),
        _number(
            "probe_tilt_rad",
            "rad",
            0.0,
            "Probe tilted out of its image plane; fibres that run through the plane darken",
            -MOST_TILT_RAD,
            MOST_TILT_RAD,
            math.radians(1),
        ),
        Knob(
            "scene.needle",
            "choice",
            "",
            SCRIPTED if scripted else NO_NEEDLE,
            "Who moves the needle: the scene's script, the scene.needle_ knobs, or nobody",
            choices=(SCRIPTED, STEERED, NO_NEEDLE) if scripted else (STEERED, NO_NEEDLE),
            applied_by=AppliedBy.DEVICE,
        ),
        _number("needle_x_m", "m", x, "Steered needle: its tip, in scene coordinates", -half, half, 1e-4),
        _number(
            "needle_y_m",
            "m",
            y,
            "Steered needle: its tip beside the image plane",
            -FARTHEST_BESIDE_M,
            FARTHEST_BESIDE_M,
            1e-4,
        ),
        _number("needle_z_m", "m", z, "Steered needle: depth of its tip", 0.0, deepest, 1e-4),
        _number(
            "needle_angle_rad",
            "rad",
            steering.angle_rad,
            "Steered needle: how steeply it points down from the face",
            0.0,
            math.radians(89),
            math.radians(1),
        ),
        _number(
            "needle_yaw_rad",
            "rad",
            steering.yaw_rad,
            "Steered needle: turned out of the image plane (0 = points to +x, pi / 2 = to +y, pi = to -x)",
            -math.pi,
            math.pi,
            math.radians(1),
        ),
        _number("quality", "", 1.0, "Share of the usual number of tissue reflectors", 0.1, 2.0, 0.1),
    ]
    if scene.file.injectate is not None:
        knobs.append(_number("injectate", "", 0.0, "Steered needle: share of the fluid that is in", 0.0, 1.0, 0.05))
    return {knob.name: knob for knob in knobs}


def view_of(settings: Settings, knobs: Mapping[str, Knob]) -> View:
    """Where the probe and the needle are under these settings."""

    def number(name: str) -> float:
        value: Value = settings.value(f"scene.{name}")
        assert isinstance(value, float)
        return value

    mode = settings.value("scene.needle")
    steered = mode == STEERED
    steering = Steering(
        (number("needle_x_m"), number("needle_y_m"), number("needle_z_m")),
        number("needle_angle_rad"),
        number("needle_yaw_rad"),
    )
    return View(
        probe_x_m=number("probe_x_m"),
        probe_tilt_rad=number("probe_tilt_rad"),
        needle=mode != NO_NEEDLE,
        steering=steering if steered else None,
        injectate=number("injectate") if steered and "scene.injectate" in knobs else None,
        quality=number("quality"),
    )


def _number(name: str, unit: str, default: float, what: str, minimum: float, maximum: float, step: float) -> Knob:
    return Knob(
        f"scene.{name}",
        "float",
        unit,
        min(max(default, minimum), maximum),
        what,
        minimum,
        maximum,
        step,
        applied_by=AppliedBy.DEVICE,
    )
