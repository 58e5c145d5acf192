"""What delay and sum of the small scenes is given, and echoes of wires in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cext_support import scenes
from cext_support.scenes import SPEED, Scene
from numpy.typing import NDArray

FS, F0 = 20e6, 5e6
SAMPLES = 560


def arguments(scene: Scene, waves: Any, **changes: Any) -> dict[str, Any]:
    """What reference and operator have in common."""
    transmits, elements = len(waves), len(scene.elements)
    return {
        **scene.array(),
        "receive_elements": np.tile(np.arange(elements, dtype=np.int32), (transmits, 1)),
        "transmit_time_s": waves,
        "sampling_hz": FS,
        "t0_s": np.linspace(0, -1e-6, transmits),
        "demodulation_hz": F0,
        "sound_speed_m_s": SPEED,
        "f_number": 1.5,
        "apodization": "rectangular",
    } | changes


def two_plane_waves(points: Any) -> Any:
    """When they reach the points."""
    return scenes.plane_times(points, [0.0, 0.2])


def wire_echoes(
    scene: Scene, common: dict[str, Any], waves_of: Callable[[Any], Any] = two_plane_waves
) -> NDArray[np.float32]:
    """Baseband of a dozen point targets on the lines."""
    places = scene.points[:, ::30].reshape(-1, 3)
    targets = places[np.random.default_rng(0).permutation(len(places))[:12]]
    rf = scenes.echoes(
        scene, targets, waves_of(targets), sampling_hz=FS, samples=SAMPLES, t0_s=common["t0_s"], center_hz=F0
    )
    return scenes.to_baseband(rf, FS, F0, common["t0_s"])
