"""WULPUS on the real libusb. Not the whole suite: every start waits for the longest period of the probe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served_board import served, shown

from sonod.drivers import open_uri
from sonod.drivers.base import Driver
from sonod.drivers.emulated.server import RemoteBoard
from sonod.drivers.errors import Disconnected
from sonod.drivers.frame import Slot
from sonod.drivers.settings import default_settings


@pytest.fixture(scope="session")
def process() -> Iterator[RemoteBoard]:
    with served("wulpus") as remote:
        yield remote


@pytest.fixture
def board(process: RemoteBoard, monkeypatch: pytest.MonkeyPatch) -> RemoteBoard:
    return shown(process, monkeypatch)


def read_until_gone(driver: Driver, slot: Slot) -> None:
    """What came before the cable was pulled may still be read."""
    for _ in range(3):
        driver.read_into(slot, 2.0)


def test_images_come_and_an_unplugged_dongle_is_disconnected(board: RemoteBoard) -> None:
    driver = open_uri("wulpus:")
    driver.open()
    try:
        configuration = driver.prepare(default_settings(driver.knobs()))
        driver.apply(configuration)
        driver.start()
        slot = Slot(configuration.acquisition.nbytes)
        for number in (1, 2, 3):
            driver.read_into(slot, 5.0)
            assert (slot.number, slot.lost) == (number, 0)
        board.unplug()
        with pytest.raises(Disconnected):
            read_until_gone(driver, slot)
    finally:
        driver.close()
