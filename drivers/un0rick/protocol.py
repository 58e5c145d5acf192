"""The un0rick's registers, and what its memory words mean: bytes to values and back, nothing else.

Sources and what they leave open are in README.md. Words on the wire are big-endian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

VENDOR_ID = 0x0403
PRODUCT_ID = 0x6010

# The converter's clock; the pulse is timed by twice that.
SAMPLING_HZ = 63.75e6
TICK_S = 1 / 127.5e6
LINE_SAMPLES = 16384
MOST_LINES = 32
LONGEST_BURST = 0x4000

# Gain steps of a line, and the samples of each.
GAIN_SEGMENTS = 32
SEGMENT_SAMPLES = LINE_SAMPLES // GAIN_SEGMENTS
GAIN_CODES = 1024

# 10 bits, offset binary; +-1 V nominal.
MIDDLE_CODE = 512
VOLTS_PER_CODE = 1 / 512
CODE_MASK = 0x03FF
LINE_SHIFT = 10
LINE_MASK = 0x3
INPUT_SHIFT = 12
INPUT_MASK = 0x7

# Clocks of 63.75 MHz: before the first line, and for each line (half of them idle).
PREAMBLE_CLOCKS = 512
LINE_CLOCKS = 2 * LINE_SAMPLES

AUTHOR = 0x01
VERSION = 0x01


class Register(IntEnum):
    """Addresses; all are 16 bits wide on the wire."""

    INITDEL = 0x00
    PONW = 0x01
    POFFW = 0x02
    INTERW = 0x03
    DRMODE = 0x04
    DACOUT = 0x07
    DACGAIN = 0x20
    ACQSTART = 0x50
    ACQDONE = 0x51
    NBLINES = 0x52
    ACQBUSY = 0x53
    LED1 = 0x63
    LED2 = 0x64
    LED3 = 0x65
    TOPTURN1 = 0x66
    TOPTURN2 = 0x67
    TOPTURN3 = 0x68
    JUMPER1 = 0x69
    JUMPER2 = 0x6A
    JUMPER3 = 0x6B
    OUT1 = 0x6C
    OUT2 = 0x6D
    OUT3 = 0x6E
    HVMUXEN = 0x6F
    HVMUXSW = 0x70
    RAMDATA = 0xA0
    RAMRADDRRST = 0xA1
    RAMFINC = 0xA4
    RAMFDEC = 0xA5
    RAMFDONE = 0xA6
    AUTHOR = 0xF0
    VERSION = 0xF1


@dataclass(frozen=True)
class Header:
    """The three bytes in front of every exchange."""

    write: bool
    increment: bool
    count: int
    address: int

    def encode(self) -> bytes:
        if not 1 <= self.count <= LONGEST_BURST:
            raise ValueError(f"header.count: must be in 1..{LONGEST_BURST}, got {self.count}")
        if not 0 <= self.address <= 0xFF:
            raise ValueError(f"header.address: must be in 0..255, got {self.address}")
        word = self.write << 23 | self.increment << 22 | (self.count - 1) << 8 | self.address
        return word.to_bytes(3, "big")

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """ValueError unless there are exactly three bytes."""
        if len(data) != 3:
            raise ValueError(f"header: must be 3 bytes, got {len(data)}")
        word = int.from_bytes(data, "big")
        return cls(bool(word >> 23), bool(word >> 22 & 1), (word >> 8 & 0x3FFF) + 1, word & 0xFF)


def write_message(address: int, *words: int) -> bytes:
    """What to clock out to write one register, or, with several words, a run of them."""
    header = Header(True, len(words) > 1, len(words), address)
    return header.encode() + np.array(words, ">u2").tobytes()


def read_message(address: int, count: int = 1, *, increment: bool = False) -> bytes:
    """What to clock out before `count` words are clocked in."""
    return Header(False, increment, count, address).encode()


@dataclass(frozen=True)
class Pulse:
    """The transmitted pulse in ticks of 7.84 ns: pause before it, its width, the gap behind it, the damping."""

    delay_ticks: int
    width_ticks: int
    gap_ticks: int
    damping_ticks: int

    def __post_init__(self) -> None:
        for name in ("delay_ticks", "width_ticks", "gap_ticks", "damping_ticks"):
            if not 1 <= getattr(self, name) <= 256:
                raise ValueError(f"pulse.{name}: must be in 1..256, got {getattr(self, name)}")

    @property
    def registers(self) -> dict[Register, int]:
        """Register values; each is a number of ticks less one."""
        return {
            Register.INITDEL: self.delay_ticks - 1,
            Register.PONW: self.width_ticks - 1,
            Register.INTERW: self.gap_ticks - 1,
            Register.POFFW: self.damping_ticks - 1,
        }

    @property
    def frequency_hz(self) -> float:
        """The centre frequency that a pulse of this width excites: it is half a period wide."""
        return 1 / (2 * self.width_ticks * TICK_S)

    @property
    def delay_s(self) -> float:
        """From sample 0 to the beginning of the pulse."""
        return self.delay_ticks * TICK_S


def width_ticks_for(frequency_hz: float) -> int:
    """The pulse width, in ticks, that comes nearest to this centre frequency."""
    return min(max(round(1 / (2 * frequency_hz * TICK_S)), 1), 256)


def ticks_for(seconds: float) -> int:
    """The nearest whole number of ticks, at least 1 and at most 256."""
    return min(max(round(seconds / TICK_S), 1), 256)


def acquisition_s(lines: int) -> float:
    """How long the board is busy after a start."""
    return (PREAMBLE_CLOCKS + lines * LINE_CLOCKS) / SAMPLING_HZ


def samples_for(duration_s: float) -> int:
    """Samples of a line that hold this time, whole gain segments' eighths (64), no more than a line has."""
    return min(max(math.ceil(duration_s * SAMPLING_HZ / 64) * 64, 64), LINE_SAMPLES)


class LineDecoder:
    """Turns the memory's words into samples without allocating; for lines of `samples` words."""

    def __init__(self, samples: int) -> None:
        self._words = np.zeros(samples, np.uint16)
        self._marks = np.zeros(samples, np.uint16)

    def run(self, words: NDArray[np.uint16], line: int, out: NDArray[np.int16]) -> bool:
        """`words (samples,)` big-endian, as read, to `out (samples,)`: codes with the offset removed, -512..511.

        False when a word does not carry the number of its line or has its highest bit set: the read has slipped.
        """
        np.copyto(self._words, words)
        np.bitwise_and(self._words, np.uint16(LINE_MASK << LINE_SHIFT | 0x8000), out=self._marks)
        expected = (line & LINE_MASK) << LINE_SHIFT
        sound = int(self._marks.min()) == expected == int(self._marks.max())
        np.bitwise_and(self._words, np.uint16(CODE_MASK), out=self._words)
        np.subtract(self._words.view(np.int16), np.int16(MIDDLE_CODE), out=out)
        return sound


def interleave(odd: NDArray[np.int16], even: NDArray[np.int16], out: NDArray[np.int16]) -> None:
    """Lines 1 and 0 of a double-rate pair, each (samples,), to one record (2 * samples,) of twice the rate.

    The pulse of line 1 leaves half a sample later, so at the same sample number it shows an earlier echo time: the
    record begins with it (derived; no document says so).
    """
    out[0::2] = odd
    out[1::2] = even
