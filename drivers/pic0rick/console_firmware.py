"""pic0rick under its text firmware: a shot, its dump, and the next shot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from sonod.drivers.base import Uri
from sonod.drivers.errors import DriverError, DriverTimeout, ProtocolError
from sonod.drivers.frame import Acquisition, Configuration, DataKind, SampleFormat, Slot
from sonod.drivers.options import choice_option, whole_option
from sonod.drivers.pacing import Pacer
from sonod.drivers.pic0rick import console
from sonod.drivers.pic0rick.gain import gain_code
from sonod.drivers.pic0rick.single import PULSE_DELAY_PERIODS, single_element
from sonod.drivers.probe_file import ProbeFile
from sonod.drivers.serial_board import device_knob
from sonod.drivers.settings import KNOBS, Knob, Settings
from sonod.drivers.transports.byte_port import ByteBuffer, BytePort
from sonod.drivers.transports.resync import StreamCounters

# The firmware times out after 3 s by itself; a command that is not answered by then is lost.
REPLY_S = 4.0
# Silence this long within a reply: its end was perhaps lost, and an empty line brings the prompt again.
SILENCE_S = 0.25
LATE_PROMPT = b"\r\n" + console.PROMPT
# 32 kB a shot through full-speed USB and a round trip.
LARGEST_RATE_HZ = 25.0
# In recorded data the pulse leaves this many samples after the first one.
PULSE_SAMPLE = 6
DEEPEST_M = 0.1


class _Stage(Enum):
    """Where in the exchange of one frame we are; a read that times out goes on from there."""

    IDLE = auto()
    FIRED = auto()
    READING = auto()


@dataclass(frozen=True)
class _Shot:
    command: bytes
    code: int
    rate_hz: float


class ConsoleFirmware:
    """Fires only between `start` and `stop`: the board itself has no arm step."""

    name = "text firmware"

    def __init__(self, uri: Uri, port: BytePort, file: ProbeFile) -> None:
        self._uri = uri
        # Option `data` is for boards that compute envelopes.
        choice_option(uri, "data", "raw", ("raw",))
        choice_option(uri, "listen", "0", ("0",))
        self._damping_ns = whole_option(uri, "damping_ns", 6000, 1000, 20000)
        self._port = port
        self._file = file
        self._buffer = ByteBuffer(port, console.LONGEST_DUMP)
        self._parser = console.DumpParser()
        self._pacer = Pacer(port.clock)
        self._stage = _Stage.IDLE
        self._armed = False
        self._code = -1
        self._lost = 0
        self._asked_ns = self._first_ns = self._last_ns = self._fired_ns = 0
        self._echo = b""
        self._prompted = False
        self._shot = _Shot(b"", 0, 1.0)
        # `crc_errors` are replies that were not whole, `device_drops` shots that the converter did not finish.
        self.counters = StreamCounters()

    def knobs(self) -> Mapping[str, Knob]:
        file = self._file
        return {
            "depth_m": KNOBS["depth_m"].narrowed(maximum=DEEPEST_M),
            "transmit_frequency_hz": device_knob(file, "transmit_frequency_hz", 2.5e6, 7.1e6),
            "gain_db": device_knob(
                file, "gain_db", 7.5, 55.5, description="Nominal receive gain, 0.096 dB a code; not calibrated"
            ),
            "frame_rate_hz": device_knob(file, "frame_rate_hz", 0.1, LARGEST_RATE_HZ),
        }

    def prepare(self, settings: Settings) -> Configuration:
        half_ns = console.asked_pulse_ns(5e8 / settings.transmit_frequency_hz)
        real_hz = 5e8 / console.pulse_length_ns(half_ns)
        probe = self._file.probe
        acquisition = Acquisition(
            probe=probe,
            sequence=single_element(-PULSE_SAMPLE / console.SAMPLING_HZ),
            kind=DataKind.CHANNEL,
            sample_format=SampleFormat.RF,
            shape=(1, 1, console.SAMPLES),
            dtype=np.dtype(np.int16),
            sampling_hz=console.SAMPLING_HZ,
            sound_speed_m_s=1540.0,
            center_frequency_hz=real_hz,
            pulse_delay_s=PULSE_DELAY_PERIODS / real_hz,
            sample_scale=1 / console.MIDDLE,
            sample_unit="full scale",
            slow_time=True,
        )
        command = console.shot_command(half_ns, half_ns, self._damping_ns)
        return Configuration(settings, acquisition, _Shot(command, gain_code(settings.gain_db), settings.frame_rate_hz))

    def apply(self, configuration: Configuration) -> None:
        shot = configuration.detail
        assert isinstance(shot, _Shot)
        self._settle()
        if shot.code != self._code:
            command = console.gain_command(shot.code)
            self._send(command)
            self._code = -1
            console.reply_lines(self._wait_reply(REPLY_S), command)
            self._code = shot.code
        self._shot = shot
        self._pacer.change(shot.rate_hz)

    def start(self) -> None:
        self._settle()
        self._lost = 0
        self._armed = True
        self._pacer.start(self._shot.rate_hz)

    def stop(self) -> None:
        """Nothing is fired after this; the reply to what was asked is thrown away."""
        self._armed = False
        self._settle()

    def read_into(self, slot: Slot, timeout_s: float) -> None:
        deadline_ns = self._port.clock.now_ns() + int(timeout_s * 1e9)
        while True:
            if self._stage is _Stage.IDLE:
                self._fire(deadline_ns)
            if not self._reply_by(deadline_ns):
                self._check_patience()
                raise DriverTimeout(f"{self._uri.text}: no frame within {timeout_s:g} s")
            whole = self._whole_reply()
            if self._stage is _Stage.FIRED:
                self._fired(whole)
                continue
            try:
                self._parser.parse(self._buffer.data, self._buffer.length, slot.data[0, 0])
            except ProtocolError:
                self.counters.crc_errors += whole
                self.counters.lost += 1
                self._give_up()
                continue
            break
        self._stage = _Stage.IDLE
        slot.first_byte_ns = self._first_ns
        slot.last_byte_ns = self._port.clock.now_ns()
        slot.transmit_ns = self._fired_ns
        # Between the command's way out and the reply's way back.
        slot.transmit_uncertainty_ns = self._asked_ns - self._fired_ns
        slot.lost, self._lost = self._lost, 0

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _fire(self, deadline_ns: int) -> None:
        pacer, clock = self._pacer, self._port.clock
        pacer.postpone()
        if not pacer.wait(pacer.due_ns, max((deadline_ns - clock.now_ns()) / 1e9, 0.0)):
            raise DriverTimeout(f"{self._uri.text}: no frame is due yet")
        if not self._armed:
            raise DriverError(f"{self._uri.text}: is not armed; start comes first")
        pacer.advance()
        self._fired_ns = clock.now_ns()
        self._ask(self._shot.command, _Stage.FIRED)

    def _fired(self, whole: bool) -> None:
        """The shot has been confirmed: ask for its samples, unless there are none."""
        reply = bytes(self._buffer.data[: self._buffer.length])
        if console.ACQUISITION_TIMEOUT in reply:
            self.counters.device_drops += 1
            self._give_up()
            return
        # What is missing here harms nothing: the samples have not been sent yet.
        self.counters.crc_errors += whole and not console.confirms_shot(reply)
        self._ask(b"read\n", _Stage.READING)

    def _ask(self, command: bytes, stage: _Stage) -> None:
        self._send(command)
        self._stage = stage

    def _send(self, command: bytes) -> None:
        self._buffer.clear()
        self._first_ns = 0
        self._asked_ns = self._last_ns = self._port.clock.now_ns()
        self._echo = command.rstrip(b"\n")
        self._prompted = False
        self._port.write(command)

    def _give_up(self) -> None:
        self._lost += 1
        self._stage = _Stage.IDLE

    def _reply_by(self, deadline_ns: int) -> bool:
        """Whether the reply is there, with its prompt at the end."""
        buffer, clock = self._buffer, self._port.clock
        while not self._complete():
            if buffer.length == len(buffer.data):
                # More than any reply: garbage came with it.
                self.counters.bytes_skipped += buffer.length - len(console.PROMPT)
                buffer.take(buffer.length - len(console.PROMPT))
            quiet_ns = self._last_ns + int(SILENCE_S * 1e9)
            if buffer.more(deadline_ns if self._prompted else min(deadline_ns, quiet_ns)):
                self._last_ns = clock.now_ns()
                self._first_ns = self._first_ns or self._last_ns
            elif clock.now_ns() >= deadline_ns:
                return False
            else:
                self._prompted = True
                self._port.write(b"\n")
        return True

    def _complete(self) -> bool:
        """A prompt without the command's echo before it belongs to an empty line, or the echo was lost."""
        buffer = self._buffer
        if not buffer.data.endswith(console.PROMPT, 0, buffer.length):
            return False
        return self._prompted or buffer.data.find(self._echo, 0, buffer.length) >= 0

    def _whole_reply(self) -> bool:
        """Whether the reply begins with the command's echo; what stands before it is counted."""
        place = self._buffer.data.find(self._echo, 0, self._buffer.length)
        if place < 0:
            self.counters.crc_errors += 1
            return False
        if place and not self._buffer.data.startswith(LATE_PROMPT):
            self.counters.bytes_skipped += place
        return True

    def _check_patience(self) -> None:
        """A command that was never answered was lost on the way: the frame is given up, and the next one fired."""
        if self._stage is not _Stage.IDLE and self._port.clock.now_ns() - self._asked_ns > REPLY_S * 1e9:
            self.counters.lost += 1
            self._give_up()

    def _settle(self) -> None:
        """Let a reply that is on its way arrive, and throw it away."""
        if self._stage is _Stage.IDLE:
            return
        self._wait_reply(REPLY_S)
        self._give_up()

    def _wait_reply(self, timeout_s: float) -> bytes:
        if not self._reply_by(self._port.clock.now_ns() + int(timeout_s * 1e9)):
            raise DriverTimeout(f"{self._port.identity.place}: no reply within {timeout_s:g} s")
        return bytes(self._buffer.data[: self._buffer.length])
