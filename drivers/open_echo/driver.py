"""The driver behind `open-echo:`: lines of a logarithmic envelope from a sonar shield that sends them unasked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sonod.drivers.base import Uri
from sonod.drivers.errors import DeviceNotFound, DriverTimeout, ProtocolError
from sonod.drivers.frame import Acquisition, Configuration, DataKind, LineGeometry, SampleFormat, Slot
from sonod.drivers.link_counters import LinkCounters
from sonod.drivers.open_echo import protocol
from sonod.drivers.open_echo.line_stream import LineStream
from sonod.drivers.options import number_option, whole_option
from sonod.drivers.pacing import Clock
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind
from sonod.drivers.serial_board import COMMON_OPTIONS, SerialBoard
from sonod.drivers.settings import KNOBS, Knob, Settings
from sonod.drivers.transports.byte_port import BytePort, Identity

if TYPE_CHECKING:
    from sonod.drivers.emulated.device import EmulatedDevice

# The identity of the emulated board. Real ones have that of whatever Arduino carries the shield.
EMULATED_ID = (0x2341, 0x0069)
# Two lines in a row must be right; the slowest board in the sheet sends nine a second, after 2 s of boot loader.
LOCK_S = 4.0
WATER_M_S = 1480.0


class OpenEchoDriver(SerialBoard):
    """One transducer in water. The board transmits as long as it has power; no command can stop it."""

    summary = "Open Echo sonar shield: an 8-bit log envelope, as A-mode and M-mode (echogram)"
    uri_form = "open-echo:/dev/ttyACMn|SERIAL?usb=VID:PID&samples=N&sample_time_us=T&baud=B&probe=FILE&emulated=1"
    needs = "the board on USB; it transmits as long as it has power; only tried on emulated boards"

    def __init__(self, uri: Uri | str, clock: Clock | None = None, backend: Any = None) -> None:
        super().__init__(uri, clock, backend)
        self.uri.reject_unknown((*COMMON_OPTIONS, "usb", "samples", "sample_time_us", "baud"))
        self._samples = whole_option(self.uri, "samples", 1800, 16, protocol.MOST_SAMPLES)
        self._sample_s = number_option(self.uri, "sample_time_us", 13.2, 0.1, 1000.0) * 1e-6
        self.baud = whole_option(self.uri, "baud", 250_000, 9600, 4_000_000)
        self._usb_id = self._parse_id()
        self._stream: LineStream | None = None
        self._temperature_c: float | None = None

    @property
    def temperature_c(self) -> float | None:
        return self._temperature_c

    @property
    def link_counters(self) -> LinkCounters:
        stream, port = self._stream, self._port
        return stream.counters.link(port.failures, port.halts) if stream and port else LinkCounters()

    @property
    def stream(self) -> LineStream:
        """Where the counters of the byte stream are; only while open."""
        assert self._stream is not None
        return self._stream

    def _parse_id(self) -> tuple[int, int] | None:
        text = self.uri.options.get("usb")
        if self.emulated:
            return EMULATED_ID
        if text is None:
            if not self.uri.rest.startswith("/"):
                raise DeviceNotFound(
                    f"driver URI {self.uri.text!r}: Open Echo has no USB identity of its own; name the device file "
                    "(open-echo:/dev/ttyACM0) or the board's ids (open-echo:?usb=2341:0069)"
                )
            return None
        vendor, colon, product = text.partition(":")
        try:
            pair = int(vendor, 16), int(product, 16)
        except ValueError:
            pair = (-1, -1)
        if not colon or not all(0 <= number <= 0xFFFF for number in pair):
            raise DeviceNotFound(f"driver URI {self.uri.text!r}: usb must be VID:PID in hexadecimal, got {text!r}")
        return pair

    def _make_emulated(self) -> EmulatedDevice:
        from sonod.drivers.emulated.open_echo import OpenEcho

        return OpenEcho(clock=self._clock, samples=self._samples, sample_s=self._sample_s)

    def _open(self) -> None:
        self._open_board("open-echo", (self._usb_id,) if self._usb_id else (), "open-echo", _any_board)

    def _identify(self, port: BytePort) -> None:
        """Two good lines in a row: a wrong number of samples never gives them."""
        stream = LineStream(port, self._samples)
        clock = port.clock
        begun_ns = clock.now_ns()
        if stream.next(begun_ns + int(LOCK_S * 1e9)) is None:
            raise ProtocolError(
                f"{port.identity.place}: sends no lines of {self._samples} samples; set the option samples to what the "
                f"firmware was compiled with ({stream.counters.bytes_skipped} bytes came that fit nothing)"
            )
        self._stream = stream

    def _close(self) -> None:
        self._stream = None
        self._temperature_c = None
        super()._close()

    def _knobs(self) -> Mapping[str, Knob]:
        deepest = self._samples * self._sample_s * WATER_M_S / 2
        return {
            "depth_m": KNOBS["depth_m"].narrowed(
                minimum=min(0.005, deepest / 2), maximum=deepest, default=deepest, step=round(deepest / 100, 3) or 0.001
            ),
            "sound_speed_m_s": KNOBS["sound_speed_m_s"].narrowed(default=WATER_M_S),
        }

    def _prepare(self, settings: Settings) -> Configuration:
        event = TransmitEvent(TransmitKind.SINGLE_ELEMENT, np.zeros(1), np.zeros(3), np.zeros(1, np.int32))
        acquisition = Acquisition(
            probe=self._opened.probe,
            sequence=Sequence((event,)),
            kind=DataKind.LINES,
            sample_format=SampleFormat.LOG8,
            shape=(1, 1, self._samples),
            dtype=np.dtype(np.uint8),
            sampling_hz=1 / self._sample_s,
            sound_speed_m_s=WATER_M_S,
            lines=LineGeometry(
                np.zeros((1, 3)), np.array([[0.0, 0.0, 1.0]]), 0.0, WATER_M_S / 2 * self._sample_s, self._samples
            ),
            slow_time=True,
        )
        return Configuration(settings, acquisition)

    def _apply(self, configuration: Configuration) -> None:
        """The board takes no settings."""

    def _start(self) -> None:
        self.stream.restart()

    def _stop(self) -> None:
        """Nothing stops the board; what it sends is not read."""

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        stream, clock = self.stream, self._clock
        found = stream.next(clock.now_ns() + int(timeout_s * 1e9))
        if found is None:
            raise DriverTimeout(f"{self.uri.text}: no line within {timeout_s:g} s")
        header, lost = found
        self._temperature_c = header.temperature_c
        np.copyto(slot.data[0, 0], np.frombuffer(stream.samples, np.uint8))
        slot.first_byte_ns = stream.first_byte_ns
        slot.last_byte_ns = clock.now_ns()
        slot.lost = lost


def _any_board(identity: Identity) -> bool:
    """The strings are those of the Arduino below the shield; the lines decide."""
    return True
