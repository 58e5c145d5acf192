"""The plan for channel data: demodulate, delay and sum, detect, pixels, greys."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext.adaptive import AdaptiveBeamformer
from sonod.cext.das import DelayAndSum
from sonod.cext.prepare import Demodulator, IqPreparer, baseband_rate_hz, half_bandwidth_hz
from sonod.cext.threads import Series
from sonod.client.wire.geometry import LinesGeometry
from sonod.daemon.pipeline import converters
from sonod.daemon.pipeline.arrivals import (
    boundaries_as_seen,
    layered_receive_times,
    layered_transmit_times,
    transmit_times,
)
from sonod.daemon.pipeline.base import Plan
from sonod.daemon.pipeline.beams import SHORT_LAG, Beams, Operator
from sonod.daemon.pipeline.geometry import channel_geometry, image_geometry, lines_geometry
from sonod.daemon.pipeline.grid import BeamGrid, channel_grid, scans_line_by_line
from sonod.daemon.pipeline.labels import LabelMask
from sonod.daemon.pipeline.level import Level
from sonod.daemon.pipeline.options import ImageOptions
from sonod.daemon.pipeline.picture import Greys, Picture, PixelMapper
from sonod.daemon.pipeline.product import Product
from sonod.daemon.pipeline.reciprocity import Reciprocity
from sonod.daemon.pipeline.timegain import time_gain
from sonod.drivers.frame import Acquisition, Configuration, SampleFormat, Slot
from sonod.drivers.probe import ArrayKind, Probe
from sonod.drivers.sequence import Sequence
from sonod.drivers.settings import Settings

# The beamformer that is not an adaptive one.
PLAIN = "delay-and-sum"


class ChannelPlan(Plan):
    """RF or IQ of the receive channels to beamformed products."""

    def __init__(self, configuration: Configuration, options: ImageOptions, level: Level) -> None:
        super().__init__(configuration, level)
        acquisition, settings = configuration.acquisition, configuration.settings
        self._acquisition = acquisition
        center_hz = acquisition.pulse_frequency_hz
        if not center_hz > 0:
            raise ValueError("acquisition: channel data needs the centre frequency of its echoes")
        self._parts = raster_parts(acquisition)
        first = self._parts[0]
        part = acquisition if len(self._parts) == 1 else sub_acquisition(acquisition, first)
        self._reciprocity = Reciprocity(part.sequence, part.shape, part.dtype)
        self._prepare = _preparer(part, settings, configuration.applied, center_hz)
        self._iq = np.zeros(self._prepare.output_shape, np.float32)
        self._grids = tuple(self._grid(index, part, options) for index in range(len(self._parts)))
        grid = self._grids[0]
        self._beams = _beams(part, self._reciprocity, settings, grid, self._prepare, center_hz, options)
        converter = None if grid.direct else converters.to_pixels(grid.lines, grid.pixels)
        self._mapper = PixelMapper(converter, (grid.pixels.rows, grid.pixels.columns))
        gain = "gain_db" not in configuration.applied
        coherence = settings.beamformer == SHORT_LAG
        geometries = [
            image_geometry(own.pixels, acquisition.probe, settings.sound_speed_m_s, own.sector) for own in self._grids
        ]
        self._pictures: tuple[Picture | Greys, ...] = tuple(
            Greys(geometry, settings, converter, white=1.0)
            if coherence
            else Picture(geometry, settings, level, gain=gain, converter=converter)
            for geometry in geometries
        )
        self._labels = tuple(
            LabelMask(own.pixels, picture.geometry, None if own.direct else own.lines)
            for own, picture in zip(self._grids, self._pictures, strict=True)
        )
        self._lines_geometry: LinesGeometry = lines_geometry(grid.lines)
        self._raw_geometry = channel_geometry(acquisition)

    @property
    def slices(self) -> int:
        return len(self._parts)

    def run(self, slot: Slot, wanted: frozenset[str]) -> tuple[Product, ...]:
        with Series():
            return self._run(slot, wanted)

    def _run(self, slot: Slot, wanted: frozenset[str]) -> tuple[Product, ...]:
        self._begin()
        raw = slot.data
        index = slot.number % len(self._parts)
        products = [Product("rf", raw, self._raw_geometry)] if "rf" in wanted else []
        if "labels" in wanted:
            products += self._labels[index].product(slot.truth)
            wanted -= {"labels"}
        if not wanted - {"rf"}:
            return tuple(products)
        part = raw if len(self._parts) == 1 else raw[self._parts[index]]
        self._prepare.run(self._reciprocity.run(part), self._iq)
        self._end_stage("prepare", self._iq)
        beams = self._beams
        beams.run(self._iq)
        self._end_stage("beamform", beams.beamformed)
        if "iq" in wanted:
            products.append(Product("iq", beams.beamformed, self._lines_geometry))
        picture = self._pictures[index]
        baseband = picture.takes_baseband and beams.shows_baseband
        if wanted & {"lines", "envelope"} or ("bmode" in wanted and not baseband):
            beams.detect()
            self._end_stage("detect", beams.magnitude)
        if "lines" in wanted:
            products.append(Product("lines", beams.magnitude, self._lines_geometry))
        if "envelope" in wanted:
            pixels = self._mapper.run(beams.magnitude)
            products.append(Product("envelope", pixels, picture.geometry))
            self._end_stage("scan_convert", pixels)
        if "bmode" in wanted:
            greys = picture.compress(beams.beamformed if baseband else beams.magnitude)
            products.append(Product("bmode", greys, picture.geometry))
            self._end_picture(greys)
        return tuple(products)

    def _grid(self, index: int, part: Acquisition, options: ImageOptions) -> BeamGrid:
        settings = self.configuration.settings
        y_m = None
        if len(self._parts) > 1:
            y_m = float(self._acquisition.sequence.origins_m[self._parts[index], 1].mean())
        return channel_grid(part, settings.depth_m, settings.sound_speed_m_s, options, y_m)


def raster_parts(acquisition: Acquisition) -> tuple[NDArray[np.intp], ...]:
    """Transmit indices that make one picture each: all of them, or, for one element moved over a plane, those of one
    y after the other (all with the same x positions)."""
    sequence, probe = acquisition.sequence, acquisition.probe
    everything = (np.arange(len(sequence.events)),)
    positions = probe.element_positions_m
    if sequence.channel_count != 1 or len(sequence.events) != len(positions) or len(positions) < 4:
        return everything
    if probe.kind not in (ArrayKind.ARBITRARY, ArrayKind.LINEAR) or np.ptp(positions[:, 1]) == 0:
        return everything
    own = np.round(positions, 9)
    parts = tuple(np.flatnonzero(own[:, 1] == y) for y in np.unique(own[:, 1]))
    if any(len(part) != len(parts[0]) or (own[part, 0] != own[parts[0], 0]).any() for part in parts):
        return everything
    return parts


def sub_acquisition(acquisition: Acquisition, transmits: NDArray[np.intp]) -> Acquisition:
    """The same acquisition with only these transmissions of a moved single element, as an array of their own."""
    probe = acquisition.probe
    own = Probe.from_positions(
        probe.name,
        probe.element_positions_m[transmits],
        probe.center_frequency_hz,
        fractional_bandwidth=probe.fractional_bandwidth,
        element_width_m=probe.element_width_m,
    )
    events = []
    for place, index in enumerate(transmits):
        event = acquisition.sequence.events[index]
        events.append(
            replace(event, delays_s=event.delays_s[transmits], receive_elements=np.array([place], dtype=np.int32))
        )
    return replace(
        acquisition, probe=own, sequence=Sequence(tuple(events)), shape=(len(transmits), *acquisition.shape[1:])
    )


def _preparer(
    acquisition: Acquisition, settings: Settings, applied: frozenset[str], center_hz: float
) -> Demodulator | IqPreparer:
    samples = acquisition.shape[2]
    t0_s = acquisition.sequence.t0_s
    gain = None
    if "tgc_db" not in applied:
        times = float(t0_s.mean()) + np.arange(samples) / acquisition.sampling_hz
        gain = time_gain(settings.tgc_db, times * settings.sound_speed_m_s / 2, settings.depth_m)
    if acquisition.sample_format is SampleFormat.IQ:
        return IqPreparer(
            acquisition.shape,
            acquisition.dtype,
            sampling_hz=acquisition.sampling_hz,
            demodulation_hz=center_hz,
            t0_s=t0_s,
            sample_scale=acquisition.sample_scale,
            time_gain=gain,
        )
    half = half_bandwidth_hz(center_hz, acquisition.sampling_hz)
    return Demodulator(
        acquisition.shape,
        acquisition.dtype,
        sampling_hz=acquisition.sampling_hz,
        demodulation_hz=center_hz,
        half_bandwidth_hz=half,
        output_hz=baseband_rate_hz(acquisition.sampling_hz, half),
        t0_s=t0_s,
        sample_scale=acquisition.sample_scale,
        time_gain=gain,
    )


def _beams(
    acquisition: Acquisition,
    reciprocity: Reciprocity,
    settings: Settings,
    grid: BeamGrid,
    prepared: Demodulator | IqPreparer,
    center_hz: float,
    options: ImageOptions,
) -> Beams:
    probe, sequence, lines = acquisition.probe, reciprocity.sequence, grid.lines
    distances = lines.first_m + np.arange(lines.count) * lines.spacing_m
    points = lines.origins_m[:, None] + lines.directions[:, None] * distances[None, :, None]
    c = settings.sound_speed_m_s
    receive_time = weight = None
    if _layered(acquisition, grid):
        layers = acquisition.layers
        if acquisition.pulse_delay_s == 0:
            layers = boundaries_as_seen(layers, 1 / center_hz)
        receive_time = layered_receive_times(probe, points, layers, c)
        time = layered_transmit_times(sequence, receive_time)
    else:
        time, weight = transmit_times(
            sequence, probe, points, c, 1 / center_hz, line_by_line=scans_line_by_line(acquisition, options)
        )
    wavelength_m = c / center_hz

    def build(part: slice) -> Operator:
        common: dict[str, Any] = {
            "origins_m": lines.origins_m,
            "directions": lines.directions,
            "first_m": lines.first_m,
            "spacing_m": lines.spacing_m,
            "count": lines.count,
            "element_positions_m": probe.element_positions_m,
            "element_normals": probe.element_normals,
            "receive_elements": sequence.receive_elements[part],
            "transmit_time_s": time[part],
            "transmit_weight": None if weight is None else weight[part],
            "sampling_hz": prepared.output_hz,
            "t0_s": prepared.output_t0_s[part],
            "samples": prepared.output_shape[2],
            "demodulation_hz": center_hz,
            "sound_speed_m_s": c,
            "f_number": settings.f_number,
            "apodization": settings.apodization,
            "time_offset_s": acquisition.pulse_delay_s,
        }
        if settings.beamformer == PLAIN:
            return DelayAndSum(receive_time_s=receive_time, quality=options.quality, **common)
        return AdaptiveBeamformer(
            product=settings.beamformer,
            bins=options.coherence_bins,
            lags=options.coherence_lags,
            reach_m=options.coherence_wavelengths * wavelength_m / 2,
            **common,
        )

    return Beams(
        len(sequence.receive_elements),
        lines.shape,
        build,
        incoherent=settings.compounding == "incoherent",
        coherence=settings.beamformer == SHORT_LAG,
    )


def _layered(acquisition: Acquisition, grid: BeamGrid) -> bool:
    flat = math.isclose(float(np.abs(acquisition.probe.element_positions_m[:, 2]).max()), 0, abs_tol=1e-9)
    straight = bool((grid.lines.directions[:, 2] == 1).all())
    return len(acquisition.layers) > 1 and flat and straight
