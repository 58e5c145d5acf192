"""The bulk driver on the real libusb with transfers in flight: the suite for every driver, and the faults of a link."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import fault_table
import numpy as np
import pytest
from without_override import without_override

from sonod.drivers.attached import NO_PERMISSION, recognise
from sonod.drivers.base import Driver
from sonod.drivers.bulk.driver import BulkDriver
from sonod.drivers.bulk.protocol import BULK_IN, HEADER_BYTES, Header, message_bytes
from sonod.drivers.conformance import DriverConformance
from sonod.drivers.emulated.server import RemoteBoard
from sonod.drivers.errors import AccessDenied, Disconnected, DriverError, DriverTimeout
from sonod.drivers.frame import Slot
from sonod.drivers.settings import default_settings
from sonod.drivers.transports.resync import MagicLengthCrc, Resynchroniser
from sonod.drivers.transports.ring import Policy, RingStream
from sonod.drivers.transports.usb import Selector, open_device
from sonod.drivers.transports.usb_bus import attached_devices

BULK = Selector(0x1209, 0x0001)
# Enough for a busy machine, and short where nothing will come.
FRAME_TIMEOUT_S = 3.0


class TestBulkOverLibusb(DriverConformance):
    """The same suite as over the in-memory bus."""

    @pytest.fixture(autouse=True)
    def _with_board(self, board: RemoteBoard) -> None:
        self.board = board

    def make_driver(self) -> Driver:
        return BulkDriver("bulk:1209:0001")

    def unplug(self, driver: Driver) -> bool:
        self.board.unplug()
        return True

    def silence(self, driver: Driver) -> bool:
        self.board.set(silent=True)
        return True


@contextmanager
def running() -> Iterator[tuple[BulkDriver, Slot]]:
    driver = BulkDriver("bulk:1209:0001")
    driver.open()
    try:
        driver.apply(driver.prepare(default_settings(driver.knobs())))
        driver.start()
        assert driver.configuration is not None
        yield driver, Slot(driver.configuration.acquisition.nbytes)
    finally:
        driver.close()


def read_until_gone(driver: BulkDriver, slot: Slot) -> None:
    """What has come before the cable was pulled may still be read."""
    for _ in range(100):
        driver.read_into(slot, FRAME_TIMEOUT_S)


def test_transfers_are_kept_in_flight_and_control_requests_pass_meanwhile(board: RemoteBoard) -> None:
    with running() as (driver, slot):
        driver.read_into(slot, FRAME_TIMEOUT_S)
        stream = driver._stream
        assert isinstance(stream, RingStream)
        assert stream.in_flight > 8
        for _ in range(3):
            assert driver._opened.status().state.name == "RUNNING"
        driver.read_into(slot, FRAME_TIMEOUT_S)


@pytest.mark.parametrize("row", fault_table.rows(), ids=lambda row: row.command)
def test_every_fault_does_what_the_table_says(board: RemoteBoard, row: fault_table.Row) -> None:
    with running() as (driver, slot):
        fault_table.hold(row, driver, slot, lambda command: board.ask(**command), FRAME_TIMEOUT_S)


def test_unplugged_in_mid_frame_and_streaming_again_under_a_new_address(board: RemoteBoard) -> None:
    for _ in range(3):
        with running() as (driver, slot):
            driver.read_into(slot, FRAME_TIMEOUT_S)
            address = driver._opened.identity.address
            board.set(unplug_after_bytes=50_000)
            with pytest.raises(Disconnected):
                read_until_gone(driver, slot)
        board.plug()
        with running() as (driver, slot):
            driver.read_into(slot, FRAME_TIMEOUT_S)
            assert driver._opened.identity.address != address


def test_permission_busy_and_out_of_memory_are_told_apart(board: RemoteBoard) -> None:
    board.set(open_fault="access")
    with without_override():
        with pytest.raises(AccessDenied, match=r'SUBSYSTEM=="usb", ATTR\{idVendor\}=="1209"'), running():
            pass
        (seen,) = attached_devices()
        assert recognise(seen).state == NO_PERMISSION
    board.set(open_fault="busy")
    with pytest.raises(AccessDenied, match="another program"), running():
        pass
    board.set(open_fault=None)
    device = open_device(BULK)
    device.claim(0)
    board.set(open_fault="memory")
    try:
        with pytest.raises(DriverError, match="usbfs_memory_mb"):
            RingStream(device, 0x81)
    finally:
        device.close()


def test_more_in_flight_than_the_budget_is_refused_before_it_is_tried(board: RemoteBoard) -> None:
    device = open_device(BULK)
    device.claim(0)
    try:
        with pytest.raises(DriverError, match="usbfs_memory_mb"):
            RingStream(device, 0x81, 1 << 20, depth=16)
        with pytest.raises(DriverError, match="whole packets"):
            RingStream(device, 0x81, 1000)
    finally:
        device.close()


@pytest.mark.parametrize("policy", Policy)
def test_when_nobody_reads_the_oldest_bytes_go_or_the_device_waits(board: RemoteBoard, policy: Policy) -> None:
    with running() as (driver, _):
        front_end = driver.front_end
        driver._end_stream()
        stream = RingStream(front_end.usb, BULK_IN, depth=4, slots=8, policy=policy)
        try:
            deadline = time.monotonic() + 60
            while not (stream.counters.parks or stream.counters.overruns) and time.monotonic() < deadline:
                front_end.keep_alive()
                time.sleep(0.01)
            messages = Resynchroniser(stream, MagicLengthCrc(b"SRF1", HEADER_BYTES, message_bytes, 1 << 30))
            numbers = [Header.from_bytes(messages.read(FRAME_TIMEOUT_S)[:HEADER_BYTES]).sequence for _ in range(6)]
            counters = stream.counters
            if policy is Policy.PARK:
                assert (counters.overruns, counters.overrun_bytes) == (0, 0)
                assert counters.parks > 0
                # What had come before is all there.
                assert np.diff(numbers).tolist() == [1] * 5
            else:
                assert counters.parks == 0
                assert counters.overrun_bytes >= counters.overruns > 0
                assert (np.diff(numbers) > 0).all()
            # And it goes on: more than the slots hold.
            for _ in range(12):
                front_end.keep_alive()
                messages.read(FRAME_TIMEOUT_S)
        finally:
            stream.close()


def test_a_ring_can_be_closed_while_transfers_wait_and_has_nothing_left(board: RemoteBoard) -> None:
    board.set(silent=True)
    device = open_device(BULK)
    device.claim(0)
    try:
        before = len(os.listdir("/proc/self/task"))
        for _ in range(5):
            stream = RingStream(device, 0x81)
            with pytest.raises(DriverTimeout):
                stream.wait(1, 0.02)
            stream.close()
            stream.close()
            assert stream.in_flight == 0
        assert len(os.listdir("/proc/self/task")) == before
    finally:
        device.close()


def test_no_descriptor_or_thread_is_left_after_many_cycles(board: RemoteBoard) -> None:
    """A short form of the campaign of 200 cycles, which runs in memory."""

    def cycle() -> None:
        with running() as (driver, slot):
            driver.read_into(slot, FRAME_TIMEOUT_S)
            board.unplug()
            with pytest.raises(Disconnected):
                read_until_gone(driver, slot)
        board.plug()

    cycle()
    descriptors, threads = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    for _ in range(4):
        cycle()
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert len(os.listdir("/proc/self/task")) == threads
