"""The third part of a frame message as an array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from older_wire.errors import WireError
from older_wire.header import BIG, ENCODING_RAW, FrameHeader


def payload_array(header: FrameHeader, payload: bytes | memoryview) -> NDArray[Any]:
    """A read-only view of `payload` with the header's shape and dtype; WireError when they do not fit."""
    if header.encoding != ENCODING_RAW:
        raise WireError(f"payload: encoding {header.encoding!r} is not known to this client; it reads raw")
    dtype = np.dtype(header.dtype).newbyteorder(">" if header.byte_order == BIG else "<")
    expected = math.prod(header.shape) * dtype.itemsize
    if len(payload) != expected:
        raise WireError(
            f"payload: {'x'.join(map(str, header.shape))} {header.dtype} needs {expected} bytes; got {len(payload)}"
        )
    array = np.frombuffer(payload, dtype=dtype).reshape(header.shape)
    array.flags.writeable = False
    return array
