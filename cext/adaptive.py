"""Adaptive beamforming: what the delayed channels of a point say beyond their sum."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonod.cext import _native
from sonod.cext.aperture import Aperture
from sonod.cext.arrays import OutputBuffer, checked_input, finite, positive
from sonod.cext.filters import STOP_BAND_DB, taps_for
from sonod.cext.prepare import USUAL_HALF_BAND
from sonod.cext.reference import kaiser_low_pass

# Product -> number of the kernel. `delay-and-sum` is there to compare with.
PRODUCTS = {
    "delay-and-sum": 0,
    "coherence-factor": 1,
    "generalised-coherence-factor": 1,
    "sign-coherence-factor": 2,
    "delay-multiply-and-sum": 3,
    "short-lag-coherence": 4,
}
# Fine samples per second over half the band of the echoes.
FINE_RATE = 9.0
# Half the band that baseband samples can hold, over their rate, at most.
LARGEST_HALF_BAND = 0.36
# The fine rate over the sampling rate becomes a ratio with at most so many phases.
MOST_PHASES = 32
# Linear interpolation smooths; fine samples are sharpened by this share of their second difference (T. Blu,
# P. Thevenaz, M. Unser, IEEE Trans. Image Processing 13(5), 2004).
SHARPENING = 1 / 12
# Zeros at each end of a trace, and the kernel's own limits.
MARGIN, MOST_BINS, MOST_REACH = 2, 4, 8
TAPS_AT_ONCE = 8


class AdaptiveBeamformer:
    """`run(data (T, C, M, 2) baseband) -> float32 (L, N, 2)` on line grids, of one `product`:

    - `coherence-factor` (R. Mallart, M. Fink, 1994; K. W. Hollman et al., 1999),
    - `generalised-coherence-factor` with `bins` spatial frequencies to each side (P.-C. Li, M.-L. Li, 2003),
    - `sign-coherence-factor` (J. Camacho et al., 2009): these three are delay and sum times a factor of 0..1;
    - `delay-multiply-and-sum` (F-DMAS, G. Matrone et al., 2015, as the baseband product of pairs: C.-C. Shen,
      P.-Y. Hsieh, 2019), of the amplitude of delay and sum where channels agree;
    - `short-lag-coherence` (SLSC, M. A. Lediju et al., 2011) over `lags` and `reach_m` to each side along depth: a
      number of -1..1 in the real part, 1 where neighbouring elements agree;
    - `delay-and-sum`.

    `adaptive_reference` states each in NumPy. Geometry, waves and amplitude are those of `das.DelayAndSum`; the window
    acts on the delay and sum only, coherence is that of all elements in the aperture, which must be numbered in their
    order along the array. Channels are first summed over the transmissions: what is judged is the receive aperture of
    the compounded picture. Traces are resampled to `FINE_RATE` times half the band and read linearly, better than
    -40 dB from the band-limited signal. All traces are held at that rate.
    """

    def __init__(
        self,
        *,
        product: str,
        element_positions_m: ArrayLike,
        element_normals: ArrayLike,
        receive_elements: ArrayLike,
        transmit_time_s: ArrayLike,
        sampling_hz: float,
        t0_s: ArrayLike,
        samples: int,
        demodulation_hz: float,
        sound_speed_m_s: float,
        f_number: float,
        origins_m: ArrayLike,
        directions: ArrayLike,
        first_m: float,
        spacing_m: float,
        count: int,
        apodization: str = "rectangular",
        transmit_weight: ArrayLike | None = None,
        time_offset_s: float = 0.0,
        half_bandwidth_hz: float | None = None,
        bins: int = 1,
        lags: int = 8,
        reach_m: float | None = None,
    ) -> None:
        if product not in PRODUCTS:
            raise ValueError(f"product: must be one of {', '.join(PRODUCTS)}, got {product!r}")
        if not 0 <= bins <= MOST_BINS:
            raise ValueError(f"bins: must be in 0..{MOST_BINS}, got {bins}")
        if lags < 1:
            raise ValueError(f"lags: must be >= 1, got {lags}")
        if not math.isfinite(time_offset_s):
            raise ValueError(f"time_offset_s: must be finite, got {time_offset_s}")
        if samples < 1:
            raise ValueError(f"samples: must be >= 1, got {samples}")
        self._method = PRODUCTS[product]
        self._bins = bins if product == "generalised-coherence-factor" else 0
        self._lags = lags
        self._aperture = aperture = Aperture(
            element_positions_m,
            element_normals,
            f_number=f_number,
            apodization=apodization,
            origins_m=origins_m,
            directions=directions,
            first_m=first_m,
            spacing_m=spacing_m,
            count=count,
        )
        receive = np.asarray(receive_elements, dtype=np.int32)
        if receive.ndim != 2 or receive.size == 0:
            raise ValueError(f"receive_elements: must be (transmits, channels), got shape {receive.shape}")
        if receive.min() < -1 or receive.max() >= aperture.elements:
            raise ValueError(f"receive_elements: must be in -1..{aperture.elements - 1}")
        transmits, channels = receive.shape
        self._channel_of = channels_of_elements(receive, aperture.elements)
        self._heard = np.ascontiguousarray((self._channel_of >= 0).any(axis=0), dtype=np.uint8)
        f0 = positive(demodulation_hz, "demodulation_hz")
        sampling_hz = positive(sampling_hz, "sampling_hz")
        slowness = 1 / positive(sound_speed_m_s, "sound_speed_m_s")
        wavelength_m = 1 / slowness / f0
        # One wavelength in depth, half of it to each side.
        reach = wavelength_m / 2 if reach_m is None else reach_m
        self._reach = min(MOST_REACH, max(0, round(reach / aperture.spacing_m)))
        half = min(half_bandwidth_hz or USUAL_HALF_BAND * f0, LARGEST_HALF_BAND * sampling_hz)
        self._resample(sampling_hz, half, samples)
        grid = (transmits, aperture.lines, aperture.count)
        time = np.asarray(transmit_time_s, dtype=np.float64)
        if time.shape != grid:
            raise ValueError(f"transmit_time_s: must have shape {grid}, got {time.shape}")
        t0 = finite(t0_s, "t0_s", (transmits,))
        fine = (time + time_offset_s - t0[:, None, None]) * self.fine_hz + MARGIN
        self._transmit_fine = np.ascontiguousarray(fine, dtype=np.float32)
        self._transmit_weight: NDArray[np.float32] | None = None
        if transmit_weight is not None:
            self._transmit_weight = np.ascontiguousarray(transmit_weight, dtype=np.float32)
            if self._transmit_weight.shape != grid:
                raise ValueError(f"transmit_weight: must have shape {grid}, got {self._transmit_weight.shape}")
        self._wave_turns = np.asarray((f0 * t0 - MARGIN * f0 / self.fine_hz) % 1, dtype=np.float32)
        self._fine_per_metre = self.fine_hz * slowness
        self._turns_per_fine = f0 / self.fine_hz
        self._positions = np.ascontiguousarray(aperture.element_positions_m.T, dtype=np.float32)
        self._lateral = np.ascontiguousarray(aperture.lateral_of_lines(), dtype=np.float32)
        self._factor = 1 / (transmits * channels)
        self.input_shape = (transmits, channels, samples, 2)
        self.output_shape = (aperture.lines, aperture.count, 2)
        self._traces = np.zeros((transmits, channels, self._fine_samples + 2 * MARGIN, 2), np.float32)
        self._output = OutputBuffer(self.output_shape, np.float32)

    def run(self, data: NDArray[Any], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """The product of `data`, into `out` or an array that the next call overwrites."""
        data = checked_input(data, self.input_shape, np.float32, "data")
        target = self._output.take(out)
        aperture = self._aperture
        _native.adaptive(
            aperture.origins_m,
            aperture.directions,
            aperture.first_m,
            aperture.spacing_m,
            aperture.feet_m,
            aperture.per_half,
            aperture.least_half_m,
            aperture.window,
            self._positions,
            self._heard,
            self._lateral,
            self._channel_of,
            self._transmit_fine,
            self._transmit_weight,
            self._wave_turns,
            self._fine_per_metre,
            self._turns_per_fine,
            self._method,
            self._bins,
            self._lags,
            self._reach,
            self._left,
            self._ratio.numerator,
            self._coefficients,
            self._traces,
            self._factor,
            data,
            target,
        )
        return target

    def _resample(self, sampling_hz: float, half_hz: float, samples: int) -> None:
        """The sharpened Kaiser filter that brings traces to the fine rate."""
        ratio = Fraction(sampling_hz / (FINE_RATE * half_hz)).limit_denominator(MOST_PHASES)
        self._ratio = ratio = max(ratio, Fraction(1, MOST_PHASES))
        self.fine_hz = float(sampling_hz / ratio)
        self._fine_samples = math.floor((samples - 1) / ratio) + 1
        half, fine = half_hz / sampling_hz, 1 / float(ratio)
        stop = max(min(1 - half, fine - half), 1.1 * half)
        taps, reach = taps_for(stop - half), math.ceil(1 / fine)
        response = kaiser_low_pass(taps, (half + stop) / 2, STOP_BAND_DB)
        self._left = taps // 2 - 1 + reach
        count = -(-(taps + 2 * reach) // TAPS_AT_ONCE) * TAPS_AT_ONCE
        # Row r is for places r / denominator behind an input sample.
        fractions = np.arange(ratio.denominator) / ratio.denominator
        x = np.arange(count, dtype=np.float64) - self._left - fractions[:, None]
        second = response(x - 1 / fine) - 2 * response(x) + response(x + 1 / fine)
        weights = response(x) - SHARPENING * second
        weights /= weights.sum(axis=1, keepdims=True)
        self._coefficients = np.ascontiguousarray(np.repeat(weights, 2, axis=1), dtype=np.float32)


def channels_of_elements(receive: NDArray[np.int32], elements: int) -> NDArray[np.int32]:
    """(transmits, elements): the channel that holds each element, -1 for none; ValueError when two hold the same."""
    channel_of = np.full((len(receive), elements), -1, np.int32)
    for transmit, row in enumerate(receive):
        channels = np.flatnonzero(row >= 0)
        if len(np.unique(row[channels])) != len(channels):
            raise ValueError(f"receive_elements: transmission {transmit} has an element in two channels")
        channel_of[transmit, row[channels]] = channels
    return channel_of
