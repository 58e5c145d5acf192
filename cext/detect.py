"""Envelope of beamformed signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sonod.cext import _native
from sonod.cext.arrays import (
    OutputBuffer,
    as_bytes,
    checked_input,
    checked_shape,
    gain_table,
    positive,
    sample_type,
)
from sonod.cext.filters import nearest_step, polyphase

# Without a band, the analytic filter passes from this share of the sampling rate to half of it less the same share;
# what lies below is offset and baseline.
BAND_MARGIN = 0.03
# A band narrower than this share of the sampling rate is widened to it: the filter would be longer than most records.
NARROWEST_BAND = 0.01


class Envelope:
    """Magnitude of baseband or analytic signals: `run(iq (..., 2)) -> float32 (...)`."""

    def __init__(self) -> None:
        self._output = OutputBuffer((0,), np.float32)

    def run(self, iq: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Magnitude of `iq`, into `out` or an array that the next call overwrites."""
        if iq.ndim < 1 or iq.shape[-1] != 2 or iq.dtype != np.float32:
            raise ValueError(f"iq: must be float32 with a last axis of 2, got {iq.dtype} of {iq.shape}")
        shape = iq.shape[:-1]
        if self._output.shape != shape:
            self._output = OutputBuffer(shape, np.float32)
        target = self._output.take(out)
        _native.envelope(np.ascontiguousarray(iq).reshape(-1, 2), target.reshape(-1))
        return target


class HilbertEnvelope:
    """Envelope of real RF lines: `run(raw (lines, samples)) -> float32 (lines, samples)`.

    Per line: NaN and infinities become 0, the mean is removed, samples are multiplied by `sample_scale`; an analytic
    band-pass filter (linear phase, 60 dB down outside, ripple below 0.1 %) takes `band_hz = (low, high)`, or without a
    band everything from 3 % to 47 % of `sampling_hz`, which removes a slow baseline as well; its magnitude times
    `time_gain` is the envelope of the band. The line counts as 0 beyond its ends.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: DTypeLike,
        *,
        sampling_hz: float,
        sample_scale: float = 1.0,
        time_gain: ArrayLike | None = None,
        band_hz: tuple[float, float] | None = None,
        remove_offset: bool = True,
    ) -> None:
        self._shape = checked_shape(shape, "lines, samples")
        self._dtype = np.dtype(dtype)
        self._type = sample_type(dtype)
        lines, samples = self._shape
        sampling_hz = positive(sampling_hz, "sampling_hz")
        low, high = (BAND_MARGIN, 0.5 - BAND_MARGIN)
        if band_hz is not None:
            low, high = band_hz[0] / sampling_hz, band_hz[1] / sampling_hz
            if not 0 <= low < high <= 0.5:
                raise ValueError(
                    f"band_hz: must be low < high within 0..{sampling_hz / 2:g} (half of sampling_hz), got {band_hz}"
                )
        center, half = (low + high) / 2, max((high - low) / 2, NARROWEST_BAND / 2)
        # The slope of the filter ends at 0 and at half the sampling rate, or at twice the band's half width.
        slope = max(min(center - half, 0.5 - center - half, half), BAND_MARGIN / 2)
        self._filter = polyphase(
            samples, nearest_step(1.0), pass_edge=half, stop_edge=half + slope, center=center, gain=2.0
        )
        self._gain = gain_table(None, lines, samples, sample_scale)
        self._output_gain = gain_table(time_gain, 1, samples, 1.0)[0]
        self._transmit_turns = np.array([[1, 0]], np.float32)
        self._remove_offset = remove_offset
        self.output_shape = self._shape
        self._output = OutputBuffer(self.output_shape, np.float32)

    def run(self, raw: NDArray[Any], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Envelope of `raw`, into `out` or an array that the next call overwrites."""
        raw = checked_input(raw, self._shape, self._dtype, "raw")
        target = self._output.take(out)
        _native.filter_traces(
            self._type,
            as_bytes(raw),
            self._shape[0],
            self._gain,
            self._remove_offset,
            self._filter.coefficients,
            None,
            0.0,
            self._filter.step.numerator,
            self._filter.outputs,
            self._filter.left,
            None,
            self._transmit_turns,
            self._output_gain,
            False,
            target.reshape(-1),
        )
        return target
