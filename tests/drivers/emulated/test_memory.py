"""The in-memory bus as pyusb sees it: descriptors, transfers, faults."""

from __future__ import annotations

from array import array

import pytest
import usb.core
import usb.util
from parrot import Parrot

from sonod.drivers.emulated.faults import OpenFault
from sonod.drivers.emulated.memory import Bus, MemoryBackend


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def bus(parrot: Parrot) -> Bus:
    bus = Bus()
    bus.attach(parrot)
    return bus


def find(bus: Bus) -> usb.core.Device:
    return usb.core.find(backend=MemoryBackend(bus), idVendor=0x1234, idProduct=0x5678)


def error_of(call) -> usb.core.USBError:
    with pytest.raises(usb.core.USBError) as caught:
        call()
    return caught.value


def test_pyusb_finds_the_device_and_reads_its_strings_and_descriptors(bus: Bus) -> None:
    device = find(bus)
    assert (device.manufacturer, device.product, device.serial_number) == ("Someone", "Parrot", "P1")
    assert device.bcdUSB == 0x0200
    assert device.speed == 2
    configuration = device.get_active_configuration()
    assert [interface.bInterfaceNumber for interface in configuration] == [0]
    assert [endpoint.bEndpointAddress for endpoint in configuration[(0, 0)]] == [0x01, 0x81]
    assert configuration.wTotalLength == 9 + 9 + 2 * 7


def test_bytes_come_back_and_a_short_packet_ends_the_read(bus: Bus) -> None:
    device = find(bus)
    device.write(0x01, bytes(range(100)))
    assert device.read(0x81, 512).tobytes() == bytes(range(100))


def test_whole_packets_do_not_end_a_read_but_a_timeout_keeps_them(bus: Bus) -> None:
    device = find(bus)
    device.write(0x01, bytes(128))
    assert len(device.read(0x81, 512, timeout=50)) == 128


def test_nothing_to_read_is_a_timeout(bus: Bus) -> None:
    assert error_of(lambda: find(bus).read(0x81, 64, timeout=50)).backend_error_code == -7


def test_vendor_request_answers_and_an_unknown_one_stalls(bus: Bus) -> None:
    device = find(bus)
    assert device.ctrl_transfer(0xC0, 1, 2, 3, 4).tolist() == [0xC0, 1, 2, 3]
    assert error_of(lambda: device.ctrl_transfer(0xC0, 9, 0, 0, 4)).backend_error_code == -9


def test_unplugged_is_no_device_and_replugged_has_a_new_address(bus: Bus, parrot: Parrot) -> None:
    device = find(bus)
    device.write(0x01, b"x")
    parrot.unplug()
    assert error_of(lambda: device.read(0x81, 64)).backend_error_code == -4
    assert find(bus) is None
    parrot.plug()
    assert error_of(lambda: device.read(0x81, 64)).backend_error_code == -4
    again = find(bus)
    assert again.address != device.address


def test_unplugging_in_the_middle_of_a_transfer(bus: Bus, parrot: Parrot) -> None:
    device = find(bus)
    device.write(0x01, bytes(1000))
    parrot.faults.unplug_after_bytes = 640
    assert len(device.read(0x81, 512)) == 512
    assert error_of(lambda: device.read(0x81, 512)).backend_error_code == -4


@pytest.mark.parametrize(
    ("fault", "code"), [(OpenFault.ACCESS, -3), (OpenFault.BUSY, -6), (OpenFault.MEMORY, -11)], ids=str
)
def test_refusals_to_open_differ(bus: Bus, parrot: Parrot, fault: OpenFault, code: int) -> None:
    parrot.faults.open_fault = fault
    assert error_of(lambda: find(bus).read(0x81, 64)).backend_error_code == code


def test_halt_stays_until_cleared(bus: Bus, parrot: Parrot) -> None:
    device = find(bus)
    device.write(0x01, b"abc")
    parrot.faults.halt.add(0x81)
    for _ in range(2):
        assert error_of(lambda: device.read(0x81, 64)).backend_error_code == -9
    device.clear_halt(0x81)
    assert device.read(0x81, 64).tobytes() == b"abc"


def test_transfer_faults_happen_once_each(bus: Bus, parrot: Parrot) -> None:
    device = find(bus)
    faults = parrot.faults
    faults.oversize, faults.bus_errors, faults.zero_packets, faults.garbage_bytes = 1, 1, 1, 5
    device.write(0x01, bytes(60))
    assert error_of(lambda: device.read(0x81, 64)).backend_error_code == -1
    assert len(device.read(0x81, 64)) == 0
    assert len(device.read(0x81, 64)) == 5
    assert error_of(lambda: device.read(0x81, 64)).backend_error_code == -8
    device.write(0x01, bytes(60))
    faults.short_packets = 1
    assert len(device.read(0x81, 64)) == 60 - 37


def test_control_stall_once(bus: Bus, parrot: Parrot) -> None:
    device = find(bus)
    device.ctrl_transfer(0xC0, 1, 0, 0, 4)
    parrot.faults.stall_control = 1
    assert error_of(lambda: device.ctrl_transfer(0xC0, 1, 0, 0, 4)).backend_error_code == -9
    assert device.ctrl_transfer(0xC0, 1, 0, 0, array("B", bytes(4))) == 4


def test_reading_without_claim_is_done_by_pyusb_and_handles_are_given_back(bus: Bus) -> None:
    backend = MemoryBackend(bus)
    for _ in range(3):
        device = usb.core.find(backend=backend)
        device.write(0x01, b"a")
        usb.util.dispose_resources(device)
    assert backend.open_handles == 0
