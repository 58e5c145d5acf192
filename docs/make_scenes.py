"""Makes the pictures of docs/simulator.md: python docs/make_scenes.py"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sonod.daemon.pipeline.options import ImageOptions
from sonod.daemon.pipeline.plan import build_plan
from sonod.drivers.frame import Slot
from sonod.drivers.settings import default_settings
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


def picture(name: str, seconds: int) -> None:
    """One frame of a scene as a PNG."""
    driver = SimulatedDriver(f"sim:{name}", JumpingClock())
    driver.open()
    settings = default_settings(driver.knobs())
    settings = settings.with_values({"frame_rate_hz": 1.0}, 0)
    configuration = driver.prepare(settings)
    driver.apply(configuration)
    driver.start()
    plan = build_plan(configuration, ImageOptions(), None)
    slot = Slot(configuration.acquisition.nbytes)
    while slot.number <= seconds:
        driver.read_into(slot, 10.0)
    for product in plan.run(slot, frozenset({"bmode"})):
        Image.fromarray(product.data).save(FOLDER / f"scene-{name}.png")
    driver.close()


if __name__ == "__main__":
    for scene, at_s in SCENES.items():
        picture(scene, at_s)
