"""Registers and B-mode vectors of an Interson probe (1921:0090): bytes to values and back, nothing else.

Sources and what they leave open are in README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

VENDOR_ID = 0x1921
PRODUCT_ID = 0x0090
ENDPOINT = 0x82

VECTORS = 241
VECTOR_BYTES = 1024
# Byte 0 of every vector is the number of its frame.
VECTOR_SAMPLES = VECTOR_BYTES - 1
FRAME_BYTES = VECTORS * VECTOR_BYTES
FRAME_NUMBERS = 16

# Vendor requests: registers, the hard button, the memory with the maker's data about the probe.
OUT, IN = 0x40, 0xC0
REGISTER, BUTTON, OEM = 0xD8, 0xDA, 0xD7
OEM_BYTES = 4096

STOP, B_MODE, RF_MODE = 0, 1, 2
HIGHEST_VOLTAGE = 178
USUAL_VOLTAGE = 100
USUAL_FREQUENCY_INDEX = 14
USUAL_FILTER = 2
LAST_FREQUENCY_INDEX = 31
# Images a second to the seven bytes that set the motor's speed.
MOTOR_SPEEDS: dict[float, bytes] = {
    10.0: bytes.fromhex("b9 04 00 00 b7 a4 32"),
    12.5: bytes.fromhex("93 07 00 00 93 a4 32"),
    15.0: bytes.fromhex("7a 0d 00 00 80 a4 32"),
}


class Register(IntEnum):
    """Addresses; each holds one byte."""

    MODE = 0x0000
    RF_DECIMATOR = 0x0003
    FREQUENCY = 0x0100
    ZERO_1 = 0x0101
    HIGH_VOLTAGE = 0x0200
    VOLTAGE = 0x0201
    ZERO_2 = 0x0300
    FILTER = 0x0400
    SAMPLER_INCREMENT = 0x0600
    MOTOR = 0x0800
    MOTOR_SPEED = 0x0801
    DYNAMIC_RANGE_1 = 0x0900
    DYNAMIC_RANGE_2 = 0x0901


def frequency_hz(index: int) -> float:
    """Transmit frequency of an index 0..31. Derived: all seven published pairs are 60 MHz / (index + 3)."""
    return 60e6 / (index + 3)


def frequency_index(hertz: float) -> int:
    """The index whose frequency is nearest."""
    return min(range(LAST_FREQUENCY_INDEX + 1), key=lambda index: abs(frequency_hz(index) - hertz))


def nearest_rate_hz(hertz: float) -> float:
    """The nearest of the image rates that the motor has."""
    return min(MOTOR_SPEEDS, key=lambda rate: abs(rate - hertz))


def initialise_writes(index: int, voltage: int, rate_hz: float) -> Sequence[tuple[int, int]]:
    """Register writes (address, value) before a start, in the published order. The time gain is left as it is: what
    its values mean is not known."""
    speed = MOTOR_SPEEDS[rate_hz]
    return (
        (Register.ZERO_1, 0),
        (Register.ZERO_2, 0),
        (Register.DYNAMIC_RANGE_1, 39),
        (Register.DYNAMIC_RANGE_2, 25),
        *((Register.MOTOR_SPEED + place, value) for place, value in enumerate(speed)),
        (Register.FREQUENCY, index),
        (Register.FILTER, USUAL_FILTER),
        (Register.VOLTAGE, voltage),
    )


# What is written to start, before the pause for the motor, and after it; and the same to stop.
SPIN_UP = ((Register.HIGH_VOLTAGE, 1), (Register.SAMPLER_INCREMENT, 64), (Register.MOTOR, 1))
RUN = ((Register.MODE, B_MODE),)
HALT = ((Register.MODE, STOP),)
SPIN_DOWN = ((Register.MOTOR, 0), (Register.HIGH_VOLTAGE, 0))
MOTOR_PAUSE_S = 0.1


def frame_number(frame: NDArray[np.uint8]) -> int:
    """The number of `frame (vectors, bytes)`, or -1 when its vectors disagree: bytes or vectors are missing in it."""
    marks = frame[:, 0]
    first = int(marks[0])
    return first if first < FRAME_NUMBERS and int(marks.min()) == first == int(marks.max()) else -1


def find_frame(window: NDArray[np.uint8]) -> int:
    """Offset at which a whole frame begins in `window (bytes,)`, or -1.

    A frame begins where, at a stride of one vector, a number is followed by the next one, which then stays the same
    for all vectors of a frame. Echoes that stay the same do not step, so that they are not mistaken for it.
    """
    rows = len(window) // VECTOR_BYTES
    if rows <= VECTORS:
        return -1
    grid = window[: rows * VECTOR_BYTES].reshape(rows, VECTOR_BYTES)
    changes = np.zeros(grid.shape, np.int32)
    np.cumsum(grid[1:] != grid[:-1], axis=0, dtype=np.int32, out=changes[1:])
    starts = grid[1 : rows - VECTORS + 1]
    steps = (starts < FRAME_NUMBERS) & (starts == (grid[: rows - VECTORS] + 1) % FRAME_NUMBERS)
    constant = changes[VECTORS:] == changes[1 : rows - VECTORS + 1]
    found = np.argwhere(steps & constant)
    if not len(found):
        return -1
    row, column = found[0]
    return int(row + 1) * VECTOR_BYTES + int(column)
