"""What OpenIGTLink bodies hold: each kind of content as bytes, and those that clients send back from bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.client.bridges.igtl.messages import US_ASCII, UTF_8, MessageError
from sonod.client.conventions.openigtlink import RAS, Placement

IMAGE, TRANSFORM, STATUS, STRING = "IMAGE", "TRANSFORM", "STATUS", "STRING"
CAPABILITY, COMMAND, RTS_COMMAND = "CAPABILITY", "COMMAND", "RTS_COMMAND"
GET_IMAGE, GET_STATUS, GET_CAPABILITY = "GET_IMAGE", "GET_STATUS", "GET_CAPABIL"

# Numbers of the specification.
_SCALARS = {"int8": 2, "uint8": 3, "int16": 4, "uint16": 5, "int32": 6, "uint32": 7, "float32": 10, "float64": 11}
_BIG, _LITTLE = 1, 2
_IN_RAS, _IN_LPS = 1, 2
_IMAGE = struct.Struct(">HBBBB3H12f3H3H")
_TRANSFORM = struct.Struct(">12f")
_STATUS = struct.Struct(">HQ20s")
_COMMAND = struct.Struct(">I128sHI")
LARGEST_SIDE = 0xFFFF

# Status codes of the specification that we use.
STATUS_OK, STATUS_NOT_READY, STATUS_UNKNOWN_INSTRUCTION = 1, 13, 6


def image_content(pixels: NDArray[Any], placed: Placement) -> bytes:
    """The body of an IMAGE of pixels (row, column); ValueError for what OpenIGTLink cannot hold."""
    scalar = _SCALARS.get(pixels.dtype.name)
    if scalar is None or max(pixels.shape) > LARGEST_SIDE:
        raise ValueError(f"image: {pixels.dtype.name} of {pixels.shape} cannot be sent over OpenIGTLink")
    order = _BIG if pixels.dtype.byteorder == ">" else _LITTLE
    head = _IMAGE.pack(
        1, 1, scalar, order, _IN_RAS if placed.coordinates == RAS else _IN_LPS,
        *placed.size, *placed.i_mm, *placed.j_mm, *placed.k_mm, *placed.centre_mm,
        0, 0, 0, *placed.size,
    )  # fmt: skip
    return head + pixels.tobytes()


def transform_matrix(content: bytes) -> NDArray[np.float64]:
    """The (4, 4) matrix of a TRANSFORM body, translation in millimetres."""
    if len(content) != _TRANSFORM.size:
        raise MessageError(f"TRANSFORM: must have {_TRANSFORM.size} bytes; got {len(content)}")
    columns = np.array(_TRANSFORM.unpack(content)).reshape(4, 3)
    if not np.isfinite(columns).all():
        raise MessageError("TRANSFORM: has numbers that are not finite")
    matrix = np.eye(4)
    matrix[:3] = columns.T
    return matrix


def status_content(code: int, name: str, message: str, subcode: int = 0) -> bytes:
    """The body of a STATUS: a code, a short name for programs, a line for people."""
    return _STATUS.pack(code, subcode, name.encode("ascii", "replace")[:19]) + message.encode() + b"\0"


def string_content(text: str) -> bytes:
    """The body of a STRING; what is longer than 65535 bytes is cut."""
    data = text.encode()[:0xFFFF]
    return struct.pack(">HH", US_ASCII if text.isascii() else UTF_8, len(data)) + data


def string_text(content: bytes) -> str:
    """The text of a STRING body."""
    if len(content) < 4 or len(content) < 4 + int.from_bytes(content[2:4], "big"):
        raise MessageError(f"STRING: body of {len(content)} bytes is cut off")
    return content[4 : 4 + int.from_bytes(content[2:4], "big")].decode("utf-8", "replace")


def capability_content(kinds: Sequence[str]) -> bytes:
    """The body of a CAPABILITY: the message types that we send and take."""
    return b"".join(kind.encode("ascii").ljust(12, b"\0") for kind in kinds)


@dataclass(frozen=True)
class CommandContent:
    """The body of COMMAND and RTS_COMMAND: the id of the question comes back in the answer."""

    id: int
    name: str
    text: str

    def encode(self) -> bytes:
        text = self.text.encode()
        encoding = US_ASCII if self.text.isascii() else UTF_8
        return _COMMAND.pack(self.id, self.name.encode("ascii", "replace")[:127], encoding, len(text)) + text

    @classmethod
    def decode(cls, content: bytes) -> CommandContent:
        if len(content) < _COMMAND.size:
            raise MessageError(f"COMMAND: body of {len(content)} bytes is cut off")
        identity, name, _, length = _COMMAND.unpack_from(content)
        text = content[_COMMAND.size : _COMMAND.size + length]
        if len(text) != length:
            raise MessageError(f"COMMAND: text of {length} bytes is cut off")
        return cls(
            identity, name.split(b"\0")[0].decode("ascii", "replace"), text.decode("utf-8", "replace").rstrip("\0")
        )
