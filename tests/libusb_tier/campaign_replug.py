"""Two hundred times unplugged in mid-stream and plugged in again, over the real libusb: nothing of it may stay behind.

Minutes; `make campaign` runs it. tier_bulk.py has the short form.
"""

from __future__ import annotations

import gc
import os
import resource

import pytest
from served_board import served, shown

from sonod.drivers import open_uri
from sonod.drivers.base import Driver
from sonod.drivers.emulated.server import RemoteBoard
from sonod.drivers.errors import Disconnected
from sonod.drivers.frame import Slot
from sonod.drivers.settings import default_settings

FRAME_TIMEOUT_S = 20.0
# What allocators keep for themselves; a leak of one transfer of 256 KiB a cycle would be 50 MiB.
MEMORY_LIMIT_BYTES = 8 << 20
# The allocators' own stores are filled by then.
WARM_UP = 20


@pytest.mark.parametrize(
    ("name", "uri", "cycles"),
    [
        ("bulk", "bulk:1209:0001", 200),
        ("un0rick", "un0rick:", 200),
        ("interson", "interson:", 200),
        ("pic0rick", "pic0rick:", 200),
        ("pic0rick-binary", "pic0rick:", 200),
        ("ultr4rick", "ultr4rick:", 200),
        ("open-echo", "open-echo:?usb=2341:0069", 200),
        # Its protocol makes it wait 2.5 s before every start.
        ("wulpus", "wulpus:", 30),
    ],
)
def test_nothing_stays_behind(name: str, uri: str, cycles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A scene that is quickly made.
    options = {"phantom": "wires", "probe": "phased"} if name == "bulk" else {}
    with served(name, **options) as board:
        shown(board, monkeypatch)
        driver = open_uri(uri)
        for _ in range(WARM_UP):
            cycle(driver, board)
        descriptors, threads, memory = descriptors_open(), threads_running(), memory_bytes()
        for _ in range(cycles):
            cycle(driver, board)
        assert descriptors_open() <= descriptors
        assert threads_running() <= threads
        grown = memory_bytes() - memory
        print(  # noqa: T201  the figure
            f"{name}: {cycles} cycles, {descriptors_open()} descriptors, {threads_running()} threads, "
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
