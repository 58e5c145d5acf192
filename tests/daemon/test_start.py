"""What a start does not wait for."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from daemon_bench import PATIENCE_S

from sonod.daemon.bench.path import BenchFailed
from sonod.daemon.bench.start import measure_start
from sonod.daemon.cine.keeper import FIRST_FRAMES, CineKeeper, CineLimits
from sonod.drivers import open_uri
from sonod.drivers.frame import Configuration, Slot
from sonod.drivers.settings import default_settings

MIB = 1 << 20
THREAD = "sonod-cine"


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    driver = open_uri("sim:")
    driver.open()
    made = driver.prepare(default_settings(driver.knobs()))
    driver.close()
    return made


@pytest.fixture
def cine() -> Iterator[CineKeeper]:
    made = CineKeeper(CineLimits(raw_s=1.0, raw_bytes=64 * MIB, pictures_s=0.0, pictures_bytes=MIB))
    yield made
    made.close()


def fill(cine: CineKeeper, configuration: Configuration, frames: int) -> None:
    slot = Slot(configuration.acquisition.nbytes)
    slot.prepare(configuration)
    for _ in range(frames):
        slot.number += 1
        slot.data[:] = np.int16(slot.number)
        cine.tap(slot)


def test_libraries_that_no_frame_needs_are_not_imported() -> None:
    spared = ("rich", "multiprocessing", "h5py", "hdf5plugin", "scipy", "prometheus_client", "aiohttp", "usb")
    program = f"import sys, sonod.daemon.cli.run; print([name for name in {spared} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=200)
    assert done.stdout.strip() == "[]"


def test_what_is_spared_can_be_imported_afterwards() -> None:
    program = "import sonod.daemon.cli.run, rich.console, structlog; print(structlog.dev.ConsoleRenderer)"
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=200)


def test_memory_for_clips_waits_for_the_first_frames(cine: CineKeeper, configuration: Configuration) -> None:
    populated = threading.Event()
    cine.raw.populate = lambda: populated.set()  # type: ignore[assignment,func-returns-value,method-assign]
    cine.launch()
    cine.fit(configuration.acquisition, 30.0)
    fill(cine, configuration, FIRST_FRAMES - 1)
    assert not populated.wait(0.1)
    fill(cine, configuration, 1)
    assert populated.wait(PATIENCE_S)
    populated.clear()
    cine.fit(configuration.acquisition, 60.0)
    assert populated.wait(PATIENCE_S)


def test_threads_of_the_frame_path_start_none_that_would_inherit_their_rights(
    cine: CineKeeper, configuration: Configuration
) -> None:
    cine.fit(configuration.acquisition, 30.0)
    fill(cine, configuration, FIRST_FRAMES)
    assert THREAD not in [thread.name for thread in threading.enumerate()]
    cine.launch()
    assert THREAD in [thread.name for thread in threading.enumerate()]


def test_parts_of_a_start_add_up() -> None:
    result = measure_start("sim:wires", rounds=1)
    parts = result.imports_s + result.open_s + result.frame_s + result.picture_s + result.received_s
    assert parts == pytest.approx(result.median_s, abs=0.005)
    assert result.shortest_s == result.longest_s == result.median_s > 0


def test_start_that_brings_no_picture_is_told() -> None:
    with pytest.raises(BenchFailed, match=r"no picture came; the daemon said: [\s\S]*no file /nowhere.h5"):
        measure_start("replay:/nowhere.h5", rounds=1)
