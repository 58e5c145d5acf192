"""Bytes from a wire: checksum, packed samples, interleaved channels, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from sonod.cext import reference
from sonod.cext.wire import Packing, crc32c, deinterleave, unpack

PACKED = (Packing.PACKED_10, Packing.PACKED_12, Packing.PACKED_14)


def noise(count: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(count)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720, appendix B.4.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_crc_of_published_vectors(data: bytes, wanted: int, each_set: str) -> None:
    assert crc32c(data) == wanted
    assert reference.crc32c(data) == wanted


@pytest.mark.parametrize("length", [1, 7, 8, 9, 63, 1023, 3071, 3072, 3073, 6151, 10000])
def test_crc_agrees_with_reference_at_any_length_and_start(length: int, each_set: str) -> None:
    data = noise(length + 3)
    for start in (0, 1, 3):
        assert crc32c(memoryview(data)[start:]) == reference.crc32c(data[start:])


@pytest.mark.parametrize("cut", [0, 1, 100, 4096, 8999])
def test_crc_goes_on_from_what_came_before(cut: int, each_set: str) -> None:
    data = noise(9000)
    assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)


def test_crc_of_much_data_is_the_same_without_the_gil(each_set: str) -> None:
    data = noise(3 << 20)
    half = len(data) // 2 - 5
    assert crc32c(data) == crc32c(data[half:], crc32c(data[:half]))


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 13, 16, 31, 1000])
def test_packed_samples_agree_with_reference(packing: Packing, count: int, each_set: str) -> None:
    bits = packing.bits
    samples = np.random.default_rng(count).integers(-(1 << bits - 1), 1 << bits - 1, count).astype(np.int16)
    samples[0], samples[-1] = -(1 << bits - 1), (1 << bits - 1) - 1
    packed = reference.pack(samples, bits)
    assert len(packed) == packing.nbytes(count)
    out = np.full(count + 2, 77, np.int16)
    unpack(packed, packing, out[:count])
    np.testing.assert_array_equal(out[:count], samples)
    np.testing.assert_array_equal(reference.unpack(packed, bits, count), samples)
    assert (out[count:] == 77).all()


def test_every_value_of_every_width(each_set: str) -> None:
    for packing in PACKED:
        samples = np.arange(-(1 << packing.bits - 1), 1 << packing.bits - 1, dtype=np.int16)
        out = np.empty_like(samples)
        unpack(reference.pack(samples, packing.bits), packing, out)
        np.testing.assert_array_equal(out, samples)


def test_sixteen_bits_less_an_offset(each_set: str) -> None:
    values = np.array([0, 1, 511, 512, 1023, 65535], np.uint16)
    out = np.empty(6, np.int16)
    unpack(values.view(np.uint8), Packing.OFFSET_16, out, offset=512)
    assert out.tolist() == [-512, -511, -1, 0, 511, -513]


@pytest.mark.parametrize("packing", list(Packing))
def test_wrong_amount_of_bytes_is_refused(packing: Packing) -> None:
    with pytest.raises(ValueError, match="packed"):
        unpack(np.zeros(packing.nbytes(8) + 1, np.uint8), packing, np.empty(8, np.int16))


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (33, 128), (100, 31), (64, 64)])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_deinterleave_is_a_transposition(shape: tuple[int, int], dtype: type, each_set: str) -> None:
    items = np.arange(shape[0] * shape[1]).astype(dtype).reshape(shape)
    out = np.zeros(shape[::-1], dtype)
    deinterleave(items, out)
    np.testing.assert_array_equal(out, items.T)


def test_deinterleave_keeps_pairs_together(each_set: str) -> None:
    items = np.random.default_rng(3).integers(-9, 9, (40, 7, 2)).astype(np.int16)
    out = np.zeros((7, 40, 2), np.int16)
    deinterleave(items, out)
    np.testing.assert_array_equal(out, items.transpose(1, 0, 2))


def test_deinterleave_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="out"):
        deinterleave(np.zeros((4, 3), np.int16), np.zeros((4, 3), np.int16))
    with pytest.raises(ValueError, match="item_bytes"):
        deinterleave(np.zeros((4, 3)), np.zeros((3, 4)))
