"""Emulated boards through driver and pipeline: echoes appear where the reflectors are."""

from __future__ import annotations

import numpy as np
import pytest

from sonod.client.wire.geometry import ImageGeometry, MotionGeometry
from sonod.daemon.pipeline.plan import ImageOptions, build_plan
from sonod.daemon.process import starting_settings
from sonod.drivers import driver_class
from sonod.drivers.base import Uri
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.reflectors import ARRAY_SCENE, SINGLE_ELEMENT_SCENE
from sonod.drivers.frame import Slot
from sonod.drivers.serial_board import EMULATED, SerialBoard


def picture(uri: str, product: str, frames: int = 2) -> tuple[np.ndarray, object, SerialBoard]:
    kind = driver_class(Uri.parse(uri).name)
    assert issubclass(kind, SerialBoard)
    driver = kind(uri, ManualClock())
    driver.open()
    try:
        settings, _ = starting_settings(driver, {})
        configuration = driver.prepare(settings)
        plan = build_plan(configuration, ImageOptions())
        driver.apply(configuration)
        driver.start()
        slot = Slot(configuration.acquisition.nbytes)
        assert driver.probe.name.startswith(EMULATED), "an emulated board says so"
        for _ in range(frames):
            driver.read_into(slot, 10.0)
            made = {one.name: one for one in plan.run(slot, frozenset({product}))}[product]
        return np.array(made.data), made.geometry, driver
    finally:
        driver.close()


def brightest_near(image: np.ndarray, geometry: ImageGeometry, x_m: float, z_m: float) -> tuple[float, float]:
    """Where the envelope is largest within 2 mm of a place."""
    rows, columns = np.indices(image.shape)
    x = geometry.first_pixel_m[0] + columns * geometry.spacing_m[1]
    z = geometry.first_pixel_m[2] + rows * geometry.spacing_m[0]
    near = np.where(np.hypot(x - x_m, z - z_m) < 2e-3, image, -1)
    best = np.unravel_index(int(near.argmax()), image.shape)
    return float(x[best]), float(z[best])


STILL = [reflector.position_m for reflector in ARRAY_SCENE if not reflector.rate_hz]


@pytest.mark.parametrize("place", STILL)
def test_synthetic_aperture_of_wulpus_shows_reflectors_where_they_are(place: tuple[float, float, float]) -> None:
    image, geometry, _ = picture("wulpus:?emulated=1", "envelope")
    assert isinstance(geometry, ImageGeometry)
    x, z = brightest_near(image, geometry, place[0], place[2])
    assert x == pytest.approx(place[0], abs=0.3e-3)
    assert z == pytest.approx(place[2], abs=0.3e-3)


@pytest.mark.parametrize(
    "uri",
    [
        "pic0rick:?emulated=1&firmware=text",
        "pic0rick:?emulated=1&firmware=binary",
        "pic0rick:?emulated=1&firmware=binary&data=envelope",
        "pic0rick:?emulated=1&firmware=binary&data=alaw",
        "ultr4rick:?emulated=1",
    ],
)
def test_a_mode_of_single_elements_shows_reflectors_at_their_depth(uri: str) -> None:
    image, geometry, _ = picture(uri, "envelope")
    assert isinstance(geometry, ImageGeometry)
    for reflector in SINGLE_ELEMENT_SCENE:
        if not reflector.rate_hz:
            depth = reflector.position_m[2]
            _, z = brightest_near(image, geometry, 0.0, depth)
            assert z == pytest.approx(depth, abs=0.15e-3)


def test_the_moving_reflector_moves_in_m_mode() -> None:
    motion, geometry, _ = picture("pic0rick:?emulated=1&firmware=binary", "mmode", frames=60)
    assert isinstance(geometry, MotionGeometry)
    row_m = geometry.spacing_m
    # Between 20 and 32 mm nothing but the reflector that swings by 4 mm about 26 mm, 0.4 times a second.
    first, last = (int((depth - geometry.first_z_m) / row_m) for depth in (0.020, 0.032))
    track = geometry.first_z_m + (first + motion[first:last, -60:].argmax(axis=0)) * row_m
    assert track.min() == pytest.approx(0.022, abs=0.6e-3)
    assert track.max() == pytest.approx(0.030, abs=0.6e-3)


def test_log_lines_of_open_echo_keep_their_greys() -> None:
    image, _, _ = picture("open-echo:?emulated=1", "bmode")
    lines, _, _ = picture("open-echo:?emulated=1", "rf")
    np.testing.assert_array_equal(image[:, 0], lines[0, 0])
