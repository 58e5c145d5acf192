"""An emulated WULPUS (or WULPUS PRO) behind its dongle: packages of fixed length in, frames of one shot out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.emulated.cdc import CdcBoard, cdc_interfaces
from sonod.drivers.emulated.description import Description
from sonod.drivers.emulated.reflectors import ARRAY_SCENE, EchoScene
from sonod.drivers.errors import ProtocolError
from sonod.drivers.pacing import Clock
from sonod.drivers.probe import FloatArray
from sonod.drivers.wulpus.protocol import (
    ACCELEROMETER_HZ,
    FRAME_BYTES,
    RESTART,
    SAMPLES,
    Board,
    Package,
    decode_package,
    encode_frame,
    restart_package,
)

# Shots that the probe keeps while the radio link is busy; later ones overwrite the oldest.
RING_FRAMES = 35
# The transducer of the emulated probe: the array of the shipped configuration files.
PITCH_M, CENTER_HZ = 1.0e-3, 2.25e6
# Amplitudes in converter counts at 0 dB: an echo of strength 1 from 2 cm, and noise.
ECHO_COUNTS, NOISE_COUNTS = 60.0, 0.8
# What the switches and the amplifier leave at the start of each record: a slow baseline.
BASELINE_COUNTS, BASELINE_S = 300.0, 2.5e-6
LARGEST_CODE = 2047


class Wulpus(CdcBoard):
    """The dongle and a paired probe. `accelerometer` bytes stand over the last samples, as in firmware 1.2.3."""

    board = Board.WULPUS

    def __init__(self, serial: str = "D6A4C3F1E2B00917", clock: Clock | None = None, seed: int = 1) -> None:
        super().__init__(
            Description(
                0x1915,
                0x521A,
                cdc_interfaces(0x82, 0x01, 0x81),
                "Nordic Semiconductor",
                "nRF52 USB CDC BLE Demo",
                serial,
                class_code=0xEF,
                subclass=2,
                protocol=1,
                attributes=0xC0,
                max_power_ma=100,
            ),
            clock,
            seed,
        )
        self.scene = EchoScene(ARRAY_SCENE, CENTER_HZ)
        self.positions_m = element_positions(self.board.channels)
        self.package: Package | None = None
        self.packages = 0
        self._random = np.random.default_rng(seed)
        self._partial = bytearray()
        self._shot = 0
        self._next_ns = 0
        self._stopping = False

    @property
    def firing(self) -> bool:
        return self.package is not None

    def dtr_changed(self) -> None:
        if not self.dtr:
            self._partial.clear()

    def received(self, data: bytes) -> None:
        if not self.dtr:
            return
        self._partial += data
        size = self.board.package_bytes
        while len(self._partial) >= size:
            package = bytes(self._partial[:size])
            del self._partial[:size]
            self._take(package)

    def advance(self, now_ns: int) -> None:
        while self.package is not None and now_ns >= self._next_ns:
            fired_ns = self._next_ns
            self._next_ns += round(self.package.period_s * 1e9)
            self._fire(self.package, fired_ns)
            if self._stopping:
                self._stopping = False
                self.package = None

    def next_ns(self) -> int | None:
        return self._next_ns if self.package is not None else None

    def reset(self) -> None:
        super().reset()
        self._partial.clear()
        self.package = None
        self._stopping = False

    def _take(self, package: bytes) -> None:
        self.packages += 1
        if package[0] == RESTART:
            if package == restart_package(self.board):
                # Only examined at the end of a shot.
                self._stopping = self.package is not None
            return
        if self.package is not None:
            return
        try:
            self.package = decode_package(package, self.board)
        except ProtocolError:
            return
        self._shot = 0
        self._next_ns = self.clock.now_ns() + round(self.package.period_s * 1e9)

    def _fire(self, package: Package, fired_ns: int) -> None:
        index = self._shot % len(package.settings)
        number = self._shot
        self._shot += 1
        faults = self.faults
        # The dongle blocks while the host does not read, and the probe's ring overflows: shots are lost in silence.
        late = self.clock.now_ns() - fired_ns > RING_FRAMES * package.period_s * 1e9
        if late or self.unsent > RING_FRAMES * FRAME_BYTES or faults.take("drop_frames"):
            return
        frame = encode_frame(index, number, self.shot(package, index, fired_ns / 1e9))
        if faults.take("corrupt_frames"):
            frame = b"\0" + frame[1:]
        self.send(frame)
        if faults.take("duplicate_frames"):
            self.send(frame)

    def shot(self, package: Package, index: int, time_s: float) -> NDArray[np.int16]:
        """Samples (400,) of one shot of setting `index` at a time."""
        setting = package.settings[index]
        sampling_hz, t0_s = package.sampling_hz, package.times.first_sample_s
        gain = 10 ** (package.gain_db / 20)
        signal = self._random.normal(0, NOISE_COUNTS * gain**0.5, SAMPLES)
        t = t0_s + np.arange(SAMPLES) / sampling_hz
        signal += BASELINE_COUNTS * np.exp(-t / BASELINE_S)
        if setting.transmit and setting.receive and package.pulses:
            echoes = self.scene.receive(
                time_s,
                self.positions_m[list(setting.transmit)],
                self.positions_m[list(setting.receive)],
                frequency_hz=package.pulse_hz,
                sampling_hz=sampling_hz,
                samples=SAMPLES,
                t0_s=t0_s,
            )
            # More pulses ring the transducer up; elements that listen together share one amplifier's input.
            share = (1 - 0.5**package.pulses) / len(setting.receive)
            signal += gain * ECHO_COUNTS * share * echoes
        codes = np.clip(np.rint(signal), -LARGEST_CODE - 1, LARGEST_CODE).astype(np.int16)
        codes[package.samples :] = 0
        if self.board is Board.WULPUS:
            self._overwrite(codes, package, time_s)
        return codes

    def _overwrite(self, codes: NDArray[np.int16], package: Package, time_s: float) -> None:
        """Acceleration (or zeros) over bytes 799 to 803 of the body, as firmware 1.2.3 does."""
        body = codes.view(np.uint8)
        on = round(package.transducer_hz) == ACCELEROMETER_HZ
        x, y = (256, -128) if on else (0, 0)
        words = x.to_bytes(2, "big", signed=True) + y.to_bytes(2, "big", signed=True) + (b"\x40" if on else b"\0")
        body[-5:] = np.frombuffer(words, np.uint8)


class WulpusPro(Wulpus):
    """The 16-channel successor, which takes longer packages and does not spoil samples."""

    board = Board.PRO


def element_positions(channels: int) -> FloatArray:
    """A row of elements along x (channels, 3), centred."""
    positions = np.zeros((channels, 3))
    positions[:, 0] = (np.arange(channels) - (channels - 1) / 2) * PITCH_M
    return positions
