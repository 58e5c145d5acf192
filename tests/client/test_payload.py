from __future__ import annotations

from dataclasses import replace

import lz4.block
import numpy as np
import pytest
import wire_messages as messages

from sonod.client.wire.errors import WireError
from sonod.client.wire.payload import payload_array


def test_array_is_a_read_only_view_in_c_order() -> None:
    payload = bytes(range(6))
    array = payload_array(messages.HEADER, payload)
    np.testing.assert_array_equal(array, [[0, 1], [2, 3], [4, 5]])
    assert not array.flags.writeable
    assert not array.flags.owndata


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_byte_order_is_honoured(byte_order: str) -> None:
    header = replace(messages.HEADER, dtype="int16", byte_order=byte_order)
    values = np.array([[1, -2], [3, 4], [5, 600]], dtype=">i2" if byte_order == "big" else "<i2")
    np.testing.assert_array_equal(payload_array(header, values.tobytes()), values)


def test_wrong_size_is_refused() -> None:
    with pytest.raises(WireError, match="payload: 3x2 uint8 needs 6 bytes; got 5"):
        payload_array(messages.HEADER, bytes(5))


def test_unknown_encoding_is_refused() -> None:
    with pytest.raises(WireError, match="encoding 'zstd' is not known"):
        payload_array(replace(messages.HEADER, encoding="zstd"), bytes(6))


def test_lz4_block_is_unpacked_to_its_size() -> None:
    data = np.arange(6, dtype=np.uint8).reshape(3, 2)
    packed = lz4.block.compress(data.tobytes(), store_size=False)
    header = replace(messages.HEADER, encoding="lz4")
    np.testing.assert_array_equal(payload_array(header, packed), data)


@pytest.mark.parametrize("payload", [b"", b"\xff" * 40, lz4.block.compress(bytes(900), store_size=False)])
def test_wrong_lz4_block_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError, match="payload:"):
        payload_array(replace(messages.HEADER, encoding="lz4"), payload)
