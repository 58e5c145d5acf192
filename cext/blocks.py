"""The plan of the block kernel: baseband on line grids, resampled so that points read consecutive samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sonod.cext import _native
from sonod.cext.aperture import Aperture
from sonod.cext.arrays import FloatArray
from sonod.cext.channel_maps import PARTY, channel_maps
from sonod.cext.resampling import ROWS, farrow_filters, fine_rate, plane_order, preferred_rate_hz
from sonod.cext.symmetry import MOST_ELEMENTS, LineClasses, line_classes
from sonod.cext.waves import UNSEEN, WAVE_TOLERANCE_RAD, Waves, pass_waves

# Samples are taken in eights.
GROUP = 8
# Pairs of a row of a plane beyond its samples; the kernel's margins.
ROW_MARGIN = 80
# Fine samples per second over half the signal's bandwidth, at least.
FINE_RATE = {"default": 3.3, "fast": 2.8}
# Points of a block: many where the delays of all channels grow evenly, for that costs least, else few.
SHORT_BLOCK, LONG_BLOCK = 16, 32
# Channels to be taken point by point, and those of blocks in which any must be: so few of all where blocks are long.
MOST_STEEP, MOST_UNSTEADY = 0.004, 0.004
# By how much sampled paces may spread, in fine samples at the end of a long block, for these to be tried.
MOST_SPREAD = 0.6
# How far the delay of a channel may drift from the common pace from the middle of a block to its end, in fine samples:
# with half a sample of the middle it must stay below one, which the kernel's numbers hold.
LARGEST_DRIFT = {"default": 0.4, "fast": 0.49}
# By how much the phase of the way back may turn from there to the end, beyond the common pace of the block; channels
# that turn faster, or drift further, are added point by point.
LARGEST_TURN_RAD = 0.7
# Half the bandwidth of a pulse over its centre frequency, when nobody says; wider than medical pulses.
USUAL_HALF_BAND = 0.6
# Half the bandwidth that baseband samples can hold, over their rate, leaving room for the filter's slope.
LARGEST_HALF_BAND = 0.36
# Most fine samples per point; with coarser grids the delay is taken point by point anyway.
MOST_STEPS = 32
# Most fine samples of a record: the kernel counts them in 2^-15 in 32 bits.
MOST_FINE = 30_000
# Bytes of resampled data held at once: so few that they stay in the caches between resampling and adding, but twice the
# table of the way back, which is read again for each group of transmissions, up to what stays in a last-level cache.
LEAST_PLANE_BYTES, PLANE_BYTES = 4_000_000, 8_000_000
# Largest table of the way back; above it that is computed in passing.
TABLE_BYTES = 24_000_000
# A half aperture of a single element, so that its own place is within and nothing else is.
SMALLEST_HALF_M = 1e-30
# Headroom for rounding below the largest 16-bit number.
ROUNDING_MARGIN = 1.001
# Fields of the head of a block in das_receive.inc.c.
HEAD_START, HEAD_COUNT, HEAD_LEFT, HEAD_RIGHT, HEAD_STEEP, HEAD_SLOWEST, HEAD_FASTEST, HEAD_SIZE = (
    0,
    1,
    2,
    3,
    4,
    6,
    7,
    8,
)
# Numbers of an element in eight points of a block, where it is taken in such pieces.
PIECE_INTS = 9
# Lines, blocks and elements looked at to find the usual pace of the delay.
SAMPLED_LINES = 12
SAMPLED_BLOCKS = 12
# So many waves and so many elements stand for all when the usual pace is sought.
SAMPLED_PACES = 60
CANDIDATE_PACES = 200
# The share of the reach that is counted on when the usual pace is sought: all channels of a block must be within.
SURE_REACH = 0.8
# Time of a channel that drifts further than a block allows over that of one in a block; measured.
DRIFTING_COST = 6.0


def preferred_input_hz(
    spacing_m: float,
    sound_speed_m_s: float,
    demodulation_hz: float,
    half_bandwidth_hz: float | None = None,
    quality: str = "default",
) -> float:
    """The rate of baseband samples that needs least resampling, for lines of that point spacing."""
    half = USUAL_HALF_BAND * demodulation_hz if half_bandwidth_hz is None else half_bandwidth_hz
    return preferred_rate_hz(2 * spacing_m / sound_speed_m_s * 0.98, FINE_RATE.get(quality, FINE_RATE["default"]), half)


class BlockPlan:
    """Tables of `kernels/das_blocks.inc.c` for one aperture, one set of waves and one quality.

    Each trace is resampled to `fine_hz`, `step` fine samples for each point of a line, with slope and curvature; the
    way back is held for every (line, block of `block_points`, element), or for classes of lines where they repeat.
    """

    def __init__(
        self,
        aperture: Aperture,
        receive: NDArray[np.int32],
        *,
        time: NDArray[np.float32] | FloatArray,
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
        self._receive, self._samples = receive, samples
        half = half_bandwidth_hz or USUAL_HALF_BAND * demodulation_hz
        half = min(half, LARGEST_HALF_BAND * sampling_hz)
        rate_hz = preferred_rate_hz(2 * aperture.spacing_m * slowness, FINE_RATE[quality], half)
        reach = SURE_REACH * LARGEST_DRIFT[quality]
        pace_s, spread_s = usual_pace_s(aperture, time, slowness, reach / rate_hz / _last_point(SHORT_BLOCK))
        wanted_hz = min(preferred_rate_hz(pace_s, FINE_RATE[quality], half), MOST_STEPS / pace_s)
        self.step = round(wanted_hz * pace_s)
        self.fine_hz, ratio = fine_rate(wanted_hz, sampling_hz)
        self._find_span(aperture, time, t0_s, slowness, time_offset_s, sampling_hz)
        resampling = farrow_filters(ratio, half / sampling_hz)
        self._bound = resampling.bound * ROUNDING_MARGIN
        self._coefficients = np.ascontiguousarray(resampling.coefficients, dtype=np.float32)
        starts, phases = plane_order(self.step, self._width, resampling)
        self._starts = np.ascontiguousarray(np.minimum(starts, self._end_at - self._begin_at), dtype=np.int32)
        self._filters = np.ascontiguousarray(phases * (ROWS * self._coefficients.shape[2]), dtype=np.int32)
        start_s = self._begin_at / sampling_hz
        self._wave_turns = np.asarray((demodulation_hz * (t0_s + start_s)) % 1, dtype=np.float32)

        def waves(block_points: int) -> Waves:
            return pass_waves(
                time,
                weight,
                t0_s=t0_s,
                block_points=block_points,
                step=self.step,
                start_s=start_s,
                time_offset_s=time_offset_s,
                fine_hz=self.fine_hz,
                demodulation_hz=demodulation_hz,
            )

        classes = line_classes(
            aperture.origins_m,
            aperture.directions,
            aperture.feet_m,
            aperture.element_positions_m,
            aperture.element_normals,
            alike=aperture.lateral_m is None,
        )
        self._class_of, self._shift, self._mirrored = classes.class_of, classes.shift, classes.mirrored
        self._order = working_order(classes.class_of, classes.shift)
        self.block_points = SHORT_BLOCK
        drift = spread_s * self.fine_hz * _last_point(LONG_BLOCK)
        choices = [LONG_BLOCK, SHORT_BLOCK] if drift <= MOST_SPREAD and aperture.count > SHORT_BLOCK else [SHORT_BLOCK]
        for self.block_points in choices:
            self._waves = waves(self.block_points)
            self._hear(aperture, classes, slowness, demodulation_hz)
            largest = LARGEST_DRIFT[quality] / _last_point(self.block_points) * self.block_points / 2
            self._largest_drift = int(largest * 2**15)
            if self.block_points == LONG_BLOCK and self._is_even():
                break
        self._tabulate(classes)
        self._maps = channel_maps(receive, aperture.elements, self.step * ROWS * self._row)
        transmits, channels = receive.shape
        table_bytes = TABLE_BYTES if self._table is None else self._table.nbytes
        plane_bytes = min(max(2 * table_bytes, LEAST_PLANE_BYTES), PLANE_BYTES)
        group = min(transmits, max(1, plane_bytes // (channels * self.step * ROWS * self._row * 4)))
        self._planes = np.zeros((group, channels, self.step, ROWS, self._row), np.int32)
        self._peaks = np.zeros((transmits, channels), np.float32)
        self._scales = np.zeros((2, transmits), np.float32)

    @property
    def table_bytes(self) -> int:
        """Memory of all tables and of the resampled data."""
        own = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        own += [value for value in self._geometry if isinstance(value, np.ndarray)]
        own += vars(self._maps).values()
        return sum(value.nbytes for value in own) + self._waves.nbytes

    def run(self, data: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Beamforms `data (T, C, samples, 2)` into `out (L, N, 2)`."""
        transmits, channels = self._receive.shape
        waves, maps = self._waves, self._maps
        _native.das_blocks(
            self._geometry,
            self._heads,
            self._paces,
            self._table,
            self._order,
            self._class_of,
            self._shift,
            self._mirrored,
            self._receive,
            maps.of,
            maps.first,
            maps.traces,
            maps.whole,
            self.step,
            self._width,
            self._largest_drift,
            self._coefficients,
            self._starts,
            self._filters,
            self._begin_at,
            self._end_at,
            self._bound,
            self._peaks,
            self._scales,
            self._wave_turns,
            waves.kind,
            waves.weight_kind,
            waves.quadratic,
            waves.ways,
            waves.phases,
            waves.points,
            waves.weights,
            self._samples,
            self._planes,
            1.0 / (transmits * channels),
            data.reshape(-1),
            out.reshape(-1),
        )

    def _find_span(
        self,
        aperture: Aperture,
        time: NDArray[np.float32] | FloatArray,
        t0_s: FloatArray,
        slowness: float,
        time_offset_s: float,
        sampling_hz: float,
    ) -> None:
        """Which part of the record the delays can reach, and how many fine samples cover it."""
        nearest, farthest = aperture.distance_bounds()
        with np.errstate(invalid="ignore"):
            early = np.fmin.reduce(time.reshape(len(time), -1), axis=1)
            late = np.fmax.reduce(time.reshape(len(time), -1), axis=1)
        first = float(np.fmin.reduce(early - t0_s)) + nearest * slowness + time_offset_s
        last = float(np.fmax.reduce(late - t0_s)) + farthest * slowness + time_offset_s
        if not math.isfinite(first + last):
            first = last = 0.0
        self._begin_at = min(max(math.floor(first * sampling_hz) - 2, 0), self._samples - 1)
        end = min(max(math.ceil(last * sampling_hz) + 2, self._begin_at), self._samples - 1)
        self._end_at = end + 1
        fine = math.floor((end - self._begin_at) / sampling_hz * self.fine_hz) + 1
        if fine > MOST_FINE:
            raise OverflowError(f"{fine} fine samples")
        per_plane = -(-fine // self.step)
        self._width = -(-per_plane // GROUP) * GROUP
        # An odd number of cache lines from row to row keeps rows out of each other's way in the cache.
        self._row = (-(-(self._width + ROW_MARGIN) // 16) | 1) * 16

    def _hear(self, aperture: Aperture, classes: LineClasses, slowness: float, demodulation_hz: float) -> None:
        """Counts how elements hear the blocks of each class of lines."""
        last = _last_point(self.block_points)
        own_feet = aperture.feet_m[classes.example]
        feet, half_of_class = _distinct(own_feet if aperture.lateral_m is None else np.zeros(len(own_feet)))
        blocks = -(-aperture.count // self.block_points)
        heights = aperture.first_m + np.arange(blocks * self.block_points) * aperture.spacing_m - feet[:, None]
        per_half = _per_half(aperture, heights).reshape(len(feet), blocks, self.block_points)
        elements = len(classes.element_positions_m)
        if elements > MOST_ELEMENTS:
            raise OverflowError(f"{elements} elements")
        positions = np.zeros((3, -(-elements // GROUP) * GROUP), np.float32)
        positions[:, :elements] = classes.element_positions_m.T
        fine_per_metre, spacing = self.fine_hz * slowness, aperture.spacing_m
        turns = demodulation_hz / self.fine_hz
        constants = np.array(
            [
                spacing,
                fine_per_metre,
                fine_per_metre * spacing,
                0.5 * fine_per_metre * spacing**2,
                # Third-order term of the delay at the end of a block over what is accepted.
                2 * math.pi * turns * last**3 * spacing / WAVE_TOLERANCE_RAD,
                turns,
                2 * math.pi * turns,
                LARGEST_TURN_RAD / (2 * math.pi * turns) / last,
            ],
            np.float32,
        )
        self._geometry = (
            classes.origins_m,
            classes.directions,
            aperture.first_m,
            spacing,
            aperture.count,
            own_feet,
            classes.element_positions_m,
            classes.element_normals,
            positions,
            aperture.lateral_m,
            half_of_class,
            per_half,
            aperture.window,
            constants,
        )
        self._heads: NDArray[np.int32] | None = np.zeros((blocks, len(own_feet), HEAD_SIZE), np.int32)
        self._paces: NDArray[np.float32] | None = np.zeros((blocks, len(own_feet)), np.float32)
        self._table: NDArray[np.int32] | None = None
        _native.das_receive(self._geometry, self._heads, self._paces, None)

    def _is_even(self) -> bool:
        """Whether hardly any channel must be taken point by point, or is in a block with one that drifts too far."""
        assert self._heads is not None
        assert self._paces is not None
        heads = self._heads[:, self._class_of]
        count, steep = heads[..., HEAD_COUNT].sum(dtype=np.int64), heads[..., HEAD_STEEP].sum(dtype=np.int64)
        waves, unit = self._waves, self.block_points / 2 * 2**15
        pace = (waves.quadratic[..., 1] + self._paces[:, self._class_of] - self.step) * unit
        drifting = (heads[..., HEAD_FASTEST] + pace > self._largest_drift) | (
            heads[..., HEAD_SLOWEST] + pace < -self._largest_drift
        )
        uneven = (heads[..., HEAD_COUNT] * ((drifting | (waves.kind >= 0)) & (waves.kind != UNSEEN))).sum(
            dtype=np.int64
        )
        return bool(steep <= MOST_STEEP * (count + steep) and uneven <= MOST_UNSTEADY * count * len(waves.kind))

    def _tabulate(self, classes: LineClasses) -> None:
        """Fills the table of the way back, if it is not too large."""
        assert self._heads is not None
        assert self._paces is not None
        counts = self._heads.astype(np.int64)
        windows = counts[..., HEAD_LEFT] + counts[..., HEAD_RIGHT]
        sizes = 5 * counts[..., HEAD_COUNT] + self.block_points // 2 * windows
        sizes += (1 + self.block_points // 8 * PIECE_INTS) * counts[..., HEAD_STEEP]
        # Block by block, lines in the order in which they are worked on: so the table is read from front to back.
        order = self._class_of[self._order]
        order = order[np.sort(np.unique(order, return_index=True)[1])]
        in_order = sizes[:, order]
        ends = np.cumsum(in_order.reshape(-1))
        if 4 * int(ends[-1]) <= TABLE_BYTES:
            self._heads[:, order, HEAD_START] = ends.reshape(in_order.shape) - in_order
            self._table = np.zeros(int(ends[-1]) + 5 * PARTY, np.int32)
            _native.das_receive(self._geometry, self._heads, self._paces, self._table)
        else:
            self._heads = self._paces = None


def _last_point(block_points: int) -> float:
    """From the middle of a block to its last point, in points."""
    return (block_points - 1) / 2


def working_order(class_of: NDArray[np.int32], shift: NDArray[np.int32]) -> NDArray[np.int32]:
    """Lines in the order in which they are worked on (lines,): neighbours follow each other, and each line is followed
    by those that lie alike from either end of the array, which have the same table and as many elements."""
    alike = np.unique(np.stack([class_of, shift], axis=1), axis=0, return_index=True, return_inverse=True)
    return np.argsort(alike[1][alike[2].reshape(-1)], kind="stable").astype(np.int32)


def _distinct(values: FloatArray) -> tuple[FloatArray, NDArray[np.int32]]:
    """The values that differ by more than rounding, and which of them each one is."""
    distinct, inverse = np.unique(np.round(values, 12), return_inverse=True)
    return distinct, np.ascontiguousarray(inverse.reshape(-1), dtype=np.int32)


def _per_half(aperture: Aperture, heights: FloatArray) -> NDArray[np.float32]:
    """1 / half aperture at those distances from the foot."""
    half = np.maximum(heights * aperture.per_half, aperture.least_half_m)
    return np.ascontiguousarray(1 / np.maximum(half, SMALLEST_HALF_M), dtype=np.float32)


def usual_pace_s(
    aperture: Aperture, time: NDArray[np.float32] | FloatArray, slowness: float, reach_s: float
) -> tuple[float, float]:
    """By how much the delay usually grows from one point of a line to the next: the pace that costs least when
    channels that differ from it by more than `reach_s` are looked up sample by sample; and by how much any differs."""
    lines = np.unique(np.linspace(0, aperture.lines - 1, SAMPLED_LINES).astype(int))
    if aperture.count < 2:
        return 2 * aperture.spacing_m * slowness, math.inf
    places = np.unique(np.linspace(0, aperture.count - 2, SAMPLED_BLOCKS).astype(int))
    waves = np.asarray(time[:, lines], dtype=np.float64)
    transmit = (waves[:, :, places + 1] - waves[:, :, places]).reshape(-1)
    transmit = transmit[np.isfinite(transmit)]
    cosines = aperture.receive_cosines(lines, places)
    if transmit.size == 0 or cosines.size == 0:
        return 2 * aperture.spacing_m * slowness, math.inf
    receive = cosines * aperture.spacing_m * slowness
    # All pairs of evenly picked waves and elements stand for all channels.
    picked = [
        np.sort(values)[np.linspace(0, len(values) - 1, SAMPLED_PACES).astype(int)] for values in (transmit, receive)
    ]
    paces = np.sort((picked[0][:, None] + picked[1]).reshape(-1))
    candidates = np.linspace(paces[0], paces[-1], CANDIDATE_PACES)
    within = np.searchsorted(paces, candidates + reach_s, side="right") - np.searchsorted(paces, candidates - reach_s)
    # Of equal costs the middle one.
    cost = within + DRIFTING_COST * (len(paces) - within)
    least = np.flatnonzero(cost == cost.min())
    pace = float(candidates[least[len(least) // 2]])
    pace = max(pace, 0.5 * aperture.spacing_m * slowness)
    return pace, float(np.abs(paces - pace).max())
