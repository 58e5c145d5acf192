"""The echo of a flat mirror as a spectrum, and what a lossy way makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

# A Gaussian spectrum is kept up to this many standard deviations on either side (-69 dB).
_DEVIATIONS = 4.0
_SPECTRUM_POINTS = 161
# Half width of a Gaussian at -6 dB in standard deviations.
HALF_WIDTH_DEVIATIONS = math.sqrt(2 * math.log(2))
# Where the envelope of a pulse has fallen to this share of its peak for good, it ends (-60 dB).
_ENVELOPE_END = 1e-3


@dataclass(frozen=True, eq=False)
class Pulse:
    """Two-way pulse: `spectrum (n,)` at the evenly spaced `spectrum_hz (n,)`, all above 0, relative to the peak.

    A real spectrum makes a pulse that is symmetric about its peak, which comes `delay_s` after the arrival; a measured
    one may be complex. `frequency_hz` is the carrier; envelopes are relative to it.
    """

    frequency_hz: float
    spectrum_hz: FloatArray
    spectrum: ComplexArray
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        if self.spectrum_hz.ndim != 1 or self.spectrum_hz.shape != self.spectrum.shape or len(self.spectrum) < 3:
            raise ValueError("pulse: spectrum and spectrum_hz must be (n,) with n >= 3")
        if not 0 < self.frequency_hz < math.inf:
            raise ValueError(f"pulse.frequency_hz: must be > 0, got {self.frequency_hz}")

    @classmethod
    def gaussian(cls, frequency_hz: float, deviation_hz: float, delay_s: float = 0.0, amplitude: float = 1.0) -> Pulse:
        """A Gaussian band of this standard deviation; the envelope's peak is `amplitude`."""
        reach = min(_DEVIATIONS * deviation_hz, 0.999 * frequency_hz)
        offset = np.linspace(-reach, reach, _SPECTRUM_POINTS)
        shape = np.exp(-0.5 * (offset / deviation_hz) ** 2).astype(complex)
        shape *= amplitude / abs(shape.sum() * (offset[1] - offset[0]))
        return cls(frequency_hz, frequency_hz + offset, shape, delay_s)

    def envelope(self, time_s: ArrayLike, loss_np_hz: ArrayLike = 0.0) -> ComplexArray:
        """Complex envelope relative to the carrier at times from the peak, after a loss of so many neper per hertz.

        Shape: that of `loss_np_hz` followed by that of `time_s`.
        """
        time, loss = np.asarray(time_s, float), np.asarray(loss_np_hz, float)
        step = self.spectrum_hz[1] - self.spectrum_hz[0]
        left = self.spectrum * np.exp(-loss[..., None] * self.spectrum_hz)
        turns = np.exp(2j * np.pi * (self.spectrum_hz[:, None] - self.frequency_hz) * time.reshape(1, -1))
        # Not by the linear algebra library, whose threads would spin beside those of the core.
        return np.asarray(np.einsum("...f,ft->...t", left, turns) * step).reshape(*loss.shape, *time.shape)

    def wave(self, time_s: ArrayLike, loss_np_hz: ArrayLike = 0.0) -> FloatArray:
        """The pulse itself at times from its peak; shape as of `envelope`."""
        time = np.asarray(time_s, float)
        return np.asarray((self.envelope(time, loss_np_hz) * np.exp(2j * np.pi * self.frequency_hz * time)).real)

    def correlation(self, lag_s: ArrayLike) -> FloatArray:
        """Share of the pulse that a copy `lag_s` later has in common with it, without the carrier: 1 at 0."""
        lag = np.asarray(lag_s, float)
        power = np.abs(self.spectrum) ** 2
        centre = (power * self.spectrum_hz).sum() / power.sum()
        turns = np.exp(2j * np.pi * (self.spectrum_hz - centre)[:, None] * lag.reshape(1, -1))
        return np.asarray(np.einsum("f,ft->t", power, turns).real / power.sum()).reshape(lag.shape)

    @cached_property
    def half_length_s(self) -> float:
        """How long before and after its peak the pulse lasts."""
        step = self.spectrum_hz[1] - self.spectrum_hz[0]
        time = np.linspace(0, 0.5 / step, 512)
        size = np.maximum(np.abs(self.envelope(time)), np.abs(self.envelope(-time)))
        return float(time[np.flatnonzero(size > _ENVELOPE_END * size.max())[-1]])
