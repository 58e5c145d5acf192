"""Recorded bytes of the serial boards through their streams: whole, in pieces of any size, and damaged."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from board_capture import CapturePort, load_capture
from hypothesis import given, settings
from hypothesis import strategies as st

from sonod.drivers.base import Uri
from sonod.drivers.conformance import ALLOCATION_LIMIT_BYTES
from sonod.drivers.frame import Slot
from sonod.drivers.open_echo.line_stream import LineStream
from sonod.drivers.pic0rick import console, p0rk
from sonod.drivers.pic0rick.binary_firmware import BinaryFirmware
from sonod.drivers.pic0rick.frame_stream import FrameStream
from sonod.drivers.probe_file import load_board
from sonod.drivers.settings import default_settings
from sonod.drivers.transports.resync import StreamCounters
from sonod.drivers.wulpus.shot_stream import ShotStream

RAW_FRAME = p0rk.HEADER_BYTES + 8192
# How the captures of streams end.
STOP_LINES = [b"OK stream stopped drops=0\r\n", b"OK pulser disarmed\r\n"]
SOON_NS = 100_000_000


def raw_frames(data: bytes, piece: int = 4093) -> tuple[list[int], list[int], StreamCounters, list[bytes]]:
    """Sums of the frames' samples, losses before each, counters and lines."""
    port = CapturePort(data, piece=piece)
    stream = FrameStream(port)
    sums, lost, lines = [], [], []
    while (found := stream.next(port.clock.now_ns() + SOON_NS)) is not None:
        if isinstance(found, bytes):
            lines.append(found)
            continue
        sums.append(int((np.frombuffer(stream.payload, "<u2").astype(np.int64) - 512).sum()))
        lost.append(found[1])
    return sums, lost, stream.counters, lines


def wulpus_images(data: bytes, piece: int = 4093) -> tuple[list[int], list[int], StreamCounters]:
    port = CapturePort(data, piece=piece)
    stream = ShotStream(port)
    stream.begin(8)
    sums, lost, total = [], [], 0
    while (shot := stream.next(port.clock.now_ns() + SOON_NS)) is not None:
        place = stream.place(shot)
        if place is None:
            continue
        total = int(stream.samples[:397].sum()) + (total if place else 0)
        if place == 7:
            sums.append(total)
            lost.append(stream.lost_images())
    return sums, lost, stream.counters


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9000))
def test_raw_frames_come_out_whole_however_the_bytes_arrive(piece: int) -> None:
    data, said = load_capture("pic0rick_raw")
    sums, lost, counters, lines = raw_frames(data, piece)
    assert sums == said["sums"]
    assert lost == [0, 0, 0]
    assert (counters.bytes_skipped, counters.crc_errors) == (0, 0)
    assert lines == STOP_LINES


@pytest.mark.parametrize("place", [70, 4000, RAW_FRAME - 1])
def test_a_wrong_byte_costs_one_frame_and_is_counted_once(place: int) -> None:
    data, said = load_capture("pic0rick_raw")
    begin = data.find(b"P0RK")
    wrong = bytearray(data)
    wrong[begin + RAW_FRAME + place] ^= 0x10
    sums, lost, counters, _ = raw_frames(bytes(wrong))
    assert sums == [said["sums"][0], said["sums"][2]]
    assert lost == [0, 1]
    assert (counters.crc_errors, counters.lost, counters.bytes_skipped) == (1, 1, RAW_FRAME)


@pytest.mark.parametrize("cut", [1, 64, 5000, RAW_FRAME - 100])
def test_a_frame_cut_short_does_not_take_the_next_one_with_it(cut: int) -> None:
    """As the firmware gives up a frame that the host does not fetch."""
    data, said = load_capture("pic0rick_raw")
    begin = data.find(b"P0RK")
    second = begin + RAW_FRAME
    sums, lost, counters, _ = raw_frames(data[: second + RAW_FRAME - cut] + data[second + RAW_FRAME :])
    assert sums == [said["sums"][0], said["sums"][2]]
    assert lost == [0, 1]
    assert counters.bytes_skipped == RAW_FRAME - cut


@pytest.mark.parametrize("garbage", [b"\x00" * 100, b"P0RK" + bytes(range(200)), b"\xffno line", b"P0R"])
def test_garbage_between_frames_is_skipped_and_counted_to_the_byte(garbage: bytes) -> None:
    data, said = load_capture("pic0rick_raw")
    second = data.find(b"P0RK") + RAW_FRAME
    sums, lost, counters, lines = raw_frames(data[:second] + garbage + data[second:])
    assert sums == said["sums"]
    assert lost == [0, 0, 0]
    assert counters.bytes_skipped == len(garbage)
    assert lines == STOP_LINES


def test_lines_between_frames_are_found() -> None:
    data, said = load_capture("pic0rick_raw")
    second = data.find(b"P0RK") + RAW_FRAME
    sums, _, counters, lines = raw_frames(data[:second] + b"ERR DMA acquisition timeout\r\n" + data[second:])
    assert sums == said["sums"]
    assert lines == [b"ERR DMA acquisition timeout\r\n", *STOP_LINES]
    assert counters.bytes_skipped == 0


def test_a_frame_that_comes_twice_counts_once() -> None:
    data, said = load_capture("pic0rick_raw")
    begin = data.find(b"P0RK")
    sums, lost, counters, _ = raw_frames(data[: begin + RAW_FRAME] + data[begin:])
    assert sums == said["sums"]
    assert lost == [0, 0, 0]
    assert counters.duplicates == 1


def test_alaw_frames_of_ultr4rick() -> None:
    data, said = load_capture("ultr4rick_alaw")
    port = CapturePort(data)
    stream = FrameStream(port)
    table = p0rk.alaw_table()
    sums = []
    while (found := stream.next(port.clock.now_ns() + SOON_NS)) is not None:
        if not isinstance(found, bytes):
            assert found[0].magic == b"U4RK"
            assert found[0].armed
            sums.append(int(table[np.frombuffer(stream.payload, np.uint8)].astype(np.int64).sum()))
    assert sums == said["sums"]


def test_dumps_of_the_text_firmware() -> None:
    data, said = load_capture("pic0rick_text")
    parser = console.DumpParser()
    sums = []
    for reply in data.split(console.PROMPT):
        if b"Start of ACQ" in reply:
            out = np.zeros(console.SAMPLES, np.int16)
            parser.parse(reply, len(reply), out)
            assert out[0] == out[1], "the first sample comes twice, as on the board"
            sums.append(int(out.astype(np.int64).sum()))
    assert sums == said["sums"]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 2000))
def test_wulpus_images_come_out_whole_however_the_bytes_arrive(piece: int) -> None:
    data, said = load_capture("wulpus_synthetic")
    sums, lost, counters = wulpus_images(data + data[:13], piece)
    assert sums == said["sums"]
    assert lost == [0, 0]
    assert (counters.lost, counters.bytes_skipped) == (0, 0)


@pytest.mark.parametrize("cut", [1, 13, 400, 812, 813])
def test_a_wulpus_shot_cut_short_or_missing_costs_its_image(cut: int) -> None:
    data, said = load_capture("wulpus_synthetic")
    third = 3 * 813
    spoilt = data[: third - cut] + data[third:]
    sums, lost, counters = wulpus_images(spoilt + data[:13])
    assert sums == [said["sums"][1]]
    assert lost == [1]
    assert counters.lost == 1
    assert counters.bytes_skipped == 813 - cut


def test_accelerometer_bytes_stand_over_the_last_samples_and_are_not_delivered() -> None:
    data, _ = load_capture("wulpus_synthetic")
    assert data[808:813] == bytes(5)
    assert data.startswith(b"START\n")


def test_open_echo_lines_come_out_and_a_wrong_one_is_counted() -> None:
    data, said = load_capture("open_echo")
    for wrong in (False, True):
        spoilt = bytearray(data)
        if wrong:
            spoilt[3 * 1808 + 500] ^= 0x10
        port = CapturePort(bytes(spoilt))
        stream = LineStream(port, 1800)
        sums, lost = [], []
        while (found := stream.next(port.clock.now_ns() + SOON_NS)) is not None:
            sums.append(int(np.frombuffer(stream.samples, np.uint8).astype(np.int64).sum()))
            lost.append(found[1])
        assert sums == ([said["sums"][0], said["sums"][1]] if wrong else said["sums"])
        assert sum(lost) == 0
        assert stream.counters.crc_errors == int(wrong)


def test_reading_frames_allocates_little() -> None:
    """The driver's own share, without the emulated board's."""
    data, said = load_capture("pic0rick_raw")
    frames = data[data.find(b"P0RK") :] * 3
    port = CapturePort(frames)
    status = p0rk.parse_status("board=pic0rick firmware=1.5")
    firmware = BinaryFirmware(Uri.parse("pic0rick:"), port, load_board("pic0rick"), FrameStream(port), status)
    configuration = firmware.prepare(default_settings(firmware.knobs()))
    slot = Slot(configuration.acquisition.nbytes)
    slot.prepare(configuration)
    firmware.read_into(slot, 1.0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            firmware.read_into(slot, 1.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - before < ALLOCATION_LIMIT_BYTES / 2
    assert int(slot.data.astype(np.int64).sum()) == said["sums"][2]
