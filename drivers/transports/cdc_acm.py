"""USB serial ports (CDC-ACM) through libusb: both interfaces claimed, line coding set, DTR up; no kernel driver."""

from __future__ import annotations

import contextlib
import errno
import math
import struct
from array import array
from collections.abc import Callable, Iterable
from typing import Any

import libusb_package
import usb.core
import usb.util

from sonod.drivers.errors import AccessDenied, DeviceNotFound, Disconnected, DriverError, DriverTimeout, ProtocolError
from sonod.drivers.pacing import Clock
from sonod.drivers.transports.byte_port import BytePort, Identity
from sonod.drivers.transports.usb_bus import udev_rule

COMMUNICATION_CLASS, DATA_CLASS = 0x02, 0x0A
SET_LINE_CODING, SET_CONTROL_LINE_STATE = 0x20, 0x22
DTR_RTS = 0x0003
# A pico-sdk board takes this rate as the wish to be flashed.
REBOOT_BAUD = 1200
CONTROL_TIMEOUT_MS = 1000
# Reads are of these lengths: whole packets, so that nothing overflows, and none longer than what is wanted, so that
# a message that ends with a full packet is not waited for.
READ_SIZES = (16384, 4096, 1024, 256, 64)
# A halted endpoint is cleared and read again this often before it counts as broken.
MOST_HALTS = 3

_ACCESS = frozenset({errno.EACCES, errno.EPERM})
_GONE = frozenset({errno.ENODEV, errno.ESHUTDOWN, errno.ENOENT})


def open_cdc_acm(
    usb_ids: Iterable[tuple[int, int]],
    *,
    wanted: str,
    serial: str = "",
    is_ours: Callable[[Identity], bool] = lambda identity: True,
    baud: int = 115200,
    backend: Any = None,
    clock: Clock | None = None,
) -> CdcAcmPort:
    """The first attached board with one of these ids that `is_ours` and has this serial number ('' = any).

    `wanted` names the board in messages. DeviceNotFound when there is none, AccessDenied when there is one that may
    not be opened or is in use.
    """
    if backend is None:
        backend = libusb_package.get_libusb1_backend()
        if backend is None:
            raise DriverError("USB: libusb cannot be loaded; reinstall the package libusb-package")
    pairs = set(usb_ids)
    try:
        found = list(usb.core.find(find_all=True, backend=backend) or ())
    except (usb.core.USBError, usb.core.NoBackendError) as error:
        raise DriverError(f"USB: the attached devices cannot be listed ({error}); is /dev/bus/usb there?") from error
    refused: DriverError | None = None
    seen = []
    for device in found:
        pair = int(device.idVendor), int(device.idProduct)
        if pair not in pairs:
            continue
        place = f"{wanted} {pair[0]:04x}:{pair[1]:04x} at bus {device.bus} address {device.address}"
        try:
            identity = _identify(device, place)
            seen.append(identity.serial or "without serial number")
            if not is_ours(identity) or (serial and identity.serial != serial):
                continue
            return CdcAcmPort(device, identity, baud=baud, clock=clock)
        except DriverError as error:
            refused = refused or error
        finally:
            if refused is not None:
                usb.util.dispose_resources(device)
    if refused is not None:
        raise refused
    ids = ", ".join(f"{vendor:04x}:{product:04x}" for vendor, product in sorted(pairs))
    asked = f" with serial number {serial}" if serial else ""
    others = f"; devices with such an id: {', '.join(seen)}" if seen else "; is it plugged in? `sonod devices` lists"
    raise DeviceNotFound(f"{wanted}{asked}: no USB device {ids} answers to this{others}")


class CdcAcmPort(BytePort):
    """One open port; DTR is up from the start."""

    def __init__(
        self, device: usb.core.Device, identity: Identity, *, baud: int = 115200, clock: Clock | None = None
    ) -> None:
        super().__init__(clock)
        if baud == REBOOT_BAUD:
            raise DriverError(f"{identity.place}: {REBOOT_BAUD} baud would send a Pico into its boot loader")
        self.identity = identity
        # Halts that were cleared, and reads that were longer than asked; both mean lost bytes.
        self.halts = 0
        self.overflows = 0
        self._device = device
        self._buffers = tuple(array("B", bytes(size)) for size in READ_SIZES)
        self._views = tuple(memoryview(buffer) for buffer in self._buffers)
        self._left = memoryview(b"")
        self._claimed: list[int] = []
        self._detached: list[int] = []
        self._open = True
        try:
            self._comm, data, self._in, self._out = _ports(device, identity.place)
            for number in (self._comm, data):
                self._claim(number)
            self._control(SET_LINE_CODING, 0, struct.pack("<IBBB", baud, 0, 0, 8))
            self.set_dtr(True)
        except BaseException:
            self.close()
            raise

    def read_into(self, view: memoryview, timeout_s: float) -> int:
        if not self._left:
            self._left = self._read(len(view), timeout_s)
        count = min(len(self._left), len(view))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def write(self, data: bytes, timeout_s: float = 1.0) -> None:
        try:
            written = self._device.write(self._out, data, math.ceil(timeout_s * 1000))
        except usb.core.USBError as error:
            raise self._meaning(error, "does not take what is sent to it") from error
        if written != len(data):
            raise DriverTimeout(f"{self.identity.place}: took {written} of {len(data)} bytes")

    def set_dtr(self, up: bool) -> None:
        self._control(SET_CONTROL_LINE_STATE, DTR_RTS if up else 0)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._claimed:
            with contextlib.suppress(DriverError):
                self.set_dtr(False)
        for number in self._claimed:
            with contextlib.suppress(usb.core.USBError):
                usb.util.release_interface(self._device, number)
        for number in self._detached:
            with contextlib.suppress(usb.core.USBError, NotImplementedError):
                self._device.attach_kernel_driver(number)
        usb.util.dispose_resources(self._device)

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _read(self, wanted: int, timeout_s: float) -> memoryview:
        index = next((index for index, size in enumerate(READ_SIZES) if size <= wanted), len(READ_SIZES) - 1)
        buffer = self._buffers[index]
        timeout_ms = max(math.ceil(timeout_s * 1000), 1)
        for _ in range(MOST_HALTS + 1):
            try:
                count = self._device.read(self._in, buffer, timeout_ms)
                return self._views[index][:count]
            except usb.core.USBTimeoutError:
                return self._views[index][:0]
            except usb.core.USBError as error:
                if error.errno == errno.EOVERFLOW:
                    self.overflows += 1
                    return self._views[index][:0]
                if error.errno != errno.EPIPE:
                    raise self._meaning(error, "cannot be read") from error
                self._clear_halt()
        raise DriverError(f"{self.identity.place}: its data endpoint stays halted; unplug it and plug it in again")

    def _clear_halt(self) -> None:
        self.halts += 1
        try:
            self._device.clear_halt(self._in)
        except usb.core.USBError as error:
            raise self._meaning(error, "does not clear its halted endpoint") from error

    def _claim(self, number: int) -> None:
        try:
            # Not every system has kernel drivers to detach.
            with contextlib.suppress(NotImplementedError):
                if self._device.is_kernel_driver_active(number):
                    self._device.detach_kernel_driver(number)
                    self._detached.append(number)
            usb.util.claim_interface(self._device, number)
        except usb.core.USBError as error:
            raise self._meaning(error, "cannot be claimed") from error
        self._claimed.append(number)

    def _control(self, request: int, value: int, data: bytes = b"") -> None:
        try:
            self._device.ctrl_transfer(0x21, request, value, self._comm, data, CONTROL_TIMEOUT_MS)
        except usb.core.USBError as error:
            raise self._meaning(error, f"refuses the serial port request {request:#04x}") from error

    def _meaning(self, error: usb.core.USBError, what: str) -> DriverError:
        return meaning(error, self._device, self.identity.place, what)


def meaning(error: usb.core.USBError, device: usb.core.Device, place: str, what: str) -> DriverError:
    """libusb's error as ours; the words name the device, what failed, and the remedy."""
    code = error.errno
    if isinstance(error, usb.core.USBTimeoutError):
        return DriverTimeout(f"{place}: {what} in time")
    if code in _ACCESS:
        rule = udev_rule(int(device.idVendor), int(device.idProduct))
        return AccessDenied(f"{place}: permission denied; put this line into /etc/udev/rules.d/60-sonod.rules: {rule}")
    if code == errno.EBUSY:
        return AccessDenied(f"{place}: is in use by another program; close that program")
    if code == errno.ENOMEM:
        return DriverError(f"{place}: no memory for USB transfers; raise usbcore.usbfs_memory_mb")
    if code in _GONE:
        return Disconnected(f"{place}: the device went away")
    if code == errno.EPIPE:
        return ProtocolError(f"{place}: {what}")
    return DriverError(f"{place}: {what} ({error})")


def _identify(device: usb.core.Device, place: str) -> Identity:
    """What the strings say; asking opens the device."""

    def text(index: int) -> str:
        try:
            return str(usb.util.get_string(device, index) or "") if index else ""
        except (ValueError, UnicodeDecodeError):
            return ""
        except usb.core.USBError as error:
            if error.errno == errno.EPIPE:
                return ""
            raise meaning(error, device, place, "does not say what it is") from error

    return Identity(text(device.iManufacturer), text(device.iProduct), text(device.iSerialNumber), place)


def _ports(device: usb.core.Device, place: str) -> tuple[int, int, int, int]:
    """Communication interface, data interface, bulk IN and bulk OUT endpoint."""
    try:
        configuration = device.get_active_configuration()
    except usb.core.USBError as error:
        raise meaning(error, device, place, "has no active configuration") from error
    comm = next((face for face in configuration if face.bInterfaceClass == COMMUNICATION_CLASS), None)
    data = next((face for face in configuration if face.bInterfaceClass == DATA_CLASS), None)
    if comm is None or data is None:
        raise DeviceNotFound(f"{place}: is not a USB serial port")
    addresses = [int(end.bEndpointAddress) for end in data if usb.util.endpoint_type(end.bmAttributes) == 2]
    into = next((address for address in addresses if address & usb.util.ENDPOINT_IN), None)
    out = next((address for address in addresses if not address & usb.util.ENDPOINT_IN), None)
    if into is None or out is None:
        raise DeviceNotFound(f"{place}: its serial port has no data endpoints")
    return int(comm.bInterfaceNumber), int(data.bInterfaceNumber), into, out
