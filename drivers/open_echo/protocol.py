"""Open Echo frames: AA, depth, temperature, voltage, samples, checksum; pure functions, no I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

START = 0xAA
HEADER_BYTES = 7
# Start byte, three 16-bit words, checksum.
OVERHEAD_BYTES = HEADER_BYTES + 1
# The largest frame of any board in the sheet has 12000 samples.
MOST_SAMPLES = 16384

_HEADER = struct.Struct("<BHhh")


@dataclass(frozen=True)
class FrameHeader:
    """What the board says with each line of samples."""

    bottom_index: int
    temperature_c: float
    drive_v: float


def frame_bytes(samples: int) -> int:
    """Length of a frame; nothing in the frame tells it."""
    return samples + OVERHEAD_BYTES


def checksum(data: bytes | bytearray | memoryview) -> int:
    """XOR of all bytes."""
    return int(np.bitwise_xor.reduce(np.frombuffer(data, np.uint8)))


def parse_header(data: bytes | bytearray | memoryview, offset: int = 0) -> FrameHeader:
    """The words before the samples."""
    _, index, temperature, drive = _HEADER.unpack_from(data, offset)
    return FrameHeader(index, temperature / 100, drive / 100)


def is_frame(data: memoryview, offset: int, samples: int) -> bool:
    """Whether a frame of so many samples with a right checksum begins here. One alignment in 256 passes by chance."""
    length = frame_bytes(samples)
    if len(data) - offset < length or data[offset] != START:
        return False
    return checksum(data[offset + 1 : offset + length]) == 0


def encode_frame(header: FrameHeader, samples: NDArray[np.uint8]) -> bytes:
    """A frame as the board sends it."""
    words = (header.bottom_index, round(header.temperature_c * 100), round(header.drive_v * 100))
    body = _HEADER.pack(START, *words)[1:] + samples.astype(np.uint8).tobytes()
    return bytes([START]) + body + bytes([checksum(body)])
