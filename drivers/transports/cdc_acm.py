"""USB serial ports (CDC-ACM) through libusb: both interfaces claimed, line coding set, DTR up; no kernel driver."""

from __future__ import annotations

import contextlib
import struct
from array import array
from collections.abc import Callable, Iterable
from typing import Any

import usb.core
import usb.util

from sonod.drivers.errors import AccessDenied, DeviceNotFound, Disconnected, DriverError, DriverTimeout
from sonod.drivers.pacing import Clock
from sonod.drivers.transports.byte_port import BytePort, Identity
from sonod.drivers.transports.usb import Selector, Stalled, TransferFailed, UsbDevice, attached, open_device, translate

COMMUNICATION_CLASS, DATA_CLASS = 0x02, 0x0A
HOST_TO_INTERFACE = 0x21
SET_LINE_CODING, SET_CONTROL_LINE_STATE = 0x20, 0x22
DTR_RTS = 0x0003
# A pico-sdk board takes this rate as the wish to be flashed.
REBOOT_BAUD = 1200
# Reads are of these lengths: whole packets, so that nothing overflows, and none longer than what is wanted, so that
# a message that ends with a full packet is not waited for.
READ_SIZES = (16384, 4096, 1024, 256, 64)
# So many transfers failed one after the other mean that it is not the wire's occasional error.
MOST_FAILURES = 8


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
    pairs = set(usb_ids)
    refusals, seen = [], []
    for found in attached(backend, lambda vendor, product: (vendor, product) in pairs):
        if found.refusal:
            refusals.append(found.refusal)
            continue
        place = f"{wanted} {found.vendor_id:04x}:{found.product_id:04x} at bus {found.bus} address {found.address}"
        identity = Identity(found.manufacturer, found.product, found.serial, place)
        seen.append(f"{found.product} {found.serial}".strip() or "one without strings")
        if not is_ours(identity) or (serial and identity.serial != serial):
            continue
        selector = Selector(found.vendor_id, found.product_id, found.serial, found.manufacturer, found.product)
        return CdcAcmPort(open_device(selector, backend), identity, baud=baud, clock=clock)
    if refusals:
        raise AccessDenied(f"{wanted}: {refusals[0]}")
    ids = ", ".join(f"{vendor:04x}:{product:04x}" for vendor, product in sorted(pairs))
    asked = f" with serial number {serial}" if serial else ""
    others = f"attached is {'; '.join(seen)}" if seen else "is it plugged in? `sonod devices` lists what is"
    raise DeviceNotFound(f"{wanted}{asked}: no USB device {ids} answers to this; {others}")


class CdcAcmPort(BytePort):
    """One open port; DTR is up from the start. Owns the device from here on, also when it raises."""

    def __init__(
        self, device: UsbDevice, identity: Identity, *, baud: int = 115200, clock: Clock | None = None
    ) -> None:
        super().__init__(clock)
        self.identity = identity
        self._in_a_row = 0
        self._device = device
        self._buffers = tuple(array("B", bytes(size)) for size in READ_SIZES)
        self._views = tuple(memoryview(buffer) for buffer in self._buffers)
        self._left = self._views[0][:0]
        self._claimed = False
        try:
            if baud == REBOOT_BAUD:
                raise DriverError(f"{identity.place}: {REBOOT_BAUD} baud would send a Pico into its boot loader")
            self._comm, data, self._in, self._out = _ports(device, identity.place)
            device.claim(self._comm, data)
            self._claimed = True
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
        self._device.write(self._out, data, timeout_s)

    def set_dtr(self, up: bool) -> None:
        self._control(SET_CONTROL_LINE_STATE, DTR_RTS if up else 0)

    def close(self) -> None:
        if self._claimed:
            self._claimed = False
            with contextlib.suppress(DriverError):
                self.set_dtr(False)
        self._device.close()

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _read(self, wanted: int, timeout_s: float) -> memoryview:
        index = next((index for index, size in enumerate(READ_SIZES) if size <= wanted), len(READ_SIZES) - 1)
        try:
            count = self._device.read_into(self._in, self._buffers[index], timeout_s)
        except DriverTimeout:
            count = 0
        except Stalled as error:
            self.halts += 1
            self._failed(error)
            self._device.clear_halt(self._in)
            count = 0
        except TransferFailed as error:
            self.failures += 1
            self._failed(error)
            count = 0
        else:
            self._in_a_row = 0
        return self._views[index][:count]

    def _failed(self, error: DriverError) -> None:
        self._in_a_row += 1
        if self._in_a_row >= MOST_FAILURES:
            raise Disconnected(f"{self.identity.place}: {MOST_FAILURES} transfers failed in a row: {error}") from error

    def _control(self, request: int, value: int, data: bytes = b"") -> None:
        self._device.control_out(HOST_TO_INTERFACE, request, value, self._comm, data)


def _ports(device: UsbDevice, place: str) -> tuple[int, int, int, int]:
    """Communication interface, data interface, bulk IN and bulk OUT endpoint."""
    try:
        interfaces = list(device.handle.get_active_configuration())
    except usb.core.USBError as error:
        raise translate(error, place, "descriptors", device.identity) from error
    comm = next((face for face in interfaces if face.bInterfaceClass == COMMUNICATION_CLASS), None)
    data = next((face for face in interfaces if face.bInterfaceClass == DATA_CLASS), None)
    if comm is None or data is None:
        raise DeviceNotFound(f"{place}: is not a USB serial port")
    bulk = [int(end.bEndpointAddress) for end in data if usb.util.endpoint_type(end.bmAttributes) == 2]
    into = next((address for address in bulk if address & usb.util.ENDPOINT_IN), None)
    out = next((address for address in bulk if not address & usb.util.ENDPOINT_IN), None)
    if into is None or out is None:
        raise DeviceNotFound(f"{place}: its serial port has no data endpoints")
    return int(comm.bInterfaceNumber), int(data.bInterfaceNumber), into, out
