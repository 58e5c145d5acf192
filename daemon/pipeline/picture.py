"""The last stages, common to all pictures: envelope on lines -> pixels, or in one pass to compressed greys."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext.compress import Compressor, grey_table
from sonod.cext.detect import Envelope
from sonod.cext.scanconvert import ScanConverter
from sonod.client.wire.geometry import ImageGeometry
from sonod.daemon.pipeline.level import Level
from sonod.drivers.settings import Settings


class Picture:
    """Envelope on lines to greys (rows, columns) uint8, with gain and range of the settings.

    `converter` draws the lines; without one each line is a column of pixels.
    """

    def __init__(
        self,
        geometry: ImageGeometry,
        settings: Settings,
        level: Level,
        *,
        gain: bool,
        converter: ScanConverter | None,
    ) -> None:
        self.geometry = geometry
        self.level = level
        self._shape = (geometry.shape[0], geometry.shape[1])
        self._settings = settings
        self._gain_db = settings.gain_db if gain else 0.0
        self._converter = converter
        self._greys = np.zeros(self._shape, np.uint8)
        self._compressor: Compressor | None = None

    @property
    def takes_baseband(self) -> bool:
        """Whether `compress` also takes baseband (lines, samples, 2)."""
        return self._converter is None

    def compress(self, lines: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The greys of envelope `lines (lines, samples)`, valid until the next call; the first frame of a session sets
        the level when nobody declared it."""
        if self._compressor is None:
            self._compressor = self._started(lines)
        if self._converter is None:
            return self._compressor.run_lines(lines, self._greys)
        return self._compressor.run_scan(lines, self._converter, self._greys)

    def _started(self, lines: NDArray[np.float32]) -> Compressor:
        if not self.level.known:
            envelope = Envelope().run(lines) if lines.ndim == 3 else lines
            self.level.learn(envelope if self._converter is None else self._converter.run(envelope))
        return Compressor(
            self._shape,
            reference_amplitude=self.level.amplitude,
            gain_db=self._gain_db,
            dynamic_range_db=self._settings.dynamic_range_db,
            grey_map=self._settings.grey_map,
            persistence=self._settings.persistence,
        )


class PixelMapper:
    """Lines (lines, samples) to pixels (rows, columns): by table, or by transposition where a line is a column."""

    def __init__(self, converter: ScanConverter | None, shape: tuple[int, int]) -> None:
        self._converter = converter
        self._pixels = np.zeros(shape, np.float32)

    def run(self, lines: NDArray[np.float32]) -> NDArray[Any]:
        """Float32 pixels, valid until the next call; 0 outside the lines."""
        if self._converter is None:
            np.copyto(self._pixels, lines.T)
        else:
            self._converter.run(lines, self._pixels)
        return self._pixels


class Greys:
    """Lines that are levels, (lines, samples) float32, to greys uint8: compressed by the device to 0..255, or a
    coherence of 0..1 (`white` is what becomes 255). There is no gain and range; persistence and the grey map are ours.
    """

    takes_baseband = False

    def __init__(
        self, geometry: ImageGeometry, settings: Settings, converter: ScanConverter | None, white: float = 255.0
    ) -> None:
        self.geometry = geometry
        self._scale = np.float32(255 / white)
        self._mapper = PixelMapper(converter, (geometry.shape[0], geometry.shape[1]))
        self._persistence = np.float32(settings.persistence)
        self._table = grey_table(settings.grey_map)
        self._levels = np.zeros(geometry.shape, np.float32)
        self._greys = np.zeros(geometry.shape, np.uint8)
        self._started = False

    def compress(self, lines: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The greys, valid until the next call."""
        pixels = self._mapper.run(lines)
        if self._scale != 1:
            pixels *= self._scale
        if self._started and self._persistence:
            self._levels *= self._persistence
            self._levels += (1 - self._persistence) * pixels
        else:
            np.copyto(self._levels, pixels)
            self._started = True
        np.clip(np.rint(self._levels), 0, 255, out=self._greys, casting="unsafe")
        np.take(self._table, self._greys, out=self._greys)
        return self._greys
