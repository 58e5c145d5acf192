"""pic0rick with its text firmware on the real libusb: the suite for every driver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served_board import served, shown

from sonod.drivers import open_uri
from sonod.drivers.base import Driver
from sonod.drivers.conformance import DriverConformance
from sonod.drivers.emulated.server import RemoteBoard


@pytest.fixture(scope="session")
def process() -> Iterator[RemoteBoard]:
    with served("pic0rick") as remote:
        yield remote


@pytest.fixture
def board(process: RemoteBoard, monkeypatch: pytest.MonkeyPatch) -> RemoteBoard:
    return shown(process, monkeypatch)


class TestPic0rickTextOverLibusb(DriverConformance):
    frame_count = 3
    frame_timeout_s = 5.0

    @pytest.fixture(autouse=True)
    def _with_board(self, board: RemoteBoard) -> None:
        self.board = board

    def make_driver(self) -> Driver:
        return open_uri("pic0rick:")

    def unplug(self, driver: Driver) -> bool:
        self.board.unplug()
        return True

    def silence(self, driver: Driver) -> bool:
        self.board.set(silent=True)
        return True
