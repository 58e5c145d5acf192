"""The binary firmware of pic0rick and ultr4rick: reply lines, P0RK and U4RK frames, A-law; pure functions, no I/O."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.errors import ProtocolError

MAGICS = (b"P0RK", b"U4RK")
VERSION = 1
SAMPLES = 4096
SAMPLING_HZ = 60_000_000
HEADER_BYTES = 64
LARGEST_CODE = 1023
# Offset binary: this code is no signal.
MIDDLE = 512
LONGEST_COMMAND = 159
# Pulse times are rounded to multiples of this.
TICK_NS = 8
# A reply is one line; none of the known ones is longer than this.
LONGEST_LINE = 1024

_HEADER = struct.Struct("<4sBBHIIIIQfffIIIII")
# Compression of the A-law.
_A = 87.6


class Payload(IntEnum):
    """What a frame carries."""

    RAW = 1
    ENVELOPE = 2
    ALAW = 3

    @property
    def length(self) -> int:
        """Bytes of one payload."""
        return {Payload.RAW: 2, Payload.ENVELOPE: 4, Payload.ALAW: 1}[self] * SAMPLES

    @property
    def word(self) -> str:
        """The name in commands."""
        return self.name.lower()


LONGEST_FRAME = HEADER_BYTES + max(kind.length for kind in Payload)
# Images a second that the firmware accepts, where its own `status` does not say.
LARGEST_RATE_HZ = {Payload.RAW: 100, Payload.ENVELOPE: 50, Payload.ALAW: 70}


class Flag(IntFlag):
    """Bits 0..4 of the flags; drops are remembered since boot."""

    SATURATED = 1
    PROCESSING_DROPS = 2
    USB_DROPS = 4
    SELF_TEST = 8
    ARMED = 16


@dataclass(frozen=True)
class FrameHeader:
    """The 64 bytes before a payload; not covered by the checksum."""

    magic: bytes
    payload: Payload
    flags: int
    sequence: int
    time_us: int
    mean: float
    peak: float
    reference: float
    negative_ns: int
    damping_ns: int
    positive_ns: int
    dropped: int
    crc: int

    @property
    def armed(self) -> bool:
        return bool(self.flags & Flag.ARMED)

    @property
    def self_test_case(self) -> int:
        """The case of a self-test frame; -1 for a frame of echoes."""
        return self.flags >> 8 if self.flags & Flag.SELF_TEST else -1

    def pack(self) -> bytes:
        """The 64 bytes."""
        return _HEADER.pack(
            self.magic,
            VERSION,
            self.payload,
            self.flags,
            self.sequence,
            SAMPLES,
            SAMPLING_HZ,
            self.payload.length,
            self.time_us,
            self.mean,
            self.peak,
            self.reference,
            self.negative_ns,
            self.damping_ns,
            self.positive_ns,
            self.dropped,
            self.crc,
        )


def parse_header(data: bytes | bytearray | memoryview, offset: int = 0) -> FrameHeader | None:
    """The header at `offset`, or None where these bytes cannot be one: the magic may occur in a payload by chance."""
    if len(data) - offset < HEADER_BYTES:
        return None
    fields = _HEADER.unpack_from(data, offset)
    magic, version, kind, flags, sequence, samples, rate, length, time_us, *rest = fields
    if magic not in MAGICS or version != VERSION or kind not in Payload._value2member_map_:
        return None
    payload = Payload(kind)
    if samples != SAMPLES or rate != SAMPLING_HZ or length != payload.length:
        return None
    return FrameHeader(magic, payload, flags, sequence, time_us, *rest)


def checksum(payload: bytes | bytearray | memoryview) -> int:
    """CRC-32 as in IEEE 802.3, of the payload only."""
    return zlib.crc32(payload)


# -- A-law ---------------------------------------------------------------------------------------------------------


def encode_alaw(envelope: NDArray[np.floating], reference: float) -> NDArray[np.uint8]:
    """Envelope in counts to bytes; `reference` counts are 255."""
    x = np.clip(np.asarray(envelope, np.float64) / reference, 0, 1)
    scale = 1 + math.log(_A)
    y = np.where(x < 1 / _A, _A * x / scale, (1 + np.log(np.maximum(_A * x, 1))) / scale)
    return np.floor(255 * y + 0.5).astype(np.uint8)


def alaw_table() -> NDArray[np.float32]:
    """Linear envelope (256,) of each byte, 1 for the reference."""
    y = np.arange(256) / 255
    scale = 1 + math.log(_A)
    linear = np.where(y < 1 / scale, y * scale / _A, np.exp(y * scale - 1) / _A)
    return linear.astype(np.float32)


# -- commands and replies ------------------------------------------------------------------------------------------


class Refusal(ProtocolError):
    """The firmware answered `ERR CODE text`."""

    def __init__(self, command: str, code: str, text: str) -> None:
        super().__init__(f"{command!r} was refused: {code} {text}".rstrip())
        self.code = code


@dataclass(frozen=True)
class Status:
    """What `status` says, as far as a driver needs it; empty or 0 where the firmware does not say."""

    board: str
    package: str
    firmware: str
    armed: bool
    streaming: bool
    drops: int
    envelope_rate_hz: int
    alaw_rate_hz: int

    def largest_rate_hz(self, payload: Payload) -> int:
        """Frames a second that this firmware accepts for a payload."""
        said = {Payload.ENVELOPE: self.envelope_rate_hz, Payload.ALAW: self.alaw_rate_hz}.get(payload, 0)
        return said or LARGEST_RATE_HZ[payload]


def parse_reply(line: bytes, command: str) -> str:
    """The text after `OK`; Refusal for `ERR`, ProtocolError for anything else."""
    text = line.decode("ascii", "replace").strip()
    word, _, rest = text.partition(" ")
    if word == "OK":
        return rest
    if word == "ERR":
        code, _, why = rest.partition(" ")
        raise Refusal(command, code, why)
    raise ProtocolError(f"{command!r}: the reply must begin with OK or ERR, got {text[:60]!r}")


def parse_status(reply: str) -> Status:
    """The reply to `status`, after OK; ProtocolError when it names no board."""
    pairs = dict(word.split("=", 1) for word in reply.split() if "=" in word)
    if "board" not in pairs:
        raise ProtocolError(f"status: the reply names no board: {reply[:60]!r}")

    def number(name: str) -> int:
        text = pairs.get(name, "0").split("/")[0]
        return int(text) if text.isdigit() else 0

    return Status(
        board=pairs["board"],
        package=pairs.get("package", ""),
        firmware=pairs.get("firmware", ""),
        armed=pairs.get("pulser") == "armed",
        streaming=not pairs.get("stream", "off").startswith("off"),
        drops=number("drops"),
        envelope_rate_hz=number("envelope_max_rate"),
        alaw_rate_hz=number("alaw_max_rate"),
    )
