"""What arrives over a wire, made into samples: checksum, packed samples, interleaved channels."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext import _native

Bytes = bytes | bytearray | memoryview | NDArray[np.uint8]


class Packing(IntEnum):
    """How 16-bit samples arrive; the numbers are the kernel's."""

    OFFSET_16 = 0
    PACKED_10 = 1
    PACKED_12 = 2
    PACKED_14 = 3

    @property
    def bits(self) -> int:
        """Bits that one sample takes on the wire."""
        return 16 if self is Packing.OFFSET_16 else 8 + 2 * int(self)

    def nbytes(self, count: int) -> int:
        """Bytes that `count` samples take, the last one filled up with zero bits."""
        return (count * self.bits + 7) // 8


def crc32c(data: Bytes, crc: int = 0) -> int:
    """CRC-32C (Castagnoli, RFC 3720) of `data`, going on from the `crc` of what came before it.

    The CRC of b'123456789' is 0xE3069283.
    """
    return _native.crc32c(data, crc)


def unpack(packed: NDArray[np.uint8], packing: Packing, out: NDArray[np.int16], offset: int = 0) -> None:
    """`packed` bytes to `out (count,)`.

    OFFSET_16: little-endian u16 less `offset`, modulo 2**16. PACKED_n: two's complement of n bits, sample 0 in the
    lowest bits of byte 0, no gaps. ValueError when `packed` has not just the bytes that `out` needs.
    """
    _native.unpack(packed, int(packing), offset, out)


def deinterleave(items: NDArray[Any], out: NDArray[Any]) -> None:
    """`items (samples, channels)` to `out (channels, samples)`, of 2 or 4 bytes each; IQ pairs count as one item.

    ValueError for other sizes, or arrays that are not contiguous.
    """
    samples, channels = items.shape[:2]
    item_bytes = items.nbytes // max(items.shape[0] * items.shape[1], 1)
    if out.shape != (channels, samples, *items.shape[2:]):
        raise ValueError(f"out: must be (channels, samples) = {(channels, samples)}, got {out.shape}")
    _native.deinterleave(
        items.reshape(-1).view(np.uint8), item_bytes, samples, channels, out.reshape(-1).view(np.uint8)
    )
