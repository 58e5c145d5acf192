"""The driver behind `interson:`; experimental."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.base import Driver, DriverState, Uri
from sonod.drivers.errors import DriverError, DriverTimeout, ProtocolError
from sonod.drivers.frame import Acquisition, Configuration, DataKind, LineGeometry, SampleFormat, Slot
from sonod.drivers.interson import protocol
from sonod.drivers.interson.protocol import FRAME_BYTES, FRAME_NUMBERS, VECTOR_BYTES, VECTOR_SAMPLES, VECTORS, Register
from sonod.drivers.link_counters import LinkCounters
from sonod.drivers.options import choice_option, number_option
from sonod.drivers.pacing import Clock, MonotonicClock
from sonod.drivers.probe import Probe
from sonod.drivers.probe_file import ProbeFile, load_board
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind
from sonod.drivers.serial_board import EMULATED, device_knob
from sonod.drivers.settings import KNOBS, Knob, Settings
from sonod.drivers.transports.bulk import open_stream
from sonod.drivers.transports.resync import StreamCounters
from sonod.drivers.transports.stream import ByteStream, TransferTotals
from sonod.drivers.transports.usb import Selector, UsbDevice, open_device

if TYPE_CHECKING:
    from sonod.drivers.emulated.interson import EmulatedInterson

OPTIONS = ("probe", "sector_rad", "radius_m", "range_m", "emulated")
SOUND_SPEED_M_S = 1540.0
# The geometry is not in any published source. These stand in until the user says better; the probe's name says so.
ASSUMED_SECTOR_RAD = math.radians(60)
ASSUMED_RADIUS_M = 0.01
ASSUMED_RANGE_M = 0.105
# So many searches, of two frames each, without a frame are not a disturbance.
MOST_SEARCHES = 5
# 4 ms at 15 images a second; with sixteen in flight nobody notices that this program was late by 70 ms.
TRANSFER_BYTES = 16 * 1024
# After the mode was set to stop, nothing for this long means that the probe has sent what it held.
DRAIN_S = 0.02


@dataclass(frozen=True)
class _Detail:
    """Register values of a configuration."""

    frequency_index: int
    voltage: int
    rate_hz: float

    @property
    def writes(self) -> tuple[tuple[int, int], ...]:
        return tuple(protocol.initialise_writes(self.frequency_index, self.voltage, self.rate_hz))


class IntersonDriver(Driver):
    """An Interson probe of the first generation in B mode: 241 lines of 8-bit echoes."""

    summary = "Interson mechanical sector probe, first generation (experimental; geometry must be given)"
    uri_form = "interson:SERIAL?probe=FILE&sector_rad=R&radius_m=M&range_m=M&emulated=0|1"
    needs = "an Interson probe on USB (1921:0090); high voltage and motor run while running"
    usb_ids = ((protocol.VENDOR_ID, protocol.PRODUCT_ID),)
    opens_harmlessly = True

    def __init__(self, uri: Uri | str, clock: Clock | None = None, backend: object | None = None) -> None:
        super().__init__(uri)
        self.uri.reject_unknown(OPTIONS)
        self._sector_rad = number_option(self.uri, "sector_rad", ASSUMED_SECTOR_RAD, 0.05, math.radians(170))
        self._radius_m = number_option(self.uri, "radius_m", ASSUMED_RADIUS_M, 0.0, 0.2)
        self._range_m = number_option(self.uri, "range_m", ASSUMED_RANGE_M, 0.005, 0.3)
        self._emulated = choice_option(self.uri, "emulated", "0", ("0", "1")) == "1"
        self._backend = backend
        self.board: EmulatedInterson | None = None
        self._file: ProbeFile | None = None
        self._clock = clock or MonotonicClock()
        self._device: UsbDevice | None = None
        self._stream: ByteStream | None = None
        self._transfers = TransferTotals()
        self._seen = StreamCounters()
        self._probe: Probe | None = None
        self._version = 0
        # The frame being put together: how many of its bytes are there, whether they are known to begin with one, the
        # number of the last whole frame (-1 = none since the start), and searches without a result.
        self._memory = bytearray(FRAME_BYTES)
        self._raw: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8).reshape(VECTORS, VECTOR_BYTES)
        self._held = 0
        self._aligned = False
        self._last_number = -1
        self._searches = 0
        self._first_ns = 0

    @property
    def serial(self) -> str:
        return "" if self._device is None else self._device.identity.serial

    @property
    def firmware(self) -> str:
        """Version of the probe's FPGA, '' before open."""
        return "" if self._device is None else f"FPGA {self._version}"

    @property
    def link_counters(self) -> LinkCounters:
        return self._seen.link(self._transfers.errors, self._transfers.halts)

    @property
    def probe(self) -> Probe:
        if self._probe is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._probe

    # -- life ----------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        file = load_board(self.uri.options.get("probe", "interson"))
        device = open_device(Selector(protocol.VENDOR_ID, protocol.PRODUCT_ID, self.uri.rest), self._usb())
        try:
            device.claim(0)
            answer = device.control_in(protocol.IN, protocol.REGISTER, Register.MODE, 0, 1)
            if len(answer) != 1:
                raise ProtocolError(f"{self.uri.text}: does not tell the version of its FPGA; plug it in again")
            self._version = answer[0]
        except BaseException:
            device.close()
            raise
        self._device = device
        self._transfers, self._seen = TransferTotals(), StreamCounters()
        given = {"sector_rad", "radius_m", "range_m"} <= set(self.uri.options)
        name = (EMULATED if self._emulated else "") + file.probe.name + ("" if given else ", geometry assumed")
        self._probe = replace(file.probe, name=name)
        self._file = file

    def _close(self) -> None:
        self._end_stream()
        if self._device is not None:
            # After a failure the base class has not stopped it; a probe that is gone has stopped by itself.
            with contextlib.suppress(DriverError):
                self._write(*protocol.HALT, *protocol.SPIN_DOWN)
            self._device.close()
        self._device = self._probe = self._file = None

    def _knobs(self) -> Mapping[str, Knob]:
        file = self._file
        assert file is not None
        lowest, highest = protocol.frequency_hz(protocol.LAST_FREQUENCY_INDEX), protocol.frequency_hz(0)
        frequency = device_knob(file, "transmit_frequency_hz", lowest, highest)
        assert isinstance(frequency.default, float)
        usual = protocol.frequency_hz(protocol.frequency_index(frequency.default))
        return {
            "transmit_frequency_hz": frequency.narrowed(default=usual),
            "output_level": device_knob(file, "output_level", 0.0, 1.0),
            "frame_rate_hz": KNOBS["frame_rate_hz"].on_device(
                default=15, minimum=10, maximum=15, step=2.5, acoustic_output=False
            ),
            "depth_m": KNOBS["depth_m"].narrowed(
                default=self._range_m, minimum=min(0.01, self._range_m / 2), maximum=self._range_m
            ),
        }

    def _prepare(self, settings: Settings) -> Configuration:
        index = protocol.frequency_index(settings.transmit_frequency_hz)
        rate_hz = protocol.nearest_rate_hz(settings.frame_rate_hz)
        voltage = round(settings.output_level * protocol.HIGHEST_VOLTAGE)
        # The probe has only so many frequencies and speeds; what it really does reads back.
        real = replace(settings, transmit_frequency_hz=protocol.frequency_hz(index), frame_rate_hz=rate_hz)
        return Configuration(real, self._acquisition(index), _Detail(index, voltage, rate_hz))

    def _apply(self, configuration: Configuration) -> None:
        detail = configuration.detail
        assert isinstance(detail, _Detail)
        running = self.state is DriverState.RUNNING
        if running:
            self._write(*protocol.HALT)
        self._write(*detail.writes)
        if running:
            self._begin()

    def _start(self) -> None:
        self._write(*protocol.SPIN_UP)
        self._pause()
        self._begin()

    def _stop(self) -> None:
        try:
            self._write(*protocol.HALT)
            self._pause()
            self._write(*protocol.SPIN_DOWN)
        finally:
            self._end_stream()

    # -- frames --------------------------------------------------------------------------------------------------------

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        deadline_ns = self._clock.now_ns() + int(timeout_s * 1e9)
        try:
            while not self._whole_frame(deadline_ns):
                pass
        except DriverTimeout as error:
            raise DriverTimeout(f"{self.uri.text}: no frame within {timeout_s:g} s") from error
        finally:
            self._transfers.see(self._opened_stream.counters)
        number = int(self._raw[0, 0])
        np.copyto(slot.data[0], self._raw[:, 1:])
        if self._last_number >= 0:
            slot.lost = (number - self._last_number - 1) % FRAME_NUMBERS
            self._seen.lost += slot.lost
        self._last_number = number
        self._held = self._searches = 0
        slot.first_byte_ns = self._first_ns
        slot.last_byte_ns = self._clock.now_ns()

    def _whole_frame(self, deadline_ns: int) -> bool:
        """One step towards a frame; whether it is there. What has come stays when the time is over."""
        if self._held == FRAME_BYTES:
            # What is held is no frame: look for the beginning of one in it and in what follows.
            self._wait(FRAME_BYTES, deadline_ns)
            self._search()
            return False
        if self._held == 0:
            self._wait(1, deadline_ns)
            self._first_ns = self._clock.now_ns()
        self._wait(FRAME_BYTES - self._held, deadline_ns)
        self._opened_stream.read_into(memoryview(self._memory)[self._held :])
        self._held = FRAME_BYTES
        if not self._aligned:
            return False
        number = protocol.frame_number(self._raw)
        if number < 0:
            self._seen.crc_errors += 1
            return False
        if self._last_number < 0 or number == (self._last_number + 1) % FRAME_NUMBERS:
            return True
        # Frames are missing, or bytes are and dark echoes only look like a number: then it would not change with the
        # next frame.
        self._wait(1, deadline_ns)
        following = self._opened_stream.peek(1)[0]
        if following >= FRAME_NUMBERS or following == number:
            self._seen.crc_errors += 1
            return False
        if number == self._last_number:
            # Sixteen numbers: this could be fifteen frames lost, a second of silence, but is the same frame again.
            self._seen.duplicates += 1
            self._held = 0
            return False
        return True

    def _search(self) -> None:
        stream = self._opened_stream
        window = np.frombuffer(bytes(self._memory) + stream.peek(FRAME_BYTES), np.uint8)
        begin = protocol.find_frame(window)
        self._aligned = begin >= 0
        if self._last_number >= 0:
            self._seen.bytes_skipped += begin if begin >= 0 else FRAME_BYTES
        if begin < 0:
            self._searches += 1
            self._held = 0
            if self._searches >= MOST_SEARCHES:
                raise ProtocolError(
                    f"{self.uri.text}: {self._searches} frames in a row have no numbers where they should; is the "
                    "motor turning, and is it a probe of the first generation?"
                )
            return
        self._held = max(FRAME_BYTES - begin, 0)
        stream.skip(max(begin - FRAME_BYTES, 0))
        flat = self._raw.reshape(-1)
        flat[: self._held] = window[begin : begin + self._held]

    def _begin(self) -> None:
        """Let frames flow; those made before are gone."""
        device = self._opened_device
        self._end_stream()
        device.drain(protocol.ENDPOINT, DRAIN_S, 4 * FRAME_BYTES)
        self._stream = open_stream(
            device, protocol.ENDPOINT, FRAME_BYTES, self._clock.now_ns, transfer_bytes=TRANSFER_BYTES
        )
        self._held, self._aligned, self._last_number, self._searches = 0, False, -1, 0
        self._write(*protocol.RUN)

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._transfers.end(self._stream.counters)
        self._stream = None

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _usb(self) -> object | None:
        """pyusb's backend: the one given, that of the emulated probe, or None for the real bus."""
        if self._backend is None and self._emulated:
            from sonod.drivers.emulated.interson import EmulatedInterson
            from sonod.drivers.emulated.memory import Bus, MemoryBackend

            self.board = EmulatedInterson(
                self.uri.rest or "EMULATED",
                self._clock,
                sector_rad=self._sector_rad,
                radius_m=self._radius_m,
                range_m=self._range_m,
            )
            bus = Bus()
            bus.attach(self.board)
            self._backend = MemoryBackend(bus)
        return self._backend

    def _acquisition(self, index: int) -> Acquisition:
        angles = np.linspace(-0.5, 0.5, VECTORS) * self._sector_rad
        directions = np.stack([np.sin(angles), np.zeros_like(angles), np.cos(angles)], axis=1)
        origins = self._radius_m * directions - np.array([0.0, 0.0, self._radius_m])
        spacing_m = self._range_m / VECTOR_BYTES
        event = TransmitEvent(TransmitKind.SINGLE_ELEMENT, np.zeros(1), np.zeros(3), np.zeros(1, np.int32))
        return Acquisition(
            probe=self.probe,
            sequence=Sequence((event,)),
            kind=DataKind.LINES,
            sample_format=SampleFormat.LOG8,
            shape=(1, VECTORS, VECTOR_SAMPLES),
            dtype=np.dtype(np.uint8),
            sampling_hz=SOUND_SPEED_M_S / 2 / spacing_m,
            sound_speed_m_s=SOUND_SPEED_M_S,
            center_frequency_hz=protocol.frequency_hz(index),
            # The frame's number stands in place of the first sample.
            lines=LineGeometry(origins, directions, spacing_m, spacing_m, VECTOR_SAMPLES, radius_m=self._radius_m),
        )

    def _write(self, *writes: tuple[int, int]) -> None:
        for address, value in writes:
            self._opened_device.control_out(protocol.OUT, protocol.REGISTER, address, 0, bytes((value,)))

    def _pause(self) -> None:
        self._clock.sleep_until(self._clock.now_ns() + int(protocol.MOTOR_PAUSE_S * 1e9))

    def _wait(self, count: int, deadline_ns: int) -> None:
        self._opened_stream.wait(count, max(deadline_ns - self._clock.now_ns(), 0) / 1e9)

    @property
    def _opened_device(self) -> UsbDevice:
        if self._device is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._device

    @property
    def _opened_stream(self) -> ByteStream:
        if self._stream is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._stream
