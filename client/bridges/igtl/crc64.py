"""CRC-64 of OpenIGTLink bodies: polynomial 0x42F0E1EBA9EA3693 (ECMA-182), most significant bit first, starting from 0.

A loop over bytes in Python is too slow for pictures. Here the bytes are cut into lanes whose sums run side by side in
NumPy; two neighbours are joined by shifting the left one over the right one's length, which is linear in its bits and
so a table for each of its bytes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x42F0E1EBA9EA3693
_MASK = (1 << 64) - 1
# Bytes of a lane; long enough that joining costs little, short enough that a small picture still fills many lanes.
LANE_BYTES = 128

Words = NDArray[np.uint64]


def _byte_table() -> Words:
    """What the top byte of the sum becomes when eight bits are shifted out."""
    table = np.zeros(256, np.uint64)
    for value in range(256):
        word = value << 56
        for _ in range(8):
            word = ((word << 1) ^ (POLYNOMIAL if word >> 63 else 0)) & _MASK
        table[value] = word
    return table


_TABLE = _byte_table()
_EIGHT, _TOP, _BYTE = np.uint64(8), np.uint64(56), np.uint64(0xFF)


def _place_tables() -> tuple[Words, ...]:
    """For each place in a lane, what a byte there adds to the lane's sum."""
    tables = [_TABLE]
    while len(tables) < LANE_BYTES:
        words = tables[-1]
        tables.append(_TABLE[words >> _TOP] ^ (words << _EIGHT))
    return tuple(reversed(tables))


_PLACES = _place_tables()


def crc64(*pieces: bytes | memoryview) -> int:
    """The checksum of the pieces one after another."""
    data = b"".join(pieces)
    # Zeros in front change nothing, because the sum starts from 0.
    lanes = 1
    while lanes * LANE_BYTES < len(data):
        lanes *= 2
    padded = np.zeros(lanes * LANE_BYTES, np.uint8)
    padded[padded.size - len(data) :] = np.frombuffer(data, np.uint8)
    # A lane's sum is that of its bytes, each with zeros around it.
    sums, part = np.zeros(lanes, np.uint64), np.zeros(lanes, np.uint64)
    for table, column in zip(_PLACES, np.ascontiguousarray(padded.reshape(lanes, LANE_BYTES).T), strict=True):
        np.take(table, column, out=part, mode="clip")
        np.bitwise_xor(sums, part, out=sums)
    level = 0
    while len(sums) > 1:
        sums = _shifted(sums[0::2], level) ^ sums[1::2]
        level += 1
    return int(sums[0])


def _shifted(sums: Words, level: int) -> Words:
    """Sums with LANE_BYTES * 2^level zero bytes behind them."""
    result = np.zeros_like(sums)
    for place, table in enumerate(_shift_tables(level)):
        result ^= table[(sums >> np.uint64(8 * place)) & _BYTE]
    return result


@lru_cache(maxsize=64)
def _shift_tables(level: int) -> tuple[Words, ...]:
    """For each of the eight bytes of a sum, what its 256 values become when that many zero bytes follow."""
    values = np.arange(256, dtype=np.uint64)
    tables = []
    for place in range(8):
        word = values << np.uint64(8 * place)
        if level == 0:
            for _ in range(LANE_BYTES):
                word = _TABLE[word >> _TOP] ^ (word << _EIGHT)
        else:
            word = _shifted(_shifted(word, level - 1), level - 1)
        tables.append(word)
    return tuple(tables)
