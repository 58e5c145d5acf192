"""Opening a device, and every error in our words with its remedy."""

from __future__ import annotations

import gc
import weakref
from array import array
from collections.abc import Callable

import pytest
from parrot import Parrot

from sonod.drivers.emulated.faults import OpenFault
from sonod.drivers.emulated.memory import Bus, MemoryBackend
from sonod.drivers.errors import AccessDenied, DeviceNotFound, Disconnected, DriverError, DriverTimeout
from sonod.drivers.transports.stream import PolledStream
from sonod.drivers.transports.usb import Selector, Stalled, TransferFailed, UsbDevice, attached, open_device

PARROT = Selector(0x1234, 0x5678)


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def backend(parrot: Parrot) -> MemoryBackend:
    bus = Bus()
    bus.attach(parrot)
    return MemoryBackend(bus)


def opened(backend: MemoryBackend) -> UsbDevice:
    device = open_device(PARROT, backend)
    device.claim(0)
    return device


def test_attached_devices_say_who_they_are(backend: MemoryBackend) -> None:
    (found,) = attached(backend)
    assert (found.ids, found.serial, found.refusal) == ((0x1234, 0x5678), "P1", "")


def test_a_device_that_is_not_there_and_one_with_another_serial(backend: MemoryBackend) -> None:
    with pytest.raises(DeviceNotFound, match="1209:0001: none is attached"):
        open_device(Selector(0x1209, 1), backend)
    with pytest.raises(DeviceNotFound, match="not the one asked for"):
        open_device(Selector(0x1234, 0x5678, "P9"), backend)
    with pytest.raises(DeviceNotFound, match="Parrot"):
        open_device(Selector(0x1234, 0x5678, product="Cockatoo"), backend)
    assert backend.open_handles == 0


def test_two_of_a_kind_need_a_serial() -> None:
    bus = Bus()
    bus.attach(Parrot("A"))
    bus.attach(Parrot("B"))
    with pytest.raises(DeviceNotFound, match=r"2 are attached.*A, B"):
        open_device(PARROT, MemoryBackend(bus))
    device = open_device(Selector(0x1234, 0x5678, "B"), MemoryBackend(bus))
    assert device.identity.serial == "B"


def test_an_error_does_not_keep_the_device_alive(backend: MemoryBackend, parrot: Parrot) -> None:
    """libusb's context goes with its devices; an error that held itself would keep them until a collection."""
    device = opened(backend)
    parrot.unplug()
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Disconnected):
            device.control_in(0xC0, 1, 0, 0, 1)
        alive = weakref.ref(device)
        del device
        assert alive() is None
    finally:
        gc.enable()


def test_permission_denied_names_the_udev_line(backend: MemoryBackend, parrot: Parrot) -> None:
    parrot.faults.open_fault = OpenFault.ACCESS
    with pytest.raises(AccessDenied, match=r'ATTR\{idVendor\}=="1234", ATTR\{idProduct\}=="5678"'):
        opened(backend)
    (found,) = attached(backend)
    assert "udev" in found.refusal


def test_busy_and_out_of_memory_are_told_apart(backend: MemoryBackend, parrot: Parrot) -> None:
    parrot.faults.open_fault = OpenFault.BUSY
    with pytest.raises(AccessDenied, match="another program"):
        opened(backend)
    parrot.faults.open_fault = OpenFault.MEMORY
    with pytest.raises(DriverError, match="usbfs_memory_mb"):
        opened(backend).read_into(0x81, array("B", bytes(64)), 0.05)


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (lambda device: device.read_into(0x81, array("B", bytes(64)), 0.05), DriverTimeout),
        (lambda device: device.control_in(0xC0, 9, 0, 0, 4), Stalled),
        (lambda device: device.packet_bytes(0x99), DriverError),
    ],
)
def test_errors_are_ours(backend: MemoryBackend, ask: Callable[[UsbDevice], object], kind: type[DriverError]) -> None:
    with pytest.raises(kind):
        ask(opened(backend))


def test_once_unplugged_always_disconnected(backend: MemoryBackend, parrot: Parrot) -> None:
    device = opened(backend)
    parrot.unplug()
    for _ in range(2):
        with pytest.raises(Disconnected):
            device.write(0x01, b"x")
    parrot.plug()
    with pytest.raises(Disconnected):
        device.write(0x01, b"x")
    device.close()
    assert backend.open_handles == 0
    opened(backend).write(0x01, b"x")


def test_failed_transfers_and_overflow_may_be_tried_again(backend: MemoryBackend, parrot: Parrot) -> None:
    device, buffer = opened(backend), array("B", bytes(64))
    device.write(0x01, bytes(20))
    parrot.faults.bus_errors = 1
    with pytest.raises(TransferFailed):
        device.read_into(0x81, buffer, 0.05)
    parrot.faults.oversize = 1
    with pytest.raises(TransferFailed, match="overflow"):
        device.read_into(0x81, buffer, 0.05)


def test_drain_throws_away_what_was_left(backend: MemoryBackend) -> None:
    device = opened(backend)
    device.write(0x01, bytes(1000))
    assert device.drain(0x81) == 1000
    assert device.drain(0x81) == 0


def test_a_polled_stream_gets_over_halts_and_failed_transfers(backend: MemoryBackend, parrot: Parrot) -> None:
    device = opened(backend)
    stream = PolledStream(device, 0x81, 64, now_ns=parrot.clock.now_ns)
    device.write(0x01, bytes(range(200)))
    parrot.faults.bus_errors = 2
    parrot.faults.halt.add(0x81)
    stream.wait(200, 1.0)
    assert stream.peek(200) == bytes(range(200))
    assert (stream.counters.errors, stream.counters.halts) == (2, 1)
    with pytest.raises(DriverTimeout):
        stream.wait(201, 0.1)
    parrot.unplug()
    with pytest.raises(Disconnected):
        stream.wait(201, 0.1)
    assert stream.available == 200


def test_a_device_that_only_fails_is_given_up(backend: MemoryBackend, parrot: Parrot) -> None:
    stream = PolledStream(opened(backend), 0x81, 64, now_ns=parrot.clock.now_ns)
    parrot.faults.bus_errors = 1000
    with pytest.raises(Disconnected, match="in a row"):
        stream.wait(1, 10.0)
