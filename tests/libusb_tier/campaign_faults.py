"""Every fault in the table of docs/hardware.md on every board, over the real libusb, and over a pseudo-terminal for
those with a serial port. Minutes; `make campaign` runs it. In memory: tests/drivers/test_board_fault_table.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import board_fault_table as table
import pytest
from board_fault_table import BOARDS
from served_board import served, shown
from without_override import without_override

from sonod.drivers import driver_class
from sonod.drivers.base import Driver
from sonod.drivers.emulated import board_class
from sonod.drivers.emulated.cdc import CdcBoard
from sonod.drivers.emulated.clock import ScaledClock
from sonod.drivers.emulated.pty import PtyFront
from sonod.drivers.emulated.server import RemoteBoard, change
from sonod.drivers.errors import DriverError
from sonod.drivers.serial_board import SerialBoard

# On the boards' own clocks; less than the text firmware's time for a reply, after which a shot is given up.
TIMEOUT_S = 3.0
# The kernel keeps these to itself.
HIDDEN = ("errors", "halts")
SERIAL = tuple(name for name in BOARDS if name not in ("un0rick", "interson"))


@pytest.fixture(scope="module", params=list(BOARDS))
def board(request: pytest.FixtureRequest) -> Iterator[tuple[str, RemoteBoard]]:
    name: str = request.param
    speed = BOARDS[name].speed
    with served(name, **({"speed": speed} if speed != 1 else {})) as remote:
        yield name, remote


def make(name: str) -> Driver:
    uri = BOARDS[name].uri
    return driver_class(uri.partition(":")[0])(uri, clock=ScaledClock(BOARDS[name].speed))  # type: ignore[call-arg]


@pytest.mark.parametrize("command", table.commands())
def test_over_libusb(board: tuple[str, RemoteBoard], command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, remote = board
    shown(remote, monkeypatch)
    table.hold(table.cell(name, command), make(name), lambda line: remote.ask(**line), TIMEOUT_S)


@pytest.mark.parametrize(("fault", "kind", "says"), table.OPEN_FAULTS)
def test_what_keeps_a_board_from_being_opened(
    board: tuple[str, RemoteBoard], fault: str, kind: type[DriverError], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, remote = board
    shown(remote, monkeypatch)
    remote.set(open_fault=fault)
    with without_override():
        table.refuse(make(name), kind, says)


@pytest.mark.parametrize("command", table.commands())
@pytest.mark.parametrize("name", SERIAL)
def test_over_a_pseudo_terminal(name: str, command: str, tmp_path: Path) -> None:
    driver_name, _, query = BOARDS[name].uri.partition(":")
    clock = ScaledClock(BOARDS[name].speed)
    model = board_class(name)(clock=clock)
    assert isinstance(model, CdcBoard)
    kind = driver_class(driver_name)
    assert issubclass(kind, SerialBoard)
    cell, hidden = table.cell(name, command), HIDDEN
    if command == "oversize=1":
        # How much is gone depends on how much the kernel asks for.
        hidden = (*HIDDEN, "bytes_skipped", "damaged")
        if name == "open-echo":
            # A whole line, and lines have no numbers.
            cell = replace(cell, counters={})
    # The device file has another name after each plugging; the link follows it.
    with PtyFront(model, tmp_path / "tty") as front:

        def ask(line: dict[str, Any]) -> None:
            change(model, line)
            assert not model.plugged or front.wait_for_path(10.0)

        driver = kind(f"{driver_name}:{tmp_path / 'tty'}{query if 'usb=' not in query else ''}", clock)
        table.hold(cell, driver, ask, TIMEOUT_S, hidden)
