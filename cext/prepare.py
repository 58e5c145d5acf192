"""Raw samples to what the beamformer takes: offset, gain, band, baseband, rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sonod.cext import _native
from sonod.cext.arrays import (
    FloatArray,
    OutputBuffer,
    as_bytes,
    checked_input,
    checked_shape,
    finite,
    gain_table,
    positive,
    sample_type,
)
from sonod.cext.filters import mirror_distance_hz, nearest_step, polyphase, whole_numbers

# Without a wish the output rate is the lowest whole fraction of the input rate not below this multiple of half the
# pass band: enough for linear interpolation between the samples.
USUAL_OVERSAMPLING = 6.0
# The pass band must end this share of the output rate before its middle, to leave room for the filter's slope.
LARGEST_PASS_SHARE = 0.46
# Half the pass band as a share of the centre frequency: wider than any medical pulse, narrow enough to shut out noise.
USUAL_HALF_BAND = 0.6
# Share of the way to the mirror band of an under-sampled record that the pass band may take.
MIRROR_SHARE = 0.45
# Baseband samples over half the pass band for `DelayAndSum` below quality `exact`, which interpolates better.
BASEBAND_RATE = 2.8
# The stop band begins at the latest at this multiple of half the pass band, to keep noise out.
STEEPEST = 2.0
# Turns beyond the last one that the kernel may read.
TURNS_MARGIN = 16
# Samples of at most so many bytes are filtered in whole numbers.
WHOLE_ITEM_BYTES = 2


class Demodulator:
    """RF to baseband: `run(raw (T, C, N)) -> float32 (T, C, M, 2)`.

    Per trace: NaN and infinities become 0, the mean is removed, samples are multiplied by `sample_scale` and
    `time_gain`, by 2 * exp(-2j*pi*f0*t) with t = t0_s + n / sampling_hz, low-passed and brought to `output_hz`. So a
    cosine of amplitude A at f0 comes out with magnitude A. Sample m belongs to t = output_t0_s + m / output_hz.

    Samples of 8 and 16 bits are filtered in whole numbers, rounded to 15 bits of the largest one of their trace after
    the gain, with coefficients of 16 bits: -70 dB from floats. The low-pass has linear phase without delay, is flat to
    `half_bandwidth_hz` and 60 dB down from twice that on, at the mirror image of the band and at what folds back from
    `output_hz`; the record counts as 0 beyond its ends.
    `output_hz` becomes the nearest rate with a simple ratio to `sampling_hz`; read it back from the attribute. Records
    sampled below Nyquist work as long as the band and its mirror image do not meet. `reference.demodulate` is the
    same in float64.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: DTypeLike,
        *,
        sampling_hz: float,
        demodulation_hz: float,
        half_bandwidth_hz: float,
        t0_s: ArrayLike,
        sample_scale: float = 1.0,
        time_gain: ArrayLike | None = None,
        remove_offset: bool = True,
        output_hz: float | None = None,
    ) -> None:
        self._shape = checked_shape(shape, "transmits, channels, samples")
        self._dtype = np.dtype(dtype)
        self._type = sample_type(dtype)
        transmits, channels, samples = self._shape
        sampling_hz = positive(sampling_hz, "sampling_hz")
        f0 = self.demodulation_hz = positive(demodulation_hz, "demodulation_hz")
        half = positive(half_bandwidth_hz, "half_bandwidth_hz")
        self.output_t0_s = finite(t0_s, "t0_s", (transmits,))
        mirror = mirror_distance_hz(f0, sampling_hz)
        if half >= LARGEST_PASS_SHARE * mirror:
            raise ValueError(
                f"half_bandwidth_hz: must be below {LARGEST_PASS_SHARE * mirror:g} at {sampling_hz:g} samples/s and "
                f"{f0:g} Hz, where the mirror image begins; got {half:g}"
            )
        if output_hz is None:
            output_hz = sampling_hz / max(1, int(sampling_hz / (USUAL_OVERSAMPLING * half)))
        step = nearest_step(sampling_hz / positive(output_hz, "output_hz"))
        if step <= 0:
            raise ValueError(f"output_hz: must be at most 64 times sampling_hz, got {output_hz:g}")
        self.output_hz = float(sampling_hz / step)
        if half >= LARGEST_PASS_SHARE * self.output_hz:
            raise ValueError(
                f"output_hz: must be above {half / LARGEST_PASS_SHARE:g} for a half bandwidth of {half:g} Hz, "
                f"got {output_hz:g}"
            )
        self.stop_hz = min(mirror - half, self.output_hz - half, STEEPEST * half)
        self._filter = polyphase(
            samples,
            step,
            pass_edge=half / sampling_hz,
            stop_edge=self.stop_hz / sampling_hz,
            center=f0 / sampling_hz,
            gain=2.0,
        )
        outputs = self._filter.outputs
        self._whole: NDArray[np.int32] | None = None
        self._whole_unit = 0.0
        if self._dtype.itemsize <= WHOLE_ITEM_BYTES:
            self._whole, self._whole_unit = whole_numbers(self._filter)
        self._gain = gain_table(time_gain, transmits, samples, sample_scale)
        own = turns(self._filter.phase_order * (f0 * float(step) / sampling_hz))
        self._turns = np.ascontiguousarray(np.pad(own.T, ((0, 0), (0, TURNS_MARGIN))))
        self._transmit_turns = turns(f0 * self.output_t0_s)
        self._remove_offset = remove_offset
        self.output_shape = (transmits, channels, outputs, 2)
        self._output = OutputBuffer(self.output_shape, np.float32)

    def run(self, raw: NDArray[Any], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Baseband of `raw`, into `out` or an array that the next call overwrites."""
        raw = checked_input(raw, self._shape, self._dtype, "raw")
        target = self._output.take(out)
        _native.filter_traces(
            self._type,
            as_bytes(raw),
            self._shape[1],
            self._gain,
            self._remove_offset,
            self._filter.coefficients,
            self._whole,
            self._whole_unit,
            self._filter.step.numerator,
            self._filter.outputs,
            self._filter.left,
            self._turns,
            self._transmit_turns,
            None,
            False,
            target.reshape(-1),
        )
        return target


class RfPreparer:
    """RF to band-passed RF: `run(raw (T, C, N)) -> float32 (T, C, N)`.

    As `Demodulator`, but the band `center_hz` +- `half_bandwidth_hz` stays where it is. `output_hz` and `output_t0_s`
    are those of the input.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: DTypeLike,
        *,
        sampling_hz: float,
        center_hz: float,
        half_bandwidth_hz: float,
        t0_s: ArrayLike,
        sample_scale: float = 1.0,
        time_gain: ArrayLike | None = None,
        remove_offset: bool = True,
    ) -> None:
        self._shape = checked_shape(shape, "transmits, channels, samples")
        self._dtype = np.dtype(dtype)
        self._type = sample_type(dtype)
        transmits, _, samples = self._shape
        self.output_hz = positive(sampling_hz, "sampling_hz")
        self.output_t0_s = finite(t0_s, "t0_s", (transmits,))
        center = positive(center_hz, "center_hz")
        half = positive(half_bandwidth_hz, "half_bandwidth_hz")
        mirror = mirror_distance_hz(center, sampling_hz)
        if half >= LARGEST_PASS_SHARE * mirror:
            raise ValueError(
                f"half_bandwidth_hz: must be below {LARGEST_PASS_SHARE * mirror:g} at {sampling_hz:g} samples/s and "
                f"{center:g} Hz, got {half:g}"
            )
        self._filter = polyphase(
            samples,
            nearest_step(1.0),
            pass_edge=half / sampling_hz,
            stop_edge=min(mirror - half, STEEPEST * half) / sampling_hz,
            center=center / sampling_hz,
            gain=2.0,
        )
        self._gain = gain_table(time_gain, transmits, samples, sample_scale)
        self._transmit_turns = turns(np.zeros(transmits))
        self._remove_offset = remove_offset
        self.output_shape = self._shape
        self._output = OutputBuffer(self.output_shape, np.float32)

    def run(self, raw: NDArray[Any], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Band-passed `raw`, into `out` or an array that the next call overwrites."""
        raw = checked_input(raw, self._shape, self._dtype, "raw")
        target = self._output.take(out)
        _native.filter_traces(
            self._type,
            as_bytes(raw),
            self._shape[1],
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
            None,
            True,
            target.reshape(-1),
        )
        return target


class IqPreparer:
    """Baseband input to baseband: `run(raw (T, C, N, 2)) -> float32 (T, C, N, 2)`, scaled and gained.

    The input is baseband at `demodulation_hz` with rf(t) = Re(iq * exp(+2j*pi*f0*t)). NaN and infinities become 0; the
    offset is removed only if asked. `output_hz` and `output_t0_s` are those of the input.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: DTypeLike,
        *,
        sampling_hz: float,
        demodulation_hz: float,
        t0_s: ArrayLike,
        sample_scale: float = 1.0,
        time_gain: ArrayLike | None = None,
        remove_offset: bool = False,
    ) -> None:
        self._shape = checked_shape(shape, "transmits, channels, samples, 2")
        if self._shape[3] != 2:
            raise ValueError(f"shape: the last axis must be 2 (I, Q), got {self._shape}")
        self._dtype = np.dtype(dtype)
        self._type = sample_type(dtype)
        transmits, _, samples, _ = self._shape
        self.output_hz = positive(sampling_hz, "sampling_hz")
        self.demodulation_hz = positive(demodulation_hz, "demodulation_hz")
        self.output_t0_s: FloatArray = finite(t0_s, "t0_s", (transmits,))
        self.output_shape = self._shape
        self._gain = gain_table(time_gain, transmits, samples, sample_scale)
        self._remove_offset = remove_offset
        self._output = OutputBuffer(self.output_shape, np.float32)

    def run(self, raw: NDArray[Any], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Scaled `raw`, into `out` or an array that the next call overwrites."""
        raw = checked_input(raw, self._shape, self._dtype, "raw")
        target = self._output.take(out)
        _native.scale_baseband(
            self._type,
            as_bytes(raw),
            self._shape[0],
            self._shape[1],
            self._gain,
            self._remove_offset,
            target.reshape(-1),
        )
        return target


def half_bandwidth_hz(center_hz: float, sampling_hz: float, wanted_hz: float | None = None) -> float:
    """Half the pass band around the centre frequency, clear of the mirror image that sampling folds back."""
    return min(wanted_hz or USUAL_HALF_BAND * center_hz, MIRROR_SHARE * mirror_distance_hz(center_hz, sampling_hz))


def baseband_rate_hz(sampling_hz: float, half_bandwidth_hz: float) -> float:
    """The lowest whole fraction of the rate at which delay and sum below quality `exact` keeps its accuracy."""
    return sampling_hz / max(1, int(sampling_hz / (BASEBAND_RATE * half_bandwidth_hz)))


def turns(cycles: FloatArray) -> NDArray[np.float32]:
    """(n, 2) real and imaginary part of exp(-2j*pi*cycles)."""
    angle = -2 * np.pi * (cycles - np.round(cycles))
    return np.ascontiguousarray(np.stack([np.cos(angle), np.sin(angle)], axis=-1), dtype=np.float32)
