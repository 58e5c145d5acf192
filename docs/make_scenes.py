"""Makes the pictures of docs/simulator.md: python docs/make_scenes.py"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonod.daemon.pipeline.options import ImageOptions
from sonod.daemon.pipeline.plan import build_plan
from sonod.drivers.frame import Slot
from sonod.drivers.settings import change_settings, default_settings
from sonod.drivers.simulated.driver import SimulatedDriver

FOLDER = Path(__file__).parent / "pictures"
# Scene -> seconds in it: when the needle is well in. Frames come once a second.
SCENES = {"needle": 4, "wires": 1, "cyst": 4, "contrast": 1, "carpal-tunnel": 6, "knee": 4, "hip": 7, "vessel": 4}


class JumpingClock:
    """Waits by moving on."""

    def __init__(self) -> None:
        self._now_ns = 1

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until(self, deadline_ns: int) -> None:
        self._now_ns = max(self._now_ns, deadline_ns)


EVEN = """[scene]
title = "{name}"
tissue = "{around}"
depth_m = 0.024
[tissues.tissue]
echo_db = 0
[tissues.water]
"""
DISC = """[[shapes]]
name = "disc"
tissue = "other"
center_m = [0.0, 9e-3]
radii_m = [4e-3, 3e-3]
"""
TENDON = "[tissues.other]\nfibres = { length_m = 0.9e-3, spacing_m = 0.24e-3, echo_db = 14, across = true }\n" + DISC
WALL = """[tissues.other]
[[shapes]]
name = "wall"
tissue = "other"
from_m = [-30e-3, 5e-3]
to_m = [30e-3, 5e-3]
radius_m = 0.4e-3
edge_db = 35
edge = "top"
reverberation = 0.3
"""
NEEDLE = "[needle]\nend_m = [6e-3, 9e-3]\nangle_rad = 0\ntravel_m = 0\nswing_rad = 0\n"
# Effect -> what is around, the rest of its scene, and settings that are not the usual.
EFFECTS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("tissue", TENDON, {}),
    ("tissue", TENDON, {"scene.probe_tilt_rad": math.radians(10)}),
    ("tissue", "[tissues.other]\necho_db = 0\nattenuation_db_cm_mhz = 2.5\n" + DISC, {}),
    ("tissue", "[tissues.other]\nattenuation_db_cm_mhz = 0.0\n" + DISC, {}),
    ("water", WALL, {}),
    ("water", NEEDLE, {}),
)


def shown(uri: str, seconds: int, **changes: object) -> NDArray[np.uint8]:
    """The picture of one frame of a scene."""
    driver = SimulatedDriver(uri, JumpingClock())
    driver.open()
    settings = change_settings(default_settings(driver.knobs()), {"frame_rate_hz": 1.0, **changes}, driver.knobs())
    configuration = driver.prepare(settings)
    driver.apply(configuration)
    driver.start()
    plan = build_plan(configuration, ImageOptions(), None)
    slot = Slot(configuration.acquisition.nbytes)
    while slot.number <= seconds:
        driver.read_into(slot, 10.0)
    (product,) = plan.run(slot, frozenset({"bmode"}))
    driver.close()
    return np.array(product.data)


def effects() -> NDArray[np.uint8]:
    """All effects side by side, at half size."""
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (around, rest, changes) in enumerate(EFFECTS):
            path = Path(folder) / f"{number}.toml"
            path.write_text(EVEN.format(name=number, around=around) + rest)
            one = Image.fromarray(shown(f"sim:{path}", 1, **changes))
            pictures += [np.asarray(one.reduce(2)), np.full((one.height // 2, 6), 255, np.uint8)]
    least = min(len(one) for one in pictures)
    return np.concatenate([one[:least] for one in pictures[:-1]], axis=1)


if __name__ == "__main__":
    for scene, at_s in SCENES.items():
        Image.fromarray(shown(f"sim:{scene}", at_s)).save(FOLDER / f"scene-{scene}.png")
    Image.fromarray(effects()).save(FOLDER / "simulator-effects.png")
