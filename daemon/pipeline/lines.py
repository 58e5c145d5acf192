"""The plan for scan lines that arrive beamformed: envelope, pixels, greys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sonod.cext.detect import Envelope, HilbertEnvelope
from sonod.daemon.pipeline import converters
from sonod.daemon.pipeline.base import Plan
from sonod.daemon.pipeline.geometry import channel_geometry, image_geometry, lines_geometry
from sonod.daemon.pipeline.grid import lines_grid
from sonod.daemon.pipeline.level import Level
from sonod.daemon.pipeline.options import ImageOptions
from sonod.daemon.pipeline.picture import Greys, Picture, PixelMapper
from sonod.daemon.pipeline.product import Product
from sonod.daemon.pipeline.timegain import time_gain
from sonod.drivers.frame import Configuration, LineGeometry, SampleFormat, Slot


class LinesPlan(Plan):
    """RF, IQ, envelope or 8-bit lines to pictures. Several transmissions are averaged after detection."""

    def __init__(self, configuration: Configuration, options: ImageOptions, level: Level) -> None:
        super().__init__(configuration, level)
        acquisition, settings = configuration.acquisition, configuration.settings
        if acquisition.lines is None:
            raise ValueError("lines plan: the acquisition has no line geometry")
        self._format = acquisition.sample_format
        self._lines = at_sound_speed(acquisition.lines, settings.sound_speed_m_s / acquisition.sound_speed_m_s)
        grid, sector = lines_grid(self._lines, settings.depth_m, options)
        self._scale = np.float32(acquisition.sample_scale)
        distances = self._lines.first_m + np.arange(self._lines.count, dtype=np.float64) * self._lines.spacing_m
        applied = configuration.applied
        gain = None if "tgc_db" in applied else time_gain(settings.tgc_db, distances, settings.depth_m)
        self._gain = None if gain is None or self._format is SampleFormat.RF else gain
        self._envelope = Envelope()
        self._hilbert = (
            HilbertEnvelope(
                self._lines.shape,
                acquisition.dtype,
                sampling_hz=acquisition.sampling_hz,
                sample_scale=acquisition.sample_scale,
                time_gain=gain,
            )
            if self._format is SampleFormat.RF
            else None
        )
        self._one = np.zeros(self._lines.shape, np.float32)
        self._iq = np.zeros((*self._lines.shape, 2), np.float32)
        self._magnitude = np.zeros(self._lines.shape, np.float32)
        converter = converters.to_pixels(self._lines, grid)
        self._mapper = PixelMapper(converter, (grid.rows, grid.columns))
        geometry = image_geometry(grid, acquisition.probe, settings.sound_speed_m_s, sector)
        self._picture: Picture | Greys = (
            Greys(geometry, settings, converter)
            if self._format is SampleFormat.LOG8
            else Picture(geometry, settings, level, gain="gain_db" not in applied, converter=converter)
        )
        self._lines_geometry = lines_geometry(self._lines)
        self._raw_geometry = channel_geometry(acquisition)

    def run(self, slot: Slot, wanted: frozenset[str]) -> tuple[Product, ...]:
        self._begin()
        products = [Product("rf", slot.data, self._raw_geometry)] if "rf" in wanted else []
        if not wanted - {"rf"}:
            return tuple(products)
        self._detect(slot)
        self._end_stage("detect", self._magnitude)
        if "iq" in wanted and self._format is SampleFormat.IQ:
            products.append(Product("iq", self._iq, self._lines_geometry))
        if "lines" in wanted:
            products.append(Product("lines", self._magnitude, self._lines_geometry))
        if "envelope" in wanted:
            pixels = self._mapper.run(self._magnitude)
            products.append(Product("envelope", pixels, self._picture.geometry))
            self._end_stage("scan_convert", pixels)
        if "bmode" in wanted:
            greys = self._picture.compress(self._magnitude)
            products.append(Product("bmode", greys, self._picture.geometry))
            self._end_picture(greys)
        return tuple(products)

    def _detect(self, slot: Slot) -> None:
        transmits = slot.data.shape[0]
        self._magnitude[:] = 0
        for raw in slot.data:
            if self._hilbert is not None:
                self._hilbert.run(raw, self._one)
            elif self._format is SampleFormat.IQ:
                np.multiply(raw, self._scale, out=self._iq, casting="unsafe")
                self._envelope.run(self._iq, self._one)
            else:
                np.multiply(raw, self._scale, out=self._one, casting="unsafe")
            self._magnitude += self._one
        if transmits > 1:
            self._magnitude /= np.float32(transmits)
        if self._gain is not None and self._format is not SampleFormat.LOG8:
            self._magnitude *= self._gain


def at_sound_speed(lines: LineGeometry, factor: float) -> LineGeometry:
    """The same lines when sound is `factor` times as fast as they were measured with."""
    if factor == 1:
        return lines
    return replace(lines, first_m=lines.first_m * factor, spacing_m=lines.spacing_m * factor)
