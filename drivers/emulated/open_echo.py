"""An emulated Open Echo sounder on a board with native USB serial: it sends lines of a log envelope, unasked."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.emulated.cdc import CdcBoard, cdc_interfaces
from sonod.drivers.emulated.description import Description
from sonod.drivers.open_echo.protocol import FrameHeader, encode_frame, frame_bytes
from sonod.drivers.pacing import Clock

# Listening, then a pause, then the line at the pace of the serial port: about nine frames a second.
PAUSE_NS = 10_000_000
WIRE_BYTES_S = 25_000
# A whole line waits at most for the one before it to leave.
MOST_WAITING = 2
SOUND_SPEED_M_S = 1480.0
# Bottom, and how far and how slowly the boat rises and falls over it; a school of fish in between.
BOTTOM_M, HEAVE_M, HEAVE_HZ = 6.0, 0.4, 0.15
FISH_M, FISH_SWIM_M, FISH_HZ = 3.2, 0.6, 0.05
# Codes of the logarithmic amplifier: its noise floor, and what one neper of amplitude adds.
FLOOR_CODE, CODES_PER_NEPER = 18.0, 24.0
RINGING_S = 0.4e-3


class OpenEcho(CdcBoard):
    """An Arduino with native USB; transmits as long as it has power, and takes no commands."""

    needs_dtr = True

    def __init__(
        self,
        serial: str = "OPENECHO1",
        clock: Clock | None = None,
        seed: int = 1,
        *,
        samples: int = 1800,
        sample_s: float = 13.2e-6,
    ) -> None:
        super().__init__(
            Description(
                0x2341,
                0x0069,
                cdc_interfaces(0x81, 0x02, 0x82),
                "Arduino",
                "UNO R4 Minima",
                serial,
                class_code=0xEF,
                subclass=2,
                protocol=1,
            ),
            clock,
            seed,
        )
        self.samples, self.sample_s = samples, sample_s
        self._random = np.random.default_rng(seed)
        self._next_ns = self.clock.now_ns()

    @property
    def period_ns(self) -> int:
        """From one burst to the next."""
        listening = round(self.samples * self.sample_s * 1e9)
        return listening + PAUSE_NS + frame_bytes(self.samples) * 1_000_000_000 // WIRE_BYTES_S

    def received(self, data: bytes) -> None:
        """There are no commands."""

    def advance(self, now_ns: int) -> None:
        while now_ns >= self._next_ns:
            fired_ns = self._next_ns
            self._next_ns += self.period_ns
            # Without a listener the serial port drops what does not fit.
            if not self.dtr or self.unsent > MOST_WAITING * frame_bytes(self.samples):
                continue
            self._line(fired_ns)

    def next_ns(self) -> int | None:
        return self._next_ns

    def reset(self) -> None:
        super().reset()
        self._next_ns = self.clock.now_ns()

    def _line(self, fired_ns: int) -> None:
        samples, bottom = self.echo_line(fired_ns / 1e9)
        frame = encode_frame(FrameHeader(bottom, 18.5, 12.0), samples)
        faults = self.faults
        if faults.take("drop_frames"):
            return
        if faults.take("corrupt_frames"):
            frame = frame[:100] + bytes([frame[100] ^ 0xFF]) + frame[101:]
        self.send(frame)
        if faults.take("duplicate_frames"):
            self.send(frame)

    def echo_line(self, time_s: float) -> tuple[NDArray[np.uint8], int]:
        """Codes (samples,) of the burst at a time, and the sample number of the bottom."""
        t = np.arange(self.samples) * self.sample_s
        bottom_m = BOTTOM_M + HEAVE_M * math.sin(2 * math.pi * HEAVE_HZ * time_s)
        fish_m = FISH_M + FISH_SWIM_M * math.sin(2 * math.pi * FISH_HZ * time_s)
        amplitude = 3000 * np.exp(-t / RINGING_S)
        for depth_m, strength, width_s in ((bottom_m, 900.0, 0.25e-3), (fish_m, 60.0, 0.12e-3)):
            rise = 2 * depth_m / SOUND_SPEED_M_S
            late = t - rise
            tail = np.where(late >= 0, np.exp(-np.clip(late, 0, 1) / width_s), np.exp(-((late / 40e-6) ** 2)))
            amplitude += strength / depth_m * tail
        noise = self._random.rayleigh(0.7, self.samples)
        codes = FLOOR_CODE + CODES_PER_NEPER * np.log1p(np.hypot(amplitude, noise))
        index = min(round(2 * bottom_m / SOUND_SPEED_M_S / self.sample_s), self.samples - 1)
        return np.clip(np.rint(codes), 0, 255).astype(np.uint8), index
