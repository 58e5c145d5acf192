"""Every other board on the real libusb, under the whole suite for drivers. Boards keep their own pace, so this takes
minutes; `make campaign` runs it. tier_boards.py has the short form."""

from __future__ import annotations

import pytest

from sonod.drivers import open_uri
from sonod.drivers.base import Driver
from sonod.drivers.conformance import DriverConformance
from sonod.drivers.emulated.server import RemoteBoard


class _OverLibusb(DriverConformance):
    # A busy machine makes the emulated boards slow.
    frame_timeout_s = 20.0
    frame_count = 3
    allocation_limit_bytes = 256 * 1024
    board_name: str
    uri: str

    @pytest.fixture(autouse=True)
    def _with_board(self, class_board: RemoteBoard) -> None:
        self.board = class_board

    def make_driver(self) -> Driver:
        return open_uri(self.uri)

    def unplug(self, driver: Driver) -> bool:
        self.board.unplug()
        return True

    def silence(self, driver: Driver) -> bool:
        self.board.set(silent=True)
        return True


class TestPic0rick(_OverLibusb):
    board_name, uri = "pic0rick", "pic0rick:"


class TestPic0rickBinary(_OverLibusb):
    board_name, uri = "pic0rick-binary", "pic0rick:"


class TestUltr4rick(_OverLibusb):
    board_name, uri = "ultr4rick", "ultr4rick:"


class TestWulpus(_OverLibusb):
    board_name, uri = "wulpus", "wulpus:"


class TestOpenEcho(_OverLibusb):
    board_name, uri = "open-echo", "open-echo:?usb=2341:0069"


class TestUn0rick(_OverLibusb):
    board_name, uri = "un0rick", "un0rick:"


class TestInterson(_OverLibusb):
    board_name, uri = "interson", "interson:"
