"""The third part of a frame message as an array."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.client.wire.errors import WireError
from sonod.client.wire.header import BIG, ENCODING_LZ4, ENCODING_RAW, FrameHeader


def payload_array(header: FrameHeader, payload: bytes | memoryview) -> NDArray[Any]:
    """A read-only view of `payload` with the header's shape and dtype; WireError when they do not fit."""
    if header.encoding not in (ENCODING_RAW, ENCODING_LZ4):
        raise WireError(f"payload: encoding {header.encoding!r} is not known to this client; it reads raw and lz4")
    dtype = _dtype(header.dtype, header.byte_order)
    expected = math.prod(header.shape) * dtype.itemsize
    if header.encoding == ENCODING_LZ4:
        payload = _unpacked(payload, expected)
    if len(payload) != expected:
        raise WireError(
            f"payload: {'x'.join(map(str, header.shape))} {header.dtype} needs {expected} bytes; got {len(payload)}"
        )
    array: NDArray[Any] = np.ndarray(header.shape, dtype, payload)
    array.setflags(write=False)
    return array


@lru_cache
def _dtype(name: str, byte_order: str) -> np.dtype[Any]:
    return np.dtype(name).newbyteorder(">" if byte_order == BIG else "<")


def _unpacked(payload: bytes | memoryview, expected: int) -> bytes:
    """One LZ4 block; never more than `expected` bytes."""
    try:
        # Only who subscribes to packed streams needs it.
        import lz4.block
    except ImportError as error:
        raise WireError("payload: encoding lz4 needs the package lz4; pip install lz4") from error
    try:
        data: bytes = lz4.block.decompress(payload, uncompressed_size=expected)
    except (lz4.block.LZ4BlockError, ValueError) as error:
        raise WireError(f"payload: not an LZ4 block of {expected} bytes ({error})") from error
    return data
