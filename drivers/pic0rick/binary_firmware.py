"""pic0rick and ultr4rick under the binary firmware: a stream of frames with length, checksum and counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sonod.drivers.base import Uri
from sonod.drivers.errors import DriverError, DriverTimeout, ProtocolError
from sonod.drivers.frame import Acquisition, Configuration, DataKind, LineGeometry, SampleFormat, Slot
from sonod.drivers.options import choice_option, number_option, whole_option
from sonod.drivers.pic0rick import p0rk
from sonod.drivers.pic0rick.frame_stream import FrameStream
from sonod.drivers.pic0rick.gain import gain_code
from sonod.drivers.pic0rick.p0rk import Payload, Status
from sonod.drivers.pic0rick.single import PULSE_DELAY_PERIODS, single_element
from sonod.drivers.probe_file import ProbeFile
from sonod.drivers.serial_board import device_knob
from sonod.drivers.settings import KNOBS, Knob, Settings
from sonod.drivers.transports.byte_port import BytePort
from sonod.drivers.transports.resync import StreamCounters

REPLY_S = 3.0
# A frame that is on its way when the stream is stopped, and the line after it.
STOP_S = 2.5
SOUND_SPEED_M_S = 1540.0
PULSE_SAMPLE = 6
DEEPEST_M = 0.05


@dataclass(frozen=True)
class _Stream:
    pulse: str
    code: int
    rate_hz: int
    scale: float


class BinaryFirmware:
    """The stream is armed by `start` and disarmed by `stop`; with option `listen=1` it is never armed."""

    def __init__(self, uri: Uri, port: BytePort, file: ProbeFile, stream: FrameStream, status: Status) -> None:
        self._uri = uri
        self._port = port
        self._file = file
        self._stream = stream
        self.status = status
        self.name = f"{status.board} {status.firmware}".strip()
        self._payload = Payload[choice_option(uri, "data", "raw", [kind.word for kind in Payload]).upper()]
        self._listen = choice_option(uri, "listen", "0", ("0", "1")) == "1"
        self._damping_ns = whole_option(uri, "damping_ns", 6000, 1000, 20000)
        # Counts that the A-law's largest byte stands for.
        self._scale = number_option(uri, "scale", 512.0, 1.0, 65535.0)
        self._alaw = p0rk.alaw_table()
        self._wanted: _Stream | None = None
        self._running = False

    @property
    def stream(self) -> FrameStream:
        """Where the counters are."""
        return self._stream

    @property
    def counters(self) -> StreamCounters:
        """What became of the stream."""
        return self._stream.counters

    def knobs(self) -> Mapping[str, Knob]:
        file = self._file
        return {
            "depth_m": KNOBS["depth_m"].narrowed(maximum=DEEPEST_M, default=DEEPEST_M),
            "transmit_frequency_hz": device_knob(file, "transmit_frequency_hz", 2.5e6, 7.1e6),
            "gain_db": device_knob(
                file, "gain_db", 7.5, 55.5, description="Nominal receive gain, 0.096 dB a code; not calibrated"
            ),
            "frame_rate_hz": device_knob(
                file, "frame_rate_hz", 1.0, float(self.status.largest_rate_hz(self._payload)), step=1.0
            ),
        }

    def prepare(self, settings: Settings) -> Configuration:
        half_ns = round(5e8 / settings.transmit_frequency_hz / p0rk.TICK_NS) * p0rk.TICK_NS
        real_hz = 5e8 / half_ns
        raw = self._payload is Payload.RAW
        t0_s = -PULSE_SAMPLE / p0rk.SAMPLING_HZ
        delay_s = PULSE_DELAY_PERIODS / real_hz
        lines = None
        if not raw:
            spacing = SOUND_SPEED_M_S / 2 / p0rk.SAMPLING_HZ
            first = (t0_s - delay_s) * SOUND_SPEED_M_S / 2
            lines = LineGeometry(np.zeros((1, 3)), np.array([[0.0, 0.0, 1.0]]), first, spacing, p0rk.SAMPLES)
        acquisition = Acquisition(
            probe=self._file.probe,
            sequence=single_element(t0_s),
            kind=DataKind.CHANNEL if raw else DataKind.LINES,
            sample_format=SampleFormat.RF if raw else SampleFormat.ENVELOPE,
            shape=(1, 1, p0rk.SAMPLES),
            dtype=np.dtype(np.int16 if raw else np.float32),
            sampling_hz=p0rk.SAMPLING_HZ,
            sound_speed_m_s=SOUND_SPEED_M_S,
            center_frequency_hz=real_hz,
            pulse_delay_s=delay_s,
            # Envelopes are in counts of the converter; an A-law byte comes as a share of `scale` counts.
            sample_scale=(self._scale if self._payload is Payload.ALAW else 1.0) / p0rk.MIDDLE,
            sample_unit="full scale",
            lines=lines,
            slow_time=True,
        )
        pulse = f"pulse config {half_ns} {self._damping_ns} {half_ns} neg-first"
        wanted = _Stream(pulse, gain_code(settings.gain_db), round(settings.frame_rate_hz), self._scale)
        return Configuration(settings, acquisition, wanted)

    def apply(self, configuration: Configuration) -> None:
        wanted = configuration.detail
        assert isinstance(wanted, _Stream)
        if wanted == self._wanted:
            return
        running = self._running
        if running:
            # While a stream runs every other command is swallowed without a reply.
            self.stop()
        self._command(wanted.pulse)
        self._command(f"dac write {wanted.code}")
        self._command(f"dsp scale {wanted.scale:g}")
        self._wanted = wanted
        if running:
            self.start()

    def start(self) -> None:
        assert self._wanted is not None
        if not self._listen:
            self._command("pulser arm")
        self._stream.forget_sequence()
        self._command(f"stream start {self._payload.word} {self._wanted.rate_hz}")
        self._running = True

    def stop(self) -> None:
        """Stops the stream, which disarms; frames on their way are thrown away."""
        self._running = False
        quiet(self._port, self._stream)
        self._command("pulser disarm")

    def read_into(self, slot: Slot, timeout_s: float) -> None:
        clock = self._port.clock
        stream = self._stream
        deadline_ns = clock.now_ns() + int(timeout_s * 1e9)
        while True:
            found = stream.next(deadline_ns)
            if found is None:
                raise DriverTimeout(f"{self._uri.text}: no frame within {timeout_s:g} s")
            if isinstance(found, bytes):
                self._unasked(found)
                continue
            header, lost = found
            if header.payload is self._payload and header.self_test_case < 0:
                break
        out = slot.data[0, 0]
        payload = stream.payload
        if self._payload is Payload.RAW:
            np.subtract(np.frombuffer(payload, "<u2"), p0rk.MIDDLE, out=out, casting="unsafe")
        elif self._payload is Payload.ENVELOPE:
            np.copyto(out, np.frombuffer(payload, "<f4"))
        else:
            np.take(self._alaw, np.frombuffer(payload, np.uint8), out=out, mode="clip")
        slot.device_ticks = header.time_us
        slot.first_byte_ns = stream.first_byte_ns
        slot.last_byte_ns = clock.now_ns()
        slot.lost = lost

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _unasked(self, line: bytes) -> None:
        text = line.decode("ascii", "replace").strip()
        if text.startswith("ERR"):
            # The firmware has stopped the stream and disarmed the pulser.
            self._running = False
            raise DriverError(f"{self._port.identity.place}: stopped by itself: {text}")

    def _command(self, command: str) -> str:
        return ask(self._port, self._stream, command)


def ask(port: BytePort, stream: FrameStream, command: str, timeout_s: float = REPLY_S) -> str:
    """The text after OK; frames that come before it are thrown away."""
    port.write(command.encode("ascii") + b"\n")
    deadline_ns = port.clock.now_ns() + int(timeout_s * 1e9)
    while (found := stream.next(deadline_ns)) is not None:
        if isinstance(found, bytes):
            return p0rk.parse_reply(found, command)
    raise DriverTimeout(f"{port.identity.place}: no reply to {command!r} within {timeout_s:g} s")


def quiet(port: BytePort, stream: FrameStream) -> None:
    """Stop whatever streams, perhaps for a client that died, and read until the firmware has said so."""
    port.write(b"stream stop\n")
    deadline_ns = port.clock.now_ns() + int(STOP_S * 1e9)
    while (found := stream.next(deadline_ns)) is not None:
        if isinstance(found, bytes) and found.startswith(b"OK stream"):
            return
    raise ProtocolError(f"{port.identity.place}: does not confirm that its stream has stopped")
