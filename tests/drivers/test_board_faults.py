"""What the serial boards do wrong, one fault after the other, over the in-memory USB front; every loss has a cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sonod.drivers import driver_class
from sonod.drivers.base import DriverState, Uri
from sonod.drivers.emulated.cdc import CdcBoard
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.faults import OpenFault
from sonod.drivers.emulated.p0rk import P0rkBoard
from sonod.drivers.emulated.pic0rick import Pic0rick
from sonod.drivers.emulated.wulpus import Wulpus
from sonod.drivers.errors import AccessDenied, DeviceNotFound, Disconnected, DriverError, DriverTimeout, ProtocolError
from sonod.drivers.frame import Slot
from sonod.drivers.pic0rick.binary_firmware import BinaryFirmware
from sonod.drivers.pic0rick.driver import Pic0rickDriver
from sonod.drivers.serial_board import SerialBoard
from sonod.drivers.settings import change_settings, default_settings
from sonod.drivers.wulpus.driver import WulpusDriver

TEXT = "pic0rick:?emulated=1&firmware=text"
BINARY = "pic0rick:?emulated=1&firmware=binary"
ULTR4RICK = "ultr4rick:?emulated=1"
WULPUS = "wulpus:?emulated=1"
LINE = "wulpus:?emulated=1&sequence=line"
PRO = "wulpus:?emulated=1&board=pro"
OPEN_ECHO = "open-echo:?emulated=1"
ALL = (TEXT, BINARY, ULTR4RICK, WULPUS, PRO, OPEN_ECHO)


def make(uri: str) -> SerialBoard:
    kind = driver_class(Uri.parse(uri).name)
    assert issubclass(kind, SerialBoard)
    return kind(uri, ManualClock())


def model(driver: SerialBoard) -> CdcBoard:
    assert isinstance(driver.board, CdcBoard)
    return driver.board


def start(driver: SerialBoard) -> Slot:
    configuration = driver.prepare(default_settings(driver.knobs()))
    driver.apply(configuration)
    driver.start()
    return Slot(configuration.acquisition.nbytes)


@contextmanager
def running(uri: str) -> Iterator[tuple[SerialBoard, Slot, CdcBoard]]:
    driver = make(uri)
    driver.open()
    try:
        slot = start(driver)
        driver.read_into(slot, 5.0)
        yield driver, slot, model(driver)
    finally:
        driver.close()


def read(driver: SerialBoard, slot: Slot, frames: int) -> int:
    """How many frames were lost while so many were read."""
    lost = 0
    for _ in range(frames):
        driver.read_into(slot, 10.0)
        lost += slot.lost
    return lost


# -- finding and opening -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", ALL)
def test_permission_and_use_by_others_are_told_apart(uri: str) -> None:
    driver = make(uri)
    driver.open()
    driver.close()
    board = model(driver)
    board.faults.open_fault = OpenFault.ACCESS
    with pytest.raises(AccessDenied, match="SUBSYSTEM"):
        driver.open()
    board.faults.open_fault = OpenFault.BUSY
    with pytest.raises(AccessDenied, match="using it"):
        driver.open()
    assert driver.state is DriverState.CLOSED
    board.faults.open_fault = None
    driver.open()
    driver.close()


@pytest.mark.parametrize("uri", ALL)
def test_a_board_that_refuses_its_serial_port_is_an_error_and_leaves_nothing_open(uri: str) -> None:
    driver = make(uri)
    driver.open()
    driver.close()
    model(driver).faults.stall_control = 99
    with pytest.raises(DriverError, match=r"stall|without strings"):
        driver.open()
    assert driver.state is DriverState.CLOSED
    assert driver._backend.open_handles == 0
    model(driver).faults.clear()
    driver.open()
    driver.close()


@pytest.mark.parametrize("uri", ALL)
def test_an_absent_board_is_not_found(uri: str) -> None:
    driver = make(uri)
    driver.open()
    driver.close()
    model(driver).unplug()
    with pytest.raises(DeviceNotFound, match="plugged in"):
        driver.open()


def test_another_serial_number_is_not_found_and_those_there_are_named() -> None:
    with pytest.raises(DeviceNotFound, match="P0RK0001"):
        make("pic0rick:NOSUCH?emulated=1&firmware=binary").open()


@pytest.mark.parametrize("uri", [TEXT, BINARY, ULTR4RICK, OPEN_ECHO])
def test_a_silent_board_is_a_protocol_error(uri: str) -> None:
    driver = make(uri)
    driver.open()
    driver.close()
    model(driver).faults.silent = True
    with pytest.raises(ProtocolError, match=r"answers neither|sends no lines"):
        driver.open()


def test_a_stream_left_running_by_a_dead_client_is_stopped_on_open() -> None:
    driver = make(BINARY)
    driver.open()
    start(driver)
    board = model(driver)
    assert isinstance(board, P0rkBoard)
    # The client dies: nobody says stop, and closing the port does not stop the board.
    driver.port.close()
    assert board.streaming
    successor = Pic0rickDriver(BINARY, board.clock, driver._backend)
    successor.open()
    assert not board.streaming
    assert not board.armed
    successor.close()


def test_wulpus_left_firing_by_a_dead_client_is_stopped_before_it_is_configured() -> None:
    driver = make(WULPUS)
    driver.open()
    start(driver)
    board = model(driver)
    assert isinstance(board, Wulpus)
    driver.port.close()
    successor = WulpusDriver(WULPUS, board.clock, driver._backend)
    successor.open()
    slot = start(successor)
    successor.read_into(slot, 5.0)
    assert slot.lost == 0
    assert slot.device_ticks == 7, "shots are counted from the new configuration on"
    successor.close()


# -- transmit is off ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", [BINARY, ULTR4RICK])
def test_the_pulser_is_armed_only_between_start_and_stop(uri: str) -> None:
    driver = make(uri)
    driver.open()
    board = model(driver)
    assert isinstance(board, P0rkBoard)
    assert not board.armed
    start(driver)
    assert board.armed
    driver.stop()
    assert not board.armed
    driver.start()
    driver.close()
    assert not board.armed
    assert not board.streaming


def test_listening_never_arms() -> None:
    with running(BINARY + "&listen=1") as (driver, slot, board):
        assert isinstance(board, P0rkBoard)
        read(driver, slot, 3)
        assert not board.armed


def test_the_text_firmware_fires_only_for_frames_that_are_read() -> None:
    driver = make(TEXT)
    driver.open()
    board = model(driver)
    assert isinstance(board, Pic0rick)
    slot = start(driver)
    assert board.shots == 0
    read(driver, slot, 3)
    assert board.shots == 3
    driver.stop()
    board.clock.sleep_until(board.clock.now_ns() + 10**9)
    driver.close()
    assert board.shots == 3


@pytest.mark.parametrize("uri", [WULPUS, PRO])
def test_wulpus_stops_firing_after_stop_and_close(uri: str) -> None:
    for end in ("stop", "close"):
        driver = make(uri)
        driver.open()
        board = model(driver)
        assert isinstance(board, Wulpus)
        assert not board.firing
        slot = start(driver)
        driver.read_into(slot, 5.0)
        assert board.firing
        getattr(driver, end)()
        board.clock.sleep_until(board.clock.now_ns() + 2 * 10**9)
        board.bulk_in(0x81, 64)
        assert not board.firing
        driver.close()


# -- while streaming ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", ALL)
@pytest.mark.parametrize("fault", ["halt", "bus_errors", "oversize", "zero_packets", "short_packets", "garbage_bytes"])
def test_a_fault_of_the_wire_costs_at_most_the_frames_it_hits(uri: str, fault: str) -> None:
    with running(uri) as (driver, slot, board):
        read(driver, slot, 2)
        if fault == "halt":
            board.faults.halt.add(0x81 if "wulpus" in uri else 0x82)
        else:
            setattr(board.faults, fault, 50 if fault == "garbage_bytes" else 1)
        lost = read(driver, slot, 6)
        harmless = fault in ("halt", "bus_errors", "zero_packets")
        assert lost <= (0 if harmless else 2)
        assert driver.counters.lost == lost
        assert driver.state is DriverState.RUNNING
        assert read(driver, slot, 4) == 0, "afterwards nothing is lost any more"


@pytest.mark.parametrize(("uri", "images"), [(BINARY, 1), (ULTR4RICK, 1), (WULPUS, 1), (LINE, 1), (PRO, 1)])
def test_frames_that_the_device_drops_are_counted(uri: str, images: int) -> None:
    with running(uri) as (driver, slot, board):
        board.faults.drop_frames = 1
        assert read(driver, slot, 4) == images


@pytest.mark.parametrize("uri", [BINARY, ULTR4RICK, WULPUS, LINE, PRO])
def test_frames_that_come_twice_are_left_out(uri: str) -> None:
    with running(uri) as (driver, slot, board):
        board.faults.duplicate_frames = 2
        assert read(driver, slot, 5) == 0


@pytest.mark.parametrize("uri", [BINARY, ULTR4RICK, WULPUS, LINE, PRO, OPEN_ECHO])
def test_damaged_frames_are_lost_and_counted(uri: str) -> None:
    with running(uri) as (driver, slot, board):
        board.faults.corrupt_frames = 1
        assert read(driver, slot, 5) == 1
        assert driver.link_counters.missing == 1
        assert driver.link_counters.damaged == (0 if isinstance(driver, WulpusDriver) else 1)


def test_a_reader_that_is_late_loses_what_the_firmware_refuses() -> None:
    with running(BINARY) as (driver, slot, board):
        read(driver, slot, 2)
        sequence_time = board.clock.now_ns()
        board.clock.sleep_until(sequence_time + 10**9)
        lost = read(driver, slot, 6)
        assert isinstance(driver, Pic0rickDriver)
        firmware = driver.running_firmware
        assert isinstance(firmware, BinaryFirmware)
        assert lost == driver.counters.lost == firmware.stream.counters.device_drops + firmware.stream.counters.lost
        # A second at 20 frames a second, of which the board holds two and the wire is working at one.
        assert 15 <= lost <= 19


def test_a_late_reader_of_wulpus_loses_whole_images_by_number() -> None:
    with running(WULPUS) as (driver, slot, board):
        board.clock.sleep_until(board.clock.now_ns() + 3 * 10**9)
        before = slot.device_ticks
        lost = read(driver, slot, 12)
        assert lost > 0
        assert isinstance(driver, WulpusDriver)
        assert (slot.device_ticks - before) // 8 == 12 + lost
        assert driver.stream.counters.lost > 0


def test_shot_numbers_wrap() -> None:
    with running(LINE) as (driver, slot, board):
        assert isinstance(board, Wulpus)
        for number in (30000, 60000, 65530):
            board._shot = number
            assert read(driver, slot, 3) > 5000
        assert read(driver, slot, 12) == 0
        assert slot.device_ticks > 65536
        # Every shot since the configuration has been delivered or counted as lost.
        assert driver.counters.frames + driver.counters.lost == slot.device_ticks + 1


def test_the_converter_s_time_out_costs_one_shot() -> None:
    with running(TEXT) as (driver, slot, board):
        assert isinstance(board, Pic0rick)
        board.adc_timeouts = 1
        assert read(driver, slot, 3) == 1
        assert driver.link_counters.device_drops == 1
        assert driver.link_counters.missing == 0


def test_a_capture_time_out_stops_the_binary_firmware_and_says_so() -> None:
    with running(BINARY) as (driver, slot, board):
        assert isinstance(board, P0rkBoard)
        board.dma_timeouts = 1
        with pytest.raises(DriverError, match="pulser disarmed"):
            read(driver, slot, 5)
        driver.close()
        driver.open()
        read(driver, start(driver), 2)


def test_a_configuration_that_no_probe_hears_is_sent_again() -> None:
    with running(LINE) as (driver, slot, board):
        assert isinstance(board, Wulpus)
        driver.stop()
        board.clock.sleep_until(board.clock.now_ns() + 10**9)
        driver.start()
        # The radio loses it.
        board.package = None
        with pytest.raises(DriverTimeout):
            driver.read_into(slot, 2.0)
        driver.read_into(slot, 3.5)


# -- unplugged ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", ALL)
@pytest.mark.parametrize("after", [0, 1, 1000])
def test_unplugged_in_mid_frame_and_plugged_in_again(uri: str, after: int) -> None:
    driver = make(uri)
    driver.open()
    board = model(driver)
    slot = start(driver)
    read(driver, slot, 2)
    board.faults.unplug_after_bytes = after
    with pytest.raises(Disconnected):
        read(driver, slot, 10)
    driver.close()
    with pytest.raises(DeviceNotFound):
        driver.open()
    board.plug()
    driver.open()
    read(driver, start(driver), 2)
    driver.close()


@pytest.mark.parametrize("uri", [BINARY, WULPUS])
def test_many_replugs_leave_nothing_open(uri: str) -> None:
    driver = make(uri)
    driver.open()
    for _ in range(20):
        slot = start(driver)
        driver.read_into(slot, 5.0)
        model(driver).unplug()
        with pytest.raises(Disconnected):
            read(driver, slot, 3)
        driver.close()
        assert driver._backend.open_handles == 0
        model(driver).plug()
        driver.open()
    driver.close()
    assert driver._backend.open_handles == 0


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("uri", "least_db"), [(TEXT, 35.0), (BINARY, 35.0), (LINE, 1.0)])
def test_more_gain_makes_louder_echoes(uri: str, least_db: float) -> None:
    levels = []
    with running(uri) as (driver, slot, _):
        knobs = driver.knobs()
        current = default_settings(knobs)
        for gain_db in (least_db, least_db + 12):
            current = change_settings(current, {"gain_db": gain_db}, knobs)
            driver.apply(driver.prepare(current))
            read(driver, slot, 2)
            # Beyond the transmit pulse and its ringing.
            levels.append(float(abs(slot.data[0, 0, slot.data.shape[2] // 3 :].astype(float)).max()))
    assert levels[1] / levels[0] == pytest.approx(10 ** (12 / 20), rel=0.15)


def test_the_rate_of_a_stream_follows_the_setting() -> None:
    with running(BINARY) as (driver, slot, _):
        settings = change_settings(default_settings(driver.knobs()), {"frame_rate_hz": 50.0}, driver.knobs())
        driver.apply(driver.prepare(settings))
        read(driver, slot, 2)
        begun = slot.device_ticks
        read(driver, slot, 10)
        assert slot.device_ticks - begun == pytest.approx(200_000, abs=100)
