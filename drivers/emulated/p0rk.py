"""Emulated pic0rick and ultr4rick with the binary firmware: commands, one-shot frames, streams."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.emulated.cdc import CdcBoard, cdc_interfaces
from sonod.drivers.emulated.description import Description
from sonod.drivers.emulated.pulse_echo import PulseEcho
from sonod.drivers.pacing import Clock
from sonod.drivers.pic0rick import p0rk
from sonod.drivers.pic0rick.p0rk import Flag, FrameHeader, Payload

CAPTURE_NS = round(p0rk.SAMPLES / p0rk.SAMPLING_HZ * 1e9)
# A frame that makes no progress for this long is given up part-way.
STALLED_NS = 2_000_000_000
# Finished frames that wait for the host; more are not captured.
OUTPUT_SLOTS = 2
SELF_TEST_CASES = 7
CLIPPING_CASE = 6


@dataclass(frozen=True)
class Variant:
    """What tells the two boards apart."""

    board: str
    package: str
    magic: bytes
    manufacturer: str
    product: str
    serial: str
    least_pulse_ns: tuple[int, int, int]
    says_envelope_rate: bool


PIC0RICK = Variant(
    "pic0rick",
    "RP2350A",
    b"P0RK",
    "pic0rick",
    "pic0rick RP2350 Signal Processor",
    "P0RK0001",
    (40, 40, 40),
    True,
)
ULTR4RICK = Variant(
    "ultr4rick",
    "RP2350B",
    b"U4RK",
    "Ultr4rick",
    "Ultr4rick RP2350B Signal Processor",
    "U4RK0001",
    (16, 32, 16),
    False,
)


class P0rkBoard(CdcBoard):
    """The binary firmware, version 1.5. `dma_timeouts` counts captures from now that end in its time-out."""

    needs_dtr = False
    variant = PIC0RICK

    def __init__(self, serial: str = "", clock: Clock | None = None, seed: int = 1) -> None:
        variant = self.variant
        super().__init__(
            Description(
                0xCAFE,
                0x4011,
                cdc_interfaces(0x81, 0x02, 0x82),
                variant.manufacturer,
                variant.product,
                serial or variant.serial,
                class_code=0xEF,
                subclass=2,
                protocol=1,
                max_power_ma=100,
            ),
            clock,
            seed,
        )
        self.front_end = PulseEcho(seed=seed)
        self.dma_timeouts = 0
        self._line = bytearray()
        self._boot()

    def received(self, data: bytes) -> None:
        for byte in data:
            if byte in b"\r\n":
                line = bytes(self._line).decode("ascii", "replace")
                self._line.clear()
                if len(line) > p0rk.LONGEST_COMMAND:
                    self._reply("ERR LINE command too long")
                elif line.strip():
                    self._command(line.replace("\t", " "))
            else:
                self._line.append(byte)

    def advance(self, now_ns: int) -> None:
        if self.unsent == 0:
            self._progress_ns = now_ns
            self._waiting = 0
        elif now_ns - self._progress_ns > STALLED_NS and self._waiting:
            # Given up part-way: the host will see a truncated frame, followed by something else.
            self._truncate()
            self._progress_ns = now_ns
        while self._rate_hz and now_ns >= self._next_ns:
            due_ns = self._next_ns
            self._next_ns += 1_000_000_000 // self._rate_hz
            if not self._stream_frame(due_ns):
                return

    def next_ns(self) -> int | None:
        return self._next_ns if self._rate_hz else None

    def bulk_in(self, endpoint: int, length: int) -> bytes | None:
        data = super().bulk_in(endpoint, length)
        if data:
            self._progress_ns = self.clock.now_ns()
            # A slot is free again as soon as its frame has left.
            self._waiting = -(-self.unsent // (p0rk.HEADER_BYTES + self._payload.length))
        return data

    def reset(self) -> None:
        super().reset()
        self._line.clear()
        self._boot()

    @property
    def armed(self) -> bool:
        return self._armed

    @property
    def streaming(self) -> bool:
        return self._rate_hz > 0

    # -- the firmware ------------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        self._armed = False
        self._pulse = (96, 6000, 96)
        self._order = "neg-first"
        self._scale = 512.0
        self._payload = Payload.RAW
        self._rate_hz = 0
        self._next_ns = 0
        self._sequence = 0
        self._sticky = 0
        self._drops = 0
        self._waiting = 0
        self._boot_ns = self._progress_ns = self.clock.now_ns()
        self._captured: NDArray[np.uint16] | None = None
        self.front_end.gain_code = 0

    def _reply(self, text: str) -> None:
        self.send(text.encode("ascii") + b"\r\n")

    def _command(self, line: str) -> None:
        words = line.split()
        if self._rate_hz:
            if words == ["stream", "stop"]:
                self._rate_hz = 0
                self._armed = False
                self._reply(f"OK stream stopped drops={self._drops}")
            return
        answer = {
            "status": self._status,
            "help": self._help,
            "pulser": self._pulser,
            "pulse": self._configure_pulse,
            "dac": self._dac,
            "dsp": self._dsp,
            "acq": self._acq,
            "stream": self._stream,
            "start": self._start_legacy,
            "read": self._read_legacy,
        }.get(words[0])
        if answer is None:
            self._reply("ERR COMMAND unknown command")
        else:
            answer(words[1:])

    def _status(self, words: list[str]) -> None:
        variant = self.variant
        n, d, p = self._pulse
        rates = "envelope_max_rate=50 " if variant.says_envelope_rate else ""
        self._reply(
            f"OK board={variant.board} package={variant.package} firmware=1.5 dsp_backend=f32-rfft-hilbert "
            f"samples={p0rk.SAMPLES} sample_rate={p0rk.SAMPLING_HZ} pulser={'armed' if self._armed else 'disarmed'} "
            f"pulse={n}/{d}/{p}/{self._order} dac={self.front_end.gain_code} scale={self._scale:g} "
            f"stream=off/{self._rate_hz} drops={self._drops} stages_us=0/0/0/0/0/0 dsp_us=0 worst_us=0 performance=ok "
            f"{rates}alaw_max_rate=70 cmsis=1.17.0"
        )

    def _help(self, words: list[str]) -> None:
        self._reply("OK commands=status,help,pulser,pulse,dac,dsp,acq,stream,start,read")

    def _pulser(self, words: list[str]) -> None:
        if words not in (["arm"], ["disarm"]):
            self._reply("ERR ARG expected arm or disarm")
            return
        self._armed = words == ["arm"]
        self._reply(f"OK pulser {words[0]}ed")

    def _configure_pulse(self, words: list[str]) -> None:
        if len(words) != 5 or words[0] != "config" or words[4] not in ("neg-first", "pos-first"):
            self._reply("ERR ARG expected config N D P neg-first|pos-first")
            return
        numbers = [_number(word) for word in words[1:4]]
        if None in numbers:
            self._reply("ERR ARG expected numbers")
            return
        rounded = tuple(int(round(number / p0rk.TICK_NS) * p0rk.TICK_NS) for number in numbers if number is not None)
        least = self.variant.least_pulse_ns
        if any(value < low for value, low in zip(rounded, least, strict=True)):
            self._reply(f"ERR RANGE minimum is {'/'.join(map(str, least))} ns")
            return
        n, d, p = rounded
        self._pulse, self._order = (n, d, p), words[4]
        self._reply(f"OK pulse={n}/{d}/{p}/{self._order}")

    def _dac(self, words: list[str]) -> None:
        value = _number(words[1]) if len(words) == 2 and words[0] == "write" else None
        if value is None or value != int(value):
            self._reply("ERR ARG expected write V")
        elif not 0 <= value <= p0rk.LARGEST_CODE:
            self._reply("ERR RANGE dac is 0..1023")
        else:
            self.front_end.gain_code = int(value)
            self._reply(f"OK dac={int(value)}")

    def _dsp(self, words: list[str]) -> None:
        if words == ["selftest"]:
            self._self_test()
            return
        value = _number(words[1]) if len(words) == 2 and words[0] == "scale" else None
        if value is None:
            self._reply("ERR ARG expected scale X or selftest")
        elif not 0 < value <= 65535:
            self._reply("ERR RANGE scale is above 0 and at most 65535")
        else:
            self._scale = value
            self._reply(f"OK scale={value:.6g}")

    def _acq(self, words: list[str]) -> None:
        payload = _payload(words[0]) if len(words) == 1 else None
        if payload is None:
            self._reply("ERR ARG expected raw, envelope or alaw")
            return
        self._payload = payload
        self._reply(f"OK capture started type={payload.word}")
        now_ns = self.clock.now_ns()
        if not self._dma_timeout():
            self.send(self._frame(self._capture(now_ns), now_ns), now_ns + CAPTURE_NS)
            self._waiting += 1

    def _stream(self, words: list[str]) -> None:
        if words == ["stop"]:
            self._armed = False
            self._reply("OK stream already stopped")
            return
        payload = _payload(words[1]) if len(words) == 3 and words[0] == "start" else None
        rate = _number(words[2]) if payload is not None else None
        if payload is None or rate is None or rate != int(rate):
            self._reply("ERR ARG expected start TYPE RATE or stop")
            return
        most = p0rk.LARGEST_RATE_HZ[payload]
        if not 1 <= rate <= most:
            self._reply(f"ERR RATE allowed rate is 1..{most} Hz")
            return
        self._payload, self._rate_hz = payload, int(rate)
        self._next_ns = self.clock.now_ns() + 1_000_000_000 // self._rate_hz
        self._reply(f"OK stream started type={payload.word} rate={self._rate_hz}")

    def _start_legacy(self, words: list[str]) -> None:
        if words != ["acq"]:
            self._reply("ERR COMMAND unknown command")
            return
        self._captured = self._capture(self.clock.now_ns())
        self._reply("OK legacy acquisition started")

    def _read_legacy(self, words: list[str]) -> None:
        if self._captured is None:
            self._reply("ERR NO_DATA no acquisition")
            return
        self._reply(f"OK raw-hex {p0rk.SAMPLES}")
        self._reply(",".join(f"{code:03X}" for code in self._captured))

    # -- frames ------------------------------------------------------------------------------------------------------

    def _stream_frame(self, due_ns: int) -> bool:
        """Capture and queue one frame of the stream; False when the stream has ended."""
        if self._waiting >= OUTPUT_SLOTS:
            # The host is late: a capture that is refused takes no number.
            self.front_end.skip()
            self._drops += 1
            self._sticky |= Flag.USB_DROPS
            return True
        if self._dma_timeout():
            return False
        frame = self._frame(self._capture(due_ns), due_ns)
        faults = self.faults
        if faults.take("drop_frames"):
            self._drops += 1
            self._sticky |= Flag.PROCESSING_DROPS
            return True
        if faults.take("corrupt_frames"):
            middle = len(frame) // 2
            frame = frame[:middle] + bytes([frame[middle] ^ 0xFF]) + frame[middle + 1 :]
        self.send(frame)
        self._waiting += 1
        if faults.take("duplicate_frames"):
            self.send(frame)
            self._waiting += 1
        return True

    def _dma_timeout(self) -> bool:
        if self.dma_timeouts <= 0:
            return False
        self.dma_timeouts -= 1
        self._rate_hz = 0
        self._armed = False
        self._reply("ERR DMA acquisition timeout; pulser disarmed")
        return True

    def _capture(self, time_ns: int) -> NDArray[np.uint16]:
        negative, damping, positive = self._pulse
        return self.front_end.shot(time_ns / 1e9, p0rk.SAMPLES, negative, positive, damping, fire=self._armed)

    def _frame(self, codes: NDArray[np.uint16], time_ns: int, case: int = -1, payload: Payload | None = None) -> bytes:
        payload = payload or self._payload
        reference = 128.0 if case == CLIPPING_CASE else self._scale
        mean = float(codes.mean())
        envelope = np.zeros(0, np.float32) if payload is Payload.RAW else _envelope(codes)
        peak = 0.0 if payload is Payload.RAW else float(envelope.max())
        flags = self._sticky | (Flag.ARMED if self._armed else 0)
        if case >= 0:
            flags = Flag.SELF_TEST | case << 8
        if payload is Payload.RAW:
            data = codes.astype("<u2").tobytes()
        elif payload is Payload.ENVELOPE:
            data = envelope.astype("<f4").tobytes()
        else:
            data = p0rk.encode_alaw(envelope, reference).tobytes()
            flags |= Flag.SATURATED if peak > reference else 0
        n, d, p = self._pulse
        header = FrameHeader(
            self.variant.magic,
            payload,
            int(flags),
            self._sequence,
            case if case >= 0 else (time_ns - self._boot_ns) // 1000,
            mean,
            peak,
            reference,
            n,
            d,
            p,
            self._drops,
            p0rk.checksum(data),
        )
        self._sequence += 1
        return header.pack() + data

    def _self_test(self) -> None:
        self._reply(f"OK selftest frames={3 * SELF_TEST_CASES} cases={SELF_TEST_CASES}")
        for case in range(SELF_TEST_CASES):
            for payload in Payload:
                self.send(self._frame(self_test_codes(case), 0, case, payload))

    def _truncate(self) -> None:
        """Drop the rest of the frame that is on its way; the next one follows at once."""
        size = p0rk.HEADER_BYTES + self._payload.length
        rest = len(self._queue) % size
        if rest:
            self.discard(rest)
        self._drops += 1
        self._sticky |= Flag.USB_DROPS


class Ultr4rickBoard(P0rkBoard):
    """The successor: the same protocol under another name and magic."""

    variant = ULTR4RICK


def self_test_codes(case: int) -> NDArray[np.uint16]:
    """Synthetic captures in the ranges of the firmware's own: zero, dc, sinusoid, AM, two bursts, impulse, clipping."""
    n = np.arange(p0rk.SAMPLES)
    carrier = np.sin(2 * math.pi * n * p0rk.SAMPLES / 64 / p0rk.SAMPLES)
    if case == 0:
        signal = np.full(p0rk.SAMPLES, -512.0)
    elif case == 1:
        signal = np.full(p0rk.SAMPLES, 188.0)
    elif case == 2:
        signal = 200 * carrier
    elif case == 3:
        signal = (220 + 93 * np.sin(2 * math.pi * n / 1024)) * carrier
    elif case == 4:
        signal = 260 * carrier * (np.exp(-(((n - 1000) / 120) ** 2)) + np.exp(-(((n - 2600) / 120) ** 2)))
    elif case == 5:
        signal = np.where(n == p0rk.SAMPLES // 2, 511.0, 0.0)
    else:
        signal = 900 * carrier
    codes: NDArray[np.uint16] = np.clip(np.rint(signal) + 512, 0, 1023).astype(np.uint16)
    return codes


def _envelope(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Hilbert magnitude after the mean is removed, in counts."""
    spectrum = np.fft.fft(codes - codes.mean())
    half = len(codes) // 2
    spectrum[1:half] *= 2
    spectrum[half + 1 :] = 0
    return np.abs(np.fft.ifft(spectrum)).astype(np.float32)


def _payload(word: str) -> Payload | None:
    return {payload.word: payload for payload in Payload}.get(word)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
