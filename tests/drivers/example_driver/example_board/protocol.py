"""Bytes of the example board: 8-byte commands out, a 16-byte header and samples in. Pure functions, no I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sonod.drivers.errors import ProtocolError

MAGIC = 0x0DEC0DE5
HEADER = struct.Struct("<IIII")
COMMAND = struct.Struct("<4sI")

IDENTIFY, SAMPLES, GAIN, START, STOP = b"IDEN", b"SAMP", b"GAIN", b"STRT", b"STOP"


@dataclass(frozen=True)
class Header:
    """What precedes the samples of one frame. `ticks` counts the board's microseconds since power-up."""

    counter: int
    samples: int
    ticks: int


def command(name: bytes, value: int = 0) -> bytes:
    """The bytes of one command."""
    return COMMAND.pack(name, value)


def parse_header(data: bytes | bytearray, samples: int) -> Header:
    """The header of a frame that should hold `samples` per element; ProtocolError when it is anything else."""
    magic, counter, held, ticks = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ProtocolError(f"example board: a frame begins with {magic:#010x} instead of {MAGIC:#010x}; restart it")
    if held != samples:
        raise ProtocolError(f"example board: a frame holds {held} samples instead of {samples}; restart it")
    return Header(counter, held, ticks)
