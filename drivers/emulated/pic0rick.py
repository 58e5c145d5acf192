"""An emulated pic0rick with the text firmware: a line editor behind a USB console."""

from __future__ import annotations

import re

import numpy as np

from sonod.drivers.emulated.cdc import CdcBoard, cdc_interfaces
from sonod.drivers.emulated.description import Description, Interface
from sonod.drivers.emulated.pulse_echo import PulseEcho
from sonod.drivers.pacing import Clock
from sonod.drivers.pic0rick import console

# From DTR to the first prompt.
START_NS = 400_000_000
SHOT_NS = round(console.SAMPLES / console.SAMPLING_HZ * 1e9)
TIMEOUT_NS = 3_000_000_000
# A missing pulse time.
USUAL_TICKS = 125
# The buffer clear before a shot clears 8000 bytes of 16-bit samples.
CLEARED_SAMPLES = console.SAMPLES // 2
# After this long without a reader the console drops what it prints.
STALLED_NS = 500_000_000
# What the console and the host's controller hold before printing blocks.
BUFFERED_BYTES = 64 * 1024


class Pic0rick(CdcBoard):
    """Text firmware on an RP2040. `adc_timeouts` counts shots from now that end in the firmware's time-out."""

    def __init__(self, serial: str = "E660A4931754B42C", clock: Clock | None = None, seed: int = 1) -> None:
        super().__init__(
            Description(
                0x2E8A,
                0x000A,
                cdc_interfaces(0x81, 0x02, 0x82, extra=(Interface(2, 0xFF, 0x00, 0x01),)),
                "Raspberry Pi",
                "Pico",
                serial,
                bcd_usb=0x0210,
                class_code=0xEF,
                subclass=2,
                protocol=1,
                max_power_ma=250,
            ),
            clock,
            seed,
        )
        self.front_end = PulseEcho(seed=seed)
        self.adc_timeouts = 0
        self.shots = 0
        self.multiplexer = 0
        self._line = bytearray()
        self._buffer = np.zeros(console.SAMPLES, np.uint16)
        self._started = False
        self._ready_ns = 0

    def dtr_changed(self) -> None:
        if self.dtr and not self._started:
            self._started = True
            self._ready_ns = self.clock.now_ns() + START_NS
            self.send(console.PROMPT, self._ready_ns)

    def received(self, data: bytes) -> None:
        if not self._started:
            return
        for byte in data:
            if byte in b"\r\n":
                self._print("\n")
                self._run(bytes(self._line).decode("ascii"))
                self._line.clear()
                self._print("run> ")
            elif byte in (0x08, 0x7F):
                if self._line:
                    del self._line[-1]
                    self._print("\b \b")
            elif 0x20 <= byte <= 0x7E and len(self._line) < console.LONGEST_COMMAND:
                self._line.append(byte)
                self._print(chr(byte))

    def reset(self) -> None:
        super().reset()
        self._started = False
        self._line.clear()
        self._ready_ns = 0
        self.front_end.gain_code = 0
        self._buffer[:] = 0

    # -- the firmware ------------------------------------------------------------------------------------------------

    def _run(self, line: str) -> None:
        words = [word for word in line.split(" ") if word]
        key = " ".join(words[:2])
        rest = words[2:]
        if not words:
            return
        if key == "start acq":
            self._acquire([_atoi(word) for word in rest[:3]])
        elif key == "read":
            self._print_bytes(self._dump())
        elif key == "write dac":
            self._print("DAC writing started\n")
            # The command and two zero bits around ten; a larger value spoils the control bits, and the gain is lost.
            code = _atoi(rest[0]) if rest else 0
            self.front_end.gain_code = code if 0 <= code <= console.LARGEST_CODE else 0
            self._print("DAC writing ended\n")
        elif key == "write mux":
            self._print("MAX14866 writing started\n")
            self.multiplexer = int(rest[0], 16) if rest and re.fullmatch("[0-9A-Fa-f]{1,4}", rest[0]) else 0
            self._print("MAX14866 writing ended\n")
        elif key not in ("set mux", "clear mux"):
            self._print(f"Unknown command: {line.strip()}\n")

    def _dump(self) -> bytes:
        """The samples in text; `drop_frames` lets the console drop it all, `corrupt_frames` spoils a digit. Nothing
        is ever sent twice: every reply answers a question."""
        data = console.dump(self._buffer)
        if self.faults.take("drop_frames"):
            return b""
        if self.faults.take("corrupt_frames"):
            middle = data.index(b",", len(data) // 2) + 1
            data = data[:middle] + b"?" + data[middle + 1 :]
        return data

    def _acquire(self, asked_ns: list[int]) -> None:
        ticks = [value // console.TICK_NS for value in asked_ns]
        ticks = ticks + [USUAL_TICKS] * (3 - len(ticks)) if ticks else [0, USUAL_TICKS, USUAL_TICKS]
        lengths = [(value + 1) * console.TICK_NS for value in ticks]
        now_ns = max(self.clock.now_ns(), self._ready_ns)
        self.shots += 1
        self._print(f"Acquisition of {console.SAMPLES} samples started\n")
        codes = self.front_end.shot(now_ns / 1e9, console.SAMPLES, *lengths)
        self._buffer[:CLEARED_SAMPLES] = 0
        if self.adc_timeouts > 0:
            self.adc_timeouts -= 1
            self._buffer[: console.SAMPLES // 3] = codes[: console.SAMPLES // 3]
            self._ready_ns = now_ns + TIMEOUT_NS
            self._print("ADC timeout occured\n")
        else:
            self._buffer[:] = codes
            self._ready_ns = now_ns + SHOT_NS
        self._print("Acquisition ended\n")

    def _print(self, text: str) -> None:
        self._print_bytes(text.replace("\n", "\r\n").encode("ascii"))

    def _print_bytes(self, data: bytes) -> None:
        """The console: what does not fit because nobody reads is dropped in silence."""
        room = BUFFERED_BYTES - self.unsent
        self.send(data[: max(room, 0)], self._ready_ns if self._ready_ns > self.clock.now_ns() else 0)


def _atoi(text: str) -> int:
    """C's atoi into an unsigned word."""
    found = re.match(r"[+-]?\d+", text)
    return int(found[0]) % (1 << 32) if found else 0
