"""Two hundred times unplugged in mid-stream and plugged in again, over the real libusb: nothing of it may stay behind.

Minutes; `make campaign` runs it. tier_bulk.py has the short form.
"""

from __future__ import annotations

import gc
import os
import resource
from typing import Any

import pytest
from served_board import served, shown

from sonod.drivers import driver_class
from sonod.drivers.base import Driver
from sonod.drivers.emulated.clock import ScaledClock
from sonod.drivers.emulated.server import RemoteBoard
from sonod.drivers.errors import Disconnected
from sonod.drivers.frame import Slot
from sonod.drivers.pacing import MonotonicClock
from sonod.drivers.settings import default_settings

# On the boards' own clocks.
FRAME_TIMEOUT_S = 200.0
CYCLES = 200
# What allocators keep for themselves; a leak of one transfer of 256 KiB a cycle would be 50 MiB.
MEMORY_LIMIT_BYTES = 8 << 20
# The allocators' own stores are filled by then.
WARM_UP = 20


@pytest.mark.parametrize(
    ("name", "uri", "speed"),
    [
        # Boards that mostly wait live faster: WULPUS needs 2.5 s before every start.
        ("wulpus", "wulpus:", 10),
        ("pic0rick", "pic0rick:", 10),
        ("open-echo", "open-echo:?usb=2341:0069", 4),
        ("pic0rick-binary", "pic0rick:", 4),
        ("ultr4rick", "ultr4rick:", 4),
        ("interson", "interson:", 1),
        ("un0rick", "un0rick:", 1),
        ("bulk", "bulk:1209:0001", 1),
    ],
)
def test_nothing_stays_behind(name: str, uri: str, speed: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # A scene that is quickly made.
    options: dict[str, Any] = {"phantom": "wires", "probe": "phased"} if name == "bulk" else {}
    if speed != 1:
        options["speed"] = speed
    with served(name, **options) as board:
        shown(board, monkeypatch)
        clock = ScaledClock(speed) if speed != 1 else MonotonicClock()
        driver: Driver = driver_class(uri.partition(":")[0])(uri, clock=clock)  # type: ignore[call-arg]
        for _ in range(WARM_UP):
            cycle(driver, board)
        descriptors, threads, memory = descriptors_open(), threads_running(), memory_bytes()
        for _ in range(CYCLES):
            cycle(driver, board)
        assert descriptors_open() <= descriptors
        assert threads_running() <= threads
        grown = memory_bytes() - memory
        print(  # noqa: T201  the figure
            f"{name}: {CYCLES} cycles, {descriptors_open()} descriptors, {threads_running()} threads, "
            f"{grown / 1024:+.0f} KiB, most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
        )
        assert grown < MEMORY_LIMIT_BYTES


def cycle(driver: Driver, board: RemoteBoard) -> None:
    driver.open()
    try:
        driver.apply(driver.prepare(default_settings(driver.knobs())))
        assert driver.configuration is not None
        slot = Slot(driver.configuration.acquisition.nbytes)
        driver.start()
        driver.read_into(slot, FRAME_TIMEOUT_S)
        board.set(unplug_after_bytes=1000)
        with pytest.raises(Disconnected):
            read_until_gone(driver, slot)
    finally:
        driver.close()
    board.plug()


def read_until_gone(driver: Driver, slot: Slot) -> None:
    for _ in range(1000):
        driver.read_into(slot, FRAME_TIMEOUT_S)


def descriptors_open() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads_running() -> int:
    return len(os.listdir("/proc/self/task"))


def memory_bytes() -> int:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
