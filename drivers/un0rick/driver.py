"""The driver behind `un0rick:`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.base import Driver, Uri
from sonod.drivers.errors import DeviceNotFound, DriverError, DriverTimeout, ProtocolError
from sonod.drivers.frame import Configuration, Slot
from sonod.drivers.link_counters import LinkCounters
from sonod.drivers.options import choice_option, number_option, whole_option
from sonod.drivers.pacing import Clock, MonotonicClock, Pacer
from sonod.drivers.probe import Probe
from sonod.drivers.probe_file import ProbeFile, load_board
from sonod.drivers.serial_board import EMULATED, device_knob
from sonod.drivers.settings import KNOBS, Knob, Settings
from sonod.drivers.transports.mpsse import Unexpected
from sonod.drivers.transports.resync import StreamCounters
from sonod.drivers.transports.usb import Selector, Stalled, TransferFailed, UsbDevice, open_device
from sonod.drivers.un0rick import protocol
from sonod.drivers.un0rick.board import POLL_S, Un0rickBoard
from sonod.drivers.un0rick.plan import MOST_GAIN_DB, Options, Plan, deepest_m, make_acquisition, make_plan
from sonod.drivers.un0rick.protocol import LINE_SAMPLES, MOST_LINES, TICK_S, interleave

if TYPE_CHECKING:
    from sonod.drivers.emulated.un0rick import EmulatedUn0rick

OPTIONS = (
    "lines",
    "double",
    "sweep_rad",
    "apex_m",
    "probe",
    "delay_s",
    "gap_s",
    "damping_s",
    "emulated",
)
# An acquisition that is not done after twice its duration and this is not coming.
LATE_S = 0.1
# Acquisitions spoilt one after the other: a disturbance spoils one, a bad cable or the wrong bitstream all.
MOST_SPOILT = 4
# From the USB packet's arrival to the first tick of the sequencer: a few bytes at 7.5 MHz, and the chip's own time.
START_UNCERTAINTY_NS = 200_000
LONGEST_PULSE_S = 256 * TICK_S
LOWEST_HZ, HIGHEST_HZ = 1 / (2 * LONGEST_PULSE_S), 1 / (2 * TICK_S)
WHOLE_LINE_S = 0.035
# Questions and answers around an acquisition, each a few milliseconds.
OVERHEAD_S = 0.01


class Un0rickDriver(Driver):
    """A un0rick board with the USB bitstream: one A-scan a frame, or the lines of a mechanical sweep."""

    summary = "un0rick with the USB bitstream: one channel, A-mode and M-mode, B-mode with a swept transducer"
    uri_form = "un0rick:SERIAL?probe=FILE&lines=N&double=0|1&sweep_rad=R&apex_m=M&emulated=0|1"
    needs = "a un0rick on USB (0403:6010), a transducer; fires high voltage while running"
    usb_ids = ((protocol.VENDOR_ID, protocol.PRODUCT_ID),)

    def __init__(self, uri: Uri | str, clock: Clock | None = None, backend: object | None = None) -> None:
        super().__init__(uri)
        self.uri.reject_unknown(OPTIONS)
        self._options = _options(self.uri)
        self._emulated = choice_option(self.uri, "emulated", "0", ("0", "1")) == "1"
        self._backend = backend
        self._clock = clock or MonotonicClock()
        self._pacer = Pacer(self._clock)
        self.board: EmulatedUn0rick | None = None
        self._declared: Mapping[str, Knob] = {}
        self._device: UsbDevice | None = None
        self._un0rick: Un0rickBoard | None = None
        self._probe: Probe | None = None
        self._plan: Plan | None = None
        self._words = np.zeros(2 * LINE_SAMPLES, np.uint8)
        self._line: NDArray[np.int16] = np.zeros(0, np.int16)
        self._sums: NDArray[np.int16] = np.zeros((2, 0), np.int16)
        # The frame so far: reading its lines may take longer than one call, and the next one comes with another slot.
        self._frame: NDArray[np.int16] = np.zeros((1, 1, 0), np.int16)
        # The acquisition under way: when it was fired (0 = none), whether it is done, and the lines read of it.
        self._fired_ns = 0
        self._fired_uncertainty_ns = 0
        self._done = False
        self._next_line = 0
        self._first_byte_ns = 0
        self._out_of_step = False
        # Acquisitions that were fired and could not be read, since the last frame; and how many of them in a row.
        self._lost = 0
        self._spoilt_in_a_row = 0
        self._seen = StreamCounters()
        self._errors = self._halts = 0

    @property
    def serial(self) -> str:
        return "" if self._device is None else self._device.identity.serial

    @property
    def probe(self) -> Probe:
        if self._probe is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._probe

    @property
    def link_counters(self) -> LinkCounters:
        return self._seen.link(self._errors, self._halts)

    @property
    def firmware(self) -> str:
        return "" if self._un0rick is None else f"bitstream version {self._un0rick.version}"

    # -- life ----------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        file = load_board(self.uri.options.get("probe", "un0rick"))
        selector = Selector(protocol.VENDOR_ID, protocol.PRODUCT_ID, self.uri.rest)
        device = open_device(selector, self._usb())
        board = Un0rickBoard(device, self._clock, self.uri.text)
        try:
            device.claim(0, 1)
            board.open()
        except BaseException:
            device.close()
            raise
        self._device, self._un0rick = device, board
        self._seen, self._errors, self._halts = StreamCounters(), 0, 0
        self._probe = replace(file.probe, name=EMULATED + file.probe.name) if self._emulated else file.probe
        self._declared = _knobs(self._options, file)

    def _close(self) -> None:
        if self._un0rick is not None and self._device is not None:
            # A board that is gone has let go of its pins by itself.
            with contextlib.suppress(DriverError):
                self._un0rick.close()
            self._device.close()
        self._un0rick = self._device = self._probe = self._plan = None
        self._fired_ns = 0

    def _knobs(self) -> Mapping[str, Knob]:
        return self._declared

    def _prepare(self, settings: Settings) -> Configuration:
        plan = make_plan(self._options, settings)
        return Configuration(settings, make_acquisition(plan, self.probe), plan)

    def _apply(self, configuration: Configuration) -> None:
        plan = configuration.detail
        assert isinstance(plan, Plan)
        self._abandon()
        if self._out_of_step:
            self._synchronise()
        self._opened.load(plan.registers, plan.gains)
        self._plan = plan
        self._line = np.zeros(plan.samples, np.int16)
        self._frame = np.zeros(configuration.acquisition.shape, np.int16)
        self._sums = np.zeros((2, plan.samples), np.int16)
        self._pacer.change(configuration.settings.frame_rate_hz)

    def _start(self) -> None:
        assert self._configuration is not None
        assert self._plan is not None
        board = self._opened
        # The parity of lines in double rate is cleared only by this reset, which also clears the registers.
        board.reset_logic()
        board.load(self._plan.registers, self._plan.gains)
        board.arm()
        self._fired_ns = self._lost = self._spoilt_in_a_row = 0
        self._pacer.start(self._configuration.settings.frame_rate_hz)

    def _stop(self) -> None:
        self._fired_ns = 0
        self._opened.disarm()

    def _usb(self) -> object | None:
        """pyusb's backend: the one given, that of the emulated board, or None for the real bus."""
        if self._backend is None and self._emulated:
            from sonod.drivers.emulated.memory import Bus, MemoryBackend
            from sonod.drivers.emulated.un0rick import EmulatedUn0rick

            options = self._options
            self.board = EmulatedUn0rick(
                self.uri.rest or "EMULATED", self._clock, sweep_rad=options.sweep_rad, apex_m=options.apex_m
            )
            bus = Bus()
            bus.attach(self.board)
            self._backend = MemoryBackend(bus)
        return self._backend

    # -- frames --------------------------------------------------------------------------------------------------------

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        deadline_ns = self._clock.now_ns() + int(timeout_s * 1e9)
        while True:
            try:
                if self._out_of_step:
                    self._recover()
                self._acquire(slot, timeout_s, deadline_ns)
                return
            except _Waiting as waiting:
                raise DriverTimeout(f"{self.uri.text}: no frame within {timeout_s:g} s") from waiting
            except (Stalled, TransferFailed) as error:
                self._spoilt(error)
            except (DriverTimeout, ProtocolError):
                # What the chip still holds must not be taken for the answer to the next question.
                self._lose()
                raise

    def _acquire(self, slot: Slot, timeout_s: float, deadline_ns: int) -> None:
        assert self._plan is not None
        if not self._fired_ns:
            self._pacer.postpone()
            if not self._pacer.wait(self._pacer.due_ns, timeout_s):
                raise _Waiting
            self._fire()
        self._wait_until_done(deadline_ns)
        self._read_lines(deadline_ns)
        np.copyto(slot.data, self._frame)
        slot.lost = self._lost
        slot.transmit_ns = self._fired_ns
        slot.transmit_uncertainty_ns = self._fired_uncertainty_ns
        slot.first_byte_ns = self._first_byte_ns
        slot.last_byte_ns = self._clock.now_ns()
        self._fired_ns = 0
        self._lost = self._spoilt_in_a_row = 0

    def _fire(self) -> None:
        before_ns = self._clock.now_ns()
        self._opened.fire()
        took_ns = self._clock.now_ns() - before_ns
        self._fired_ns = before_ns + took_ns // 2
        self._fired_uncertainty_ns = took_ns // 2 + START_UNCERTAINTY_NS
        self._done = False
        self._next_line = 0
        self._pacer.advance()

    def _wait_until_done(self, deadline_ns: int) -> None:
        assert self._plan is not None
        board, duration_ns = self._opened, int(self._plan.duration_s * 1e9)
        while not self._done:
            expected_ns = self._fired_ns + duration_ns
            self._clock.sleep_until(min(expected_ns, deadline_ns))
            now_ns = self._clock.now_ns()
            if now_ns < expected_ns:
                raise _Waiting
            if board.finished():
                board.rewind()
                self._done = True
            elif now_ns > self._fired_ns + 2 * duration_ns + int(LATE_S * 1e9):
                raise ProtocolError(
                    f"{self.uri.text}: an acquisition of {self._plan.options.lines} lines was started and does not end"
                )
            elif now_ns >= deadline_ns:
                raise _Waiting
            else:
                self._clock.sleep_until(now_ns + int(POLL_S * 1e9))

    def _read_lines(self, deadline_ns: int) -> None:
        """Read what is left of the acquisition; Unexpected when a line is not what it should be."""
        plan = self._plan
        assert plan is not None
        options = plan.options
        while self._next_line < options.lines:
            line = self._next_line
            words = self._words[: 2 * plan.words_of(line)]
            if line == 0:
                # A line comes in one transfer: its first byte follows the question within a packet's time.
                self._first_byte_ns = self._clock.now_ns()
            self._opened.read_memory(words)
            if not self._decode(plan, line, self._frame):
                raise Unexpected(
                    f"{self.uri.text}: line {line} carries another number: bits have slipped between the FPGA and the "
                    "FTDI chip, or the bitstream is another one"
                )
            self._next_line += 1
            if self._clock.now_ns() > deadline_ns and self._next_line < options.lines:
                raise _Waiting
        if options.double:
            interleave(self._sums[1], self._sums[0], self._frame[0, 0])

    def _decode(self, plan: Plan, line: int, data: NDArray[np.int16]) -> bool:
        """One line to where it belongs: into the frame, or added to the others of its kind."""
        options = plan.options
        raw = self._words[: 2 * plan.samples].view(">u2")
        if options.sweep_rad > 0:
            return plan.decoder.run(raw, line, data[0, line])
        if options.lines == 1:
            return plan.decoder.run(raw, line, data[0, 0])
        total = self._sums[line % 2] if options.double else data[0, 0]
        if line < (2 if options.double else 1):
            return plan.decoder.run(raw, line, total)
        sound = plan.decoder.run(raw, line, self._line)
        np.add(total, self._line, out=total)
        return sound

    def _spoilt(self, error: DriverError) -> None:
        """The acquisition under way is lost; try another, but not for ever."""
        self._lose()
        if isinstance(error, Stalled):
            self._halts += 1
        elif isinstance(error, Unexpected):
            self._seen.crc_errors += 1
        else:
            self._errors += 1
        self._spoilt_in_a_row += 1
        if self._spoilt_in_a_row >= MOST_SPOILT:
            raise ProtocolError(f"{self._spoilt_in_a_row} acquisitions in a row were spoilt: {error}") from error

    def _lose(self) -> None:
        """The acquisition under way, if there is one, will not be read."""
        self._lost += bool(self._fired_ns)
        self._seen.lost += bool(self._fired_ns)
        self._out_of_step = True
        self._fired_ns = 0

    def _recover(self) -> None:
        """In step again, and armed with what is in force; DriverTimeout when the chip stays silent."""
        assert self._plan is not None
        self._synchronise()
        self._opened.load(self._plan.registers, self._plan.gains)
        self._fired_ns = 0

    def _synchronise(self) -> None:
        self._out_of_step = True
        self._opened.synchronise()
        self._out_of_step = False

    def _abandon(self) -> None:
        """Let an acquisition under way end unread."""
        if self._fired_ns and self._plan is not None:
            self._clock.sleep_until(self._fired_ns + int(self._plan.duration_s * 1e9))
        self._fired_ns = 0

    @property
    def _opened(self) -> Un0rickBoard:
        if self._un0rick is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._un0rick


class _Waiting(Exception):
    """The time allowed is over while all is well."""


def _options(uri: Uri) -> Options:
    double = choice_option(uri, "double", "0", ("0", "1")) == "1"
    lines = whole_option(uri, "lines", 2 if double else 1, 1, MOST_LINES)
    sweep = number_option(uri, "sweep_rad", 0.0, 0.0, math.radians(170))
    if double and lines % 2:
        raise DeviceNotFound(f"driver URI {uri.text!r}: lines must be even with double=1, got {lines}")
    if double and sweep > 0:
        raise DeviceNotFound(f"driver URI {uri.text!r}: double=1 needs pairs from one place; leave out sweep_rad")
    if sweep > 0 and lines < 2:
        raise DeviceNotFound(f"driver URI {uri.text!r}: a sweep needs lines >= 2, got {lines}")
    usual = Options()
    return Options(
        lines=lines,
        double=double,
        sweep_rad=sweep,
        apex_m=number_option(uri, "apex_m", 0.0, 0.0, 1.0),
        delay_s=number_option(uri, "delay_s", usual.delay_s, TICK_S, LONGEST_PULSE_S),
        gap_s=number_option(uri, "gap_s", usual.gap_s, TICK_S, LONGEST_PULSE_S),
        damping_s=number_option(uri, "damping_s", usual.damping_s, TICK_S, LONGEST_PULSE_S),
    )


def _knobs(options: Options, file: ProbeFile) -> dict[str, Knob]:
    """All act on the board; the gain is nominal, its zero and its steps have never been measured."""
    # The wire carries 7.5 Mbit/s: a line that is read whole takes 35 ms, and all but the last are.
    busy_s = protocol.acquisition_s(options.lines) + (options.lines - 1) * WHOLE_LINE_S + OVERHEAD_S
    fastest_hz = math.floor(10 / busy_s) / 10
    curve = file.ranges.get("tgc_db", KNOBS["tgc_db"].narrowed(minimum=-50, maximum=50))
    return {
        "depth_m": device_knob(file, "depth_m", 0.005, deepest_m(options)),
        "transmit_frequency_hz": device_knob(file, "transmit_frequency_hz", LOWEST_HZ, HIGHEST_HZ),
        "gain_db": device_knob(file, "gain_db", 0.0, MOST_GAIN_DB),
        "tgc_db": curve.on_device(),
        "frame_rate_hz": device_knob(file, "frame_rate_hz", 0.1, fastest_hz),
    }
