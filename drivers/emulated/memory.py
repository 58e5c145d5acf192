"""Emulated devices on a bus in memory: a backend for pyusb, so that drivers run unmodified without libusb.

    bus = Bus()
    bus.attach(SomeBoard())
    usb.core.find(backend=MemoryBackend(bus), idVendor=..., idProduct=...)

Covers pyusb's synchronous interface; for libusb itself and everything asynchronous see usbfs.py.
"""

from __future__ import annotations

import errno
import struct
import threading
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core

from sonod.drivers.emulated.description import Description, Interface
from sonod.drivers.emulated.device import BusError, EmulatedDevice, Gone, Setup, Stall
from sonod.drivers.emulated.faults import OpenFault

# A device that has nothing is asked again after this time, unless it says when it will have something.
ASK_AGAIN_NS = 500_000
# Device numbers that Linux hands out on one bus.
LAST_ADDRESS = 127


@dataclass
class Port:
    """One plugged-in life of a device: unplugging ends it, plugging in again begins another with a new address."""

    device: EmulatedDevice
    generation: int
    bus: int
    address: int
    number: int

    @property
    def gone(self) -> bool:
        return not self.device.plugged or self.device.generation != self.generation


class Bus:
    """The devices that are attached; a device that was plugged in again appears under a new address."""

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self._devices: list[EmulatedDevice] = []
        self._ports: dict[int, Port] = {}
        self._address = 1
        self._lock = threading.Lock()

    def attach(self, device: EmulatedDevice) -> EmulatedDevice:
        with self._lock:
            self._devices.append(device)
        return device

    def detach(self, device: EmulatedDevice) -> None:
        device.unplug()
        with self._lock:
            self._devices.remove(device)

    @property
    def ports(self) -> list[Port]:
        """What is plugged in now."""
        with self._lock:
            present = []
            for index, device in enumerate(self._devices):
                if not device.plugged:
                    continue
                port = self._ports.get(id(device))
                if port is None or port.gone:
                    self._address = self._address % LAST_ADDRESS + 1
                    port = Port(device, device.generation, self.number, self._address, index + 1)
                    self._ports[id(device)] = port
                present.append(port)
            return present


@dataclass
class _Handle:
    """An open device."""

    port: Port
    claimed: set[int] = field(default_factory=set)


class MemoryBackend(usb.backend.IBackend):  # type: ignore[misc]
    """pyusb's backend interface over a `Bus`; errors are those that libusb gives."""

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._bus = bus
        self.open_handles = 0

    # -- descriptors -------------------------------------------------------------------------------------------------

    def enumerate_devices(self) -> Iterator[Port]:
        return iter(self._bus.ports)

    def get_parent(self, dev: Port) -> None:
        return None

    def get_device_descriptor(self, dev: Port) -> SimpleNamespace:
        names = (
            "bLength bDescriptorType bcdUSB bDeviceClass bDeviceSubClass bDeviceProtocol bMaxPacketSize0 idVendor "
            "idProduct bcdDevice iManufacturer iProduct iSerialNumber bNumConfigurations"
        )
        found = _fields(names, "<BBHBBBBHHHBBBB", dev.device.description.device_descriptor())
        found.bus, found.address, found.speed = dev.bus, dev.address, int(dev.device.description.speed)
        found.port_number, found.port_numbers = dev.number, (dev.number,)
        return found

    def get_configuration_descriptor(self, dev: Port, config: int) -> SimpleNamespace:
        _only(config == 0, "configuration", config)
        names = "bLength bDescriptorType wTotalLength bNumInterfaces bConfigurationValue iConfiguration bmAttributes"
        return _fields(
            names + " bMaxPower", "<BBHBBBBB", dev.device.description.configuration_descriptor(), extra_descriptors=[]
        )

    def get_interface_descriptor(self, dev: Port, intf: int, alt: int, config: int) -> SimpleNamespace:
        interface = _interface(dev.device.description, intf, alt)
        names = (
            "bLength bDescriptorType bInterfaceNumber bAlternateSetting bNumEndpoints bInterfaceClass "
            "bInterfaceSubClass bInterfaceProtocol iInterface"
        )
        return _fields(names, "<9B", interface.head(), extra_descriptors=list(interface.extra))

    def get_endpoint_descriptor(self, dev: Port, ep: int, intf: int, alt: int, config: int) -> SimpleNamespace:
        endpoints = _interface(dev.device.description, intf, alt).endpoints
        _only(ep < len(endpoints), "endpoint", ep)
        names = "bLength bDescriptorType bEndpointAddress bmAttributes wMaxPacketSize bInterval"
        return _fields(names, "<BBBBHB", endpoints[ep].descriptor(), extra_descriptors=[], bRefresh=0, bSynchAddress=0)

    # -- life --------------------------------------------------------------------------------------------------------

    def open_device(self, dev: Port) -> _Handle:
        if dev.gone:
            raise _no_device()
        if dev.device.faults.open_fault is OpenFault.ACCESS:
            raise usb.core.USBError("Access denied (insufficient permissions)", -3, errno.EACCES)
        self.open_handles += 1
        return _Handle(dev)

    def close_device(self, dev_handle: _Handle) -> None:
        self.open_handles -= 1

    def set_configuration(self, dev_handle: _Handle, config_value: int) -> None:
        self.ctrl_transfer(dev_handle, 0x00, 9, config_value, 0, array("B"), 1000)

    def get_configuration(self, dev_handle: _Handle) -> int:
        answer = array("B", [0])
        self.ctrl_transfer(dev_handle, 0x80, 8, 0, 0, answer, 1000)
        return answer[0]

    def set_interface_altsetting(self, dev_handle: _Handle, intf: int, altsetting: int) -> None:
        self.ctrl_transfer(dev_handle, 0x01, 11, altsetting, intf, array("B"), 1000)

    def claim_interface(self, dev_handle: _Handle, intf: int) -> None:
        if dev_handle.port.gone:
            raise _no_device()
        if dev_handle.port.device.faults.open_fault is OpenFault.BUSY:
            raise usb.core.USBError("Resource busy", -6, errno.EBUSY)
        if intf not in {interface.number for interface in dev_handle.port.device.description.interfaces}:
            raise usb.core.USBError("Entity not found", -5, errno.ENOENT)
        dev_handle.claimed.add(intf)

    def release_interface(self, dev_handle: _Handle, intf: int) -> None:
        dev_handle.claimed.discard(intf)
        if dev_handle.port.gone:
            raise _no_device()

    def is_kernel_driver_active(self, dev_handle: _Handle, intf: int) -> bool:
        return False

    def detach_kernel_driver(self, dev_handle: _Handle, intf: int) -> None:
        raise usb.core.USBError("Entity not found", -5, errno.ENOENT)

    def attach_kernel_driver(self, dev_handle: _Handle, intf: int) -> None:
        raise usb.core.USBError("Entity not found", -5, errno.ENOENT)

    def clear_halt(self, dev_handle: _Handle, ep: int) -> None:
        with _told(dev_handle.port):
            dev_handle.port.device.clear_halt(ep)

    def reset_device(self, dev_handle: _Handle) -> None:
        with _told(dev_handle.port):
            dev_handle.port.device.host_reset()

    # -- transfers -----------------------------------------------------------------------------------------------------

    def ctrl_transfer(
        self,
        dev_handle: _Handle,
        bmRequestType: int,
        bRequest: int,
        wValue: int,
        wIndex: int,
        data: array[int],
        timeout: int,
    ) -> int:
        setup = Setup(bmRequestType, bRequest, wValue, wIndex, len(data) * data.itemsize)
        with _told(dev_handle.port):
            answer = dev_handle.port.device.host_control(setup, b"" if setup.is_in else data.tobytes())
        if not setup.is_in:
            return setup.length
        memoryview(data).cast("B")[: len(answer)] = answer
        return len(answer)

    def bulk_write(self, dev_handle: _Handle, ep: int, intf: int, data: array[int], timeout: int) -> int:
        self._require_claimed(dev_handle, intf)
        _require_memory(dev_handle.port)
        payload = data.tobytes()
        with _told(dev_handle.port):
            dev_handle.port.device.host_bulk_out(ep, payload)
        return len(payload)

    def bulk_read(self, dev_handle: _Handle, ep: int, intf: int, buff: array[int], timeout: int) -> int:
        self._require_claimed(dev_handle, intf)
        device = dev_handle.port.device
        _require_memory(dev_handle.port)
        clock, packet = device.clock, device.description.endpoint(ep).packet_bytes
        view = memoryview(buff).cast("B")
        asked_ns = clock.now_ns()
        deadline = asked_ns + timeout * 1_000_000 if timeout else None
        filled = 0
        while filled < len(view):
            with _told(dev_handle.port):
                data = device.host_in(ep, len(view) - filled, asked_ns)
            if data is None:
                now = clock.now_ns()
                if deadline is not None and now >= deadline:
                    if filled:
                        break
                    raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
                again = max(device.due_ns(ep) or 0, now + ASK_AGAIN_NS)
                # A fault or an unplugging must be noticed although the device has promised nothing.
                again = min(again, now + 20 * ASK_AGAIN_NS)
                clock.sleep_until(again if deadline is None else min(again, deadline))
                continue
            if len(data) > len(view) - filled:
                raise usb.core.USBError("Overflow", -8, errno.EOVERFLOW)
            view[filled : filled + len(data)] = data
            filled += len(data)
            if len(data) % packet or not data:
                break
        return filled

    def intr_write(self, dev_handle: _Handle, ep: int, intf: int, data: array[int], timeout: int) -> int:
        return self.bulk_write(dev_handle, ep, intf, data, timeout)

    def intr_read(self, dev_handle: _Handle, ep: int, intf: int, buff: array[int], timeout: int) -> int:
        return self.bulk_read(dev_handle, ep, intf, buff, timeout)

    @staticmethod
    def _require_claimed(handle: _Handle, intf: int) -> None:
        if handle.port.gone:
            raise _no_device()
        if intf not in handle.claimed:
            raise usb.core.USBError("Input/Output Error", -1, errno.EIO)


class _told:
    """The device's exceptions as the errors of libusb."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def __enter__(self) -> None:
        if self._port.gone:
            raise _no_device()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Stall):
            raise usb.core.USBError("Pipe error", -9, errno.EPIPE) from error
        if isinstance(error, BusError):
            raise usb.core.USBError("Input/Output Error", -1, errno.EIO) from error
        if isinstance(error, Gone):
            raise _no_device() from error


def _require_memory(port: Port) -> None:
    if port.device.faults.open_fault is OpenFault.MEMORY:
        raise usb.core.USBError("Insufficient memory", -11, errno.ENOMEM)


def _no_device() -> usb.core.USBError:
    return usb.core.USBError("No such device (it may have been disconnected)", -4, errno.ENODEV)


def _interface(description: Description, index: int, alternate: int) -> Interface:
    numbers = sorted({interface.number for interface in description.interfaces})
    _only(index < len(numbers), "interface", index)
    settings = [interface for interface in description.interfaces if interface.number == numbers[index]]
    _only(alternate < len(settings), "alternate setting", alternate)
    return settings[alternate]


def _only(there: bool, what: str, index: int) -> None:
    """IndexError is how pyusb learns where a list of descriptors ends."""
    if not there:
        raise IndexError(f"no {what} {index}")


def _fields(names: str, layout: str, data: bytes, **more: Any) -> SimpleNamespace:
    values = struct.unpack_from(layout, data)
    return SimpleNamespace(**dict(zip(names.split(), values, strict=True)), **more)
