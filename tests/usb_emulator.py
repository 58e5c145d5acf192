"""An in-memory USB bus behind pyusb: devices are plain descriptions with faults; no libusb, no kernel."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core

GET_DESCRIPTOR = 6
STRING = 3


@dataclass
class EmulatedDevice:
    """One device with one configuration, one interface and a bulk endpoint in each direction."""

    vendor_id: int
    product_id: int
    bus: int = 1
    address: int = 2
    texts: tuple[str, str, str] = ("", "", "")
    device_class: int = 0
    open_error: int = 0
    stalls_on_texts: bool = False
    opens: int = 0
    closes: int = 0
    log: list[str] = field(default_factory=list)


class EmulatedBus(usb.backend.IBackend):  # type: ignore[misc]
    """The backend: pass it as `backend=` to whatever takes one."""

    def __init__(self, *devices: EmulatedDevice) -> None:
        super().__init__()
        self.devices = list(devices)

    def enumerate_devices(self) -> Iterator[EmulatedDevice]:
        return iter(self.devices)

    def get_parent(self, device: EmulatedDevice) -> None:
        return None

    def get_device_descriptor(self, device: EmulatedDevice) -> Any:
        indexes = [place + 1 if text else 0 for place, text in enumerate(device.texts)]
        return SimpleNamespace(
            bLength=18,
            bDescriptorType=1,
            bcdUSB=0x0200,
            bDeviceClass=device.device_class,
            bDeviceSubClass=0,
            bDeviceProtocol=0,
            bMaxPacketSize0=64,
            idVendor=device.vendor_id,
            idProduct=device.product_id,
            bcdDevice=0x0100,
            iManufacturer=indexes[0],
            iProduct=indexes[1],
            iSerialNumber=indexes[2],
            bNumConfigurations=1,
            bus=device.bus,
            address=device.address,
            port_number=1,
            port_numbers=(1,),
            speed=3,
            extra_descriptors=b"",
        )

    def get_configuration_descriptor(self, device: EmulatedDevice, config: int) -> Any:
        if config:
            raise IndexError
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=2,
            wTotalLength=32,
            bNumInterfaces=1,
            bConfigurationValue=1,
            iConfiguration=0,
            bmAttributes=0x80,
            bMaxPower=50,
            extra_descriptors=b"",
        )

    def get_interface_descriptor(self, device: EmulatedDevice, intf: int, alt: int, config: int) -> Any:
        if intf or alt or config:
            raise IndexError
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=4,
            bInterfaceNumber=0,
            bAlternateSetting=0,
            bNumEndpoints=2,
            bInterfaceClass=255,
            bInterfaceSubClass=0,
            bInterfaceProtocol=0,
            iInterface=0,
            extra_descriptors=b"",
        )

    def get_endpoint_descriptor(self, device: EmulatedDevice, ep: int, intf: int, alt: int, config: int) -> Any:
        if ep > 1:
            raise IndexError
        return SimpleNamespace(
            bLength=7,
            bDescriptorType=5,
            bEndpointAddress=(0x81, 0x01)[ep],
            bmAttributes=2,
            wMaxPacketSize=512,
            bInterval=0,
            bRefresh=0,
            bSynchAddress=0,
            extra_descriptors=b"",
        )

    def open_device(self, device: EmulatedDevice) -> EmulatedDevice:
        if device.open_error:
            text = {errno.EACCES: "Access denied (insufficient permissions)", errno.EBUSY: "Resource busy"}
            raise usb.core.USBError(text.get(device.open_error, "Other error"), -1, device.open_error)
        device.opens += 1
        return device

    def close_device(self, handle: EmulatedDevice) -> None:
        handle.closes += 1

    def get_configuration(self, handle: EmulatedDevice) -> int:
        return 1

    def release_interface(self, handle: EmulatedDevice, intf: int) -> None:
        handle.log.append(f"release {intf}")

    def ctrl_transfer(
        self,
        handle: EmulatedDevice,
        request_type: int,
        request: int,
        value: int,
        index: int,
        data: Any,
        timeout: int,
    ) -> int:
        if request != GET_DESCRIPTOR or value >> 8 != STRING:
            raise usb.core.USBError("Pipe error", -9, errno.EPIPE)
        number = value & 0xFF
        if handle.stalls_on_texts:
            raise usb.core.USBError("Pipe error", -9, errno.EPIPE)
        body = (0x0409).to_bytes(2, "little") if number == 0 else handle.texts[number - 1].encode("utf-16-le")
        answer = bytes((len(body) + 2, STRING)) + body
        count = min(len(answer), len(data))
        for place in range(count):
            data[place] = answer[place]
        return count
