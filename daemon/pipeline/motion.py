"""The plan for one line of sight: A-mode, and its history as M-mode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonod.cext.compress import Compressor, grey_table
from sonod.cext.detect import Envelope, HilbertEnvelope
from sonod.cext.prepare import half_bandwidth_hz
from sonod.client.wire.geometry import LinesGeometry, MotionGeometry
from sonod.daemon.pipeline.base import Plan
from sonod.daemon.pipeline.geometry import channel_geometry, image_geometry
from sonod.daemon.pipeline.level import Level
from sonod.daemon.pipeline.options import ImageOptions
from sonod.daemon.pipeline.product import Product
from sonod.daemon.pipeline.timegain import time_gain
from sonod.drivers.frame import Acquisition, Configuration, DataKind, PixelGrid, SampleFormat, Slot

# Columns of the M-mode picture: ten seconds at 25 frames a second.
MOTION_COLUMNS = 256
# An M-mode picture needs no more rows; finer samples are reduced by their maximum, so that no echo is lost.
MOTION_ROWS = 800


def is_single_line(acquisition: Acquisition) -> bool:
    """Whether a raw frame is one A-scan: one transmission heard by one channel, or one line."""
    return acquisition.kind in (DataKind.CHANNEL, DataKind.LINES) and acquisition.shape[:2] == (1, 1)


class MotionPlan(Plan):
    """One A-scan a frame. `lines` is its envelope, `bmode` the same as a picture one column wide, `mmode` the history
    with the newest column on the right."""

    def __init__(self, configuration: Configuration, options: ImageOptions, level: Level) -> None:
        super().__init__(configuration, level)
        acquisition, settings = configuration.acquisition, configuration.settings
        self._format = acquisition.sample_format
        samples = acquisition.shape[2]
        c = settings.sound_speed_m_s
        if acquisition.lines is not None:
            factor = c / acquisition.sound_speed_m_s
            first_m, spacing_m = acquisition.lines.first_m * factor, acquisition.lines.spacing_m * factor
            origin = tuple(acquisition.lines.origins_m[0].tolist())
            direction = tuple(acquisition.lines.directions[0].tolist())
        else:
            t0_s = float(acquisition.sequence.t0_s[0]) - acquisition.pulse_delay_s
            first_m, spacing_m = t0_s * c / 2, c / 2 / acquisition.sampling_hz
            origin = tuple(acquisition.probe.element_positions_m[0].tolist())
            direction = (0.0, 0.0, 1.0)
        self._count = max(1, min(samples, int((settings.depth_m - first_m) / spacing_m) + 1))
        depths = first_m + np.arange(samples, dtype=np.float64) * spacing_m
        applied = configuration.applied
        # Samples that arrive compressed had their gain in the device.
        untouched = "tgc_db" in applied or self._format is SampleFormat.LOG8
        gain = None if untouched else time_gain(settings.tgc_db, depths, settings.depth_m)
        self._gain = None if self._format is SampleFormat.RF else gain
        self._hilbert = None
        if self._format is SampleFormat.RF:
            center = acquisition.pulse_frequency_hz
            band = None
            if center > 0 and center < acquisition.sampling_hz / 2:
                half = half_bandwidth_hz(center, acquisition.sampling_hz)
                band = (center - half, min(center + half, 0.49 * acquisition.sampling_hz))
            self._hilbert = HilbertEnvelope(
                (1, samples),
                acquisition.dtype,
                sampling_hz=acquisition.sampling_hz,
                sample_scale=acquisition.sample_scale,
                time_gain=gain,
                band_hz=band,
            )
        self._envelope = Envelope()
        self._iq = np.zeros((1, samples, 2), np.float32)
        self._scale = np.float32(acquisition.sample_scale)
        self._magnitude = np.zeros((1, samples), np.float32)
        self._settings = settings
        self._gain_db = 0.0 if "gain_db" in applied else settings.gain_db
        self._step = -(-self._count // MOTION_ROWS)
        rows = -(-self._count // self._step)
        self._padded = np.zeros(rows * self._step, np.float32)
        self._column = np.zeros((rows, 1), np.float32)
        self._motion = np.zeros((rows, MOTION_COLUMNS), np.uint8)
        self._a_scan = np.zeros((self._count, 1), np.uint8)
        self._reduced = np.zeros((rows, 1), np.uint8)
        self._compressors: tuple[Compressor | _Greys, Compressor | _Greys] | None = None
        self._lines_geometry = LinesGeometry((1, self._count), (origin,), (direction,), first_m, spacing_m)
        # The column is as wide as a row is high; it stands for one line of sight, not for a width.
        column = PixelGrid(self._count, 1, origin[0], first_m, spacing_m, spacing_m, origin[1])
        self._bmode_geometry = image_geometry(column, acquisition.probe, c)
        period = 1 / settings.frame_rate_hz if acquisition.slow_time and settings.frame_rate_hz > 0 else 0.0
        row_m = spacing_m * self._step
        middle = first_m + (self._step - 1) / 2 * spacing_m
        self._motion_geometry = MotionGeometry((rows, MOTION_COLUMNS), row_m, middle, period, origin)
        self._raw_geometry = channel_geometry(acquisition)

    def run(self, slot: Slot, wanted: frozenset[str]) -> tuple[Product, ...]:
        self._begin()
        products = [Product("rf", slot.data, self._raw_geometry)] if "rf" in wanted else []
        if not wanted - {"rf"}:
            return tuple(products)
        self._detect(slot)
        self._end_stage("detect", self._magnitude)
        envelope = self._magnitude[:, : self._count]
        if "lines" in wanted:
            products.append(Product("lines", envelope, self._lines_geometry))
        if "envelope" in wanted:
            products.append(Product("envelope", envelope.T, self._bmode_geometry))
        if wanted & {"bmode", "mmode"}:
            fine, coarse = self._compress()
            if "bmode" in wanted:
                fine.run(np.ascontiguousarray(envelope.T), self._a_scan)
                products.append(Product("bmode", self._a_scan, self._bmode_geometry))
            if "mmode" in wanted:
                self._padded[: self._count] = envelope[0]
                np.max(self._padded.reshape(-1, self._step), axis=1, keepdims=True, out=self._column)
                coarse.run(self._column, self._reduced)
                self._motion[:, :-1] = self._motion[:, 1:]
                self._motion[:, -1] = self._reduced[:, 0]
                products.append(Product("mmode", self._motion, self._motion_geometry))
            if "bmode" in wanted:
                self._end_picture(self._a_scan)
            else:
                self._end_stage("compress")
        return tuple(products)

    def _detect(self, slot: Slot) -> None:
        raw = slot.data[0]
        if self._hilbert is not None:
            self._hilbert.run(raw, self._magnitude)
        elif self._format is SampleFormat.IQ:
            np.multiply(raw, self._scale, out=self._iq, casting="unsafe")
            self._envelope.run(self._iq, self._magnitude)
        else:
            np.multiply(raw, self._scale, out=self._magnitude, casting="unsafe")
        if self._gain is not None:
            self._magnitude *= self._gain

    def _compress(self) -> tuple[Compressor | _Greys, Compressor | _Greys]:
        if self._compressors is None and self._format is SampleFormat.LOG8:
            greys = _Greys(self._settings.grey_map)
            self._compressors = (greys, greys)
        if self._compressors is None:
            if not self.level.known:
                self.level.learn(self._magnitude)
            fine, coarse = (
                Compressor(
                    shape,
                    reference_amplitude=self.level.amplitude,
                    gain_db=self._gain_db,
                    dynamic_range_db=self._settings.dynamic_range_db,
                    grey_map=self._settings.grey_map,
                    persistence=0.0,
                )
                for shape in (self._a_scan.shape, self._column.shape)
            )
            self._compressors = (fine, coarse)
        return self._compressors


class _Greys:
    """Samples that arrive compressed, 0..255, through the grey map alone."""

    def __init__(self, grey_map: str) -> None:
        self._table = grey_table(grey_map)

    def run(self, levels: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
        np.clip(np.rint(levels), 0, 255, out=out, casting="unsafe")
        np.take(self._table, out, out=out)
