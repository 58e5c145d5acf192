"""Listing USB devices, on an in-memory bus."""

from __future__ import annotations

import errno

import pytest
import usb.core
from usb_emulator import EmulatedBus, EmulatedDevice

from sonod.drivers.errors import DriverError
from sonod.drivers.transports.udev import udev_rule
from sonod.drivers.transports.usb_bus import attached_devices, claimed_ids

BRIDGE = (0x0403, 0x601E)


def test_a_device_is_listed_with_its_texts_and_its_driver() -> None:
    device = EmulatedDevice(*BRIDGE, bus=2, address=20, texts=("FTDI", "FIFO bridge", "0001"))
    (found,) = attached_devices(EmulatedBus(device), {BRIDGE: ("board",)})
    assert found.usb_id == "0403:601e"
    assert (found.bus, found.address) == (2, 20)
    assert (found.manufacturer, found.product, found.serial) == ("FTDI", "FIFO bridge", "0001")
    assert found.drivers == ("board",)
    assert found.permission == ""
    assert not found.busy


def test_listing_lets_go_of_every_device() -> None:
    device = EmulatedDevice(*BRIDGE, texts=("a", "b", "c"))
    attached_devices(EmulatedBus(device), {})
    assert device.opens == device.closes == 1


def test_hubs_are_left_out_and_others_are_in_order() -> None:
    bus = EmulatedBus(
        EmulatedDevice(1, 3, bus=2, address=1),
        EmulatedDevice(0x1D6B, 2, device_class=9),
        EmulatedDevice(1, 2, bus=1, address=7),
    )
    assert [device.product_id for device in attached_devices(bus, {})] == [2, 3]


def test_a_missing_permission_names_its_cure() -> None:
    device = EmulatedDevice(*BRIDGE, texts=("a", "b", "c"), open_error=errno.EACCES)
    (found,) = attached_devices(EmulatedBus(device), {})
    assert found.product == ""
    assert found.permission == udev_rule(*BRIDGE)
    assert 'ATTR{idVendor}=="0403", ATTR{idProduct}=="601e"' in found.permission
    assert not found.busy


def test_a_device_that_is_held_is_busy() -> None:
    (found,) = attached_devices(EmulatedBus(EmulatedDevice(*BRIDGE, open_error=errno.EBUSY)), {})
    assert found.busy
    assert found.permission == ""


def test_a_device_that_stalls_or_vanishes_is_listed_without_texts() -> None:
    bus = EmulatedBus(
        EmulatedDevice(*BRIDGE, texts=("a", "b", "c"), stalls_on_texts=True),
        EmulatedDevice(1, 2, address=3, open_error=errno.ENODEV),
    )
    first, second = attached_devices(bus, {})
    assert (first.manufacturer, first.permission) == ("", "")
    assert (second.manufacturer, second.permission) == ("", "")


def test_an_empty_bus_has_no_devices() -> None:
    assert attached_devices(EmulatedBus(), {}) == ()


def test_a_bus_that_cannot_be_listed_is_a_driver_error() -> None:
    class Broken(EmulatedBus):
        def enumerate_devices(self) -> None:  # type: ignore[override]
            raise usb.core.USBError("Input/output error", -1, errno.EIO)

    with pytest.raises(DriverError, match="cannot be listed"):
        attached_devices(Broken(), {})


def test_claims_are_gathered_from_all_drivers() -> None:
    claims = claimed_ids()
    assert all(names and all(isinstance(name, str) for name in names) for names in claims.values())


def test_the_real_bus_can_be_listed() -> None:
    # Whatever is attached here, if anything: libusb loads and nothing is raised but a driver's error.
    try:
        devices = attached_devices()
    except DriverError as error:
        pytest.skip(f"no USB on this machine: {error}")
    assert all(device.usb_id for device in devices)
