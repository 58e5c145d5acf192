"""The driver behind `replay:FILE`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.base import Driver, Uri
from sonod.drivers.directivity import natural_f_number, scanned_f_number
from sonod.drivers.errors import DeviceNotFound, DriverError, DriverTimeout, EndOfRecording
from sonod.drivers.frame import Acquisition, Configuration, DataKind, SampleFormat, Slot
from sonod.drivers.options import choice_option, number_option, whole_option
from sonod.drivers.pacing import Clock, MonotonicClock, Pacer
from sonod.drivers.probe import Probe
from sonod.drivers.recording import Recording
from sonod.drivers.replay.clock import ReplayedClock
from sonod.drivers.replay.depth import deepest_m
from sonod.drivers.settings import KNOBS, Knob, Settings

# Recordings up to this size are read into memory at open, so that playing them costs one copy a frame.
RESIDENT_BYTES = 512 << 20
# Faster than anybody can see; a Doppler ensemble would otherwise be over before it is looked at.
FASTEST_DEFAULT_HZ = 30.0
DEFAULT_HZ = 20.0


class ReplayDriver(Driver):
    """Plays a `sonod-rf` recording as if its probe were there."""

    summary = "a recording played as a live probe"
    uri_form = "replay:FILE?loop=1&rate=HZ&start=FRAME"
    needs = "an HDF5 recording of format sonod-rf"

    def __init__(self, uri: Uri | str, clock: Clock | None = None) -> None:
        super().__init__(uri)
        self.uri.reject_unknown(("loop", "rate", "start"))
        if not self.uri.rest:
            raise DeviceNotFound(f"driver URI {self.uri.text!r}: names no file; write replay:FILE")
        self._loop = choice_option(self.uri, "loop", "1", ("0", "1")) == "1"
        self._rate_hz = number_option(self.uri, "rate", -1.0, 0.0, 1000.0)
        self._start_frame = whole_option(self.uri, "start", 0, 0, 1 << 40)
        self._pacer = Pacer(clock or MonotonicClock())
        self._recording: Recording | None = None
        self._frames: NDArray[Any] | None = None
        self._device_clock: ReplayedClock | None = None
        self._declared: Mapping[str, Knob] = {}
        self._index = 0
        self._duration_ns = 0

    @property
    def recording(self) -> Recording:
        """The open recording; DriverError before `open`."""
        if self._recording is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._recording

    @property
    def probe(self) -> Probe:
        return self.recording.acquisition.probe

    def _open(self) -> None:
        path = Path(self.uri.rest).expanduser()
        if not path.exists():
            raise DeviceNotFound(f"driver URI {self.uri.text!r}: no file {path} (from {Path.cwd()}); check the path")
        recording = Recording(path)
        try:
            if self._start_frame >= recording.frame_count:
                raise DeviceNotFound(
                    f"driver URI {self.uri.text!r}: start must be in 0..{recording.frame_count - 1}, "
                    f"got {self._start_frame}"
                )
            acquisition = recording.acquisition
            if recording.frame_count * acquisition.nbytes <= RESIDENT_BYTES:
                frames = np.empty((recording.frame_count, *acquisition.shape), acquisition.dtype)
                for index in range(recording.frame_count):
                    recording.read_frame(index, frames[index])
                self._frames = frames
        except BaseException:
            recording.close()
            raise
        self._recording = recording
        ticks = recording.device_ticks
        self._device_clock = None if ticks is None else ReplayedClock(ticks)
        self._declared = _knobs(acquisition, self._rate(recording))
        times = acquisition.sequence.t0_s + acquisition.shape[-1 - (acquisition.sample_format is SampleFormat.IQ)] / (
            acquisition.sampling_hz
        )
        self._duration_ns = 0 if acquisition.kind is DataKind.IMAGE else round(float(times.sum()) * 1e9)
        self._index = self._start_frame

    def _close(self) -> None:
        if self._recording is not None:
            self._recording.close()
        self._recording = None
        self._frames = None

    def _knobs(self) -> Mapping[str, Knob]:
        return self._declared

    def _prepare(self, settings: Settings) -> Configuration:
        return Configuration(settings, self.recording.acquisition)

    def _apply(self, configuration: Configuration) -> None:
        if "frame_rate_hz" in self._declared:
            self._pacer.change(configuration.settings.frame_rate_hz)

    def _start(self) -> None:
        assert self._configuration is not None
        paced = "frame_rate_hz" in self._declared
        self._pacer.start(self._configuration.settings.frame_rate_hz if paced else 0.0)

    def _stop(self) -> None:
        pass

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        recording = self.recording
        if self._index >= recording.frame_count:
            if not self._loop:
                raise EndOfRecording(f"{recording.path}: all {recording.frame_count} frames have been played")
            self._index = 0
        pacer = self._pacer
        pacer.postpone()
        fired_ns = pacer.due_ns
        # A frame is there when its last echo is, but a recording may be played faster than its probe could fire.
        arrival_ns = fired_ns + min(self._duration_ns, pacer.period_ns)
        if not pacer.wait(arrival_ns, timeout_s):
            raise DriverTimeout(f"{self.uri.text}: no frame within {timeout_s:g} s")
        if self._frames is not None:
            np.copyto(slot.data, self._frames[self._index])
        else:
            recording.read_frame(self._index, slot.data)
        slot.truth = recording.truth(self._index)
        slot.transmit_ns = fired_ns
        slot.transmit_uncertainty_ns = 0
        if self._device_clock is not None:
            self._device_clock.stamp(slot, self._index, fired_ns, pacer.period_ns)
        slot.first_byte_ns = arrival_ns
        slot.last_byte_ns = pacer.clock.now_ns()
        self._index += 1
        pacer.advance()

    def _rate(self, recording: Recording) -> float:
        if self._rate_hz >= 0:
            return self._rate_hz
        return min(recording.frame_rate_hz, FASTEST_DEFAULT_HZ) or DEFAULT_HZ


def _knobs(acquisition: Acquisition, rate_hz: float) -> dict[str, Knob]:
    """What can be set while this recording plays; nearly all of it acts in the processing."""
    depth = deepest_m(acquisition)
    knobs = {
        "depth_m": KNOBS["depth_m"].narrowed(
            minimum=min(0.005, depth / 2), maximum=depth, default=depth, step=_nice_step(depth)
        )
    }
    shown = ("gain_db", "tgc_db", "dynamic_range_db", "persistence", "grey_map")
    knobs |= {name: KNOBS[name] for name in shown}
    if acquisition.kind is DataKind.CHANNEL:
        speed = acquisition.sound_speed_m_s
        moved = acquisition.sequence.channel_count == 1 and acquisition.probe.element_count > 1
        natural = (scanned_f_number if moved else natural_f_number)(acquisition.probe, speed)
        knobs["sound_speed_m_s"] = KNOBS["sound_speed_m_s"].narrowed(default=speed)
        knobs["f_number"] = KNOBS["f_number"].narrowed(default=natural)
        knobs["apodization"] = KNOBS["apodization"]
    if rate_hz > 0:
        knobs["frame_rate_hz"] = KNOBS["frame_rate_hz"].on_device(
            default=rate_hz, minimum=min(0.1, rate_hz), acoustic_output=False
        )
    return knobs


def _nice_step(depth: float) -> float:
    """A step that people can dial: about a hundredth of the depth, a power of ten."""
    return float(10.0 ** np.floor(np.log10(depth / 20)))
