"""WULPUS and WULPUS PRO: packages to the dongle, frames from it; pure functions, no I/O."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.errors import ProtocolError

# Gain of register 17 + k, in dB.
GAINS_DB = (
    *(-6.5, -5.5, -4.6, -4.1, -3.3, -2.3, -1.4, -0.8, 0.1, 1.0, 1.9, 2.6, 3.5, 4.4, 5.2, 6.0, 6.8, 7.7, 8.7, 9.0),
    *(9.8, 10.7, 11.7, 12.2, 13.0, 13.9, 14.9, 15.5, 16.3, 17.2, 18.2, 18.8, 19.6, 20.5, 21.5, 22.0, 22.8, 23.6),
    *(24.6, 25.0, 25.8, 26.7, 27.7, 28.1, 28.9, 29.8, 30.8),
)
FIRST_GAIN_REGISTER = 17
# Samples a second by oversampling index.
SAMPLING_HZ = (8e6, 4e6, 2e6, 1e6, 0.5e6)
# A frame always carries this many.
SAMPLES = 400
# Firmware 1.2.3 writes accelerometer data over these last samples.
OVERWRITTEN_SAMPLES = 3
# More settings than this do not fit the package, and a longer package shifts every later one.
MOST_SETTINGS = 8
MOST_PULSES = 30
# Timer ticks in a second: the controller's 32768 Hz crystal as the library rounds it.
TICKS_PER_SECOND = 65535 / 2
SHORTEST_PERIOD_S, LONGEST_PERIOD_S = 0.02, 2.0
SHORTEST_PERIOD_TICKS, LONGEST_PERIOD_TICKS = 655, 65535
# This value of the reserved field turns the accelerometer on; a real frequency never has it.
ACCELEROMETER_HZ = 101

MAGIC = b"START\n\0\0\0\xff"
FRAME_BYTES = 813
HEADER_BYTES = 13
SHOT_NUMBERS = 1 << 16

CONFIGURE, RESTART = 0xFA, 0xFB


class Board(StrEnum):
    """The two boards behind the same kind of dongle."""

    WULPUS = "wulpus"
    PRO = "pro"

    @property
    def channels(self) -> int:
        return 8 if self is Board.WULPUS else 16

    @property
    def package_bytes(self) -> int:
        """Every package has exactly this length; the dongle has no other way to find their borders."""
        return 68 if self is Board.WULPUS else 73

    @property
    def largest_pulse_hz(self) -> float:
        return 5e6 if self is Board.WULPUS else 12e6

    @property
    def usable_samples(self) -> int:
        """Samples of a frame that are echoes."""
        return SAMPLES - OVERWRITTEN_SAMPLES if self is Board.WULPUS else SAMPLES


@dataclass(frozen=True)
class TxRx:
    """One setting: which channels (0-based) fire together, and which are heard together."""

    transmit: tuple[int, ...]
    receive: tuple[int, ...]

    def masks(self, board: Board) -> tuple[int, int]:
        """The transmit and the receive mask on the wire."""
        for name, channels in (("transmit", self.transmit), ("receive", self.receive)):
            if len(set(channels)) != len(channels) or any(not 0 <= c < board.channels for c in channels):
                raise ValueError(f"{name} channels must be different ones of 0..{board.channels - 1}, got {channels}")
        if board is Board.PRO:
            return sum(1 << c for c in self.transmit), sum(1 << c for c in self.receive)
        return sum(2 << (2 * c) for c in self.transmit), sum(1 << (2 * c) for c in self.receive)

    @classmethod
    def from_masks(cls, transmit: int, receive: int, board: Board) -> TxRx:
        """The channels that two masks close a transmit or a receive switch for."""
        if board is Board.PRO:
            return cls(
                tuple(c for c in range(16) if transmit >> c & 1), tuple(c for c in range(16) if receive >> c & 1)
            )
        return cls(
            tuple(c for c in range(8) if transmit >> (2 * c + 1) & 1),
            tuple(c for c in range(8) if receive >> (2 * c) & 1),
        )


def optimised_transmit_mask(setting: TxRx) -> int:
    """The transmit mask of WULPUS with receive switches closed early, as the project's library does on request.

    Of the channels that only receive and those that do both, the receive bits of the larger group are added.
    """
    transmit, _ = setting.masks(Board.WULPUS)
    both = [c for c in setting.receive if c in setting.transmit]
    only = [c for c in setting.receive if c not in setting.transmit]
    if both:
        chosen = both if len(both) > len(only) else only
        transmit |= sum(1 << (2 * c) for c in chosen)
    return transmit


@dataclass(frozen=True)
class Times:
    """When things happen in a shot, in microseconds after its trigger; the project's default values."""

    receive_switch_us: float = 500.0
    pulse_us: float = 500.0
    converter_us: float = 5.0
    bias_us: float = 5.0
    sampling_us: float = 503.0
    restart_us: float = 3000.0
    timeout_us: float = 3000.0

    @property
    def first_sample_s(self) -> float:
        """From the pulse to the first sample."""
        return (self.sampling_us - self.pulse_us) * 1e-6

    def words(self) -> tuple[int, ...]:
        return (
            int(self.receive_switch_us * 8),
            int(self.pulse_us * 5),
            int(self.converter_us * 5),
            int(self.bias_us * 5),
            int(self.sampling_us * 5),
            int(self.restart_us * 5 / 16),
            int(self.timeout_us * 5 / 4),
        )


@dataclass(frozen=True)
class Package:
    """Everything a configuration package says. ValueError for what the firmware would misunderstand."""

    settings: tuple[TxRx, ...]
    board: Board = Board.WULPUS
    pulse_hz: float = 2.25e6
    pulses: int = 2
    period_s: float = SHORTEST_PERIOD_S
    gain_register: int = FIRST_GAIN_REGISTER
    oversampling: int = 0
    samples: int = SAMPLES
    transducer_hz: float = 2.25e6
    converter_on_us: int = 195300
    times: Times = field(default_factory=Times)
    transmit_masks: tuple[int, ...] = ()
    envelope: bool = False
    precharge_cycles: int = 0
    slope_code: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.settings) <= MOST_SETTINGS:
            raise ValueError(
                f"TX/RX settings: must be 1..{MOST_SETTINGS} (more do not fit a package), got {len(self.settings)}"
            )
        for name, value, low, high in (
            ("pulse_hz", self.pulse_hz, 0, self.board.largest_pulse_hz),
            ("pulses", self.pulses, 0, MOST_PULSES),
            ("period_s", self.period_s, SHORTEST_PERIOD_S, LONGEST_PERIOD_S),
            ("gain_register", self.gain_register, FIRST_GAIN_REGISTER, FIRST_GAIN_REGISTER + len(GAINS_DB) - 1),
            ("oversampling", self.oversampling, 0, len(SAMPLING_HZ) - 1),
            ("samples", self.samples, 1, SAMPLES),
            ("precharge_cycles", self.precharge_cycles, 0, 1000),
            ("slope_code", self.slope_code, 0, 256),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name}: must be in {low:g}..{high:g}, got {value:g}")

    @property
    def gain_db(self) -> float:
        return GAINS_DB[self.gain_register - FIRST_GAIN_REGISTER]

    @property
    def sampling_hz(self) -> float:
        return SAMPLING_HZ[self.oversampling]

    def encode(self) -> bytes:
        """The package, of exactly the length that the dongle counts on."""
        head = struct.pack(
            "<BHHIIBHHB",
            CONFIGURE,
            ticks(self.converter_on_us * 1e-6),
            ticks(self.period_s),
            round(self.transducer_hz),
            round(self.pulse_hz),
            self.pulses,
            self.oversampling,
            2 * self.samples,
            self.gain_register,
        )
        if self.board is Board.PRO:
            head += bytes([self.envelope])
        head += bytes([len(self.settings)])
        for index, setting in enumerate(self.settings):
            transmit, receive = setting.masks(self.board)
            if self.transmit_masks:
                transmit = self.transmit_masks[index]
            head += struct.pack("<HH", transmit, receive)
        head += struct.pack("<7H", *self.times.words())
        if self.board is Board.PRO:
            head += struct.pack("<HH", self.precharge_cycles, self.slope_code)
        return head.ljust(self.board.package_bytes, b"\0")


def decode_package(data: bytes, board: Board) -> Package:
    """What a configuration package says, as the firmware reads it; ProtocolError when it is none."""
    if len(data) != board.package_bytes or data[0] != CONFIGURE:
        raise ProtocolError(f"a configuration has {board.package_bytes} bytes and begins with FA, got {data[:8].hex()}")
    _, on, period, transducer, pulse, pulses, oversampling, doubled, gain = struct.unpack_from("<BHHIIBHHB", data)
    place = 19
    envelope = False
    if board is Board.PRO:
        envelope = bool(data[place])
        place += 1
    count = data[place]
    place += 1
    masks = [struct.unpack_from("<HH", data, place + 4 * index) for index in range(min(count, MOST_SETTINGS))]
    place += 4 * count
    try:
        words = struct.unpack_from("<7H", data, place)
        precharge, slope = struct.unpack_from("<HH", data, place + 14) if board is Board.PRO else (0, 0)
        times = Times(*(word / unit for word, unit in zip(words, (8, 5, 5, 5, 5, 5 / 16, 5 / 4), strict=True)))
        return Package(
            settings=tuple(TxRx.from_masks(transmit, receive, board) for transmit, receive in masks),
            board=board,
            pulse_hz=pulse,
            pulses=pulses,
            period_s=min(max((period + 0.5) / TICKS_PER_SECOND, SHORTEST_PERIOD_S), LONGEST_PERIOD_S),
            gain_register=gain,
            oversampling=oversampling,
            samples=doubled // 2,
            transducer_hz=transducer,
            converter_on_us=round((on + 0.5) / TICKS_PER_SECOND * 1e6),
            times=times,
            transmit_masks=tuple(transmit for transmit, _ in masks),
            envelope=envelope,
            precharge_cycles=precharge,
            slope_code=slope,
        )
    except (ValueError, struct.error) as error:
        raise ProtocolError(f"configuration package: {error}") from error


def restart_package(board: Board) -> bytes:
    """Stop, and wait for a configuration; looked at only at the end of a shot."""
    return bytes([RESTART]).ljust(board.package_bytes, b"\0")


def ticks(seconds: float) -> int:
    """A time in ticks of the slow crystal, cut as the library does."""
    return int(round(seconds * 1e6) * 65535 / 2_000_000)


def gain_register(gain_db: float) -> int:
    """The register of the gain nearest to `gain_db`."""
    place = bisect.bisect_left(GAINS_DB, gain_db)
    near: Sequence[int] = range(max(place - 1, 0), min(place + 1, len(GAINS_DB)))
    return FIRST_GAIN_REGISTER + min(near, key=lambda index: abs(GAINS_DB[index] - gain_db))


@dataclass(frozen=True)
class FrameHeader:
    """What stands before the samples of one shot."""

    setting: int
    shot: int


def parse_frame_header(data: bytes | bytearray | memoryview, offset: int = 0) -> FrameHeader | None:
    """The header of the frame at `offset`, or None where no frame begins."""
    if len(data) - offset < HEADER_BYTES or bytes(data[offset : offset + len(MAGIC)]) != MAGIC:
        return None
    setting, shot = struct.unpack_from("<BH", data, offset + len(MAGIC))
    return FrameHeader(setting, shot)


def encode_frame(setting: int, shot: int, samples: NDArray[np.int16]) -> bytes:
    """One shot as the dongle sends it; `samples (400,)`."""
    if samples.shape != (SAMPLES,):
        raise ValueError(f"samples: must be ({SAMPLES},), got {samples.shape}")
    return MAGIC + struct.pack("<BH", setting, shot % SHOT_NUMBERS) + samples.astype("<i2").tobytes()
