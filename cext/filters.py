"""Design of the polyphase filters that demodulate, resample and detect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sonod.cext.reference import kaiser_low_pass

# Stop band of all our filters: below the quantisation noise of 10 bits, and what a 16-bit record can show of it.
STOP_BAND_DB = 60.0
# A filter longer than this costs more than the transition it sharpens is worth.
LONGEST_FILTER = 512
# The ratio of two rates is approximated with at most this many phases.
MOST_PHASES = 64
# Whole coefficients have 16 bits, and sums of their magnitudes 17, less what rounding may add.
MOST_WHOLE, MOST_WHOLE_SUM = 32767, 1.25e5
# Kernels read coefficients in groups of eight.
GROUP = 8


@dataclass(frozen=True, eq=False)
class Polyphase:
    """A filter at output positions 0, step, 2 step ... of `samples` inputs.

    `coefficients (phases, 2, taps)`: real and imaginary part; output m reads inputs from floor(m * step) - left on with
    the coefficients of phase m modulo phases.
    """

    step: Fraction
    coefficients: NDArray[np.float32]
    outputs: int
    left: int

    @property
    def phase_order(self) -> NDArray[np.float64]:
        """The numbers of the outputs as the kernel takes them: phase after phase."""
        return np.argsort(np.arange(self.outputs) % self.step.denominator, kind="stable").astype(np.float64)

    @property
    def taps(self) -> int:
        return int(self.coefficients.shape[2])


def taps_for(transition: float) -> int:
    """Length of a Kaiser-windowed filter with our stop band and a transition of that width (cycles per sample)."""
    taps = math.ceil((STOP_BAND_DB - 7.95) / (14.36 * transition)) + 1
    return min(-(-taps // GROUP) * GROUP, LONGEST_FILTER)


def nearest_step(step: float) -> Fraction:
    """The ratio input rate / output rate nearest to `step` that needs few phases."""
    return Fraction(step).limit_denominator(MOST_PHASES)


def polyphase(
    samples: int, step: Fraction, *, pass_edge: float, stop_edge: float, center: float = 0.0, gain: float = 1.0
) -> Polyphase:
    """Band-pass `center` +- `pass_edge`, stopped from `center` +- `stop_edge` on (cycles per input sample).

    A Kaiser-windowed sinc (`reference.kaiser_low_pass`) turned to `center`, with the phase of a band-pass that keeps
    signals at `center` where they are; every phase has the same gain at `center`.
    """
    taps = taps_for(stop_edge - pass_edge)
    response = kaiser_low_pass(taps, (pass_edge + stop_edge) / 2, STOP_BAND_DB)
    left = taps // 2 - 1
    count = math.floor((samples - 1) / step) + 1
    positions = [index * step for index in range(step.denominator)]
    fractions = np.array([float(place - math.floor(place)) for place in positions])
    x = np.arange(taps) - left - fractions[:, None]
    weights = response(x)
    weights *= gain / weights.sum(axis=1, keepdims=True)
    turned = weights * np.exp(-2j * np.pi * center * x)
    coefficients = np.stack([turned.real, turned.imag], axis=1).astype(np.float32)
    return Polyphase(step, np.ascontiguousarray(coefficients), count, left)


def whole_numbers(filters: Polyphase) -> tuple[NDArray[np.int32], float]:
    """The coefficients as pairs of 16-bit whole numbers (phases, 2, taps / 2), and their unit; sums of products with
    samples of 15 bits stay within 32."""
    sizes = np.abs(filters.coefficients)
    exponent = math.floor(math.log2(min(MOST_WHOLE / sizes.max(), MOST_WHOLE_SUM / sizes.sum(axis=2).max())))
    whole = np.round(filters.coefficients * 2.0**exponent).astype(np.int16)
    return np.ascontiguousarray(whole).view(np.int32), 2.0**-exponent


def mirror_distance_hz(center_hz: float, sampling_hz: float) -> float:
    """How far from 0 the mirror image of a demodulated real signal lies after sampling."""
    return abs((2 * center_hz + sampling_hz / 2) % sampling_hz - sampling_hz / 2)
