"""A device that repeats a Linux usbmon capture (pcapng): its descriptors, its answers, its bulk data, its end."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sonod.drivers.emulated.description import (
    CONFIGURATION_DESCRIPTOR,
    DEVICE_DESCRIPTOR,
    ENDPOINT_DESCRIPTOR,
    INTERFACE_DESCRIPTOR,
    STRING_DESCRIPTOR,
    Description,
    Endpoint,
    Interface,
    Speed,
    Transfer,
)
from sonod.drivers.emulated.device import GET_DESCRIPTOR, BusError, Data, EmulatedDevice, Setup, Stall
from sonod.drivers.errors import DriverError
from sonod.drivers.pacing import Clock

ENHANCED_PACKET, SECTION_HEADER = 6, 0x0A0D0D0A
# The 64 bytes that Linux puts before the data of every packet (link type 220).
USBMON = struct.Struct("<QBBBBHBBqiiII8siiII")
INTERRUPT, CONTROL, BULK = 1, 2, 3
EPROTO = -71


@dataclass(frozen=True)
class Packet:
    """One line of the capture: a transfer submitted (S) or completed (C)."""

    urb: int
    event: str
    kind: int
    endpoint: int
    device: int
    bus: int
    status: int
    length: int
    setup: bytes
    data: bytes


def packets(path: Path) -> Iterator[Packet]:
    """Every packet of a pcapng file of link type 220; DriverError when it is none."""
    content = path.read_bytes()
    if len(content) < 12 or struct.unpack_from("<I", content)[0] != SECTION_HEADER:
        raise DriverError(f"{path}: is no pcapng file")
    at = 0
    while at + 12 <= len(content):
        kind, length = struct.unpack_from("<II", content, at)
        if length < 12 or at + length > len(content):
            raise DriverError(f"{path}: ends within a block at byte {at}")
        if kind == ENHANCED_PACKET:
            captured = struct.unpack_from("<I", content, at + 20)[0]
            body = content[at + 28 : at + 28 + captured]
            urb, event, transfer, endpoint, device, bus, *_, status, size, _, setup, _, _, _, _ = USBMON.unpack_from(
                body
            )
            yield Packet(urb, chr(event), transfer, endpoint, device, bus, status, size, setup, body[USBMON.size :])
        at += length


class CapturedDevice(EmulatedDevice):
    """Device `device` on bus `bus` of a capture. Bulk IN data come once, in order; where the capture shows a transfer
    that failed on the wire the read fails, and after that the device is gone."""

    def __init__(self, path: Path, bus: int, device: int, clock: Clock | None = None) -> None:
        own = [packet for packet in packets(path) if (packet.bus, packet.device) == (bus, device)]
        self._answers, incoming = _pair(own)
        super().__init__(_description(self._answers), clock)
        self._incoming = incoming
        self._left: dict[int, memoryview] = {}
        self.reset()

    def reset(self) -> None:
        self._queues = {endpoint: deque(data) for endpoint, data in self._incoming.items()}
        self._left = {}

    def control(self, setup: Setup, data: bytes) -> bytes:
        answer = self._answers.get((setup.request_type, setup.request, setup.value, setup.index))
        if answer is None:
            raise Stall
        return answer

    def bulk_out(self, endpoint: int, data: bytes) -> None:
        """Commands are taken and change nothing: the answers are those of the capture."""

    def bulk_in(self, endpoint: int, length: int) -> Data | None:
        left = self._left.get(endpoint)
        if not left:
            queue = self._queues.get(endpoint)
            if not queue:
                return None
            chunk = queue.popleft()
            if chunk is None:
                # The wire failed because the device went away.
                self.plugged = False
                raise BusError
            left = memoryview(chunk)
        self._left[endpoint] = left[length:]
        return left[:length]


def _pair(
    own: list[Packet],
) -> tuple[dict[tuple[int, int, int, int], bytes], dict[int, list[bytes | None]]]:
    """The longest answer to every control request, and the bulk IN data of every endpoint (None = failed)."""
    answers: dict[tuple[int, int, int, int], bytes] = {}
    incoming: dict[int, list[bytes | None]] = {}
    asked: dict[int, bytes] = {}
    for packet in own:
        if packet.event == "S" and packet.kind == CONTROL:
            asked[packet.urb] = packet.setup
        elif packet.event == "C" and packet.kind == CONTROL and packet.urb in asked:
            setup = Setup.from_bytes(asked.pop(packet.urb))
            key = (setup.request_type, setup.request, setup.value, setup.index)
            if packet.status == 0 and len(packet.data) >= len(answers.get(key, b"")):
                answers[key] = packet.data
        elif packet.event == "C" and packet.kind == BULK and packet.endpoint & 0x80:
            chunks = incoming.setdefault(packet.endpoint, [])
            if packet.data:
                chunks.append(packet.data)
            if packet.status == EPROTO:
                chunks.append(None)
    return answers, incoming


def _description(answers: dict[tuple[int, int, int, int], bytes]) -> Description:
    """From the descriptors that the capture shows."""
    found = {value >> 8: data for (kind, request, value, _), data in answers.items()
             if kind == 0x80 and request == GET_DESCRIPTOR and value & 0xFF == 0}  # fmt: skip
    if DEVICE_DESCRIPTOR not in found or CONFIGURATION_DESCRIPTOR not in found:
        raise DriverError("capture: does not show the device being plugged in")
    head = found[DEVICE_DESCRIPTOR]
    usb, cls, subclass, protocol, _, vendor, product, revision, maker, name, serial, _ = struct.unpack_from(
        "<HBBBBHHHBBBB", head, 2
    )

    def text(index: int) -> str:
        for (kind, request, value, _), data in answers.items():
            if kind == 0x80 and request == GET_DESCRIPTOR and value == STRING_DESCRIPTOR << 8 | index and index:
                return data[2:].decode("utf-16-le")
        return ""

    return Description(
        vendor,
        product,
        _interfaces(found[CONFIGURATION_DESCRIPTOR]),
        text(maker),
        text(name),
        text(serial),
        bcd_device=revision,
        bcd_usb=usb,
        class_code=cls,
        subclass=subclass,
        protocol=protocol,
        speed=Speed.SUPER if usb >= 0x0300 else Speed.HIGH,
    )


def _interfaces(configuration: bytes) -> tuple[Interface, ...]:
    interfaces: list[Interface] = []
    at = 0
    while at + 2 <= len(configuration) and configuration[at] >= 2:
        length, kind = configuration[at], configuration[at + 1]
        part = configuration[at : at + length]
        if kind == INTERFACE_DESCRIPTOR:
            _, _, number, alternate, _, cls, subclass, protocol, _ = part[:9]
            interfaces.append(Interface(number, cls, subclass, protocol, (), alternate))
        elif kind == ENDPOINT_DESCRIPTOR and interfaces:
            last = interfaces[-1]
            transfer = Transfer.INTERRUPT if part[3] & 3 == 3 else Transfer.BULK
            packet = int.from_bytes(part[4:6], "little")
            endpoint = Endpoint(part[2], packet, transfer, part[6])
            interfaces[-1] = Interface(
                last.number, last.class_code, last.subclass, last.protocol, (*last.endpoints, endpoint), last.alternate
            )
        at += length
    return tuple(interfaces)
