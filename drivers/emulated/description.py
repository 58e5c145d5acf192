"""What a USB device says about itself, written once and turned into descriptor bytes (USB 2.0, chapter 9)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

DEVICE_DESCRIPTOR, CONFIGURATION_DESCRIPTOR, STRING_DESCRIPTOR = 1, 2, 3
INTERFACE_DESCRIPTOR, ENDPOINT_DESCRIPTOR = 4, 5
# String descriptor 0 lists the languages; this is English (United States), as nearly every device answers.
LANGUAGE = 0x0409
DIRECTION_IN = 0x80


class Speed(IntEnum):
    """As libusb numbers them."""

    FULL = 2
    HIGH = 3
    SUPER = 4


class Transfer(StrEnum):
    BULK = "bulk"
    INTERRUPT = "interrupt"


@dataclass(frozen=True)
class Endpoint:
    """One endpoint; bit 7 of the address is set for IN."""

    address: int
    packet_bytes: int
    transfer: Transfer = Transfer.BULK
    interval: int = 0

    @property
    def is_in(self) -> bool:
        return bool(self.address & DIRECTION_IN)

    def descriptor(self) -> bytes:
        attributes = 2 if self.transfer is Transfer.BULK else 3
        return struct.pack(
            "<BBBBHB", 7, ENDPOINT_DESCRIPTOR, self.address, attributes, self.packet_bytes, self.interval
        )


@dataclass(frozen=True)
class Interface:
    """One interface (one alternate setting). `extra` are class-specific descriptors that follow its own."""

    number: int
    class_code: int
    subclass: int
    protocol: int
    endpoints: tuple[Endpoint, ...] = ()
    alternate: int = 0
    extra: bytes = b""

    def head(self) -> bytes:
        """The interface's own descriptor, without those that follow it."""
        return struct.pack(
            "<BBBBBBBBB",
            9,
            INTERFACE_DESCRIPTOR,
            self.number,
            self.alternate,
            len(self.endpoints),
            self.class_code,
            self.subclass,
            self.protocol,
            0,
        )

    def descriptor(self) -> bytes:
        return self.head() + self.extra + b"".join(endpoint.descriptor() for endpoint in self.endpoints)


@dataclass(frozen=True)
class Description:
    """A device with one configuration. Strings that are '' have no index."""

    vendor_id: int
    product_id: int
    interfaces: tuple[Interface, ...]
    manufacturer: str = ""
    product: str = ""
    serial: str = ""
    bcd_device: int = 0x0100
    bcd_usb: int = 0x0200
    class_code: int = 0
    subclass: int = 0
    protocol: int = 0
    control_packet_bytes: int = 64
    speed: Speed = Speed.FULL
    max_power_ma: int = 500
    attributes: int = 0x80
    _by_address: dict[int, Endpoint] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("vendor_id", "product_id", "bcd_device", "bcd_usb"):
            if not 0 <= getattr(self, name) <= 0xFFFF:
                raise ValueError(f"description.{name}: must fit 16 bits, got {getattr(self, name):#x}")
        for interface in self.interfaces:
            for endpoint in interface.endpoints:
                self._by_address[endpoint.address] = endpoint

    def endpoint(self, address: int) -> Endpoint:
        """The endpoint at an address; KeyError when there is none."""
        return self._by_address[address]

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        return tuple(self._by_address.values())

    def interface_of(self, address: int) -> int:
        """Number of the interface that owns an endpoint; KeyError when there is none."""
        for interface in self.interfaces:
            if any(endpoint.address == address for endpoint in interface.endpoints):
                return interface.number
        raise KeyError(address)

    def device_descriptor(self) -> bytes:
        return struct.pack(
            "<BBHBBBBHHHBBBB",
            18,
            DEVICE_DESCRIPTOR,
            self.bcd_usb,
            self.class_code,
            self.subclass,
            self.protocol,
            # SuperSpeed devices give the exponent: 2 to the 9th.
            9 if self.speed is Speed.SUPER else self.control_packet_bytes,
            self.vendor_id,
            self.product_id,
            self.bcd_device,
            1 if self.manufacturer else 0,
            2 if self.product else 0,
            3 if self.serial else 0,
            1,
        )

    def configuration_descriptor(self) -> bytes:
        """The configuration with everything that belongs to it."""
        rest = b"".join(interface.descriptor() for interface in self.interfaces)
        count = len({interface.number for interface in self.interfaces})
        unit_ma = 8 if self.speed is Speed.SUPER else 2
        head = struct.pack(
            "<BBHBBBBB",
            9,
            CONFIGURATION_DESCRIPTOR,
            9 + len(rest),
            count,
            1,
            0,
            self.attributes,
            min(self.max_power_ma // unit_ma, 255),
        )
        return head + rest

    def string_descriptor(self, index: int) -> bytes | None:
        """String descriptor `index`, or None when the device has none of that number."""
        if index == 0:
            return struct.pack("<BBH", 4, STRING_DESCRIPTOR, LANGUAGE)
        text = {1: self.manufacturer, 2: self.product, 3: self.serial}.get(index, "")
        if not text:
            return None
        coded = text.encode("utf-16-le")
        return struct.pack("<BB", 2 + len(coded), STRING_DESCRIPTOR) + coded
