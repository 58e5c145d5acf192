"""The plan of the block kernel: baseband on line grids, resampled so that points read consecutive samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sonod.cext import _native
from sonod.cext.aperture import Aperture
from sonod.cext.arrays import FloatArray
from sonod.cext.filters import STOP_BAND_DB, taps_for
from sonod.cext.reference import kaiser_low_pass

# Points of a block; the kernel's own number.
BLOCK = 16
# Channels are taken in eights.
GROUP = 8
# Floats of a row of a plane beyond its samples; the kernel's margins.
ROW_MARGIN = 40
# Fine samples per second over half the signal's bandwidth.
FINE_RATE = {"default": 9.0, "fast": 6.0}
# From the middle of a block to its last point, in points.
HALF_BLOCK = (BLOCK - 1) / 2
# How far the delay of a channel may drift from the common pace from the middle of a block to its end, in fine samples,
# and by how much its phase may turn beyond it; channels that move faster are added point by point. With these the
# error stays below -40 dB (default) and -37 dB (fast) for all waves and arrays of the tests.
LARGEST_DRIFT = {"default": 0.5, "fast": 0.5}
LARGEST_TURN_RAD = {"default": 0.5, "fast": 0.5}
# Half the bandwidth of a pulse over its centre frequency, when nobody says; wider than medical pulses.
USUAL_HALF_BAND = 0.6
# Half the bandwidth that baseband samples can hold, over their rate, leaving room for the filter's slope.
LARGEST_HALF_BAND = 0.36
# Most fine samples per point; with coarser grids the delay is taken point by point anyway.
MOST_STEPS = 32
# The fine rate over the sampling rate is brought to a ratio with at most this many phases.
MOST_PHASES = 32
# Rates closer than this are taken as equal, and the resampling is left out.
SAME_RATE = 0.003
# Linear interpolation smooths; the fine samples are sharpened by this share of their second difference, which makes
# the error of a delay anywhere between two of them least (T. Blu, P. Thevenaz, M. Unser, IEEE Trans. Image Processing
# 13(5), 2004, on prefiltered linear interpolation): 1/12 for delays spread evenly.
SHARPENING = 1 / 12
# Deviation of a delay from its second-order form within a block, in radians of the carrier, that is accepted.
WAVE_TOLERANCE_RAD = 0.03
# Bytes of resampled data held at once; about what stays in a last-level cache.
PLANE_BYTES = 8_000_000
# Largest table of distances from apertures; above it they are computed in passing.
LATERAL_BYTES = 8_000_000
# A half aperture of a single element, so that its own place is within and nothing else is.
SMALLEST_HALF_M = 1e-30
# Lines, blocks and elements looked at to find the usual pace of the delay.
SAMPLED_LINES = 12
SAMPLED_BLOCKS = 12
# The middle of this share of all paces becomes the pace of the fine rate.
PACE_PERCENTILES = (3.0, 97.0)


def preferred_input_hz(
    spacing_m: float,
    sound_speed_m_s: float,
    demodulation_hz: float,
    half_bandwidth_hz: float | None = None,
    quality: str = "default",
) -> float:
    """The rate of baseband samples at which `DelayAndSum` need not resample, for lines of that point spacing."""
    half = USUAL_HALF_BAND * demodulation_hz if half_bandwidth_hz is None else half_bandwidth_hz
    pace = 2 * spacing_m / sound_speed_m_s * 0.98
    return max(1, math.ceil(FINE_RATE.get(quality, FINE_RATE["default"]) * half * pace)) / pace


class BlockPlan:
    """Tables of `kernels/das_blocks.inc.c` for one aperture, one set of waves and one quality.

    Each trace is resampled by a Kaiser filter to `fine_hz`, `step` fine samples for each point of a line, and read by
    linear interpolation between fine samples; phases follow the exact delay to second order in blocks of 16 points.
    """

    def __init__(
        self,
        aperture: Aperture,
        receive: NDArray[np.int32],
        *,
        time32: NDArray[np.float32] | None,
        time64: FloatArray | None,
        weight: NDArray[np.float32] | None,
        sampling_hz: float,
        t0_s: FloatArray,
        samples: int,
        demodulation_hz: float,
        slowness: float,
        time_offset_s: float,
        half_bandwidth_hz: float | None,
        quality: str,
    ) -> None:
        self._aperture, self._receive, self._samples = aperture, receive, samples
        time = time64 if time64 is not None else time32
        if time is None:
            raise ValueError("transmit_time_s: is missing")
        half = half_bandwidth_hz or USUAL_HALF_BAND * demodulation_hz
        half = min(half, LARGEST_HALF_BAND * sampling_hz)
        pace_s = usual_pace_s(aperture, time, slowness)
        self.step = min(MOST_STEPS, max(1, math.ceil(FINE_RATE[quality] * half * pace_s)))
        self.fine_hz, ratio = _fine_rate(self.step / pace_s, sampling_hz)
        self._span(time, t0_s, slowness, time_offset_s, sampling_hz)
        self._filter(ratio, half / sampling_hz)
        self._turn(demodulation_hz, t0_s)
        self._list_channels()
        self._measure_apertures()
        self._pass_waves(time32, time64, weight, t0_s, sampling_hz, demodulation_hz, time_offset_s)
        fine_per_metre = self.fine_hz * slowness
        spacing = aperture.spacing_m
        radians = 2 * math.pi * demodulation_hz / self.fine_hz
        # Third-order term of the delay at the end of a block over what is accepted, less what depends on the channel.
        bent = radians * HALF_BLOCK**3 * spacing / WAVE_TOLERANCE_RAD
        self._constants = np.array(
            [
                fine_per_metre,
                fine_per_metre * spacing,
                0.5 * fine_per_metre * spacing**2,
                bent,
                1 / self.step,
                self._width,
                demodulation_hz / self.fine_hz,
                radians,
                spacing,
                min(LARGEST_DRIFT[quality], LARGEST_TURN_RAD[quality] / radians) / HALF_BLOCK,
            ],
            np.float32,
        )
        transmits, channels = receive.shape
        bytes_per_transmit = channels * self.step * 2 * self._row * 4
        group = min(transmits, max(1, PLANE_BYTES // bytes_per_transmit))
        self._planes = np.zeros((group, channels, self.step, 2, self._row), np.float32)

    @property
    def table_bytes(self) -> int:
        """Memory of all tables and of the resampled data."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))

    def run(self, data: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Beamforms `data (T, C, samples, 2)` into `out (L, N, 2)`."""
        aperture = self._aperture
        transmits, channels = self._receive.shape
        _native.das_blocks(
            aperture.origins_m,
            aperture.directions,
            aperture.first_m,
            aperture.spacing_m,
            aperture.count,
            aperture.feet_m,
            aperture.element_positions_m,
            aperture.element_normals,
            aperture.lateral_m,
            self._lateral,
            self._half_of_line,
            self._per_half_of_points,
            self._per_half_of_blocks,
            self._bit_lists,
            aperture.window,
            self._receive,
            self._map_of,
            self._lists,
            self._list_elements,
            self._list_positions,
            self.step,
            self._width,
            self._row,
            self._constants,
            self._coefficients,
            self._starts,
            self._filters,
            self._start_at,
            self._wave_turns,
            self._point_turns,
            self._point_turning,
            self._time_kind,
            self._weight_kind,
            self._time_quadratic,
            self._time_points,
            self._weight_points,
            self._samples,
            self._planes,
            1.0 / (transmits * channels),
            data.reshape(-1),
            out.reshape(-1),
        )

    def _span(
        self,
        time: NDArray[np.float32] | FloatArray,
        t0_s: FloatArray,
        slowness: float,
        time_offset_s: float,
        sampling_hz: float,
    ) -> None:
        """Which part of the record the delays can reach, and how many fine samples cover it."""
        nearest, farthest = self._aperture.distance_bounds()
        with np.errstate(invalid="ignore"):
            early = [np.fmin.reduce(own, axis=None) for own in time]
            late = [np.fmax.reduce(own, axis=None) for own in time]
        first = float(np.fmin.reduce(np.array(early, dtype=np.float64) - t0_s)) + nearest * slowness + time_offset_s
        last = float(np.fmax.reduce(np.array(late, dtype=np.float64) - t0_s)) + farthest * slowness + time_offset_s
        if not math.isfinite(first + last):
            first = last = 0.0
        start = math.floor(first * sampling_hz) - 2
        self._start_at = min(max(start, 0), self._samples - 1)
        end = min(max(math.ceil(last * sampling_hz) + 2, self._start_at), self._samples - 1)
        self._start_s = self._start_at / sampling_hz
        fine = math.floor((end - self._start_at) / sampling_hz * self.fine_hz) + 1
        per_plane = -(-fine // self.step)
        self._width = -(-per_plane // GROUP) * GROUP
        # An odd number of cache lines from row to row keeps rows out of each other's way in the cache.
        self._row = (-(-(self._width + ROW_MARGIN) // 16) | 1) * 16

    def _filter(self, ratio: Fraction, half: float) -> None:
        """Resampling filter at `ratio` input samples per fine sample, for each fine sample plane by plane."""
        fine_rate = 1 / float(ratio)
        if ratio == 1:
            unit = np.arange(4, dtype=np.float64)[None] - 1
            weights = _sharpened(lambda place: np.where(np.abs(place) < 0.5, 1.0, 0.0), unit, 1.0)
            left = 1
        else:
            stop = max(min(1 - half, fine_rate - half), 1.1 * half)
            taps = taps_for(stop - half)
            # Sharpening reaches one fine sample to each side.
            reach = math.ceil(1 / fine_rate)
            response = kaiser_low_pass(taps, (half + stop) / 2, STOP_BAND_DB)
            left = taps // 2 - 1 + reach
            count = -(-(taps + 2 * reach) // 4) * 4
            fractions = np.array([float((ratio * index) % 1) for index in range(ratio.denominator)])
            x: FloatArray = np.arange(count, dtype=np.float64) - left - fractions[:, None]
            weights = _sharpened(response, x, 1 / fine_rate)
            weights /= weights.sum(axis=1, keepdims=True)
        self._coefficients = np.ascontiguousarray(np.repeat(weights, 2, axis=1), dtype=np.float32)
        # Fine sample step * j + p is number j of plane p.
        index = np.arange(self._width)[None, :] * self.step + np.arange(self.step)[:, None]
        whole = (index * ratio.numerator) // ratio.denominator
        starts = np.minimum(whole - left, self._samples - self._start_at)
        self._starts = np.ascontiguousarray(2 * starts, dtype=np.int32)
        filters = index % ratio.denominator * self._coefficients.shape[1]
        self._filters = np.ascontiguousarray(filters, dtype=np.int32)

    def _turn(self, demodulation_hz: float, t0_s: FloatArray) -> None:
        """Phase of the carrier at the first fine sample, and how it turns from point to point of a block."""
        self._wave_turns = np.asarray((demodulation_hz * (t0_s + self._start_s)) % 1, dtype=np.float32)
        cycles = (np.arange(BLOCK) - (BLOCK - 1) / 2) * self.step * demodulation_hz / self.fine_hz
        self._point_turns = cycles.astype(np.float32)
        angle = 2 * np.pi * cycles
        self._point_turning = np.ascontiguousarray([np.cos(angle), np.sin(angle)], dtype=np.float32)

    def _list_channels(self) -> None:
        """Measured channels of each distinct receive row, padded to eights."""
        rows, inverse = np.unique(self._receive, axis=0, return_inverse=True)
        self._map_of = np.ascontiguousarray(inverse.reshape(-1), dtype=np.int32)
        most = max(1, int((rows >= 0).sum(axis=1).max()))
        padded = -(-most // GROUP) * GROUP
        self._lists = np.full((len(rows), padded), -1, np.int32)
        self._list_elements = np.zeros((len(rows), padded), np.int32)
        for number, row in enumerate(rows):
            channels = np.flatnonzero(row >= 0)
            self._lists[number, : len(channels)] = channels
            self._list_elements[number, : len(channels)] = row[channels]
        positions = self._aperture.element_positions_m[self._list_elements]
        self._list_positions = np.ascontiguousarray(np.moveaxis(positions, 2, 0), dtype=np.float32)

    def _measure_apertures(self) -> None:
        """Half apertures of every block, and how far each channel is from the middle of each line's aperture."""
        aperture = self._aperture
        feet, self._half_of_line = _distinct(
            aperture.feet_m if aperture.lateral_m is None else np.zeros(aperture.lines)
        )
        blocks = -(-aperture.count // BLOCK)
        places = aperture.first_m + np.arange(blocks * BLOCK) * aperture.spacing_m
        self._per_half_of_points = _per_half(aperture, places - feet[:, None]).reshape(len(feet), blocks, BLOCK)
        middles = places[::BLOCK] + HALF_BLOCK * aperture.spacing_m
        self._per_half_of_blocks = _per_half(aperture, middles - feet[:, None])
        self._lateral: NDArray[np.float32] | None = None
        if aperture.lines * self._lists.size * 4 <= LATERAL_BYTES:
            own = aperture.lateral_of_lines()[:, self._list_elements]
            own[:, self._lists < 0] = np.inf
            self._lateral = np.ascontiguousarray(own, dtype=np.float32)
        numbers = np.arange(256)[:, None] >> np.arange(8) & 1
        lists = np.argsort(1 - numbers, axis=1, kind="stable").astype(np.uint64)
        self._bit_lists = np.ascontiguousarray(
            (lists << (8 * np.arange(8, dtype=np.uint64))).sum(axis=1, dtype=np.uint64)
        )

    def _pass_waves(
        self,
        time32: NDArray[np.float32] | None,
        time64: FloatArray | None,
        weight: NDArray[np.float32] | None,
        t0_s: FloatArray,
        sampling_hz: float,
        demodulation_hz: float,
        time_offset_s: float,
    ) -> None:
        """Second-order form of every wave in every block, and the points of those that have none."""
        aperture = self._aperture
        transmits, blocks = len(self._receive), -(-aperture.count // BLOCK)
        shape = (transmits, aperture.lines, blocks)
        self._time_quadratic = np.zeros((*shape, 3), np.float32)
        points = np.zeros((*shape, BLOCK), np.float32)
        self._time_kind = np.zeros(shape, np.int32)
        whole = np.zeros(shape, np.uint8)
        _native.das_times(
            time32,
            time64,
            weight,
            t0_s,
            self.step,
            self._start_s,
            time_offset_s,
            self.fine_hz,
            WAVE_TOLERANCE_RAD * self.fine_hz / (2 * math.pi * demodulation_hz),
            self._time_quadratic,
            points,
            self._time_kind,
            whole,
        )
        by_points = self._time_kind == -3
        self._time_kind[by_points] = np.arange(by_points.sum(), dtype=np.int32)
        self._time_points = (
            np.ascontiguousarray(points[by_points]) if by_points.any() else np.zeros((1, BLOCK), np.float32)
        )
        partial = (whole == 0) & (self._time_kind != -2)
        self._weight_kind = np.full(shape, -1, np.int32)
        self._weight_kind[partial] = np.arange(partial.sum(), dtype=np.int32)
        self._weight_points = np.zeros((1, BLOCK), np.float32)
        if partial.any():
            own = np.zeros((transmits, aperture.lines, blocks * BLOCK), np.float32)
            if time64 is not None:
                own[:, :, : aperture.count] = np.isfinite(time64)
            elif time32 is not None:
                own[:, :, : aperture.count] = np.isfinite(time32)
            if weight is not None:
                own[:, :, : aperture.count] *= np.nan_to_num(weight, nan=0.0, posinf=0.0, neginf=0.0)
            self._weight_points = np.ascontiguousarray(own.reshape(*shape, BLOCK)[partial])


def _distinct(values: FloatArray) -> tuple[FloatArray, NDArray[np.int32]]:
    """The values that differ by more than rounding, and which of them each one is."""
    distinct, inverse = np.unique(np.round(values, 12), return_inverse=True)
    return distinct, np.ascontiguousarray(inverse.reshape(-1), dtype=np.int32)


def _per_half(aperture: Aperture, heights: FloatArray) -> NDArray[np.float32]:
    """1 / half aperture at those distances from the foot."""
    half = np.maximum(heights * aperture.per_half, aperture.least_half_m)
    return np.ascontiguousarray(1 / np.maximum(half, SMALLEST_HALF_M), dtype=np.float32)


def usual_pace_s(aperture: Aperture, time: NDArray[np.float32] | FloatArray, slowness: float) -> float:
    """By how much the delay usually grows from one point of a line to the next."""
    lines = np.unique(np.linspace(0, aperture.lines - 1, SAMPLED_LINES).astype(int))
    if aperture.count < 2:
        return 2 * aperture.spacing_m * slowness
    places = np.unique(np.linspace(0, aperture.count - 2, SAMPLED_BLOCKS).astype(int))
    waves = np.asarray(time[:, lines], dtype=np.float64)
    transmit = (waves[:, :, places + 1] - waves[:, :, places]).reshape(-1)
    transmit = transmit[np.isfinite(transmit)]
    cosines = aperture.receive_cosines(lines, places)
    if transmit.size == 0 or cosines.size == 0:
        return 2 * aperture.spacing_m * slowness
    low, high = np.percentile(transmit, PACE_PERCENTILES)
    low_rx, high_rx = np.percentile(cosines, PACE_PERCENTILES) * aperture.spacing_m * slowness
    pace = float(low + high + low_rx + high_rx) / 2
    return max(pace, 0.5 * aperture.spacing_m * slowness)


def _fine_rate(wanted_hz: float, sampling_hz: float) -> tuple[float, Fraction]:
    """The fine rate nearest to `wanted_hz` with a simple ratio, and input samples per fine sample."""
    if abs(wanted_hz / sampling_hz - 1) < SAME_RATE:
        return sampling_hz, Fraction(1)
    ratio = Fraction(sampling_hz / wanted_hz).limit_denominator(MOST_PHASES)
    if ratio <= 0:
        ratio = Fraction(1, MOST_PHASES)
    return float(sampling_hz / ratio), ratio


def _sharpened(response: Callable[[FloatArray], FloatArray], x: FloatArray, fine: float) -> FloatArray:
    """`response` at `x`, sharpened by its second difference over the distance `fine`."""
    second = response(x - fine) - 2 * response(x) + response(x + fine)
    return np.asarray(response(x) - SHARPENING * second, dtype=np.float64)
