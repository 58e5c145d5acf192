"""The last stages, common to all pictures: envelope on lines -> pixels -> compressed greys."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext.compress import Compressor, grey_table
from sonod.cext.scanconvert import ScanConverter
from sonod.client.wire.geometry import ImageGeometry
from sonod.daemon.pipeline.level import Level
from sonod.drivers.settings import Settings


class Picture:
    """Envelope pixels (rows, columns) float32 to greys (rows, columns) uint8, with gain and range of the settings."""

    def __init__(self, geometry: ImageGeometry, settings: Settings, level: Level, *, gain: bool) -> None:
        self.geometry = geometry
        self.level = level
        self._shape = (geometry.shape[0], geometry.shape[1])
        self._settings = settings
        self._gain_db = settings.gain_db if gain else 0.0
        self._greys = np.zeros(self._shape, np.uint8)
        self._compressor: Compressor | None = None

    def compress(self, envelope: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The greys, valid until the next call; the first frame of a session sets the level when nobody declared it."""
        if self._compressor is None:
            if not self.level.known:
                self.level.learn(envelope)
            self._compressor = Compressor(
                self._shape,
                reference_amplitude=self.level.amplitude,
                gain_db=self._gain_db,
                dynamic_range_db=self._settings.dynamic_range_db,
                grey_map=self._settings.grey_map,
                persistence=self._settings.persistence,
            )
        self._compressor.run(envelope, self._greys)
        return self._greys


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
    """Lines that arrive compressed: pixels (rows, columns) float32 of 0..255 to greys uint8. Gain and range were the
    device's; persistence and the grey map are ours."""

    def __init__(self, geometry: ImageGeometry, settings: Settings) -> None:
        self.geometry = geometry
        self._persistence = np.float32(settings.persistence)
        self._table = grey_table(settings.grey_map)
        self._levels = np.zeros(geometry.shape, np.float32)
        self._greys = np.zeros(geometry.shape, np.uint8)
        self._started = False

    def compress(self, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The greys, valid until the next call."""
        if self._started and self._persistence:
            self._levels *= self._persistence
            self._levels += (1 - self._persistence) * pixels
        else:
            np.copyto(self._levels, pixels)
            self._started = True
        np.clip(np.rint(self._levels), 0, 255, out=self._greys, casting="unsafe")
        np.take(self._table, self._greys, out=self._greys)
        return self._greys
