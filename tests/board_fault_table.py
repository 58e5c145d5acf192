"""The table of faults of the boards in docs/hardware.md, to be held against emulated boards behind any front."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from sonod.drivers import errors
from sonod.drivers.base import Driver, DriverState
from sonod.drivers.emulated.server import short_as
from sonod.drivers.frame import Slot
from sonod.drivers.interson.protocol import FRAME_BYTES as INTERSON_BYTES
from sonod.drivers.open_echo.protocol import frame_bytes
from sonod.drivers.pic0rick import p0rk
from sonod.drivers.settings import default_settings
from sonod.drivers.transports.usb import OutOfMemory
from sonod.drivers.wulpus.protocol import FRAME_BYTES as WULPUS_BYTES

PAGE = Path(__file__).parents[1] / "docs" / "hardware.md"
COUNTERS = ("lost", "missing", "device_drops", "damaged", "duplicates", "bytes_skipped", "errors", "halts")
NONE = "-"
# Frames after the fault: more than are on their way when it is set.
FRAMES = 8
# Frames that may have come before a fault that ends reading.
MOST_WAITING = 100
P0RK_BYTES = p0rk.HEADER_BYTES + p0rk.Payload.RAW.length


@dataclass(frozen=True)
class Board:
    """An emulated board: its URI over USB (`memory` more options where the model is in this process), the length of
    its messages, its endpoint; `speed` is how much faster than the world it may run."""

    uri: str
    memory: str
    message: int
    endpoint: int
    speed: float = 1.0


BOARDS = {
    "pic0rick": Board("pic0rick:", "firmware=text", 0, 130, 4),
    "pic0rick-binary": Board("pic0rick:", "firmware=binary", P0RK_BYTES, 130),
    "ultr4rick": Board("ultr4rick:", "", P0RK_BYTES, 130),
    "wulpus": Board("wulpus:", "board=wulpus", WULPUS_BYTES, 129),
    "wulpus-pro": Board("wulpus:?board=pro", "board=pro", WULPUS_BYTES, 129),
    "open-echo": Board("open-echo:?usb=2341:0069", "", frame_bytes(1800), 130, 4),
    "un0rick": Board("un0rick:", "", 0, 131),
    "interson": Board("interson:", "", INTERSON_BYTES, 130),
}


@dataclass(frozen=True)
class Cell:
    """One fault of one board: the line that makes it, as the page has it and for this board; the error in which reading
    ends ('' = frames go on); counters."""

    board: str
    written: str
    command: str
    ends: str
    counters: dict[str, str]


def cells() -> list[Cell]:
    text = PAGE.read_text("utf-8").split("<!-- board faults -->")[1]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    found = []
    for row in lines[2:]:
        for names, cell in zip(lines[0][1:], row[1:], strict=True):
            for name in names.split(", "):
                written = row[0].strip("`")
                command = written.replace("IN", str(BOARDS[name].endpoint))
                found.append(Cell(name, written, command, *_parsed(cell)))
    return found


def commands() -> list[str]:
    """The faults, as the page writes them."""
    return list(dict.fromkeys(cell.written for cell in cells()))


def cell(board: str, written: str) -> Cell:
    """The cell of a board in the row of a fault."""
    return next(cell for cell in cells() if (cell.board, cell.written) == (board, written))


def _parsed(cell: str) -> tuple[str, dict[str, str]]:
    ends, counters = "", {}
    for part in cell.split(", ") if cell != NONE else []:
        if error := re.fullmatch(r"`(\w+)`", part):
            ends = error[1]
        else:
            name, value = part.split(" ", 1)
            assert name in COUNTERS, cell
            counters[name] = value
    return ends, counters


def hold(
    cell: Cell, driver: Driver, ask: Callable[[dict[str, Any]], object], timeout_s: float, hidden: tuple[str, ...] = ()
) -> None:
    """Make the fault on a driver that streams, compare what comes of it with the table, and stream again. `hidden`
    counters are those that the front does not show."""
    slot = started(driver)
    try:
        for _ in range(2):
            driver.read_into(slot, timeout_s)
        assert counted(driver, hidden) == dict.fromkeys(counted(driver, hidden), 0)
        ask(short_as(cell.command))
        if cell.ends:
            with pytest.raises(getattr(errors, cell.ends)):
                read(driver, slot, MOST_WAITING, timeout_s)
        else:
            read(driver, slot, FRAMES, timeout_s)
        assert driver.state is DriverState.RUNNING
        compare(cell, counted(driver, hidden))
    finally:
        driver.close()
    if cell.ends:
        ask({"do": "clear"})
        ask({"do": "plug"})
        slot = started(driver)
        read(driver, slot, 1, timeout_s)
        driver.close()


# What is typed, the error of opening or starting, and what it says.
OPEN_FAULTS = (
    ("access", errors.AccessDenied, r'SUBSYSTEM=="usb", ATTR\{idVendor\}=='),
    ("busy", errors.AccessDenied, "another program or a kernel driver is using it"),
    ("memory", OutOfMemory, "memory for USB transfers is used up.*usbfs_memory_mb"),
)


def refuse(driver: Driver, kind: type[errors.DriverError], says: str) -> None:
    """Open and start a driver whose board has such a fault."""
    try:
        with pytest.raises(kind, match=says):
            driver.read_into(started(driver), 1.0)
    finally:
        driver.close()


def compare(cell: Cell, seen: dict[str, int]) -> None:
    message = BOARDS[cell.board].message
    for name, count in seen.items():
        text = cell.counters.get(name, "0")
        if text.startswith("<"):
            assert 0 < count < eval(text[1:], {"message": message}), (cell, seen)
        else:
            assert count == eval(text, {"message": message}), (cell, seen)


def counted(driver: Driver, hidden: tuple[str, ...]) -> dict[str, int]:
    counters = {"lost": driver.counters.lost, **asdict(driver.link_counters)}
    assert set(counters) == set(COUNTERS)
    return {name: count for name, count in counters.items() if name not in hidden}


def started(driver: Driver) -> Slot:
    driver.open()
    driver.apply(driver.prepare(default_settings(driver.knobs())))
    driver.start()
    assert driver.configuration is not None
    return Slot(driver.configuration.acquisition.nbytes)


def read(driver: Driver, slot: Slot, frames: int, timeout_s: float) -> None:
    for _ in range(frames):
        driver.read_into(slot, timeout_s)
