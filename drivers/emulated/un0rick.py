"""The un0rick with its USB bitstream: registers, sample memory, gain steps and a transducer in front of a phantom.

The board is modelled from drivers/un0rick's register map. The analogue side is invented but obeys the settings: the
pulse width chooses the frequency, the gain codes the strength (0.1 dB each, up to the amplifier's end at 1 V).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.emulated.ft2232h import CHIP_SELECT, Ft2232h
from sonod.drivers.emulated.scene import EchoPulse, add_echoes, echo_pulse, phantom
from sonod.drivers.pacing import Clock
from sonod.drivers.un0rick import protocol
from sonod.drivers.un0rick.protocol import Header, Register

CONFIG_RESET, LOGIC_RESET = 0x80, 0x80
# Loading the bitstream from flash takes about this long; host software waits half a second.
CONFIGURE_NS = 100_000_000
MEMORY_WORDS = protocol.MOST_LINES * protocol.LINE_SAMPLES
FILL_NS = round(1e9 * MEMORY_WORDS / protocol.SAMPLING_HZ)
SOUND_SPEED_M_S = 1540.0

RESET_VALUES = {
    Register.INITDEL: 0x07,
    Register.PONW: 0x10,
    Register.POFFW: 0x80,
    Register.INTERW: 0x07,
    Register.DRMODE: 0,
    Register.DACOUT: 0x100,
    Register.NBLINES: 0,
    Register.LED1: 0,
    Register.LED2: 0,
    Register.LED3: 0,
    Register.OUT1: 1,
    Register.OUT2: 0,
    Register.OUT3: 1,
}
WIDTHS = {
    Register.INITDEL: 8,
    Register.PONW: 8,
    Register.POFFW: 8,
    Register.INTERW: 8,
    Register.DRMODE: 1,
    Register.DACOUT: 10,
    Register.NBLINES: 8,
}
CONSTANTS = {Register.AUTHOR: protocol.AUTHOR, Register.VERSION: protocol.VERSION, Register.JUMPER1: 0}
START_GAIN = 0x200
# A code is 2 mV at the amplifier's input, which has 50 dB for each volt up to 1 V.
DB_PER_CODE = 0.1
LAST_EFFECTIVE_CODE = 500
# Volts at the converter that a flat wall at the face gives at code 0, and the amplifier's own noise there.
WALL_VOLTS = 0.4
NOISE_VOLTS = 1e-4
# The transmitter rings through to the receiver for this long.
RINGING_S = 0.8e-6
RINGING_VOLTS = 3.0


@dataclass(frozen=True)
class _Firing:
    """What was set when a line was fired, and when that was."""

    number: int
    time_s: float
    delayed: bool
    pulse_ticks: int
    delay_ticks: int
    gains: tuple[int, ...]
    angle_rad: float


class EmulatedUn0rick(Ft2232h):
    """`sweep_rad`: the angle over which the transducer is swept during an acquisition; 0 = it stands still, looking
    down. `apex_m`: how far behind the face it turns."""

    def __init__(
        self,
        serial: str = "EMU00001",
        clock: Clock | None = None,
        *,
        transducer_hz: float = 5e6,
        sweep_rad: float = 0.0,
        apex_m: float = 0.01,
        seed: int = 1,
    ) -> None:
        # The strings of a real board are not known.
        super().__init__("FTDI", "un0rick (emulated)", serial, clock, seed)
        self.transducer_hz = transducer_hz
        self.sweep_rad = sweep_rad
        self.apex_m = apex_m
        self.scene = phantom(sweep_rad / 2, -apex_m if sweep_rad else 0.0, seed)
        self.acquisitions = 0
        self.jumper2 = 0
        self._seed = seed
        self._still: dict[tuple[float, float, EchoPulse], NDArray[np.float32]] = {}
        self._begun_ns = self.clock.now_ns()
        self._header: Header | None = None
        self._selected = False
        self._power_on()

    # -- pins ----------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        super().reset()
        self._power_on()

    def pins_changed(self, channel: int, levels: int, at_ns: int) -> None:
        if channel == 1:
            if not levels & CONFIG_RESET:
                self._power_on()
                self._configured_ns = at_ns + CONFIGURE_NS
            return
        # An undriven reset line is held inactive on the board.
        driven = self.channels[2].direction & LOGIC_RESET
        if driven and levels & LOGIC_RESET:
            self._logic_reset()
        if bool(levels & CHIP_SELECT) == self._selected:
            self._selected = not levels & CHIP_SELECT
            self._shifted = bytearray()
            self._reply = bytearray()
            self._header = None

    def _power_on(self) -> None:
        self._configured_ns = 0
        self._gains = [START_GAIN] * protocol.GAIN_SEGMENTS
        self._selected = False
        self._shifted = bytearray()
        self._reply = bytearray()
        self._header = None
        self._memory = np.zeros(MEMORY_WORDS, np.uint16)
        self._firings: list[_Firing] = []
        self._logic_reset()

    def _logic_reset(self) -> None:
        self._registers: dict[int, int] = {int(register): value for register, value in RESET_VALUES.items()}
        self._parity = 0
        self._read_pointer = 0
        self._done = 0
        self._busy_until_ns = 0
        self._fill_until_ns = -1

    @property
    def firing(self) -> bool:
        """Whether high voltage is being sent out now."""
        return self.clock.now_ns() < self._busy_until_ns

    # -- the SPI slave ------------------------------------------------------------------------------------------------

    def spi(self, data: bytes, at_ns: int) -> bytes:
        if not self._selected or at_ns < self._configured_ns:
            return b"\xff" * len(data)
        answer = bytearray()
        rest = data
        header = self._header
        if header is None:
            missing = 3 - len(self._shifted)
            self._shifted += data[:missing]
            rest = data[missing:]
            answer += bytes(len(data) - len(rest))
            if len(self._shifted) < 3:
                return bytes(answer)
            header = self._header = Header.decode(bytes(self._shifted))
            self._shifted = bytearray()
            self._word = 0
        if header.write:
            self._shifted += rest
            while len(self._shifted) >= 2 and self._word < header.count:
                self._write(self._address(), int.from_bytes(self._shifted[:2], "big"), at_ns)
                del self._shifted[:2]
                self._word += 1
            return bytes(answer) + bytes(len(rest))
        while len(self._reply) < len(rest) and self._word < header.count:
            self._reply += self._read(self._address(), (len(rest) - len(self._reply) + 1) // 2, at_ns)
        answer += self._reply[: len(rest)]
        del self._reply[: len(rest)]
        return bytes(answer).ljust(len(data), b"\0")

    def _address(self) -> int:
        assert self._header is not None
        return self._header.address + (self._word if self._header.increment else 0)

    def _write(self, address: int, value: int, at_ns: int) -> None:
        segment = address - Register.DACGAIN
        if 0 <= segment < protocol.GAIN_SEGMENTS:
            self._gains[segment] = value & (protocol.GAIN_CODES - 1)
        elif address == Register.ACQSTART:
            self._start(at_ns)
        elif address == Register.RAMRADDRRST:
            self._read_pointer = 0
        elif address in (Register.RAMFINC, Register.RAMFDEC):
            ramp = np.arange(MEMORY_WORDS, dtype=np.uint32).astype(np.uint16)
            self._memory[:] = ramp if address == Register.RAMFINC else ~ramp
            self._firings = []
            self._fill_until_ns = at_ns + FILL_NS
        elif address in self._registers:
            self._registers[address] = value & ((1 << WIDTHS.get(Register(address), 1)) - 1)

    def _read(self, address: int, most: int, at_ns: int) -> bytes:
        """Words from an address: as many as wanted of the memory, else one."""
        assert self._header is not None
        if address == Register.RAMDATA and not self._header.increment:
            count = min(most, self._header.count - self._word)
            self._word += count
            return self._read_memory(count)
        self._word += 1
        return self._value(address, at_ns).to_bytes(2, "big")

    def _value(self, address: int, at_ns: int) -> int:
        segment = address - Register.DACGAIN
        if 0 <= segment < protocol.GAIN_SEGMENTS:
            return self._gains[segment]
        if address == Register.ACQDONE:
            self._done = self._done or int(0 < self._busy_until_ns <= at_ns)
            return self._done
        if address == Register.ACQBUSY:
            return int(at_ns < self._busy_until_ns)
        if address == Register.RAMFDONE:
            return int(0 <= self._fill_until_ns <= at_ns)
        if address == Register.JUMPER2:
            return self.jumper2
        if address in CONSTANTS:
            return CONSTANTS[Register(address)]
        return self._registers.get(address, 0)

    def _read_memory(self, count: int) -> bytes:
        if self.jumper2:
            return bytes(2 * count)
        first, words = self._read_pointer, MEMORY_WORDS
        self._read_pointer = (first + count) % words
        line = first // protocol.LINE_SAMPLES
        for firing in [firing for firing in self._firings if firing.number <= line + count // protocol.LINE_SAMPLES]:
            self._firings.remove(firing)
            begin = firing.number * protocol.LINE_SAMPLES
            self._memory[begin : begin + protocol.LINE_SAMPLES] = self._line(firing)
        data = self._memory[(first + np.arange(count)) % words].astype(">u2").tobytes()
        if self.faults.take("corrupt_frames"):
            # A clock edge too many: everything arrives one bit late.
            data = (int.from_bytes(data, "big") >> 1).to_bytes(len(data), "big")
        return data

    # -- acquisition --------------------------------------------------------------------------------------------------

    def _start(self, at_ns: int) -> None:
        if at_ns < self._busy_until_ns:
            return
        self._done = 0
        self._busy_until_ns = 0
        if self.faults.take("drop_frames"):
            return
        lines = (self._registers[Register.NBLINES] & (protocol.MOST_LINES - 1)) + 1
        self._busy_until_ns = at_ns + round(1e9 * protocol.acquisition_s(lines))
        self.acquisitions += 1
        registers = self._registers
        step = self.sweep_rad / (lines - 1) if lines > 1 else 0.0
        self._firings = []
        for line in range(lines):
            # The parity runs on whatever the mode; it acts only in double-rate mode.
            delayed = bool(self._parity and registers[Register.DRMODE])
            self._parity ^= 1
            self._firings.append(
                _Firing(
                    line,
                    (at_ns - self._begun_ns) / 1e9 + line * protocol.LINE_CLOCKS / protocol.SAMPLING_HZ,
                    delayed,
                    registers[Register.PONW] + 1,
                    registers[Register.INITDEL] + 1 + delayed,
                    tuple(self._gains),
                    -self.sweep_rad / 2 + line * step,
                )
            )

    def _line(self, firing: _Firing) -> NDArray[np.uint16]:
        """The memory words of one line."""
        drive_hz = 1 / (2 * firing.pulse_ticks * protocol.TICK_S)
        pulse = echo_pulse(drive_hz, self.transducer_hz, 0.6)
        sent_s = firing.delay_ticks * protocol.TICK_S + firing.pulse_ticks * protocol.TICK_S / 2
        volts = self._heard(firing, pulse, sent_s)
        noise = np.random.default_rng((self._seed, self.acquisitions, firing.number))
        volts += np.float32(NOISE_VOLTS) * noise.standard_normal(len(volts), dtype=np.float32)
        codes = np.minimum(np.array(firing.gains), LAST_EFFECTIVE_CODE)
        gain = np.repeat(10 ** (codes * DB_PER_CODE / 20), protocol.SEGMENT_SAMPLES).astype(np.float32)
        samples = np.clip(np.rint(volts * gain / protocol.VOLTS_PER_CODE), -512, 511).astype(np.int32)
        marks = (firing.number & protocol.LINE_MASK) << protocol.LINE_SHIFT
        words: NDArray[np.uint16] = (samples + protocol.MIDDLE_CODE | marks).astype(np.uint16)
        return words

    def _heard(self, firing: _Firing, pulse: EchoPulse, sent_s: float) -> NDArray[np.float32]:
        """Volts before the gain."""
        angle = firing.angle_rad
        apex = np.array([0.0, -self.apex_m if self.sweep_rad else 0.0])
        origin = apex + (self.apex_m if self.sweep_rad else 0.0) * np.array([math.sin(angle), math.cos(angle)])
        width = SOUND_SPEED_M_S / pulse.frequency_hz / 0.01
        key = (angle, sent_s, pulse)
        still = self._still.get(key)
        if still is None:
            still = np.zeros(protocol.LINE_SAMPLES, np.float32)
            self._add(still, self.scene.still_heard(origin, angle, width), pulse, sent_s)
            time = np.arange(protocol.LINE_SAMPLES) / protocol.SAMPLING_HZ - sent_s
            ringing = RINGING_VOLTS * np.exp(-np.maximum(time, 0) / RINGING_S * 4) * (time >= 0)
            still += (ringing * np.cos(2 * math.pi * pulse.frequency_hz * time)).astype(np.float32)
            while len(self._still) >= 2 * protocol.MOST_LINES:
                del self._still[next(iter(self._still))]
            self._still[key] = still
        heard = still.copy()
        self._add(heard, self.scene.moving_heard(firing.time_s, origin, angle, width), pulse, sent_s)
        return heard

    @staticmethod
    def _add(
        line: NDArray[np.float32],
        heard: tuple[NDArray[np.float64], NDArray[np.float64]],
        pulse: EchoPulse,
        sent_s: float,
    ) -> None:
        distances, amplitudes = heard
        add_echoes(line, distances, amplitudes * WALL_VOLTS, pulse, protocol.SAMPLING_HZ, SOUND_SPEED_M_S, -sent_s)
