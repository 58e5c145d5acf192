"""Every other board on the real libusb: frames, silence, unplugging, and frames again under a new address."""

from __future__ import annotations

import pytest
from served_board import served, shown

from sonod.drivers import open_uri
from sonod.drivers.base import Driver
from sonod.drivers.errors import Disconnected, DriverTimeout
from sonod.drivers.frame import Slot
from sonod.drivers.settings import default_settings

FRAME_TIMEOUT_S = 20.0


def started(driver: Driver) -> Slot:
    driver.open()
    driver.apply(driver.prepare(default_settings(driver.knobs())))
    driver.start()
    assert driver.configuration is not None
    return Slot(driver.configuration.acquisition.nbytes)


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("pic0rick", "pic0rick:"),
        ("pic0rick-binary", "pic0rick:"),
        ("ultr4rick", "ultr4rick:"),
        ("wulpus", "wulpus:"),
        ("open-echo", "open-echo:?usb=2341:0069"),
        ("interson", "interson:"),
        ("un0rick", "un0rick:"),
    ],
)
def test_board_streams_and_comes_back(name: str, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(name) as board:
        shown(board, monkeypatch)
        driver = open_uri(uri)
        try:
            slot = started(driver)
            for _ in range(2):
                driver.read_into(slot, FRAME_TIMEOUT_S)
            assert slot.data.any()
            board.set(silent=True)
            with pytest.raises(DriverTimeout):
                read_until_it_ends(driver, slot, 0.3)
            board.unplug()
            with pytest.raises(Disconnected):
                read_until_it_ends(driver, slot, FRAME_TIMEOUT_S)
            driver.close()
            board.plug()
            slot = started(driver)
            driver.read_into(slot, FRAME_TIMEOUT_S)
        finally:
            driver.close()


def read_until_it_ends(driver: Driver, slot: Slot, timeout_s: float) -> None:
    """What had come already may still be read."""
    for _ in range(50):
        driver.read_into(slot, timeout_s)
