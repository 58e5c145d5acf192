"""Every fault in the table of docs/hardware.md on every board, over the bus in memory. Over the real libusb and over
pseudo-terminals: tests/libusb_tier/campaign_faults.py."""

from __future__ import annotations

from typing import Any

import board_fault_table as table
import pytest
from board_fault_table import BOARDS, Cell

from sonod.drivers import driver_class
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.device import EmulatedDevice
from sonod.drivers.emulated.faults import OpenFault
from sonod.drivers.emulated.server import change
from sonod.drivers.errors import DriverError

# Less than the text firmware's time for a reply, after which a shot is given up.
TIMEOUT_S = 3.0


def named(cell: Cell) -> str:
    return f"{cell.board}-{cell.command}"


def test_every_board_has_every_fault_in_the_table() -> None:
    cells = table.cells()
    assert {cell.board for cell in cells} == set(BOARDS)
    assert len(cells) == 15 * len(BOARDS)


def make(board: str) -> Any:
    uri = BOARDS[board].uri.partition("?")[0]
    options = "&".join(filter(None, ("emulated=1", BOARDS[board].memory)))
    return driver_class(uri.rstrip(":"))(f"{uri}?{options}", clock=ManualClock())  # type: ignore[call-arg]


@pytest.mark.parametrize("cell", table.cells(), ids=named)
def test_in_memory(cell: Cell) -> None:
    driver = make(cell.board)

    def ask(command: dict[str, Any]) -> dict[str, Any]:
        board = driver.board
        assert isinstance(board, EmulatedDevice)
        return change(board, command)

    table.hold(cell, driver, ask, TIMEOUT_S)
    assert driver._backend.open_handles == 0


@pytest.mark.parametrize(("fault", "kind", "says"), table.OPEN_FAULTS)
@pytest.mark.parametrize("board", BOARDS)
def test_what_keeps_a_board_from_being_opened(board: str, fault: str, kind: type[DriverError], says: str) -> None:
    driver = make(board)
    driver.open()
    driver.close()
    driver.board.faults.open_fault = OpenFault(fault)
    table.refuse(driver, kind, says)
    assert driver._backend.open_handles == 0
