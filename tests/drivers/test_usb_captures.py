"""Captures of boards that stream over USB, and the boards' own self-test: what drivers must make of known bytes."""

from __future__ import annotations

import numpy as np
import pytest
from board_capture import CapturePort
from usb_capture import load_usb_capture, replayed

from sonod.drivers.base import Driver
from sonod.drivers.bulk.driver import BulkDriver
from sonod.drivers.bulk.protocol import HEADER_BYTES, Header
from sonod.drivers.emulated.bulk import BulkFrontEnd
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.interson import EmulatedInterson
from sonod.drivers.emulated.p0rk import P0rkBoard
from sonod.drivers.errors import DriverError, DriverTimeout
from sonod.drivers.frame import Slot
from sonod.drivers.interson.driver import IntersonDriver
from sonod.drivers.interson.protocol import FRAME_BYTES
from sonod.drivers.pic0rick import p0rk
from sonod.drivers.pic0rick.frame_stream import FrameStream
from sonod.drivers.pic0rick.p0rk import Payload
from sonod.drivers.settings import change_settings, default_settings


def driver_of(name: str, data: bytes, uri: str) -> Driver:
    clock = ManualClock()
    if name == "interson":
        return IntersonDriver(uri, clock, replayed(EmulatedInterson(clock=clock), data))
    return BulkDriver(uri, replayed(BulkFrontEnd(clock=clock, phantom="wires", probe="phased"), data), clock)


def sums_of(driver: Driver, changes: dict[str, object], frames: int) -> list[int]:
    """Sums of the samples of so many frames, then of those that still come."""
    driver.open()
    try:
        knobs = driver.knobs()
        configuration = driver.prepare(change_settings(default_settings(knobs), changes, knobs))  # type: ignore[arg-type]
        driver.apply(configuration)
        driver.start()
        slot = Slot(configuration.acquisition.nbytes)
        sums = []
        for _ in range(frames):
            driver.read_into(slot, 1.0)
            sums.append(int(slot.data.astype(np.int64).sum()))
        with pytest.raises((DriverTimeout, DriverError)):
            driver.read_into(slot, 0.1)
        return sums
    finally:
        driver.close()


@pytest.mark.parametrize("name", ["bulk_packed_10", "interson"])
def test_a_capture_is_read_as_its_header_says(name: str) -> None:
    data, said = load_usb_capture(name)
    driver = driver_of(name, data, said["uri"])
    assert sums_of(driver, said["settings"], said["frames"]) == said["sums"]
    assert driver.counters.lost == 0


def test_a_wrong_byte_in_a_captured_message_costs_that_message() -> None:
    data, said = load_usb_capture("bulk_packed_10")
    damaged = bytearray(data)
    damaged[len(data) // 4] ^= 1
    driver = driver_of("bulk_packed_10", bytes(damaged), said["uri"])
    assert sums_of(driver, said["settings"], 1) == said["sums"][1:]
    assert isinstance(driver, BulkDriver)
    assert (driver.stream_counters.crc_errors, driver.stream_counters.lost, driver.counters.lost) == (1, 1, 1)


def test_captures_hold_whole_messages() -> None:
    data, said = load_usb_capture("bulk_packed_10")
    header = Header.from_bytes(data)
    assert len(data) == said["frames"] * (HEADER_BYTES + header.payload_bytes)
    assert len(load_usb_capture("interson")[0]) >= 2 * FRAME_BYTES


# The checksums of the first frames that the released self-test of a real board has (cases zero and dc).
RELEASED = {0: "9499f4d8", 1: "86d254ab", 2: "11001cc7", 3: "175f0c1b"}


def test_the_emulated_self_test_has_the_released_frames_and_every_checksum_is_right() -> None:
    board = P0rkBoard(clock=ManualClock())
    sent = bytearray()
    board.send = sent.extend  # type: ignore[method-assign, assignment]
    board._self_test()
    port = CapturePort(bytes(sent))
    stream = FrameStream(port)
    frames = []
    while (found := stream.next(port.clock.now_ns() + 1_000_000)) is not None:
        if not isinstance(found, bytes):
            header = found[0]
            payload = bytes(stream.payload)
            assert p0rk.checksum(payload) == header.crc
            frames.append((header, payload))
    assert stream.counters.crc_errors == 0
    assert [header.sequence for header, _ in frames] == list(range(21))
    assert [header.self_test_case for header, _ in frames] == [case for case in range(7) for _ in Payload]
    for index, crc in RELEASED.items():
        assert frames[index][0].crc.to_bytes(4, "little").hex() == crc
