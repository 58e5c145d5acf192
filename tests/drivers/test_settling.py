"""Frames that come while the device has not come to rest are flagged."""

from __future__ import annotations

from picture_driver import PictureDriver

from sonod.drivers.base import Driver
from sonod.drivers.frame import Configuration, Slot
from sonod.drivers.settings import default_settings
from sonod.drivers.simulated.driver import SimulatedDriver


class SettlingDriver(PictureDriver):
    """Needs two frames after each change of depth."""

    def _settling_frames(self, before: Configuration | None, after: Configuration) -> int:
        return 0 if before is None or before.settings.depth_m == after.settings.depth_m else 2


def change(driver: Driver, **values: float) -> None:
    assert driver.configuration is not None
    settings = driver.configuration.settings
    driver.apply(driver.prepare(type(settings)(**{**settings.as_mapping(), **values})))  # type: ignore[arg-type]


def flags(driver: PictureDriver, count: int) -> list[bool]:
    slot, seen = Slot(0), []
    driver.deliver(count)
    for _ in range(count):
        driver.read_into(slot, 1.0)
        seen.append(slot.settling)
    return seen


def test_frames_after_a_change_are_flagged_until_the_device_rests() -> None:
    driver = SettlingDriver()
    driver.open()
    driver.apply(driver.prepare(default_settings(driver.knobs())))
    driver.start()
    assert flags(driver, 2) == [False, False]
    change(driver, depth_m=0.1)
    assert flags(driver, 1) == [True]
    # A change that needs no rest does not cut the rest of the former short.
    change(driver, gain_db=1.0)
    assert flags(driver, 2) == [True, False]


def test_simulated_front_end_rests_after_a_change_of_its_output_only() -> None:
    driver = SimulatedDriver("sim:wires?settle=0.1")
    driver.open()
    before = driver.prepare(default_settings(driver.knobs()))
    assert driver._settling_frames(None, before) == 0

    def after(**values: float) -> Configuration:
        return Configuration(before.settings.with_values(values, before.settings.revision), before.acquisition)

    assert driver._settling_frames(before, after(gain_db=3.0)) == 0
    assert driver._settling_frames(before, after(output_level=0.1)) == 3
