"""The plan of the block kernel: baseband on line grids, resampled so that points read consecutive samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sonod.cext import _native
from sonod.cext.aperture import Aperture
from sonod.cext.arrays import FloatArray
from sonod.cext.channel_maps import PARTY, channel_maps
from sonod.cext.depth_parts import (
    LARGEST_DRIFT,
    MOST_BOW,
    DepthPart,
    Timing,
    choose_parts,
)
from sonod.cext.prepare import USUAL_HALF_BAND
from sonod.cext.resampling import TAPS, farrow_filters, preferred_rate_hz, whole_filters
from sonod.cext.symmetry import LineClasses, line_classes
from sonod.cext.threads import Series
from sonod.cext.waves import UNSEEN, pass_waves
from sonod.cext.ways_back import (
    FIELDS,
    HEAD_COUNT,
    HEAD_FASTEST,
    HEAD_LEFT,
    HEAD_RIGHT,
    HEAD_SLOWEST,
    HEAD_START,
    HEAD_STEEP,
    PIECE_INTS,
    hear,
    last_point,
)

# Fine samples are taken in sixteens.
FINE_GROUP = 16
# Pairs of a row of a plane beyond its samples; the kernel's margins.
ROW_MARGIN = 80
# Input samples before and behind those that delays reach, for the filters.
SPAN_MARGIN = max(taps for _, taps in TAPS) // 2 + 2
# Fine samples per second over half the signal's bandwidth.
FINE_RATE = {"default": 3.3, "fast": 2.8}
# Half the bandwidth that baseband samples can hold, over their rate, leaving room for the filter's slope.
LARGEST_HALF_BAND = 0.36
# Most fine samples of a record: the kernel counts them in 2^-15 in 32 bits.
MOST_FINE = 30_000
# Bytes of resampled data held at once: so few that they stay in the caches between resampling and adding, but twice the
# table of the way back, which is read again for each group of transmissions, up to what stays in a last-level cache.
LEAST_PLANE_BYTES, PLANE_BYTES = 4_000_000, 8_000_000
# What a line of a block takes by itself, a channel in blocks of which one drifts too far, and one in pieces of four
# points, over what a channel takes else, measured; for the shares of threads only.
LINE_EFFORT, UNSTEADY_EFFORT, STEEP_EFFORT = 25, 5, 10
# Lines that stand for all where the usual delays of a depth are sought.
SAMPLED_LINES = 12
# Largest table of the way back; above it that is computed in passing.
TABLE_BYTES = 24_000_000
# Headroom for rounding below the largest 16-bit number.
ROUNDING_MARGIN = 1.001


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
    """The tables of a line grid for one aperture, one set of waves and one quality, by depth parts."""

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
        half = half_bandwidth_hz or USUAL_HALF_BAND * demodulation_hz
        half = min(half, LARGEST_HALF_BAND * sampling_hz)
        timing = Timing(time, weight, t0_s, time_offset_s, sampling_hz, demodulation_hz, slowness, half)
        classes = line_classes(
            aperture.origins_m,
            aperture.directions,
            aperture.feet_m,
            aperture.element_positions_m,
            aperture.element_normals,
            alike=aperture.lateral_m is None,
        )
        self.parts = tuple(
            BlockPart(
                aperture.part(part.begin, part.count),
                receive,
                classes,
                timing.part(part.begin, part.count),
                part,
                samples,
                LARGEST_DRIFT[quality],
            )
            for part in choose_parts(aperture, timing, receive.shape[1], quality)
        )

    @property
    def block_points(self) -> tuple[int, ...]:
        """Points of a block in each part."""
        return tuple(own.part.block_points for own in self.parts)

    @property
    def table_bytes(self) -> int:
        """Memory of all tables and of the resampled data."""
        return sum(part.table_bytes for part in self.parts)

    def run(self, data: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Beamforms `data (T, C, samples, 2)` into `out (L, N, 2)`."""
        with Series():
            for part in self.parts:
                part.run(data, out)


class BlockPart:
    """Tables of `kernels/das_blocks.inc.c` for one depth part.

    Each trace is resampled to fine samples, `step` for each point of a line, with slope and curvature; the way back is
    held for every (line, block, element), or for classes of lines where they repeat.
    """

    def __init__(
        self,
        aperture: Aperture,
        receive: NDArray[np.int32],
        classes: LineClasses,
        timing: Timing,
        part: DepthPart,
        samples: int,
        largest_drift: float,
    ) -> None:
        self.part = part
        self._receive, self._samples = receive, samples
        self.step, self.fine_hz = part.step, part.fine_hz
        self._find_span(aperture, timing)
        resampling = farrow_filters(
            part.ratio, timing.half_hz / timing.sampling_hz, part.reach, part.rows, 0.5 + largest_drift
        )
        self._filters = whole_filters(resampling, self.step, self._width, self._row, self._end_at - self._begin_at)
        start_s = self._begin_at / timing.sampling_hz
        self._wave_turns = np.asarray((timing.demodulation_hz * (timing.t0_s + start_s)) % 1, dtype=np.float32)
        self._class_of, self._shift, self._mirrored = classes.class_of, classes.shift, classes.mirrored
        self._order = working_order(classes.class_of, classes.shift)
        largest = largest_drift / last_point(part.block_points) * part.block_points / 2
        self._largest_drift = int(largest * 2**15)
        self._waves = pass_waves(
            timing.time,
            timing.weight,
            t0_s=timing.t0_s,
            block_points=part.block_points,
            step=self.step,
            start_s=start_s,
            time_offset_s=timing.time_offset_s,
            fine_hz=self.fine_hz,
            demodulation_hz=timing.demodulation_hz,
        )
        heard = hear(
            aperture,
            classes,
            part.block_points,
            fine_hz=self.fine_hz,
            slowness=timing.slowness,
            demodulation_hz=timing.demodulation_hz,
            phase_order=part.phase_order,
        )
        self._geometry = heard.geometry
        self._heads: NDArray[np.int32] | None = heard.heads
        self._paces: NDArray[np.float32] | None = heard.paces
        self._efforts = self._find_efforts()
        self._fine_at = self._find_usual(aperture, timing)
        self._table = self._tabulate()
        self._maps = channel_maps(receive, aperture.elements, self.step * part.rows * self._row)
        transmits, channels = receive.shape
        table_bytes = TABLE_BYTES if self._table is None else self._table.nbytes
        plane_bytes = min(max(2 * table_bytes, LEAST_PLANE_BYTES), PLANE_BYTES)
        group = plane_bytes // (channels * self.step * part.rows * self._row * 4)
        group = max(1, min(group, transmits // 2))
        self._planes = np.zeros((group, channels, self.step, part.rows, self._row), np.int32)
        self._peaks = np.zeros((transmits, channels), np.float32)
        self._scales = np.zeros((2, transmits), np.float32)
        self._pieces = np.zeros((2, len(self._fine_at)), np.int32)
        self._sums = self._describe()

    @property
    def table_bytes(self) -> int:
        """Memory of all tables and of the resampled data."""
        own = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        own += [value for value in self._geometry if isinstance(value, np.ndarray)]
        own += vars(self._maps).values()
        return sum(value.nbytes for value in own) + self._waves.nbytes + self._filters.nbytes

    def run(self, data: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Beamforms `data (T, C, samples, 2)` into `out (L, N, 2)`."""
        self._sums.run(data, out, self.part.begin)

    def _describe(self) -> _native.BlockSums:
        """All of it as the kernels take it."""
        transmits, channels = self._receive.shape
        waves, maps = self._waves, self._maps
        return _native.BlockSums(
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
            self._filters,
            self._begin_at,
            self._end_at,
            self._filters.bound * ROUNDING_MARGIN,
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
            self._efforts,
            self._fine_at,
            self._pieces,
            1.0 / (transmits * channels),
        )

    def _find_span(self, aperture: Aperture, timing: Timing) -> None:
        """Which part of the record the delays can reach, and how many fine samples cover it."""
        spans = timing.spans_s(aperture, np.zeros(1, np.intp), np.arange(aperture.lines))
        first, last = (float(own[0]) for own in spans)
        if first > last:
            first = last = 0.0
        rate_hz = timing.sampling_hz
        self._begin_at = min(max(math.floor(first * rate_hz) - SPAN_MARGIN, 0), self._samples - 1)
        end = min(max(math.ceil(last * rate_hz) + SPAN_MARGIN, self._begin_at), self._samples - 1)
        self._end_at = end + 1
        fine = math.floor((end - self._begin_at) / rate_hz * self.fine_hz) + 1
        if fine > MOST_FINE:
            raise OverflowError(f"{fine} fine samples")
        per_plane = -(-fine // self.step)
        self._width = -(-per_plane // FINE_GROUP) * FINE_GROUP
        # An odd number of cache lines from row to row keeps rows out of each other's way in the cache.
        self._row = (-(-(self._width + ROW_MARGIN) // 16) | 1) * 16

    def _find_efforts(self) -> NDArray[np.float32]:
        """About what each block of all lines takes of the whole (blocks,)."""
        assert self._heads is not None
        assert self._paces is not None
        waves, length = self._waves, self.part.block_points
        heads = self._heads[:, self._class_of]
        drift = (waves.quadratic[..., 1] + self._paces[:, self._class_of] - self.step) * (length / 2 * 2**15)
        off = drift + heads[..., HEAD_FASTEST] > self._largest_drift
        off |= drift + heads[..., HEAD_SLOWEST] < -self._largest_drift
        off |= (waves.kind >= 0) | (np.abs(waves.quadratic[..., 2]) * last_point(length) ** 2 > MOST_BOW)
        channels = heads[..., HEAD_COUNT] * np.where(off, UNSTEADY_EFFORT, 1) + STEEP_EFFORT * heads[..., HEAD_STEEP]
        efforts = ((waves.kind != UNSEEN) * (LINE_EFFORT + channels)).sum(axis=(0, 2))
        return np.asarray(efforts / max(efforts.sum(), 1), dtype=np.float32)

    def _find_usual(self, aperture: Aperture, timing: Timing) -> NDArray[np.int32]:
        """Fine samples about where the delays of each block of points begin (blocks + 1,), from none to all."""
        begins = np.arange(0, aperture.count, self.part.block_points)
        lines = np.unique(np.linspace(0, aperture.lines - 1, SAMPLED_LINES).astype(np.intp))
        early, late = timing.spans_s(aperture, begins, lines)
        middle_s = (early[1:] + late[:-1]) / 2 - self._begin_at / timing.sampling_hz
        inner = np.where(np.isfinite(middle_s), middle_s, 0) * self.fine_hz
        fine = self.step * self._width
        inner = np.clip(np.maximum.accumulate(inner), 0, fine)
        return np.concatenate([[0], inner, [fine]]).astype(np.int32)

    def _tabulate(self) -> NDArray[np.int32] | None:
        """The table of the way back, if it is not too large."""
        assert self._heads is not None
        assert self._paces is not None
        counts = self._heads.astype(np.int64)
        windows = counts[..., HEAD_LEFT] + counts[..., HEAD_RIGHT]
        fields = FIELDS[self.part.phase_order]
        sizes = fields * counts[..., HEAD_COUNT] + self.part.block_points // 2 * windows
        sizes += (1 + self.part.block_points // 4 * PIECE_INTS) * counts[..., HEAD_STEEP]
        # Block by block, lines in the order in which they are worked on: so the table is read from front to back.
        order = self._class_of[self._order]
        order = order[np.sort(np.unique(order, return_index=True)[1])]
        in_order = sizes[:, order]
        ends = np.cumsum(in_order.reshape(-1))
        if 4 * int(ends[-1]) > TABLE_BYTES:
            self._heads = self._paces = None
            return None
        self._heads[:, order, HEAD_START] = ends.reshape(in_order.shape) - in_order
        table = np.zeros(int(ends[-1]) + fields * PARTY, np.int32)
        _native.das_receive(self._geometry, self._heads, self._paces, table)
        return table


def working_order(class_of: NDArray[np.int32], shift: NDArray[np.int32]) -> NDArray[np.int32]:
    """Lines in the order in which they are worked on (lines,): neighbours follow each other, and each line is followed
    by those that lie alike from either end of the array, which have the same table and as many elements."""
    alike = np.unique(np.stack([class_of, shift], axis=1), axis=0, return_index=True, return_inverse=True)
    return np.argsort(alike[1][alike[2].reshape(-1)], kind="stable").astype(np.int32)
