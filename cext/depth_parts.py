"""In which ranges of depth, how long blocks and at what fine rate a line grid is beamformed at least cost.

Delays of shallow points grow unevenly: there, blocks of points are short. Deeper ones are taken in long blocks. Each
part has its own fine rate, at which a whole number of fine samples makes the usual way from point to point: the fewest
that keep the error low, since samples that lie close together stay in the caches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sonod.cext.aperture import Aperture
from sonod.cext.arrays import FloatArray
from sonod.cext.resampling import EDGE_EXPONENT, ROWS, THIRD_ORDER_ROWS, fine_rate
from sonod.cext.symmetry import LineClasses
from sonod.cext.waves import UNSEEN, pass_waves
from sonod.cext.ways_back import HEAD_COUNT, HEAD_FASTEST, HEAD_SLOWEST, HEAD_STEEP, Heard, hear, last_point

# Points of a block: many where the delays of all channels grow evenly, for that costs least, else few.
SHORT_BLOCK, LONG_BLOCK = 16, 32
# Channels to be taken in pieces, and those of blocks in which any drifts too far or the wave bends: so few of all where
# blocks are long. Where there are more, the others bend too much for the accuracy.
MOST_STEEP, MOST_UNSTEADY = 0.004, 0.004
# Long blocks that the upper part may have, when there are two.
UPPER_BLOCKS = (1, 2, 3, 4, 6, 8, 12, 16)
# Error of the polynomials between fine samples that is accepted, averaged over the channels of a block: where echoes
# fill the band as the pulse does, and where tissue has taken their upper half.
LARGEST_ERROR_DB = {"default": (-47.0, -38.0), "fast": (-42.0, -33.0)}
# What soft tissue takes: 0.5 dB/(cm MHz) one way, in neper.
TISSUE_NP_M_HZ = 0.5 * 100 / 1e6 * math.log(10) / 20
# How far the delay of a channel may drift from the common pace from the middle of a block to its end, in fine samples:
# with half a sample of the middle it must stay below one, which the kernel's numbers hold.
LARGEST_DRIFT = {"default": 0.4, "fast": 0.49}
# How far the delay of a wave may bend there, in das_blocks.inc.c.
MOST_BOW = 0.05
# The share of the drift that is counted on when the fine rate is sought, for it is rounded then.
SURE_REACH = 0.8
# Most fine samples per point; with coarser grids the delay is taken point by point anyway.
MOST_STEPS = 32
# Polynomials of third order are for planes of one fine sample a point.
THIRD_ORDER_STEPS = 1
# Waves and lines that stand for all.
SAMPLED_WAVES, SAMPLED_LINES = 12, 12
CANDIDATE_PACES = 200
# Costs over that of one channel in one point of a long block at one fine sample a point, measured: more of a short
# block, of fine samples that lie apart, of a third order of samples and of phases; of channels in blocks of which one
# drifts too far or the wave bends, of channels in pieces of four points, of resampling one fine sample of a channel, of
# a part more.
SHORT_MORE, APART_MORE, THIRD_ORDER_MORE, TWISTED_MORE = 0.3, 0.2, 0.2, 0.08
UNSTEADY_COST, STEEP_COST, RESAMPLING_COST, PART_COST = 3.0, 4.0, 8.0, 2e5
# Two parts must save this share.
LEAST_SAVED = 0.03
# Error at the ends of the first long blocks below short ones, from delays that bend, as the kernel's do not.
LARGEST_BEND_DB = -44.0
# Frequencies over half the band and shares of a fine sample at which errors are estimated.
_FREQUENCIES = np.linspace(-2.2, 2.2, 89)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


@dataclass(frozen=True)
class DepthPart:
    """Points `begin` to `begin + count` of every line, in blocks of `block_points`, `step` fine samples apart.

    `ratio`: input samples per fine sample; `reach`: share of a fine sample to each side over which polynomials are
    fitted; `rows` of a plane, one more than their order; `phase_order`: to which the phases of the way back are held;
    `cost`: estimated, in points and channels.
    """

    begin: int
    count: int
    block_points: int
    step: int
    fine_hz: float
    ratio: Fraction
    reach: float
    rows: int
    phase_order: int
    cost: float


@dataclass(frozen=True, eq=False)
class Timing:
    """What a part's samples depend on beyond its geometry; `time` and `weight (transmits, lines, points)`."""

    time: NDArray[np.float32] | FloatArray
    weight: NDArray[np.float32] | None
    t0_s: FloatArray
    time_offset_s: float
    sampling_hz: float
    demodulation_hz: float
    slowness: float
    half_hz: float

    def spans_s(
        self, aperture: Aperture, begins: NDArray[np.intp], lines: NDArray[np.intp]
    ) -> tuple[FloatArray, FloatArray]:
        """Earliest and latest sample times after t0 that `lines` need, from each of the points `begins (ranges,)` to
        the next or to the last one; infinite where none is."""
        own = self.time if len(lines) == aperture.lines else self.time[:, lines]
        nearest, farthest = aperture.active_bounds_m(begins, np.append(begins[1:], aperture.count) - 1, lines)
        with np.errstate(invalid="ignore"):
            early = np.fmin.reduceat(own, begins, axis=2) - self.t0_s[:, None, None] + nearest.T * self.slowness
            late = np.fmax.reduceat(own, begins, axis=2) - self.t0_s[:, None, None] + farthest.T * self.slowness
        first, last = np.fmin.reduce(early, axis=(0, 1)), np.fmax.reduce(late, axis=(0, 1))
        seen = np.isfinite(first + last)
        offset = self.time_offset_s
        return np.where(seen, first + offset, np.inf), np.where(seen, last + offset, -np.inf)

    def part(self, begin: int, count: int) -> Timing:
        """That of points `begin` to `begin + count` of every line."""
        own = slice(begin, begin + count)
        weight = None if self.weight is None else self.weight[:, :, own]
        return replace(self, time=self.time[:, :, own], weight=weight)

    def of(self, waves: NDArray[np.intp], lines: NDArray[np.intp]) -> Timing:
        """That of some waves along some lines."""
        time = np.take(np.take(self.time, waves, axis=0), lines, axis=1)
        weight = None if self.weight is None else np.take(np.take(self.weight, waves, axis=0), lines, axis=1)
        return replace(self, time=time, weight=weight, t0_s=self.t0_s[waves])


def choose_parts(aperture: Aperture, timing: Timing, channels: int, quality: str) -> list[DepthPart]:
    """The parts that cost least, from the surface down; they begin at whole long blocks."""
    if aperture.count > SHORT_BLOCK:
        long = _Survey(aperture, timing, LONG_BLOCK, channels, quality)
        whole = long.part(0, aperture.count)
        if math.isfinite(whole.cost):
            return [whole]
    surveys = [_Survey(aperture, timing, SHORT_BLOCK, channels, quality)]
    if aperture.count > SHORT_BLOCK:
        surveys += [long, _Survey(aperture, timing, LONG_BLOCK, channels, quality, phase_order=3)]

    def best(begin: int, count: int) -> DepthPart:
        return min((survey.part(begin, count) for survey in surveys), key=lambda part: part.cost)

    whole = best(0, aperture.count)
    chosen, least = [whole], (1 - LEAST_SAVED) * whole.cost
    if whole.block_points == SHORT_BLOCK:
        for blocks in UPPER_BLOCKS:
            split = blocks * LONG_BLOCK
            if split + LONG_BLOCK > aperture.count:
                break
            parts = [best(0, split), best(split, aperture.count - split)]
            cost = sum(part.cost for part in parts) + PART_COST
            if cost < least:
                chosen, least = parts, cost
    return chosen


class _Survey:
    """How delays grow in blocks of one length along some lines, as some waves meet them: paces in seconds a point,
    arrays (waves, blocks, lines)."""

    def __init__(
        self,
        aperture: Aperture,
        timing: Timing,
        block_points: int,
        channels: int,
        quality: str,
        phase_order: int = 2,
    ) -> None:
        self._aperture, self._timing, self._block_points = aperture, timing, block_points
        self._phase_order = phase_order
        self._quality, self._traces = quality, channels * len(timing.time)
        self._lines = _spread(aperture.lines, SAMPLED_LINES)
        waves = _spread(len(timing.time), SAMPLED_WAVES)
        nominal_hz = timing.sampling_hz
        some = timing.of(waves, self._lines)
        passed = pass_waves(
            some.time,
            some.weight,
            t0_s=some.t0_s,
            block_points=block_points,
            step=1,
            start_s=0.0,
            time_offset_s=timing.time_offset_s,
            fine_hz=nominal_hz,
            demodulation_hz=timing.demodulation_hz,
        )
        alone = np.arange(len(self._lines), dtype=np.int32)
        classes = LineClasses(
            aperture.origins_m[self._lines],
            aperture.directions[self._lines],
            aperture.element_positions_m,
            aperture.element_normals,
            alone,
            np.zeros_like(alone),
            np.zeros(len(alone), np.uint8),
            self._lines,
        )
        heard = hear(
            aperture,
            classes,
            block_points,
            fine_hz=nominal_hz,
            slowness=timing.slowness,
            demodulation_hz=timing.demodulation_hz,
            phase_order=phase_order,
        )
        unit = block_points / 2 * 2**15
        common = passed.quadratic[..., 1] + heard.paces
        seen = passed.kind != UNSEEN
        self._slowest = (common + heard.heads[..., HEAD_SLOWEST] / unit) / nominal_hz
        self._fastest = (common + heard.heads[..., HEAD_FASTEST] / unit) / nominal_hz
        self._bow_s = np.abs(passed.quadratic[..., 2]) * (last_point(block_points) ** 2 / nominal_hz)
        self._bow_s[passed.kind >= 0] = np.inf
        self._bend_db = self._find_bend(heard, nominal_hz)
        self._count = heard.heads[..., HEAD_COUNT] * seen
        self._steep = heard.heads[..., HEAD_STEEP] * seen
        self._spans_s = timing.spans_s(aperture, np.arange(0, aperture.count, block_points), self._lines)
        # Of all lines and waves over those looked at.
        self._scale = aperture.lines / len(self._lines) * len(timing.time) / len(waves)

    def part(self, begin: int, count: int) -> DepthPart:
        """Points `begin`, at a whole block, to `begin + count` in blocks of this length."""
        usual = self._part(begin, count, ROWS, MOST_STEPS)
        if usual is None:
            raise AssertionError("the most steps are taken whatever the error")
        third = (
            self._part(begin, count, THIRD_ORDER_ROWS, THIRD_ORDER_STEPS) if usual.step > THIRD_ORDER_STEPS else None
        )
        return usual if third is None or usual.cost <= third.cost else third

    def _part(self, begin: int, count: int, rows: int, most_steps: int) -> DepthPart | None:
        """Step, fine rate and cost with planes of so many rows; None if more fine samples a point are needed than
        `most_steps`, and these are not all that there are."""
        timing, length = self._timing, self._block_points
        blocks = slice(begin // length, -(-(begin + count) // length))
        slowest, fastest, bow_s = self._slowest[:, blocks], self._fastest[:, blocks], self._bow_s[:, blocks]
        heard = self._count[:, blocks]
        middle = (slowest + fastest) / 2
        least_pace = 0.5 * self._aperture.spacing_m * timing.slowness
        usual = 4 * least_pace
        if heard.any():
            usual = max(_weighted_median(middle, heard), least_pace)
        largest, last = LARGEST_DRIFT[self._quality], last_point(length)
        used_s = self._spans_s[0][blocks].min(), self._spans_s[1][blocks].max()
        for step in range(1, most_steps + 1):
            if step < MOST_STEPS and not self._is_accurate(step / usual, 0.5, rows, used_s[1]):
                continue
            reach_s = SURE_REACH * largest / last * usual / step
            pace = max(_steadiest_pace(slowest, fastest, heard, reach_s, usual), least_pace)
            fine_hz, ratio = fine_rate(step / pace, timing.sampling_hz)
            off = largest / last / fine_hz
            pace = step / fine_hz
            unsteady = (bow_s * fine_hz > MOST_BOW) | (fastest - pace > off) | (pace - slowest > off)
            steady = heard * ~unsteady
            drift = ((middle - pace) ** 2 + (fastest - slowest) ** 2 / 12) * fine_hz**2 * (length**2 - 1) / 12
            variance = float((steady * drift).sum() / max(steady.sum(), 1))
            reach = math.sqrt(3 * (1 / 12 + variance))
            if self._is_accurate(fine_hz, reach, rows, used_s[1]):
                break
        else:
            if most_steps < MOST_STEPS:
                return None
        among_unsteady, steep = (heard * unsteady).sum(), self._steep[:, blocks].sum()
        channels = steady.sum() + UNSTEADY_COST * among_unsteady + STEEP_COST * steep
        cost = self._scale * length * float(channels)
        if length == LONG_BLOCK:
            even = steep <= MOST_STEEP * (heard.sum() + steep) and among_unsteady <= MOST_UNSTEADY * heard.sum()
            if not even or (begin and self._bend_db[blocks.start] > LARGEST_BEND_DB):
                cost = math.inf
        cost *= 1 + SHORT_MORE * (length == SHORT_BLOCK) + APART_MORE * (step > 1) + THIRD_ORDER_MORE * (rows > ROWS)
        cost *= 1 + TWISTED_MORE * (self._phase_order > 2)
        cost += RESAMPLING_COST * rows / ROWS * self._traces * max(used_s[1] - used_s[0], 0.0) * fine_hz
        return DepthPart(begin, count, length, step, fine_hz, ratio, reach, rows, self._phase_order, cost)

    def _is_accurate(self, fine_hz: float, reach: float, rows: int, latest_s: float) -> bool:
        """Whether polynomials between such fine samples keep the error low, for echoes up to `latest_s` after t0."""
        half_hz = self._timing.half_hz
        usual, far = LARGEST_ERROR_DB[self._quality]
        # A Gaussian spectrum is shifted by the loss of a frequency times its variance, that of the power twice.
        way_m = max(latest_s, 0.0) / self._timing.slowness if math.isfinite(latest_s) else 0.0
        shift = 2 * half_hz / math.sqrt(2 * EDGE_EXPONENT) * TISSUE_NP_M_HZ * way_m
        rate = fine_hz / half_hz
        near = polynomial_error_db(rate, reach, 0.0, rows) <= usual
        return near and polynomial_error_db(rate, reach, shift, rows) <= far

    def _find_bend(self, heard: Heard, nominal_hz: float) -> FloatArray:
        """Error over the signal at the ends of each block (blocks,) when delays are taken as straight: that of the
        outermost elements, less so much as an aperture full of them has."""
        aperture, length = self._aperture, self._block_points
        middles = aperture.first_m + (np.arange(len(heard.paces)) + 0.5) * length * aperture.spacing_m
        heights = np.maximum(middles[:, None] - aperture.feet_m[self._lines], aperture.spacing_m)
        slowest = heard.paces + heard.heads[..., HEAD_SLOWEST] / (length / 2 * 2**15)
        cosine = np.clip(slowest / (nominal_hz * aperture.spacing_m * self._timing.slowness), 0, 1)
        along_m = last_point(length) * aperture.spacing_m
        bend_m = (1 - cosine**2) * cosine / (2 * heights) * along_m**2 / math.sqrt(5)
        deviation_hz = self._timing.half_hz / math.sqrt(2 * EDGE_EXPONENT)
        error = 2 * math.pi * deviation_hz * self._timing.slowness * bend_m * (heard.heads[..., HEAD_COUNT] > 0)
        return np.asarray(10 * np.log10((error**2).mean(axis=1) + 1e-30))


def polynomial_error_db(rate_over_half_band: float, reach: float, shift: float, rows: int = ROWS) -> float:
    """Error of polynomials of order `rows - 1` over `reach` of a fine sample to each side, over the signal: of the
    assumed spectrum, that many standard deviations below the middle of the band."""
    deviation = math.sqrt(1 / (2 * EDGE_EXPONENT))
    power = np.exp(-0.5 * (_FREQUENCIES / deviation + shift) ** 2)
    turned = np.exp((2j * np.pi / rate_over_half_band * reach) * _FREQUENCIES[:, None] * _NODES)
    left = turned @ _rest_of_polynomials(rows)
    return float(10 * np.log10(((left.real**2 + left.imag**2) @ (_WEIGHTS / 2)) @ power / power.sum()))


@cache
def _rest_of_polynomials(rows: int) -> FloatArray:
    """What the best polynomial of order `rows - 1` leaves of values at the nodes, which they are multiplied by from the
    left; whatever the range is that the nodes stand for."""
    powers = _NODES[:, None] ** np.arange(rows)
    best = powers @ np.linalg.solve(powers.T @ (_WEIGHTS[:, None] * powers), powers.T * _WEIGHTS)
    return np.asarray(np.eye(len(_NODES)) - best.T)


def _steadiest_pace(
    slowest: FloatArray, fastest: FloatArray, heard: NDArray[np.int64], reach_s: float, usual: float
) -> float:
    """The pace from which the fewest channels are in blocks that differ by more than `reach_s`; of equal ones that
    nearest to `usual`."""
    counted = (heard > 0) & (fastest - slowest <= 2 * reach_s)
    if not counted.any():
        return usual
    begin, end, weight = (fastest - reach_s)[counted], (slowest + reach_s)[counted], heard[counted]
    candidates = np.append(np.linspace(begin.min(), end.max(), CANDIDATE_PACES), usual)
    covered = np.zeros(len(candidates), np.int64)
    for edges, side, sign in ((begin, "right", 1), (end, "left", -1)):
        order = np.argsort(edges)
        below = np.append(0, np.cumsum(weight[order]))
        covered += sign * below[np.searchsorted(edges[order], candidates, side=side)]  # type: ignore[call-overload]
    best = candidates[covered == covered.max()]
    return float(best[np.abs(best - usual).argmin()])


def _weighted_median(values: FloatArray, weights: NDArray[np.int64]) -> float:
    order = np.argsort(values, axis=None)
    below = np.cumsum(weights.reshape(-1)[order])
    return float(values.reshape(-1)[order[np.searchsorted(below, below[-1] / 2)]])


def _spread(count: int, most: int) -> NDArray[np.intp]:
    """At most so many indices below `count`, evenly."""
    return np.unique(np.linspace(0, count - 1, most).astype(np.intp))
