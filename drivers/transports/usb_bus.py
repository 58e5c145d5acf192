"""The USB devices that are attached, which driver would take each, and what permission is missing."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import usb.core
import usb.util

from sonod.drivers import driver_class, driver_names
from sonod.drivers.errors import DriverError
from sonod.drivers.transports.udev import udev_rule
from sonod.drivers.transports.usb import default_backend

HUB_CLASS = 9


@dataclass(frozen=True)
class UsbDevice:
    """One attached device. Texts are empty where the device has none or may not be opened.

    `drivers` are the names of drivers that may take it. `permission` is '' when this user may open it, else the udev
    rule that would allow it; `busy` says that another program or kernel driver holds it.
    """

    vendor_id: int
    product_id: int
    bus: int
    address: int
    manufacturer: str
    product: str
    serial: str
    drivers: tuple[str, ...]
    permission: str
    busy: bool

    @property
    def usb_id(self) -> str:
        """The pair as other programs write it: 0403:601e."""
        return f"{self.vendor_id:04x}:{self.product_id:04x}"


def attached_devices(
    backend: Any = None, claims: Mapping[tuple[int, int], tuple[str, ...]] | None = None
) -> tuple[UsbDevice, ...]:
    """Every attached device that is no hub, by bus and address; DriverError when USB cannot be used at all.

    `backend` is one of pyusb's, by default that of the libusb that comes with sonod; `claims` maps device ids to the
    drivers that may take them, by default those of all drivers.
    """
    if backend is None:
        backend = default_backend()
    known = claimed_ids() if claims is None else claims
    try:
        found: Iterable[Any] = list(usb.core.find(find_all=True, backend=backend) or ())
    except (usb.core.USBError, usb.core.NoBackendError) as error:
        raise DriverError(f"USB: the attached devices cannot be listed ({error}); is /dev/bus/usb there?") from error
    devices = [_look_at(device, known) for device in found if device.bDeviceClass != HUB_CLASS]
    return tuple(sorted(devices, key=lambda device: (device.bus, device.address)))


def claimed_ids() -> dict[tuple[int, int], tuple[str, ...]]:
    """(vendor, product) to the names of the drivers that may take it; a driver that cannot be loaded claims nothing."""
    claims: dict[tuple[int, int], tuple[str, ...]] = {}
    for name in driver_names():
        try:
            pairs = driver_class(name).usb_ids
        except DriverError:
            continue
        for pair in pairs:
            claims[pair] = (*claims.get(pair, ()), name)
    return claims


def _look_at(device: Any, claims: Mapping[tuple[int, int], tuple[str, ...]]) -> UsbDevice:
    pair = int(device.idVendor), int(device.idProduct)
    texts: dict[str, str] = {}
    permission, busy = "", False
    try:
        # A device without texts is not opened by asking for them; asking for its configuration does open it.
        _ = device.get_active_configuration()
        texts["manufacturer"] = _text(device, device.iManufacturer)
        texts["product"] = _text(device, device.iProduct)
        texts["serial"] = _text(device, device.iSerialNumber)
    except (usb.core.USBError, NotImplementedError) as error:
        code = getattr(error, "errno", None)
        if code in (errno.EACCES, errno.EPERM):
            permission = udev_rule(*pair)
        busy = code == errno.EBUSY
    finally:
        usb.util.dispose_resources(device)
    return UsbDevice(
        *pair,
        int(device.bus or 0),
        int(device.address or 0),
        texts.get("manufacturer", ""),
        texts.get("product", ""),
        texts.get("serial", ""),
        claims.get(pair, ()),
        permission,
        busy,
    )


def _text(device: Any, index: int) -> str:
    """The device's text of this index, or '' when it has nothing to say (a stall, no language, no text)."""
    try:
        return str(usb.util.get_string(device, index) or "")
    except (usb.core.USBError, ValueError):
        return ""
