"""Envelope to greys: logarithm, dynamic range, persistence, grey map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonod.cext import _native, reference
from sonod.cext.arrays import OutputBuffer, checked_input, checked_shape, finite, positive
from sonod.cext.scanconvert import ScanConverter

GREY_MAPS = ("linear", "s-curve", "gamma", "inverted")
# 20 * log10(2): decibels for a factor of two of the amplitude.
DECIBELS_PER_OCTAVE = 20 * math.log10(2)
WHITE = 255
# Largest error of the kernel's logarithm; the tests look at every exponent and 65 536 mantissas.
LARGEST_ERROR_DB = 0.0001
# Rows that the kernel takes together: it reads so many offsets beyond the last row.
ROWS_AT_ONCE = 16


def grey_table(grey_map: str) -> NDArray[np.uint8]:
    """The grey (256,) for each compressed level 0..255: `linear`, `s-curve`, `gamma` (power 0.7) or `inverted`."""
    if grey_map not in GREY_MAPS:
        raise ValueError(f"grey_map: must be one of {', '.join(GREY_MAPS)}, got {grey_map!r}")
    table = reference.grey_map(grey_map, np.arange(WHITE + 1) / WHITE)
    return np.rint(table * WHITE).astype(np.uint8)


class Compressor:
    """Log compression: `run(envelope (rows, columns) float32) -> uint8 (rows, columns)`.

    `run_lines(lines)` is the same for lines that are the columns of the picture, (columns, rows) of envelope or
    (columns, rows, 2) of baseband, and `run_scan(lines, converter)` for the pixels of a scan conversion: one pass, the
    same greys, no envelope picture in between. All three share the persistence.

    20 * log10(envelope / reference_amplitude) + gain_db + row_gain_db[row] is mapped so that 0 dB is 255 and
    -dynamic_range_db is 0; NaN becomes 0, infinity 255. The logarithm is within LARGEST_ERROR_DB. `persistence` p
    mixes with the previous picture before the grey map: level = (1 - p) * new + p * old; `reset` forgets it.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        reference_amplitude: float,
        gain_db: float = 0.0,
        dynamic_range_db: float = 60.0,
        grey_map: str = "linear",
        persistence: float = 0.0,
        row_gain_db: ArrayLike | None = None,
    ) -> None:
        self._shape = checked_shape(shape, "rows, columns")
        rows = self._shape[0]
        amplitude = positive(reference_amplitude, "reference_amplitude")
        dynamic_range = positive(dynamic_range_db, "dynamic_range_db")
        if not math.isfinite(gain_db):
            raise ValueError(f"gain_db: must be finite, got {gain_db}")
        if not 0 <= persistence < 1:
            raise ValueError(f"persistence: must be in 0..1 (1 excluded), got {persistence}")
        row_gain = np.zeros(rows) if row_gain_db is None else finite(row_gain_db, "row_gain_db", (rows,))
        table = grey_table(grey_map)
        self._table = None if (table == np.arange(WHITE + 1)).all() else table
        self._slope = WHITE * DECIBELS_PER_OCTAVE / dynamic_range
        level = gain_db + row_gain - DECIBELS_PER_OCTAVE * math.log2(amplitude)
        self._offset = np.zeros(rows + ROWS_AT_ONCE, np.float32)
        self._offset[:rows] = WHITE * (1 + level / dynamic_range)
        self._persistence = float(persistence)
        self._level = np.zeros(self._shape, np.float32) if persistence else None
        self._first = True
        self._output = OutputBuffer(self._shape, np.uint8)

    def reset(self) -> None:
        """Forget the previous picture."""
        self._first = True

    def run(self, envelope: NDArray[np.float32], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Greys of `envelope`, into `out` or an array that the next call overwrites."""
        envelope = checked_input(envelope, self._shape, np.float32, "envelope")
        target = self._output.take(out)
        _native.compress(envelope, *self._common(), target)
        self._first = False
        return target

    def run_lines(self, lines: NDArray[np.float32], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Greys of the picture that has `lines` as its columns."""
        rows, columns = self._shape
        shape = (columns, rows, 2) if lines.ndim == 3 else (columns, rows)
        lines = checked_input(lines, shape, np.float32, "lines")
        target = self._output.take(out)
        _native.compress_lines(lines.reshape(columns, rows, -1), *self._common(), target)
        self._first = False
        return target

    def run_scan(
        self, lines: NDArray[np.float32], converter: ScanConverter, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Greys of the pixels that `converter` makes of `lines`."""
        if converter.output_shape != self._shape:
            raise ValueError(f"converter: must make {self._shape} pixels, makes {converter.output_shape}")
        lines = checked_input(lines, converter.input_shape, np.float32, "lines")
        target = self._output.take(out)
        table = converter.table
        _native.compress_scan(
            lines, table.base, table.spans, table.line_share, table.sample_share, *self._common(), target
        )
        self._first = False
        return target

    def _common(
        self,
    ) -> tuple[float, NDArray[np.float32], float, NDArray[np.float32] | None, bool, NDArray[np.uint8] | None]:
        """What the kernel wants in every call, from the slope on."""
        return self._slope, self._offset, self._persistence, self._level, self._first, self._table
