"""OpenIGTLink bytes: against the published check value, and against pyigtl in both directions."""

from __future__ import annotations

import contextlib
import struct
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonod.client.bridges.igtl.content import (
    CommandContent,
    capability_content,
    image_content,
    status_content,
    string_content,
    string_text,
    transform_matrix,
)
from sonod.client.bridges.igtl.crc64 import LANE_BYTES, POLYNOMIAL, crc64
from sonod.client.bridges.igtl.messages import HEADER, Message, MessageError, decode, decode_head, encode
from sonod.client.conventions.openigtlink import placement
from sonod.client.wire.geometry import ImageGeometry

PICTURE = ImageGeometry((3, 4), (0.0001, 0.0002), (-0.0003, 0.0, 0.00005))


def read(data: bytes) -> Message:
    return decode(decode_head(data[: HEADER.size]), data[HEADER.size :])


def bitwise(data: bytes) -> int:
    word = 0
    for byte in data:
        word ^= byte << 56
        for _ in range(8):
            word = ((word << 1) ^ (POLYNOMIAL if word >> 63 else 0)) & (1 << 64) - 1
    return word


def test_checksum_has_the_published_check_value() -> None:
    assert crc64(b"123456789") == 0x6C40DF5F0B497347
    assert crc64(b"") == 0
    assert crc64(b"12345", b"6789") == crc64(b"123456789")


@pytest.mark.parametrize("size", [1, LANE_BYTES - 1, LANE_BYTES, LANE_BYTES + 1, 3 * LANE_BYTES, 5000])
def test_checksum_of_any_length(size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    assert crc64(data) == bitwise(data)


texts = st.text(st.characters(codec="utf-8"), max_size=30)


@given(
    st.binary(max_size=300), st.dictionaries(texts, texts, max_size=4), st.integers(0, 2**32 - 1), st.integers(0, 2**61)
)
def test_message_goes_there_and_back(content: bytes, metadata: dict[str, str], number: int, time_ns: int) -> None:
    sent = Message("IMAGE", "Device", content, time_ns, 2, metadata, number)
    got = read(encode(sent))
    assert (got.content, dict(got.metadata), got.number, got.version) == (content, metadata, number, 2)
    assert abs(got.time_ns - time_ns % (2**32 * 10**9)) < 1000
    plain = read(encode(Message("IMAGE", "Device", content, 0, 1, metadata)))
    assert (plain.content, dict(plain.metadata), plain.version) == (content, {}, 1)


@given(st.binary(max_size=200))
def test_garbage_is_refused(body: bytes) -> None:
    head = HEADER.pack(2, b"STRING", b"CMD_1", 0, 0, len(body), crc64(body))
    try:
        message = decode(decode_head(head), body)
    except MessageError:
        return
    for reader in (string_text, transform_matrix, CommandContent.decode):
        with contextlib.suppress(MessageError):
            reader(message.content)


def test_changed_body_is_noticed() -> None:
    data = bytearray(encode(Message("STRING", "x", string_content("hello"))))
    data[-1] ^= 1
    with pytest.raises(MessageError, match="STRING: checksum differs"):
        read(bytes(data))


def test_header_of_another_protocol_is_refused() -> None:
    with pytest.raises(MessageError, match="version 18245 is not known"):
        decode_head(b"GET / HTTP/1.1\r\n".ljust(HEADER.size, b" "))


def test_command_goes_there_and_back() -> None:
    command = CommandContent(7, "SetUsParameter", "<Command Name='ä'/>")
    assert CommandContent.decode(command.encode()) == command
    assert len(CommandContent(7, "x", "").encode()) == 138
    with pytest.raises(MessageError, match="cut off"):
        CommandContent.decode(command.encode()[:-1])


def test_status_and_capability() -> None:
    assert status_content(1, "ok", "fine") == struct.pack(">HQ20s", 1, 0, b"ok") + b"fine\0"
    assert capability_content(["IMAGE"]) == b"IMAGE\0\0\0\0\0\0\0"


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="complex64"):
        image_content(np.zeros((3, 4), np.complex64), placement(PICTURE))


# -- pyigtl, which is not ours -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pyigtl() -> ModuleType:
    return pytest.importorskip("pyigtl", reason="pyigtl is not installed; `make test` installs it")


def unpacked(pyigtl: ModuleType, data: bytes) -> object:
    fields = pyigtl.messages.MessageBase.parse_header(data[:58])
    message = pyigtl.messages.MessageBase.create_message(fields["message_type"])
    message.unpack(fields, data[58:])
    return message


@pytest.mark.igtl
@pytest.mark.parametrize("version", [1, 2])
def test_pyigtl_reads_our_picture(pyigtl: ModuleType, version: int) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    metadata = {"Frame": "1041", "Ä": "ö"} if version == 2 else {}
    sent = Message(
        "IMAGE", "Us", image_content(pixels, placement(PICTURE)), 1_795_359_735_250_000_000, version, metadata, 9
    )
    message = unpacked(pyigtl, encode(sent))
    np.testing.assert_array_equal(message.image[0], pixels)  # type: ignore[attr-defined]
    # First pixel at (-0.3, 0, 0.05) mm; columns 0.2 mm along x, rows 0.1 mm along z.
    np.testing.assert_allclose(
        message.ijk_to_world_matrix,  # type: ignore[attr-defined]
        [[0.2, 0, 0, -0.3], [0, 0, -1, 0], [0, 0.1, 0, 0.05], [0, 0, 0, 1]],
        atol=1e-7,
    )
    assert message.timestamp == pytest.approx(1_795_359_735.25, abs=1e-6)  # type: ignore[attr-defined]
    assert message.metadata == metadata  # type: ignore[attr-defined]


@pytest.mark.igtl
@pytest.mark.parametrize("version", [1, 2])
def test_we_read_what_pyigtl_sends(pyigtl: ModuleType, version: int) -> None:
    matrix = np.array([[0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]], float)
    message = pyigtl.TransformMessage(matrix, device_name="Tracker", timestamp=5.5)
    message.header_version = version
    message.metadata = {"TransformStatus": "OK"} if version == 2 else {}
    got = read(message.pack())
    np.testing.assert_array_equal(transform_matrix(got.content), matrix)
    assert (got.device, got.time_ns, dict(got.metadata)) == ("Tracker", 5_500_000_000, message.metadata)
    text = pyigtl.StringMessage("<Command/>", device_name="CMD_1")
    assert string_text(read(text.pack()).content) == "<Command/>"
