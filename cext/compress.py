"""Envelope to greys: logarithm, dynamic range, persistence, grey map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonod.cext import _native, reference
from sonod.cext.arrays import OutputBuffer, checked_input, checked_shape, finite, positive

GREY_MAPS = ("linear", "s-curve", "gamma", "inverted")
# 20 * log10(2): decibels for a factor of two of the amplitude.
DECIBELS_PER_OCTAVE = 20 * math.log10(2)
WHITE = 255


def grey_table(grey_map: str) -> NDArray[np.uint8]:
    """The grey (256,) for each compressed level 0..255: `linear`, `s-curve`, `gamma` (power 0.7) or `inverted`."""
    if grey_map not in GREY_MAPS:
        raise ValueError(f"grey_map: must be one of {', '.join(GREY_MAPS)}, got {grey_map!r}")
    table = reference.grey_map(grey_map, np.arange(WHITE + 1) / WHITE)
    return np.rint(table * WHITE).astype(np.uint8)


class Compressor:
    """Log compression: `run(envelope (rows, columns) float32) -> uint8 (rows, columns)`.

    20 * log10(envelope / reference_amplitude) + gain_db + row_gain_db[row] is mapped so that 0 dB is 255 and
    -dynamic_range_db is 0; NaN becomes 0, infinity 255. The logarithm is within 0.0001 dB. `persistence` p mixes with
    the previous picture before the grey map: level = (1 - p) * new + p * old; `reset` forgets it.
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
        self._table = grey_table(grey_map)
        self._slope = WHITE * DECIBELS_PER_OCTAVE / dynamic_range
        level = gain_db + row_gain - DECIBELS_PER_OCTAVE * math.log2(amplitude)
        self._offset = np.asarray(WHITE * (1 + level / dynamic_range), dtype=np.float32)
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
        _native.compress(
            envelope, self._slope, self._offset, self._persistence, self._level, self._first, self._table, target
        )
        self._first = False
        return target
