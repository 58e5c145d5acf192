"""OpenIGTLink messages: the 58-byte header, the extended header and metadata of version 2, and the checksum.

From the protocol's specification, versions 2 and 3 (openigtlink.org). Everything is big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from sonod.client.bridges.igtl.crc64 import crc64

HEADER = struct.Struct(">H12s20sIIQQ")
EXTENDED = struct.Struct(">HHII")
_META_ENTRY = struct.Struct(">HHI")
VERSION_1, VERSION_2 = 1, 2
# Character sets by their IANA number.
US_ASCII, UTF_8 = 3, 106
TYPE_BYTES, NAME_BYTES = 12, 20
_FRACTION = 1 << 32


class MessageError(ValueError):
    """Bytes that are no OpenIGTLink message; one line says why."""


@dataclass(frozen=True)
class Head:
    """The header. `time_s` in seconds since 1970, 0 = not said."""

    version: int
    type: str
    device: str
    time_s: float
    body_bytes: int
    checksum: int


@dataclass(frozen=True)
class Message:
    """A message with its body unwrapped: `content` without extended header and metadata."""

    type: str
    device: str
    content: bytes = b""
    time_ns: int = 0
    version: int = VERSION_1
    metadata: Mapping[str, str] = field(default_factory=dict)
    number: int = 0


def encode(message: Message) -> bytes:
    """The bytes; metadata is left out in version 1, which has no place for it."""
    if message.version >= VERSION_2:
        table, texts = _encode_metadata(message.metadata)
        extended = EXTENDED.pack(EXTENDED.size, len(table), len(texts), message.number & 0xFFFFFFFF)
        body = b"".join((extended, message.content, table, texts))
    else:
        body = message.content
    seconds, nanoseconds = divmod(message.time_ns, 1_000_000_000)
    head = HEADER.pack(
        message.version,
        message.type.encode("ascii"),
        message.device.encode("ascii", "replace")[:NAME_BYTES],
        seconds & 0xFFFFFFFF,
        nanoseconds * _FRACTION // 1_000_000_000,
        len(body),
        crc64(body),
    )
    return head + body


def decode_head(data: bytes) -> Head:
    """The header in 58 bytes; MessageError when it is none."""
    version, kind, device, seconds, fraction, body_bytes, checksum = HEADER.unpack(data)
    if version not in (VERSION_1, VERSION_2, 3):
        raise MessageError(f"header: version {version} is not known")
    return Head(version, _text(kind), _text(device), seconds + fraction / _FRACTION, body_bytes, checksum)


def decode(head: Head, body: bytes) -> Message:
    """The message of a header and its body; MessageError when the checksum or the lengths are wrong."""
    if head.checksum not in (0, crc64(body)):
        raise MessageError(f"{head.type}: checksum differs")
    content, metadata, number = body, {}, 0
    if head.version >= VERSION_2:
        if len(body) < EXTENDED.size:
            raise MessageError(f"{head.type}: body of {len(body)} bytes has no extended header")
        extended, table_bytes, texts_bytes, number = EXTENDED.unpack_from(body)
        end = len(body) - table_bytes - texts_bytes
        if not EXTENDED.size <= extended <= end:
            raise MessageError(f"{head.type}: extended header of {extended} and metadata do not fit the body")
        content = body[extended:end]
        metadata = _decode_metadata(head.type, body[end : end + table_bytes], body[end + table_bytes :])
    return Message(head.type, head.device, content, round(head.time_s * 1e9), head.version, metadata, number)


def _encode_metadata(metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    table, texts = [struct.pack(">H", len(metadata))], []
    for key, value in metadata.items():
        name, text = key.encode(), value.encode()
        table.append(_META_ENTRY.pack(len(name), US_ASCII if value.isascii() else UTF_8, len(text)))
        texts += [name, text]
    return b"".join(table), b"".join(texts)


def _decode_metadata(kind: str, table: bytes, texts: bytes) -> dict[str, str]:
    if not table:
        return {}
    count = int.from_bytes(table[:2], "big")
    if len(table) != 2 + count * _META_ENTRY.size:
        raise MessageError(f"{kind}: metadata table of {len(table)} bytes is not one of {count} entries")
    metadata, place = {}, 0
    for index in range(count):
        key_bytes, _, value_bytes = _META_ENTRY.unpack_from(table, 2 + index * _META_ENTRY.size)
        key, value = texts[place : place + key_bytes], texts[place + key_bytes : place + key_bytes + value_bytes]
        place += key_bytes + value_bytes
        if place > len(texts):
            raise MessageError(f"{kind}: metadata is cut off")
        metadata[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return metadata


def _text(padded: bytes) -> str:
    return padded.split(b"\0")[0].decode("ascii", "replace").strip()
