"""The sequence table of the bulk RF protocol: what to fire, when, and what to keep. Bytes <-> values."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonod.cext.wire import crc32c
from sonod.drivers.bulk.protocol import VERSION, Format, Layout
from sonod.drivers.errors import ProtocolError

TABLE_MAGIC = b"SRFT"
SEQUENCE_TABLE = 1
TABLE_HEAD = struct.Struct("<4sBBHII")
TABLE_BODY = struct.Struct("<HHHBBIIIIIHHI")
SHOT_HEAD = struct.Struct("<IHHi")
# Delay of an element that does not fire, and element of a channel that is not connected.
SILENT = -(1 << 31)
NOT_CONNECTED = 0xFFFF
# 1024 shots of 1024 elements on 1024 channels are 6 MiB.
MOST_TABLE_BYTES = 8 << 20


@dataclass(frozen=True, eq=False)
class Shot:
    """One firing. `delay_ticks (elements,)` in 100 ps from the shot's time zero, SILENT for none; `receive (channels,)`
    names the element behind each channel, NOT_CONNECTED for none. `start_ticks` is when the first sample is taken."""

    frequency_hz: int
    half_cycles: int
    amplitude: int
    start_ticks: int
    delay_ticks: NDArray[np.int32]
    receive: NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Table:
    """Everything that makes one image, fired again every `frame_us`. `gain_centi_db` are points of the time gain,
    `gain_spacing_ns` apart from the shot's time zero on; after the last the gain stays."""

    number: int
    format: Format
    layout: Layout
    samples: int
    sampling_hz: int
    frame_us: int
    shot_ns: int
    shots: tuple[Shot, ...]
    gain_spacing_ns: int = 0
    gain_centi_db: tuple[int, ...] = ()
    demodulation_hz: int = 0

    @property
    def element_count(self) -> int:
        return len(self.shots[0].delay_ticks)

    @property
    def channel_count(self) -> int:
        return len(self.shots[0].receive)

    def to_bytes(self) -> bytes:
        parts = [
            TABLE_BODY.pack(
                len(self.shots),
                self.element_count,
                self.channel_count,
                self.format,
                self.layout,
                self.samples,
                self.sampling_hz,
                self.frame_us,
                self.shot_ns,
                self.gain_spacing_ns,
                len(self.gain_centi_db),
                0,
                self.demodulation_hz,
            ),
            _filled(np.array(self.gain_centi_db, dtype="<i2").tobytes()),
        ]
        for shot in self.shots:
            parts.append(SHOT_HEAD.pack(shot.frequency_hz, shot.half_cycles, shot.amplitude, shot.start_ticks))
            parts.append(shot.delay_ticks.astype("<i4").tobytes())
            parts.append(_filled(shot.receive.astype("<u2").tobytes()))
        body = b"".join(parts)
        return (
            TABLE_HEAD.pack(
                TABLE_MAGIC, VERSION, SEQUENCE_TABLE, self.number, TABLE_HEAD.size + len(body), crc32c(body)
            )
            + body
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Table:
        """ProtocolError says what is wrong."""
        if len(data) < TABLE_HEAD.size + TABLE_BODY.size:
            raise ProtocolError(f"table: {len(data)} bytes are too few")
        magic, version, kind, number, total, crc = TABLE_HEAD.unpack_from(data)
        if (magic, version, kind) != (TABLE_MAGIC, VERSION, SEQUENCE_TABLE) or total != len(data):
            raise ProtocolError(f"table: {magic!r} version {version} kind {kind}, {len(data)} of {total} bytes")
        if crc32c(data[TABLE_HEAD.size :]) != crc:
            raise ProtocolError("table: CRC is wrong")
        at = TABLE_HEAD.size
        count, elements, channels, form, layout, samples, rate, frame_us, shot_ns, spacing, points, _, carrier = (
            TABLE_BODY.unpack_from(data, at)
        )
        at += TABLE_BODY.size
        gain_bytes, shot_bytes = _even(2 * points), SHOT_HEAD.size + 4 * elements + _even(2 * channels)
        if not (count and elements and channels) or total != at + gain_bytes + count * shot_bytes:
            raise ProtocolError(f"table: {total} bytes do not hold {count} shots of {elements} x {channels}")
        if form not in Format._value2member_map_ or layout not in Layout._value2member_map_:
            raise ProtocolError(f"table: no sample format {form} or layout {layout}")
        gains = np.frombuffer(data, "<i2", points, at)
        at += gain_bytes
        shots = []
        for _ in range(count):
            frequency, half_cycles, amplitude, start = SHOT_HEAD.unpack_from(data, at)
            delays = np.frombuffer(data, "<i4", elements, at + SHOT_HEAD.size)
            receive = np.frombuffer(data, "<u2", channels, at + SHOT_HEAD.size + 4 * elements)
            shots.append(Shot(frequency, half_cycles, amplitude, start, delays, receive))
            at += shot_bytes
        return cls(
            number,
            Format(form),
            Layout(layout),
            samples,
            rate,
            frame_us,
            shot_ns,
            tuple(shots),
            spacing,
            tuple(int(gain) for gain in gains),
            carrier,
        )


def _even(count: int) -> int:
    """Up to a multiple of 4 bytes."""
    return (count + 3) // 4 * 4


def _filled(data: bytes) -> bytes:
    return data.ljust(_even(len(data)), b"\0")
