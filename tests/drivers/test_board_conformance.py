"""The boards with serial ports under the suite that every driver gets, over the in-memory USB front."""

from __future__ import annotations

import pytest

from sonod.drivers.base import Driver
from sonod.drivers.conformance import DriverConformance
from sonod.drivers.emulated.cdc import CdcBoard
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.open_echo.driver import OpenEchoDriver
from sonod.drivers.pic0rick.driver import Pic0rickDriver, Ultr4rickDriver
from sonod.drivers.serial_board import SerialBoard
from sonod.drivers.wulpus.driver import WulpusDriver


class BoardConformance(DriverConformance):
    # The model computes its echoes in this process; test_board_captures.py has the driver's own share.
    allocation_limit_bytes = 1 << 20

    def unplug(self, driver: Driver) -> bool:
        self.model(driver).unplug()
        return True

    def silence(self, driver: Driver) -> bool:
        self.model(driver).faults.silent = True
        return True

    @staticmethod
    def model(driver: Driver) -> CdcBoard:
        assert isinstance(driver, SerialBoard)
        assert isinstance(driver.board, CdcBoard)
        return driver.board


class TestPic0rickText(BoardConformance):
    frame_count = 3

    def make_driver(self) -> Driver:
        return Pic0rickDriver("pic0rick:?emulated=1&firmware=text", ManualClock())


@pytest.mark.parametrize("_data", ["raw", "envelope", "alaw"])
class TestPic0rickBinary(BoardConformance):
    @pytest.fixture(autouse=True)
    def _payload(self, _data: str) -> None:
        self.data = _data

    def make_driver(self) -> Driver:
        return Pic0rickDriver(f"pic0rick:?emulated=1&firmware=binary&data={self.data}", ManualClock())


@pytest.mark.parametrize("_firmware", ["text", "binary"])
class TestPic0rickSwept(BoardConformance):
    frame_timeout_s = 10.0
    frame_count = 3

    @pytest.fixture(autouse=True)
    def _uri(self, _firmware: str) -> None:
        self.uri = f"pic0rick:?emulated=1&firmware={_firmware}&sweep=sector:60:8:10:back"

    def make_driver(self) -> Driver:
        return Pic0rickDriver(self.uri, ManualClock())


class TestUltr4rick(BoardConformance):
    def make_driver(self) -> Driver:
        return Ultr4rickDriver("ultr4rick:?emulated=1", ManualClock())


class TestWulpus(BoardConformance):
    def make_driver(self) -> Driver:
        return WulpusDriver("wulpus:?emulated=1", ManualClock())


class TestWulpusPlane(BoardConformance):
    def make_driver(self) -> Driver:
        return WulpusDriver("wulpus:?emulated=1&sequence=plane", ManualClock())


class TestWulpusLine(BoardConformance):
    def make_driver(self) -> Driver:
        return WulpusDriver("wulpus:?emulated=1&sequence=line", ManualClock())


class TestWulpusPro(BoardConformance):
    def make_driver(self) -> Driver:
        return WulpusDriver("wulpus:?emulated=1&board=pro", ManualClock())


class TestOpenEcho(BoardConformance):
    def make_driver(self) -> Driver:
        return OpenEchoDriver("open-echo:?emulated=1", ManualClock())
