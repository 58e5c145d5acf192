"""Plans are large: none stays that no frame can need, and the system gets their memory back."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from daemon_bench import LONG_PATIENCE_S, Bench
from picture_driver import PictureDriver

from sonod.client.errors import RequestRefused
from sonod.daemon import app
from sonod.daemon.pipeline.base import Plan
from sonod.drivers.errors import DriverError

Start = Callable[..., Bench]
# Every other piece stays, so that what is free lies in between: that is what the C library keeps.
PIECES = """
from pathlib import Path
from sonod.daemon.heap import trim_heap

def resident_kib():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmRSS"))

pieces = [bytes(100_000) + b"1" for _ in range(400)]
del pieces[::2]
before = resident_kib()
print(trim_heap(), before - resident_kib())
"""


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


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_plan_of_refused_settings_goes_without_the_garbage_collector(bench: Bench) -> None:
    frames = bench.frames()
    bench.driver.deliver()
    next(frames)
    for _ in range(5):
        bench.driver.apply_errors.append(DriverError("not now"))
        with pytest.raises(RequestRefused):
            bench.control.set({"depth_m": 0.1})
    deadline_s = time.monotonic() + LONG_PATIENCE_S
    # The thread that answers may still hold the last one.
    while (plans := sum(isinstance(one, Plan) for one in gc.get_objects())) > 1:
        assert time.monotonic() < deadline_s, f"{plans} plans are left"
        time.sleep(0.1)


def test_what_plans_have_left_is_given_back_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[None] = []
    monkeypatch.setattr(app, "trim_heap", lambda: trims.append(None))
    frames = bench.frames()
    bench.driver.deliver()
    next(frames)
    bench.daemon.supervise()
    assert not trims
    feeder = bench.feed_when_applied(1)
    bench.control.set({"depth_m": 0.1})
    feeder.join()
    next(frames)
    bench.daemon.supervise()
    bench.daemon.supervise()
    assert len(trims) == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can trim its heap")
def test_trimmed_heap_is_smaller() -> None:
    done = subprocess.run([sys.executable, "-c", PIECES], capture_output=True, text=True, timeout=60, check=True)
    trimmed, fewer_kib = done.stdout.split()
    assert trimmed == "True"
    assert int(fewer_kib) > 10_000
