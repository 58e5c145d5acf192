"""The bytes of Open Echo."""

from __future__ import annotations

import numpy as np
import pytest

from sonod.drivers.errors import DeviceNotFound
from sonod.drivers.open_echo.driver import OpenEchoDriver
from sonod.drivers.open_echo.line_stream import LineFraming
from sonod.drivers.open_echo.protocol import FrameHeader, encode_frame, frame_bytes, is_frame, parse_header

EXAMPLE = bytes.fromhex("AA 02 00 00 00 00 00 10 20 30 40 42")


def test_the_example_of_the_sheet() -> None:
    assert encode_frame(FrameHeader(2, 0.0, 0.0), np.array([0x10, 0x20, 0x30, 0x40], np.uint8)) == EXAMPLE
    assert is_frame(memoryview(EXAMPLE), 0, 4)
    assert parse_header(EXAMPLE) == FrameHeader(2, 0.0, 0.0)
    assert frame_bytes(1800) == 1808


def test_words_are_little_endian_hundredths() -> None:
    frame = encode_frame(FrameHeader(258, -1.5, 12.0), np.zeros(4, np.uint8))
    assert frame[1:7] == bytes.fromhex("02 01 6a ff b0 04")
    assert parse_header(frame) == FrameHeader(258, -1.5, 12.0)


def test_a_wrong_byte_is_no_frame() -> None:
    for place in range(len(EXAMPLE)):
        wrong = bytearray(EXAMPLE)
        wrong[place] ^= 1
        assert not is_frame(memoryview(wrong), 0, 4)


def test_one_good_checksum_is_not_believed() -> None:
    framing = LineFraming(4)
    assert framing.look(EXAMPLE).need == 2 * len(EXAMPLE)
    # No other start byte in sight: all of it goes.
    assert framing.look(EXAMPLE + bytes(12)).skip == 24
    assert framing.look(EXAMPLE + EXAMPLE).message == len(EXAMPLE)
    # In step, one is enough.
    assert framing.look(EXAMPLE).message == len(EXAMPLE)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("open-echo:", "no USB identity of its own"),
        ("open-echo:?usb=2341", "VID:PID"),
        ("open-echo:?usb=2341:10069", "VID:PID"),
        ("open-echo:/dev/null?samples=1", "samples"),
    ],
)
def test_uris_that_name_no_board(uri: str, says: str) -> None:
    with pytest.raises(DeviceNotFound, match=says):
        OpenEchoDriver(uri)
