"""The boards with serial ports under the suite that every driver gets, over pseudo-terminals."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from sonod.drivers import driver_class
from sonod.drivers.base import Driver
from sonod.drivers.conformance import DriverConformance
from sonod.drivers.emulated import board_class
from sonod.drivers.emulated.cdc import CdcBoard
from sonod.drivers.emulated.clock import ScaledClock
from sonod.drivers.emulated.pty import PtyFront
from sonod.drivers.serial_board import SerialBoard

# Boards and drivers share a clock that runs this much faster; waits of seconds would otherwise add up to minutes.
SPEED = 10.0


@pytest.mark.parametrize(
    ("board", "driver", "options"),
    [
        ("pic0rick", "pic0rick", ""),
        ("pic0rick-binary", "pic0rick", "?data=alaw"),
        ("ultr4rick", "ultr4rick", ""),
        ("wulpus", "wulpus", ""),
        ("wulpus-pro", "wulpus", "?board=pro"),
        ("open-echo", "open-echo", ""),
    ],
)
class TestBoardsOverPty(DriverConformance):
    # The model computes its echoes in this process.
    allocation_limit_bytes = 1 << 20
    # In seconds of the fast clock: generous, for a busy machine.
    frame_timeout_s = 600.0
    frame_count = 3

    @pytest.fixture(autouse=True)
    def _front(self, board: str, driver: str, options: str) -> Iterator[None]:
        self.clock = ScaledClock(SPEED)
        model = board_class(board)(clock=self.clock)
        assert isinstance(model, CdcBoard)
        with PtyFront(model) as self.front:
            self.uri = f"{driver}:{self.front.path}{options}"
            yield

    def make_driver(self) -> Driver:
        kind = driver_class(self.uri.partition(":")[0])
        assert issubclass(kind, SerialBoard)
        return kind(self.uri, self.clock)

    def unplug(self, driver: Driver) -> bool:
        self.front.board.unplug()
        deadline = time.monotonic() + 10
        while self.front.path and time.monotonic() < deadline:
            time.sleep(0.001)
        return True

    def silence(self, driver: Driver) -> bool:
        assert isinstance(driver, SerialBoard)
        self.front.board.faults.silent = True
        # What is in the terminal already still comes, and is read here.
        port = driver.port
        scratch = memoryview(bytearray(4096))
        while port.read_into(scratch, 0.05):
            pass
        return True
