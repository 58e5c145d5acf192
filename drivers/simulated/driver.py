"""The driver behind `sim:`."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sonod.cext.pulse import Pulse
from sonod.cext.simulate import EchoModel, EchoSimulator
from sonod.drivers.base import Driver, Uri
from sonod.drivers.errors import DeviceNotFound, DriverError, DriverTimeout, ProbeFileError
from sonod.drivers.frame import Acquisition, Configuration, DataKind, SampleFormat, Slot
from sonod.drivers.options import choice_option, number_option, whole_option
from sonod.drivers.pacing import Clock, MonotonicClock, Pacer
from sonod.drivers.probe import Probe
from sonod.drivers.probe_file import ProbeFile, load_probe
from sonod.drivers.sequence import Sequence
from sonod.drivers.settings import Knob, Settings, default_settings
from sonod.drivers.simulated.background import Background, View, render_background
from sonod.drivers.simulated.device_clock import SimulatedDeviceClock
from sonod.drivers.simulated.drive import driven_pulse, neper_per_m_hz
from sonod.drivers.simulated.field import Field
from sonod.drivers.simulated.knobs import scene_knobs, view_of
from sonod.drivers.simulated.needle import Needle
from sonod.drivers.simulated.probe_knobs import probe_knobs, with_depth
from sonod.drivers.simulated.render import FULL_SCALE, FrontEnd, Renderer, noise_tile
from sonod.drivers.simulated.scan import TRANSMIT_F_NUMBER, Scan, transmissions, transmit_weights
from sonod.drivers.simulated.scene import CELL_WAVELENGTHS, REFLECTORS_PER_CELL, Scene
from sonod.drivers.simulated.scene_file import NeedleFile, SceneFile, load_scene, scene_names
from sonod.drivers.simulated.wave import arrival_s

# Strength of tissue echoes on one channel at 0 dB gain, in counts (root mean square): 14 bits with room for a needle.
TISSUE_COUNTS = 400.0
# Beamformed level shown white, above the tissue's: it comes out mid-grey in a picture of 60 dB.
WHITE_OVER_TISSUE = 10.0
# A front-end's amplifiers go no further; deeper echoes sink into the noise.
MOST_TIME_GAIN_DB = 60.0
# Receive paths are up to this much longer than straight up, at an f-number of 1.5.
LONGEST_WAY_BACK = 1.06
# Backgrounds of former settings are kept up to this many bytes, the newest in any case.
KEPT_BYTES = 128_000_000
# Echoes are computed down to a multiple of this share of the usual depth: most changes of depth need nothing new.
DEPTH_STEP_SHARE = 1 / 4
DEFAULT_SCENE = "needle"
# Time to prepare grows with transmissions times reflectors: long sequences look at thinner tissue, down to a share.
FULL_SPECKLE_TRANSMITS = 8
LEAST_SPECKLE = 0.15


class SimulatedDriver(Driver):
    """A probe that exists only as arithmetic; the same URI, settings and frame index give the same bits."""

    summary = f"a simulated probe: channel RF of a scene ({', '.join(scene_names())}, or a file)"
    uri_form = (
        "sim:SCENE|FILE?probe=NAME|FILE&sequence=KIND&seed=N&noise_db=DB&c=M_S&attenuation=DB_CM_MHZ&settle=S&paced=0|1"
    )
    needs = "nothing"

    def __init__(self, uri: Uri | str, clock: Clock | None = None) -> None:
        super().__init__(uri)
        self.uri.reject_unknown(("probe", "sequence", "seed", "noise_db", "c", "attenuation", "settle", "paced"))
        self._scene_file = known_scene(self.uri, self.uri.rest or DEFAULT_SCENE)
        self._probe_name = self.uri.options.get("probe", self._scene_file.scene.probe)
        try:
            load_probe(self._probe_name)
        except ProbeFileError as error:
            raise DeviceNotFound(f"driver URI {self.uri.text!r}: {error}") from error
        self._scan = choice_option(self.uri, "sequence", "", ("", *Scan))
        self._seed = whole_option(self.uri, "seed", 1, 0, (1 << 31) - 1)
        # Thermal noise before the time gain, relative to the converter's full scale.
        self._noise_db = number_option(self.uri, "noise_db", -104.0, -200.0, 0.0)
        self._sound_speed_m_s = number_option(self.uri, "c", 1540.0, 300.0, 8000.0)
        # Soft tissue: 0.3-0.7 dB / (cm MHz), one way.
        self._attenuation = number_option(self.uri, "attenuation", 0.5, 0.0, 5.0)
        # How long the front-end of this probe would take to come to rest after a change of what it transmits.
        self._settle_s = number_option(self.uri, "settle", 0.0, 0.0, 5.0)
        # Unpaced, a frame is there as soon as it is asked for, and none is lost; the scene's time goes on all the same.
        self._paced = whole_option(self.uri, "paced", 1, 0, 1) == 1
        self._pacer = Pacer(clock or MonotonicClock())
        self._device_clock = SimulatedDeviceClock(self._seed)
        self._file: ProbeFile | None = None
        self._scene: Scene | None = None
        self._needle: Needle | None = None
        self._declared: Mapping[str, Knob] = {}
        self._noise: NDArray[np.float32] = np.zeros(0, np.float32)
        self._level = 0.0
        self._backgrounds: dict[tuple[object, ...], Background] = {}
        self._lock = threading.Lock()
        self._renderer: Renderer | None = None
        self._index = 0
        self._scene_time_s = 0.0
        self._period_s = 0.0
        self._duration_ns = 0

    @property
    def probe(self) -> Probe:
        return self._opened.probe

    @property
    def _opened(self) -> ProbeFile:
        if self._file is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._file

    # -- life ----------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        file = load_probe(self._probe_name)
        scan = Scan(self._scan or file.sequence)
        said = self._scene_file
        if not said.scene.fits_any_probe:
            file = with_depth(file, said.scene.depth_m)
        declared = probe_knobs(file, scan)
        self._file = file
        usual = declared["depth_m"]
        assert isinstance(usual.default, float)
        field = Field(
            file.probe,
            usual.default,
            usual.maximum * LONGEST_WAY_BACK,
            self._sound_speed_m_s / file.probe.center_frequency_hz,
        )
        self._scene = Scene(said, field, self._seed)
        # A scene without a needle of its own can still be given one.
        middle = NeedleFile(end_m=(0.0, said.scene.depth_m / 2))
        self._needle = Needle(said.needle or middle, self._scene.scale, self._seed)
        self._declared = declared | scene_knobs(self._scene, self._needle)
        self._noise = noise_tile(self._seed)
        self._level = self._calibrate()

    def _close(self) -> None:
        self._renderer = None
        self._backgrounds.clear()
        self._scene = None
        self._file = None

    def _knobs(self) -> Mapping[str, Knob]:
        return self._declared

    def _prepare(self, settings: Settings) -> Configuration:
        file = self._opened
        scan = Scan(self._scan or file.sequence)
        probe, c, sampling_hz = file.probe, self._sound_speed_m_s, file.sampling_hz
        pulse = driven_pulse(probe, settings.transmit_frequency_hz)
        sequence = transmissions(scan, probe, settings, c, sampling_hz)
        field, view = self._field, view_of(settings, self._declared)
        samples = _sample_count(sequence, probe, field, settings.depth_m, c, pulse, sampling_hz)
        background = self._background(settings, scan, sequence, pulse, view).shortened(samples)
        acquisition = Acquisition(
            probe=probe,
            sequence=background.sequence,
            kind=DataKind.CHANNEL,
            sample_format=SampleFormat.RF,
            shape=background.echoes.shape,
            dtype=np.dtype(np.int16),
            sampling_hz=sampling_hz,
            sound_speed_m_s=c,
            center_frequency_hz=pulse.frequency_hz,
            pulse_delay_s=pulse.delay_s,
            reference_amplitude=self._white(field, scan, settings.angle_count),
        )
        gain = self._gain(settings, samples, sampling_hz, pulse)
        return Configuration(settings, acquisition, self._renderer_over(background, view, settings.output_level, gain))

    def _renderer_over(
        self, background: Background, view: View, output_level: float, gain: NDArray[np.float32]
    ) -> Renderer:
        usual = self._declared["output_level"].default
        assert isinstance(usual, float)
        front_end = FrontEnd(
            self._noise,
            FULL_SCALE * 10 ** (self._noise_db / 20),
            self._level * output_level / (usual or 1.0),
            gain,
        )
        share = _share(view, len(background.sequence.events))
        return Renderer(
            background, self._opened.probe, self._laid_out, self._needle, view, share, front_end, self._seed
        )

    def _apply(self, configuration: Configuration) -> None:
        assert isinstance(configuration.detail, Renderer)
        self._renderer = configuration.detail
        self._period_s = 1 / configuration.settings.frame_rate_hz
        self._pacer.change(configuration.settings.frame_rate_hz if self._paced else 0.0)
        acquisition = configuration.acquisition
        own = acquisition.shape[0] * acquisition.shape[2] / acquisition.sampling_hz
        self._duration_ns = round(min(own, self._period_s) * 1e9) if self._paced else 0

    def _settling_frames(self, before: Configuration | None, after: Configuration) -> int:
        if before is None:
            return 0
        output = [name for name, knob in self._declared.items() if knob.acoustic_output]
        if all(before.settings.value(name) == after.settings.value(name) for name in output):
            return 0
        return math.ceil(self._settle_s * after.settings.frame_rate_hz)

    def _start(self) -> None:
        assert self._configuration is not None
        self._index = 0
        self._scene_time_s = 0.0
        self._pacer.start(self._configuration.settings.frame_rate_hz if self._paced else 0.0)

    def _stop(self) -> None:
        pass

    def _read_into(self, slot: Slot, timeout_s: float) -> None:
        renderer, pacer = self._renderer, self._pacer
        assert renderer is not None
        lost = pacer.late_frames()
        self._index += lost
        self._scene_time_s += lost * self._period_s
        slot.lost = lost
        fired_ns = pacer.due_ns
        if not pacer.wait(fired_ns, timeout_s):
            raise DriverTimeout(f"{self.uri.text}: no frame within {timeout_s:g} s")
        truth = renderer.frame(self._index, self._scene_time_s, slot.data)
        slot.truth = replace(truth, transmit_ns=fired_ns)
        # The frame is there when its last echo is.
        pacer.wait(fired_ns + self._duration_ns, timeout_s)
        slot.first_byte_ns = fired_ns + self._duration_ns // self._transmits(slot)
        slot.last_byte_ns = pacer.clock.now_ns()
        # The host is told what a device would tell: its own time of firing.
        self._device_clock.ask(slot.last_byte_ns)
        self._device_clock.stamp(slot, fired_ns)
        self._index += 1
        self._scene_time_s += self._period_s
        pacer.advance()

    # -- the scene -----------------------------------------------------------------------------------------------------

    def renderer_for(
        self,
        sequence: Sequence,
        frequency_hz: float,
        samples: int,
        gain: NDArray[np.float32],
        output_level: float,
        sampling_hz: float,
    ) -> Renderer:
        """Frames of the scene for somebody else's sequence (an emulated front-end's); `gain (samples,)` is a factor.
        Only after `open`."""
        file = self._opened
        pulse = driven_pulse(file.probe, frequency_hz)
        model = replace(self._model(pulse), sampling_hz=sampling_hz)
        view = view_of(default_settings(self._declared), self._declared)
        depth = min(samples / sampling_hz * self._sound_speed_m_s / 2, self._field.deepest_m)
        weights = np.where(np.isnan(sequence.delays_s), 0.0, 1.0)
        background = render_background(
            model,
            sequence,
            weights,
            file.probe,
            self._laid_out,
            view,
            _share(view, len(sequence.events)),
            depth,
            self._attenuation,
            samples,
        )
        return self._renderer_over(background, view, output_level, gain)

    @property
    def _laid_out(self) -> Scene:
        if self._scene is None:
            raise DriverError(f"{self.uri.text}: must be open, is {self.state}")
        return self._scene

    @property
    def _field(self) -> Field:
        return self._laid_out.field

    @staticmethod
    def _transmits(slot: Slot) -> int:
        return int(slot.data.shape[0])

    def _background(self, settings: Settings, scan: Scan, sequence: Sequence, pulse: Pulse, view: View) -> Background:
        """At least as deep as the settings; from the few kept ones when only gains, the depth within its step or the
        needle have changed; else computed."""
        file, field = self._opened, self._field
        step = DEPTH_STEP_SHARE * field.depth_m
        depth = min(math.ceil(settings.depth_m / step - 1e-9) * step, self._declared["depth_m"].maximum)
        key = (
            depth,
            settings.transmit_frequency_hz,
            settings.focus_depth_m if scan is Scan.FOCUSED else 0.0,
            settings.angle_count,
            settings.angle_span_rad,
            view.probe_x_m,
            view.probe_tilt_rad,
            view.quality,
        )
        with self._lock:
            found = self._backgrounds.get(key)
        if found is not None:
            return found
        probe = file.probe
        made = render_background(
            self._model(pulse),
            sequence,
            transmit_weights(scan, sequence, probe),
            probe,
            self._laid_out,
            view,
            _share(view, len(sequence.events)),
            depth * LONGEST_WAY_BACK,
            self._attenuation,
            _sample_count(sequence, probe, field, depth, self._sound_speed_m_s, pulse, file.sampling_hz),
        )
        with self._lock:
            self._backgrounds[key] = made
            while (
                len(self._backgrounds) > 1 and sum(own.echoes.nbytes for own in self._backgrounds.values()) > KEPT_BYTES
            ):
                del self._backgrounds[next(iter(self._backgrounds))]
        return made

    def _model(self, pulse: Pulse) -> EchoModel:
        file = self._opened
        probe = file.probe
        return EchoModel(
            positions_m=probe.element_positions_m,
            normals=probe.element_normals,
            element_width_m=probe.element_width_m,
            sound_speed_m_s=self._sound_speed_m_s,
            attenuation_np_m_hz=neper_per_m_hz(self._attenuation),
            farthest_m=2 * (self._declared["depth_m"].maximum + probe.aperture_m),
            sampling_hz=file.sampling_hz,
            pulse=pulse,
            element_height_m=probe.element_height_m,
            elevation_focus_m=probe.elevation_focus_m,
        )

    def _calibrate(self) -> float:
        """Counts for one unit of echo, such that tissue in the middle of the usual picture has its due strength."""
        file, field = self._opened, self._field
        usual = default_settings(self._declared)
        pulse = driven_pulse(file.probe, usual.transmit_frequency_hz)
        scan = Scan(self._scan or file.sequence)
        sequence = transmissions(
            scan, file.probe, replace(usual, angle_count=1), self._sound_speed_m_s, file.sampling_hz
        )
        model = self._model(pulse)
        depth = usual.focus_depth_m if scan is Scan.FOCUSED else field.depth_m / 2
        x, z = np.zeros(1), np.full(1, depth)
        there = EchoSimulator(model).amplitude(
            x.astype(np.float32),
            z.astype(np.float32),
            sequence.delays_s,
            transmit_weights(scan, sequence, file.probe),
            np.stack([arrival_s(event, file.probe, x, z, self._sound_speed_m_s) for event in sequence.events]),
        )
        # Reflectors that one channel hears at once: those in a strip one wavelength deep.
        density = REFLECTORS_PER_CELL / (CELL_WAVELENGTHS * field.wavelength_m) ** 2
        heard = math.sqrt(density * field.wavelength_m * _strip_m(field, scan, depth))
        peak = float(np.abs(pulse.envelope(np.zeros(1)))[0])
        echo = float(np.abs(there[0, 0])) * float(model.decay(np.array([depth]))[0]) * heard * peak
        return TISSUE_COUNTS / echo

    def _white(self, field: Field, scan: Scan, transmits: int) -> float:
        """Beamformed echo shown white at 0 dB gain: tissue in the middle of the usual picture comes out mid-grey.

        Delay and sum keeps of a channel's tissue echo the part from one resolution cell, wavelength times f-number
        wide, out of the whole strip; the mean counts channels outside the aperture, and beams elsewhere, as zeros.
        """
        knob = self._declared["f_number"].default
        assert isinstance(knob, float)
        aperture, depth = field.probe.aperture_m, field.depth_m / 2
        f_number = max(knob, depth / aperture)
        used = min(depth / (f_number * aperture), 1.0)
        kept = math.sqrt(min(field.wavelength_m * f_number / _strip_m(field, scan, depth), 1.0)) * used
        return WHITE_OVER_TISSUE * TISSUE_COUNTS * kept / (transmits if scan is Scan.FOCUSED else 1)

    def _gain(self, settings: Settings, samples: int, sampling_hz: float, pulse: Pulse) -> NDArray[np.float32]:
        """The front-end's gain at each sample: its own compensation of the usual attenuation, the curve, the gain."""
        depths = np.arange(samples) / sampling_hz * self._sound_speed_m_s / 2
        own = 2 * self._attenuation * 100 * depths * pulse.frequency_hz / 1e6
        curve = np.interp(depths, np.linspace(0, settings.depth_m, len(settings.tgc_db)), settings.tgc_db)
        decibels = np.minimum(own, MOST_TIME_GAIN_DB) + curve + settings.gain_db
        return np.asarray(10 ** (decibels / 20), dtype=np.float32)


def known_scene(uri: Uri, name_or_path: str) -> SceneFile:
    """The scene that a URI names; DeviceNotFound with the URI for one that is not there, SceneFileError for faults."""
    try:
        return load_scene(name_or_path)
    except DeviceNotFound as error:
        raise DeviceNotFound(f"driver URI {uri.text!r}: {error}") from error


def _strip_m(field: Field, scan: Scan, depth_m: float) -> float:
    """Width of what a channel hears at once: a beam's waist, or about as much as the distance."""
    return 2 * TRANSMIT_F_NUMBER * field.wavelength_m if scan is Scan.FOCUSED else depth_m


def _share(view: View, transmits: int) -> float:
    """Share of the tissue's reflectors: of the quality asked for, less in long sequences."""
    return view.quality * min(1.0, max(FULL_SPECKLE_TRANSMITS / transmits, LEAST_SPECKLE))


def _sample_count(
    sequence: Sequence, probe: Probe, field: Field, depth_m: float, c: float, pulse: Pulse, sampling_hz: float
) -> int:
    """Samples until the last echo from the deepest row has come back, a multiple of 16."""
    share = depth_m / field.depth_m
    corners = np.array([field.at(across, share) for across in (-1.0, -0.5, 0.0, 0.5, 1.0)])
    latest = max(
        float(arrival_s(event, probe, corners[:, 0], corners[:, 1], c).max()) - event.t0_s for event in sequence.events
    )
    seconds = latest + LONGEST_WAY_BACK * depth_m / c + 2 * pulse.delay_s
    return 16 * math.ceil(seconds * sampling_hz / 16)
