"""Plans are large: none stays that no frame can need."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from daemon_bench import LONG_PATIENCE_S, Bench
from picture_driver import PictureDriver

from sonod.drivers.errors import DriverError

Start = Callable[..., Bench]


@pytest.mark.parametrize("refuses", [False, True])
def test_device_opened_again_and_again_leaves_no_plans_behind(start: Start, refuses: bool) -> None:
    def prepare(driver: PictureDriver) -> None:
        driver.apply_errors += [DriverError("not now")] * (5 if refuses else 0)

    bench = start(prepare, acquire={"stall_s": 0.01})
    deadline_s = time.monotonic() + LONG_PATIENCE_S
    while bench.driver.opens < 6:
        assert time.monotonic() < deadline_s, "the device is not opened again"
        time.sleep(0.01)
    # The present one, and another that the reader may be about to install or withdraw.
    assert len(bench.daemon._runner._plans) <= 2
