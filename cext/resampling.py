"""From the samples of a trace to fine samples with slope and curvature, so that any delay is a polynomial."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sonod.cext.arrays import FloatArray

# Rows of a plane: signal, slope, curvature; and with the third order.
ROWS, THIRD_ORDER_ROWS = 3, 4
# Share of a fine sample to each side over which the polynomials are fitted, unless told: half the way to the next, and
# some more for delays that drift within a block of points.
FITTED_REACH = 0.6
# What leakage outside the band counts, over errors in the middle of the band.
OUTSIDE_WEIGHT = 1e-4
# Leakage counts from this many half bandwidths on.
BEYOND = 2.0
# The spectrum that is assumed falls to this power (of e) at the edge of the band: -24 dB.
EDGE_EXPONENT = 5.5
# Frequencies of the fit.
FREQUENCIES = 121
# Taps of the filters, and up to which half band (cycles per input sample) they do: more are within 0.6 dB of these.
TAPS = ((0.25, 8), (0.5, 12))
# The fine rate over the sampling rate is brought to a ratio with at most this many phases.
MOST_PHASES = 32
# Fine samples that share a table of whole coefficients, and words from which they are picked where they start close by.
TABLE_FINE = 16
# How many of these follow each other in a plane, by the number of planes: they must start close by, too.
RUNS = {1: 16, 2: 8}
SHORT_RUN = 4
PICKED_WORDS = 32
# Zeros round a component of a trace: before it, and behind the last start or sample.
WORDS_BEFORE = 32
WORDS_BEHIND = 64
# Rates closer than this are taken as equal.
SAME_RATE = 0.003
# Places of a polynomial at which its bound is sought.
BOUND_PLACES = 65


@dataclass(frozen=True, eq=False)
class Resampling:
    """Filters at `ratio` input samples per fine sample.

    `coefficients (phases, rows, taps)`; fine sample f reads inputs from floor(f * ratio) - left on with the
    coefficients of phase f % phases. `bound`: of a polynomial within a fine sample to either side, or, with the third
    order, as far as it is taken, and of all on the way to it, for inputs up to 1.
    """

    ratio: Fraction
    coefficients: FloatArray
    left: int
    bound: float


def fine_rate(wanted_hz: float, sampling_hz: float) -> tuple[float, Fraction]:
    """The fine rate nearest to `wanted_hz` with a simple ratio, and input samples per fine sample."""
    if abs(wanted_hz / sampling_hz - 1) < SAME_RATE:
        return sampling_hz, Fraction(1)
    ratio = Fraction(sampling_hz / wanted_hz).limit_denominator(MOST_PHASES)
    if ratio <= 0:
        ratio = Fraction(1, MOST_PHASES)
    return float(sampling_hz / ratio), ratio


def farrow_filters(
    ratio: Fraction, half: float, reach: float = FITTED_REACH, rows: int = ROWS, farthest: float = 1.0
) -> Resampling:
    """Least-squares filters for signals within +-`half` of 0; all frequencies in cycles per input sample.

    Each fine sample gets three filters whose outputs p, s, k make p + x s + x^2 k the signal x fine samples later, or
    one more for x^3, with the least error over the band and all |x| <= `reach` (C. W. Farrow, A continuously variable
    digital delay element, IEEE ISCAS 1988). They are taken up to |x| <= `farthest`.
    """
    taps = next(count for most, count in TAPS if half <= most)
    left = taps // 2 - 1
    nodes, node_weights = np.polynomial.legendre.leggauss(6)
    places, node_weights = nodes * reach, node_weights / 2
    # The filters are real, so half of the frequencies say all.
    frequency = np.linspace(0, 0.5, FREQUENCIES)
    inside = np.exp(-EDGE_EXPONENT * (frequency / half) ** 2)
    kept_out = np.where(frequency > BEYOND * half, OUTSIDE_WEIGHT, 0.0)
    tap: FloatArray = np.arange(taps, dtype=np.float64) - left
    lags = np.arange(1 - taps, taps, dtype=np.float64)
    # Normal equations: the weighted spectrum at the differences of taps, and at those of taps and wanted delays.
    spectrum = np.cos(2 * np.pi * frequency[:, None] * lags).T @ (inside + kept_out)
    normal = spectrum[np.arange(taps)[:, None] - np.arange(taps) + taps - 1]
    normal += 1e-9 * normal[0, 0] * np.eye(taps)
    moments = np.array([[(node_weights * places ** (i + j)).sum() for j in range(rows)] for i in range(rows)])
    fractions = np.array([float((ratio * index) % 1) for index in range(ratio.denominator)])
    delays = (fractions[:, None] + places * float(ratio)).reshape(-1)
    wanted = np.cos(2 * np.pi * frequency[:, None] * delays) * inside[:, None]
    odd = np.sin(2 * np.pi * frequency[:, None] * delays) * inside[:, None]
    turning = 2 * np.pi * frequency[:, None] * tap
    by_place = (np.cos(turning).T @ wanted + np.sin(turning).T @ odd).reshape(taps, len(fractions), len(places))
    powers = places ** np.arange(rows)[:, None] * node_weights
    right = by_place @ powers.T
    solved = np.linalg.solve(normal, right.reshape(taps, -1)).reshape(taps, len(fractions), rows)
    coefficients = np.moveaxis(solved @ np.linalg.inv(moments), 0, 2)
    # Every phase has the same gain at the centre frequency.
    coefficients = coefficients / coefficients[:, :1].sum(axis=2, keepdims=True)
    bound = (
        float(np.abs(coefficients).sum(axis=(1, 2)).max())
        if rows == ROWS
        else _third_order_bound(coefficients, farthest)
    )
    return Resampling(ratio, np.asarray(coefficients, dtype=np.float64), left, bound)


def _third_order_bound(coefficients: FloatArray, farthest: float) -> float:
    """Largest number on the way to a polynomial up to |x| <= `farthest`, as the kernel goes it, for inputs up to 1."""
    x = np.linspace(-farthest, farthest, BOUND_PLACES)[:, None, None]
    number, bound = np.zeros(1), 0.0
    for row in np.moveaxis(coefficients, 1, 0)[::-1]:
        number = row + x * number
        bound = max(bound, float(np.abs(number).sum(axis=-1).max()))
    return bound


@dataclass(frozen=True, eq=False)
class WholeFilters:
    """The filters for samples of 16 bits, as `kernels/das_resample.inc.c` takes them: sixteen fine samples at a time.

    These are runs of `run` that follow each other in a plane; where there are several planes, their runs take turns.
    `coefficients (tables, taps / 2, rows, 16)` pairs of whole numbers, in 2^-(16 - headroom); `table_of (fine / 16)`;
    `places (fine / 4)` where four fine samples go, from the first one of the first plane on; `starts (fine)` first
    sample that each reads; `picks (tables, 16)` pairs of samples from the start of the first on, where they are close
    enough; `words` of a component with the zeros around it. `bound`: as of `Resampling`, and not less than the numbers
    need.
    """

    coefficients: NDArray[np.int32]
    table_of: NDArray[np.int32]
    places: NDArray[np.int32]
    starts: NDArray[np.int32]
    picks: NDArray[np.int32] | None
    run: int
    words: int
    headroom: int
    bound: float

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))


def whole_filters(resampling: Resampling, step: int, width: int, row: int, used: int) -> WholeFilters:
    """For `step` planes of `width` fine samples, in sixteens, of `used` input samples; `row` as of `BlockPlan`."""
    ratio, rows = resampling.ratio, resampling.coefficients.shape[1]
    run = RUNS.get(step, SHORT_RUN)
    # Runs by their place in the planes, and of one place plane by plane.
    place, plane = np.divmod(np.arange(step * width // run, dtype=np.int64), step)
    along = place[:, None] * run + np.arange(run)
    index = (along * step + plane[:, None]).reshape(-1)
    places = (plane[:, None] * rows * row + along[:, ::SHORT_RUN]).reshape(-1)
    starts = index * ratio.numerator // ratio.denominator - resampling.left
    period = math.lcm(
        ratio.denominator // math.gcd(TABLE_FINE, ratio.denominator), step // math.gcd(TABLE_FINE // run, step)
    )
    blocks = len(index) // TABLE_FINE
    tables = min(period, blocks)
    by_table = starts[: tables * TABLE_FINE].reshape(tables, TABLE_FINE)
    picked = by_table - by_table[:, :1]
    picks = None
    if picked.max() <= PICKED_WORDS - 2:
        picks = np.ascontiguousarray(picked | picked + 1 << 16, dtype=np.int32)
    # Samples take what the bound leaves of 16 bits, coefficients what is then left of the product, where unity is 2^16;
    # the largest one may be off by 2^-15.
    largest = float(np.abs(resampling.coefficients).max())
    headroom = max(math.floor(math.log2(resampling.bound)), math.ceil(math.log2(2 * largest) - 1e-4))
    whole = np.clip(np.round(resampling.coefficients * 2.0 ** (16 - headroom)), -32767, 32767).astype(np.int16)
    own = whole[index[: tables * TABLE_FINE] % ratio.denominator].reshape(tables, TABLE_FINE, rows, -1)
    pairs = np.ascontiguousarray(own).view(np.int32)
    last = max(used, int(starts.max())) + WORDS_BEFORE + WORDS_BEHIND
    return WholeFilters(
        np.ascontiguousarray(pairs.transpose(0, 3, 2, 1)),
        (np.arange(blocks) % tables).astype(np.int32),
        places.astype(np.int32),
        starts.astype(np.int32),
        picks,
        run,
        -(-last // 32) * 32,
        headroom,
        max(resampling.bound, 2.0**headroom),
    )


def plane_order(step: int, width: int, resampling: Resampling) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First input and phase of every fine sample, (step, width): fine sample step * j + p is number j of plane p."""
    ratio = resampling.ratio
    index = np.arange(width, dtype=np.int64)[None, :] * step + np.arange(step, dtype=np.int64)[:, None]
    whole = (index * ratio.numerator) // ratio.denominator
    return (whole - resampling.left).astype(np.int32), (index % ratio.denominator).astype(np.int32)


def preferred_rate_hz(pace_s: float, fine_per_half: float, half_bandwidth_hz: float) -> float:
    """The fine rate for points `pace_s` apart: a whole number of fine samples for each, enough for the band."""
    return max(1, math.ceil(fine_per_half * half_bandwidth_hz * pace_s)) / pace_s
