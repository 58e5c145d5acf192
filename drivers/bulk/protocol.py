"""The bulk RF protocol, version 1: bytes <-> values, no I/O. docs/bulk-rf-protocol.md is the specification.

All numbers are little-endian. Times that steer the beam are in units of 100 ps.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

from sonod.cext.wire import Bytes, Packing, crc32c
from sonod.drivers.errors import ProtocolError

VERSION = 1
TICK_S = 1e-10
# Device times are in whole nanoseconds of the device's clock.
DEVICE_TICK_NS = 1.0
# Vendor requests to the device (bmRequestType 0xC0 IN, 0x40 OUT).
REQUEST_IN, REQUEST_OUT = 0xC0, 0x40
ARM_KEY = b"ARM!"
BULK_OUT, BULK_IN = 0x01, 0x81
# The capabilities are read in pieces of this size, which every host controller carries.
PIECE_BYTES = 2048


class Request(IntEnum):
    """bRequest."""

    GET_CAPABILITIES = 0x01
    GET_STATUS = 0x02
    ARM = 0x03
    START = 0x04
    STOP = 0x05
    SELF_TEST = 0x06
    SELECT_TABLE = 0x07


class State(IntEnum):
    """What the front-end is doing. It transmits in RUNNING only."""

    IDLE = 0
    ARMED = 1
    RUNNING = 2
    FAULT = 3


class Fault(IntEnum):
    """Why the last request or table was refused, or why the front-end disarmed itself."""

    NONE = 0
    TABLE_CRC = 1
    TABLE_LIMITS = 2
    NO_SUCH_TABLE = 3
    NOT_ARMED = 4
    WATCHDOG = 5
    TRANSMITTER = 6
    MALFORMED = 7


class Flag(IntFlag):
    """Bits of a header."""

    FIRST_SHOT = 1
    LAST_SHOT = 2
    SELF_TEST = 4
    CLIPPED = 8


NO_FLAG = Flag(0)


class Format(IntEnum):
    """How a sample is coded."""

    I16 = 0
    U16 = 1
    PACKED_10 = 2
    PACKED_12 = 3
    PACKED_14 = 4
    IQ16 = 5

    @property
    def packing(self) -> Packing | None:
        """How the core unpacks it; None when it is int16 already."""
        return _PACKINGS.get(self)

    def payload_bytes(self, channels: int, samples: int) -> int:
        """Bytes of one shot, before the CRC is thought of."""
        count = channels * samples
        packing = self.packing
        return packing.nbytes(count) if packing is not None else count * (4 if self is Format.IQ16 else 2)


_PACKINGS: Mapping[Format, Packing] = {
    Format.U16: Packing.OFFSET_16,
    Format.PACKED_10: Packing.PACKED_10,
    Format.PACKED_12: Packing.PACKED_12,
    Format.PACKED_14: Packing.PACKED_14,
}


class Layout(IntEnum):
    """Order of the samples of one shot."""

    CHANNELS = 0  # all samples of channel 0, then of channel 1 ...
    SAMPLES = 1  # sample 0 of all channels, then sample 1 ...


class Geometry(IntEnum):
    """How the elements are arranged."""

    LINEAR = 0
    CURVILINEAR = 1
    PHASED = 2
    OTHER = 3


# -- header ------------------------------------------------------------------------------------------------------------

HEADER_MAGIC = b"SRF1"
HEADER = struct.Struct("<4sBBHIIHHQBBHIiIhBBIIII")
HEADER_BYTES = 64
assert HEADER.size == HEADER_BYTES
# A shot of 1024 channels with 64 Ki samples would be 128 MiB; nothing in reach makes more than this.
MOST_PAYLOAD_BYTES = 64 << 20


@dataclass(frozen=True)
class Header:
    """What stands before the samples of one shot. `sampling_centi_ppm` corrects `sampling_hz` by so many 0.01 ppm."""

    sequence: int
    payload_bytes: int
    shot: int
    table: int
    device_ns: int
    format: Format
    layout: Layout
    channels: int
    samples: int
    start_ticks: int
    sampling_hz: int
    sampling_centi_ppm: int = 0
    bits: int = 16
    flags: Flag = NO_FLAG
    drops: int = 0
    payload_crc: int = 0

    @property
    def true_sampling_hz(self) -> float:
        return self.sampling_hz * (1 + self.sampling_centi_ppm * 1e-8)

    def to_bytes(self) -> bytes:
        head = HEADER.pack(
            HEADER_MAGIC,
            VERSION,
            HEADER_BYTES,
            self.flags,
            self.sequence & 0xFFFFFFFF,
            self.payload_bytes,
            self.shot,
            self.table,
            self.device_ns,
            self.format,
            self.layout,
            self.channels,
            self.samples,
            self.start_ticks,
            self.sampling_hz,
            self.sampling_centi_ppm,
            self.bits,
            0,
            self.drops & 0xFFFFFFFF,
            self.payload_crc,
            0,
            0,
        )[: HEADER_BYTES - 4]
        return head + struct.pack("<I", crc32c(head))

    @classmethod
    def from_bytes(cls, data: Bytes) -> Header:
        """ProtocolError says what is wrong."""
        fields = HEADER.unpack(bytes(data[:HEADER_BYTES]))
        magic, version, length, flags, sequence, payload, shot, table, device_ns = fields[:9]
        form, layout, channels, samples, start, rate, ppm, bits, _, drops, payload_crc, _, own_crc = fields[9:]
        if magic != HEADER_MAGIC:
            raise ProtocolError(f"header: magic must be {HEADER_MAGIC!r}, is {magic!r}")
        if (right := crc32c(bytes(data[: HEADER_BYTES - 4]))) != own_crc:
            raise ProtocolError(f"header: CRC of bytes 0..59 must be {right:#010x}, is {own_crc:#010x}")
        if version != VERSION or length < HEADER_BYTES:
            raise ProtocolError(f"header: version {version} with {length} bytes; this is version {VERSION}")
        if length != HEADER_BYTES:
            raise ProtocolError(f"header: length must be {HEADER_BYTES} in version 1, is {length}")
        if form not in Format._value2member_map_ or layout not in Layout._value2member_map_:
            raise ProtocolError(f"header: no sample format {form} or layout {layout}")
        header = cls(
            sequence,
            payload,
            shot,
            table,
            device_ns,
            Format(form),
            Layout(layout),
            channels,
            samples,
            start,
            rate,
            ppm,
            bits,
            Flag(flags),
            drops,
            payload_crc,
        )
        wanted = header.format.payload_bytes(channels, samples)
        if payload != wanted or payload > MOST_PAYLOAD_BYTES:
            raise ProtocolError(
                f"header: {channels} x {samples} samples of format {header.format.name} are {wanted} bytes, "
                f"payload length is {payload}"
            )
        return header


def message_bytes(head: bytes) -> int | None:
    """Length of the whole message that a header announces; None when it is no true header."""
    try:
        return HEADER_BYTES + Header.from_bytes(head).payload_bytes
    except ProtocolError:
        return None


# -- status ------------------------------------------------------------------------------------------------------------

STATUS = struct.Struct("<BBHHHIIQII")
STATUS_BYTES = 32
assert STATUS.size == STATUS_BYTES


@dataclass(frozen=True)
class Status:
    """What GET_STATUS answers. `sequence` is the number that the next shot will have."""

    state: State
    fault: Fault
    table: int
    staged_table: int
    watchdog_ms: int
    sequence: int
    drops: int
    device_ns: int

    def to_bytes(self) -> bytes:
        return STATUS.pack(
            self.state,
            self.fault,
            self.table,
            self.staged_table,
            self.watchdog_ms,
            self.sequence & 0xFFFFFFFF,
            self.drops & 0xFFFFFFFF,
            self.device_ns,
            0,
            0,
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Status:
        if len(data) != STATUS_BYTES:
            raise ProtocolError(f"status: must have {STATUS_BYTES} bytes, got {len(data)}")
        state, fault, table, staged, watchdog, sequence, drops, device_ns, _, _ = STATUS.unpack(data)
        if state not in State._value2member_map_ or fault not in Fault._value2member_map_:
            raise ProtocolError(f"status: no state {state} or fault {fault}")
        return cls(State(state), Fault(fault), table, staged, watchdog, sequence, drops, device_ns)


# -- capabilities ------------------------------------------------------------------------------------------------------

CAPABILITIES_MAGIC = b"SRFC"
CAPABILITIES = struct.Struct("<4sIBBHHHIIIHHIIIIhhHBBffffff36s16sI")
CAPABILITIES_BYTES = 136
assert CAPABILITIES.size == CAPABILITIES_BYTES


@dataclass(frozen=True, eq=False)
class Capabilities:
    """What a front-end is and can do. `elements_m (elements, 3)` and `normals (elements, 3)` as in sonod: x lateral, y
    elevation, z depth, origin at the centre of the face. Focus infinity = none; radius 0 = flat."""

    geometry: Geometry
    channels: int
    formats: frozenset[Format]
    sampling_hz: int
    most_samples: int
    most_shots: int
    watchdog_ms: int
    least_frequency_hz: int
    most_frequency_hz: int
    least_shot_ns: int
    most_gain_points: int
    bits: int
    center_frequency_hz: float
    fractional_bandwidth: float
    element_width_m: float
    element_height_m: float
    elevation_focus_m: float
    radius_m: float
    least_gain_centi_db: int
    most_gain_centi_db: int
    name: str
    firmware: str
    elements_m: NDArray[np.float32]
    normals: NDArray[np.float32]
    most_frame_us: int = 10_000_000
    layouts: frozenset[Layout] = field(default_factory=lambda: frozenset(Layout))

    @property
    def element_count(self) -> int:
        return len(self.elements_m)

    def to_bytes(self) -> bytes:
        places = np.concatenate([self.elements_m, self.normals], axis=1).astype("<f4").tobytes()
        head = CAPABILITIES.pack(
            CAPABILITIES_MAGIC,
            CAPABILITIES_BYTES + len(places),
            VERSION,
            self.geometry,
            self.element_count,
            self.channels,
            self.most_shots,
            sum(1 << form for form in self.formats),
            self.sampling_hz,
            self.most_samples,
            self.watchdog_ms,
            self.most_gain_points,
            self.least_frequency_hz,
            self.most_frequency_hz,
            self.least_shot_ns,
            self.most_frame_us,
            self.least_gain_centi_db,
            self.most_gain_centi_db,
            sum(1 << layout for layout in self.layouts),
            self.bits,
            0,
            self.center_frequency_hz,
            self.fractional_bandwidth,
            self.element_width_m,
            self.element_height_m,
            self.elevation_focus_m,
            self.radius_m,
            _text(self.name, 36),
            _text(self.firmware, 16),
            0,
        )[: CAPABILITIES_BYTES - 4]
        return head + struct.pack("<I", crc32c(places, crc32c(head))) + places

    @classmethod
    def from_bytes(cls, data: bytes) -> Capabilities:
        """ProtocolError says what is wrong."""
        if len(data) < CAPABILITIES_BYTES or data[:4] != CAPABILITIES_MAGIC:
            raise ProtocolError(f"capabilities: must begin with {CAPABILITIES_MAGIC!r} and have 136 bytes or more")
        fields = CAPABILITIES.unpack_from(data)
        total, version, geometry, elements, channels, most_shots, formats, sampling, most_samples = fields[1:10]
        watchdog, gain_points, least_hz, most_hz, least_shot, most_frame, least_gain, most_gain = fields[10:18]
        layouts, bits, _, center, bandwidth, width, height, focus, radius, name, firmware, crc = fields[18:]
        if version != VERSION:
            raise ProtocolError(f"capabilities: version {version}; this is version {VERSION}")
        if total != len(data) or total != CAPABILITIES_BYTES + 24 * elements:
            raise ProtocolError(f"capabilities: {len(data)} bytes for {elements} elements, length field says {total}")
        places = data[CAPABILITIES_BYTES:]
        if (right := crc32c(places, crc32c(data[: CAPABILITIES_BYTES - 4]))) != crc:
            raise ProtocolError(f"capabilities: CRC must be {right:#010x}, is {crc:#010x}")
        if geometry not in Geometry._value2member_map_:
            raise ProtocolError(f"capabilities: no geometry {geometry}")
        rows = np.frombuffer(places, dtype="<f4").reshape(elements, 6)
        if not (np.isfinite(rows).all() and elements and channels and sampling and most_samples and most_shots):
            raise ProtocolError("capabilities: counts and rates must be > 0, element places finite")
        if not (0 < least_hz <= most_hz and least_hz <= center <= most_hz and 0 < bandwidth <= 2):
            raise ProtocolError(f"capabilities: frequencies {least_hz}..{most_hz}, centre {center}, band {bandwidth}")
        return cls(
            Geometry(geometry),
            channels,
            frozenset(form for form in Format if formats >> form & 1),
            sampling,
            most_samples,
            most_shots,
            watchdog,
            least_hz,
            most_hz,
            least_shot,
            gain_points,
            bits,
            center,
            bandwidth,
            width,
            height,
            focus,
            radius,
            least_gain,
            most_gain,
            _plain(name),
            _plain(firmware),
            rows[:, :3],
            rows[:, 3:],
            most_frame,
            frozenset(layout for layout in Layout if layouts >> layout & 1),
        )


def _text(text: str, size: int) -> bytes:
    """UTF-8 filled up with zeros, cut between characters."""
    return text.encode()[:size].decode(errors="ignore").encode()


def _plain(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode(errors="replace")


# -- the self-test pattern ---------------------------------------------------------------------------------------------


def self_test_samples(sequence: int, channels: int, samples: int, bits: int, iq: bool = False) -> NDArray[np.int16]:
    """What every shot holds while the self-test is on: `(channels, samples)`, with a last axis of 2 for IQ.

    The n-bit code of sample s of channel c is (13 sequence + 31 c + s) mod 2^n, read as two's complement; Q is the
    code with all bits turned round.
    """
    code = 13 * sequence + 31 * np.arange(channels)[:, None] + np.arange(samples)[None, :]
    mask = (1 << bits) - 1

    def signed(value: NDArray[np.int64]) -> NDArray[np.int16]:
        value = value & mask
        return np.asarray(np.where(value >> (bits - 1), value - (1 << bits), value), dtype=np.int16)

    return np.stack([signed(code), signed(~code)], axis=-1) if iq else signed(code)
