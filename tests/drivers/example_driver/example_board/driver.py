"""The driver behind `example-board:SERIAL`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.resources import as_file, files

import numpy as np

from example_board import emulator, protocol
from sonod.drivers.base import Driver, Uri
from sonod.drivers.device_time import DeviceTime
from sonod.drivers.errors import DeviceNotFound, Disconnected, DriverError, DriverTimeout
from sonod.drivers.frame import Acquisition, Configuration, DataKind, SampleFormat, Slot
from sonod.drivers.probe import Probe
from sonod.drivers.probe_file import load_probe
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind
from sonod.drivers.settings import Knob, Settings

SOUND_SPEED_M_S = 1540.0


class ExampleBoard(Driver):
    """One unsteered plane wave a frame, 16 channels."""

    summary = "the board of the tutorial: 16 elements, plane waves"
    uri_form = "example-board:SERIAL"
    needs = "the board's emulator"

    def __init__(self, uri: Uri | str) -> None:
        super().__init__(uri)
        self.uri.reject_unknown(())
        self._link: emulator.Link | None = None
        with as_file(files("example_board") / "board.toml") as path:
            self._file = load_probe(str(path))
        # Microseconds on 32 bits, which begin again at 0 every 71 minutes.
        self._time = DeviceTime(1000.0, bits=32)
        self._header = bytearray(protocol.HEADER.size)
        self._last_counter = -1

    # -- identity -----------------------------------------------------------------------------------------------------

    @property
    def serial(self) -> str:
        return self.uri.rest

    @property
    def probe(self) -> Probe:
        return self._file.probe

    def _knobs(self) -> Mapping[str, Knob]:
        # The board acts on both; everything else is left to the processing and need not be declared.
        return {name: knob.on_device() for name, knob in self._file.ranges.items()}

    # -- life ---------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            link = emulator.connect(self.uri.rest)
        except ConnectionError as error:
            raise DeviceNotFound(f"driver URI {self.uri.text!r}: {error}; is the board plugged in?") from error
        self._link = link
        self._time.begin_anew()
        self._send(protocol.command(protocol.IDENTIFY))

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = None

    def _prepare(self, settings: Settings) -> Configuration:
        file = self._file
        elements = file.probe.element_count
        samples = int(np.ceil(2 * settings.depth_m / SOUND_SPEED_M_S * file.sampling_hz))
        wave = TransmitEvent(TransmitKind.PLANE, np.zeros(elements), np.zeros(3), np.arange(elements, dtype=np.int32))
        acquisition = Acquisition(
            probe=file.probe,
            sequence=Sequence((wave,)),
            kind=DataKind.CHANNEL,
            sample_format=SampleFormat.RF,
            shape=(1, elements, samples),
            dtype=np.dtype("<i2"),
            sampling_hz=file.sampling_hz,
            sound_speed_m_s=SOUND_SPEED_M_S,
        )
        gain = protocol.command(protocol.GAIN, round(settings.gain_db))
        return Configuration(settings, acquisition, protocol.command(protocol.SAMPLES, samples) + gain)

    def _apply(self, configuration: Configuration) -> None:
        assert isinstance(configuration.detail, bytes)
        self._send(configuration.detail)

    def _start(self) -> None:
        self._last_counter = -1
        self._send(protocol.command(protocol.START))

    def _stop(self) -> None:
        self._send(protocol.command(protocol.STOP))

    # -- data ---------------------------------------------------------------------------------------------------------

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        samples = slot.data.shape[2]
        self._receive(memoryview(self._header), timeout_s)
        slot.first_byte_ns = time.monotonic_ns()
        header = protocol.parse_header(self._header, samples)
        self._receive(memoryview(slot.memory)[: slot.data.nbytes], timeout_s)
        slot.last_byte_ns = time.monotonic_ns()
        slot.device_ticks = self._time.unwrapped(header.ticks, slot.first_byte_ns)
        if self._last_counter >= 0:
            slot.lost = (header.counter - self._last_counter - 1) % (1 << 32)
        self._last_counter = header.counter

    # -- the link: its exceptions stop here ---------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        try:
            self._connected.write(data)
        except ConnectionError as error:
            raise Disconnected(f"{self.uri.text}: the board went away; plug it in again") from error

    def _receive(self, memory: memoryview, timeout_s: float) -> None:
        try:
            self._connected.read_into(memory, timeout_s)
        except TimeoutError as error:
            raise DriverTimeout(f"{self.uri.text}: no frame within {timeout_s:g} s") from error
        except ConnectionError as error:
            raise Disconnected(f"{self.uri.text}: the board went away; plug it in again") from error

    @property
    def _connected(self) -> emulator.Link:
        if self._link is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._link
