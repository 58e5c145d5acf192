"""The un0rick driver on the real libusb: the suite for every driver, and plugging in again. Interson is in
tier_boards.py and, with the whole suite, in campaign_boards.py."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sonod.drivers.attached import recognise
from sonod.drivers.base import Driver
from sonod.drivers.conformance import DriverConformance
from sonod.drivers.emulated.server import RemoteBoard
from sonod.drivers.errors import AccessDenied, Disconnected
from sonod.drivers.frame import Slot
from sonod.drivers.settings import default_settings
from sonod.drivers.transports.usb_bus import attached_devices
from sonod.drivers.un0rick.driver import Un0rickDriver


@contextmanager
def served(name: str) -> Iterator[RemoteBoard]:
    with tempfile.TemporaryDirectory(prefix="sonod-") as folder, RemoteBoard(name, Path(folder, "t")) as remote:
        yield remote


@pytest.fixture(scope="module")
def un0rick() -> Iterator[RemoteBoard]:
    with served("un0rick") as remote:
        yield remote


@pytest.fixture(scope="module")
def interson() -> Iterator[RemoteBoard]:
    with served("interson") as remote:
        yield remote


class OverLibusb(DriverConformance):
    """With the board in a process of its own, nothing but the driver allocates here."""

    frame_count = 3
    remote: RemoteBoard

    def unplug(self, driver: Driver) -> bool:
        self.remote.unplug()
        return True

    def silence(self, driver: Driver) -> bool:
        self.remote.set(silent=True)
        return True


class TestUn0rickOverLibusb(OverLibusb):
    @pytest.fixture(autouse=True)
    def _with_board(self, un0rick: RemoteBoard, monkeypatch: pytest.MonkeyPatch) -> None:
        self.remote = fresh(un0rick, monkeypatch)

    def make_driver(self) -> Driver:
        return Un0rickDriver("un0rick:")


def fresh(remote: RemoteBoard, monkeypatch: pytest.MonkeyPatch) -> RemoteBoard:
    """Just plugged in, and the only device that this process sees."""
    monkeypatch.setenv("UMOCKDEV_DIR", remote.environment["UMOCKDEV_DIR"])
    remote.unplug()
    remote.plug()
    return remote


def test_unplugged_and_read_again_under_a_new_address(un0rick: RemoteBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = fresh(un0rick, monkeypatch)
    driver = Un0rickDriver("un0rick:")
    addresses = set()
    for _ in range(3):
        driver.open()
        configuration = driver.prepare(default_settings(driver.knobs()))
        driver.apply(configuration)
        driver.start()
        slot = Slot(configuration.acquisition.nbytes)
        driver.read_into(slot, 2.0)
        (device,) = attached_devices()
        addresses.add(device.address)
        remote.unplug()
        with pytest.raises(Disconnected):
            driver.read_into(slot, 2.0)
        driver.close()
        remote.plug()
    assert len(addresses) == 3


def test_a_board_that_another_program_has_is_in_use(un0rick: RemoteBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = fresh(un0rick, monkeypatch)
    remote.set(open_fault="busy")
    with pytest.raises(AccessDenied, match="another program"):
        Un0rickDriver("un0rick:").open()


def test_the_boards_are_recognised(
    interson: RemoteBoard, un0rick: RemoteBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for remote, state, firmware in ((interson, "ready", "FPGA 7"), (un0rick, "perhaps un0rick", "")):
        fresh(remote, monkeypatch)
        (device,) = attached_devices()
        board = recognise(device)
        assert board.state.startswith(state)
        assert (board.firmware, board.serial) == (firmware, "EMU00001")
