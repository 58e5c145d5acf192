"""Which boards are there: attached devices asked by their drivers who they are, and the emulated ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sonod.drivers import driver_class, driver_names
from sonod.drivers.base import Driver
from sonod.drivers.errors import AccessDenied, DriverError
from sonod.drivers.transports.usb import OutOfMemory
from sonod.drivers.transports.usb_bus import UsbDevice

# Drivers that have an emulated board say so in their URI's form.
EMULATED_OPTION = "emulated="
READY = "ready"
BUSY = "in use by another program"
NO_PERMISSION = "permission missing"
NO_MEMORY = "no memory left for USB transfers"
NO_DRIVER = "no driver"


@dataclass(frozen=True)
class Board:
    """A device that somebody could want to drive. `uri` opens it, '' when no driver takes it; `place` is its bus and
    address, '' for one that exists only as software. `state` is `ready`, or says in words why it is not."""

    driver: str
    uri: str
    usb_id: str
    place: str
    product: str
    serial: str
    firmware: str
    state: str
    emulated: bool = False


def recognise(device: UsbDevice, backend: Any = None) -> Board:
    """Who the attached device is. Drivers that may open it without harm, whatever it is, are asked; never fires."""
    found = Board(
        ", ".join(device.drivers),
        f"{device.drivers[0]}:{device.serial}" if device.drivers else "",
        device.usb_id,
        f"{device.bus}:{device.address}",
        f"{device.manufacturer} {device.product}".strip(),
        device.serial,
        "",
        READY,
    )
    if device.permission:
        return replace(found, state=NO_PERMISSION)
    if device.busy:
        return replace(found, state=BUSY)
    if not device.drivers:
        return replace(found, state=NO_DRIVER)
    reasons = []
    for name in device.drivers:
        kind = driver_class(name)
        uri = f"{name}:{device.serial}"
        if not kind.opens_harmlessly:
            reasons.append(f"perhaps {name}; others have the same USB id, so that it was not asked")
            continue
        driver: Driver = kind(uri) if backend is None else kind(uri, backend=backend)  # type: ignore[call-arg]
        try:
            driver.open()
            return replace(found, driver=name, uri=uri, firmware=driver.firmware)
        except AccessDenied:
            return replace(found, state=BUSY)
        except OutOfMemory:
            return replace(found, state=NO_MEMORY)
        except DriverError as error:
            reasons.append(f"not {name}: {error}")
        finally:
            driver.close()
    return replace(found, state="; ".join(reasons))


# More boards of one driver: options beside `emulated=1`.
VARIANTS = {"pic0rick": ("firmware=binary",), "wulpus": ("board=pro",)}


def emulated_boards() -> tuple[Board, ...]:
    """The boards that exist only as software, each opened once to see that it works."""
    boards = []
    for name in driver_names():
        try:
            kind = driver_class(name)
        except DriverError:
            continue
        if EMULATED_OPTION in kind.uri_form:
            for options in ("", *VARIANTS.get(name, ())):
                boards.append(_emulated(name, kind, options))
    return tuple(boards)


def _emulated(name: str, kind: type[Driver], options: str) -> Board:
    uri = f"{name}:?emulated=1" + (f"&{options}" if options else "")
    driver = kind(uri)
    try:
        driver.open()
        return Board(name, uri, "", "", driver.probe.name, driver.serial, driver.firmware, READY, emulated=True)
    except DriverError as error:
        return Board(name, uri, "", "", "", "", "", str(error), emulated=True)
    finally:
        driver.close()
