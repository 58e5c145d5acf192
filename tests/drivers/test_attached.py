"""Which boards are there, on an in-memory bus."""

from __future__ import annotations

from dataclasses import replace

from sonod.drivers import driver_class, driver_names
from sonod.drivers.attached import (
    BUSY,
    EMULATED_OPTION,
    NO_DRIVER,
    NO_MEMORY,
    NO_PERMISSION,
    READY,
    emulated_boards,
    recognise,
)
from sonod.drivers.emulated.device import EmulatedDevice, Setup, Stall
from sonod.drivers.emulated.faults import OpenFault
from sonod.drivers.emulated.interson import EmulatedInterson
from sonod.drivers.emulated.memory import Bus, MemoryBackend
from sonod.drivers.emulated.un0rick import EmulatedUn0rick
from sonod.drivers.emulated.wulpus import Wulpus
from sonod.drivers.transports.udev import udev_rule
from sonod.drivers.transports.usb_bus import UsbDevice, attached_devices


def on_bus(*boards: EmulatedDevice) -> tuple[MemoryBackend, tuple[UsbDevice, ...]]:
    bus = Bus()
    for board in boards:
        bus.attach(board)
    backend = MemoryBackend(bus)
    return backend, attached_devices(backend)


def test_a_board_tells_its_driver_serial_firmware_and_state() -> None:
    backend, (device,) = on_bus(EmulatedInterson("A17"))
    board = recognise(device, backend)
    assert (board.driver, board.uri, board.serial) == ("interson", "interson:A17", "A17")
    assert board.firmware == "FPGA 7"
    assert board.state == READY
    assert backend.open_handles == 0


def test_a_board_that_shares_its_id_with_others_is_named_but_not_touched() -> None:
    probe = EmulatedUn0rick("A17")
    backend, (device,) = on_bus(probe)
    board = recognise(device, backend)
    assert board.uri == "un0rick:A17"
    assert board.state.startswith("perhaps un0rick")
    assert all(channel.mode == 0 for channel in probe.channels.values()), "a pin of an unknown device was driven"


def test_a_missing_permission_comes_with_the_udev_line() -> None:
    probe = EmulatedInterson()
    probe.faults.open_fault = OpenFault.ACCESS
    backend, (device,) = on_bus(probe)
    assert recognise(device, backend).state == NO_PERMISSION
    assert device.permission == udev_rule(0x1921, 0x0090)


def test_a_board_that_another_program_has_is_in_use() -> None:
    probe = EmulatedInterson()
    probe.faults.open_fault = OpenFault.BUSY
    backend, (device,) = on_bus(probe)
    assert recognise(device, backend).state == BUSY


def test_memory_for_transfers_that_is_used_up_is_not_taken_for_a_wrong_answer() -> None:
    dongle = Wulpus()
    dongle.faults.open_fault = OpenFault.MEMORY
    backend, (device,) = on_bus(dongle)
    assert recognise(device, backend).state == NO_MEMORY
    assert backend.open_handles == 0


def test_a_device_that_is_none_of_ours_is_listed_and_left_alone() -> None:
    _, (device,) = on_bus(EmulatedInterson())
    board = recognise(replace(device, drivers=()))
    assert (board.driver, board.uri, board.state) == ("", "", NO_DRIVER)


def test_a_device_that_answers_otherwise_says_what_it_is_not() -> None:
    class Stranger(EmulatedInterson):
        """The same ids, another language."""

        def control(self, setup: Setup, data: bytes) -> bytes:
            raise Stall

    backend, (device,) = on_bus(Stranger())
    board = recognise(device, backend)
    assert board.state.startswith("not interson: ")
    assert backend.open_handles == 0


def test_every_emulated_board_is_listed_ready_and_says_that_it_is_emulated() -> None:
    boards = emulated_boards()
    drivers = {name for name in driver_names() if EMULATED_OPTION in driver_class(name).uri_form}
    assert {board.driver for board in boards} == drivers
    assert {board.uri for board in boards} >= {"pic0rick:?emulated=1&firmware=binary", "wulpus:?emulated=1&board=pro"}
    assert all(board.state == READY for board in boards)
    assert all(board.serial and "emulated" in board.product.lower() for board in boards)
