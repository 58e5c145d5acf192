"""The adaptive beamformers in plain NumPy, float64, written to be read; `adaptive` computes the same fast.

All take `channels (E, L, N)`, the analytic signal of every element delayed to every point and summed over the
transmissions, elements in their order along the array, and `inside (E, L, N)`, whether the element is in the receive
aperture of the point. Channels outside must be 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonod.cext import reference

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
BoolArray = NDArray[np.bool_]


def delayed_channels(
    data: NDArray[Any],
    *,
    origins_m: ArrayLike,
    directions: ArrayLike,
    distances_m: ArrayLike,
    element_positions_m: ArrayLike,
    element_normals: ArrayLike,
    receive_elements: NDArray[np.int32],
    transmit_time_s: ArrayLike,
    transmit_weight: ArrayLike | None = None,
    sampling_hz: float,
    t0_s: ArrayLike,
    demodulation_hz: float,
    sound_speed_m_s: float,
    f_number: float,
    time_offset_s: float = 0.0,
    interpolate: Callable[[NDArray[Any], FloatArray], NDArray[Any]] = reference.ideal_interpolation,
) -> tuple[ComplexArray, BoolArray]:
    """(channels, inside) of baseband `data (T, C, M)`; arguments as of `reference.delay_and_sum`."""
    origins, direction = np.asarray(origins_m, dtype=np.float64), np.asarray(directions, dtype=np.float64)
    distances = np.asarray(distances_m, dtype=np.float64)
    elements = np.asarray(element_positions_m, dtype=np.float64)
    normals = np.asarray(element_normals, dtype=np.float64)
    times, t0 = np.asarray(transmit_time_s, dtype=np.float64), np.asarray(t0_s, dtype=np.float64)
    weight = reference.receive_weights(origins, direction, distances, elements, normals, f_number, "rectangular")
    heard = np.zeros(len(elements), dtype=bool)
    heard[receive_elements[receive_elements >= 0]] = True
    inside = np.moveaxis(weight > 0, 2, 0) & heard[:, None, None]
    points = origins[:, None, :] + direction[:, None, :] * distances[None, :, None]
    channels = np.zeros(inside.shape, np.complex128)
    for t in range(data.shape[0]):
        own_weight = 1.0 if transmit_weight is None else np.asarray(transmit_weight)[t]
        seen = np.isfinite(times[t])
        for c in range(data.shape[1]):
            element = int(receive_elements[t, c])
            if element < 0:
                continue
            receive = np.linalg.norm(points - elements[element], axis=-1) / sound_speed_m_s
            tau = np.where(seen, times[t] + receive + time_offset_s, 0.0)
            value = interpolate(reference_clean(data[t, c]), np.where(seen, (tau - t0[t]) * sampling_hz, np.nan))
            value = value * np.exp(2j * np.pi * demodulation_hz * tau) * own_weight
            channels[element] += np.where(seen, value, 0)
    return np.where(inside, channels, 0), inside


def reference_clean(trace: NDArray[Any]) -> NDArray[Any]:
    """NaN and infinities as 0."""
    return np.where(np.isfinite(trace), trace, 0)


def coherence_factor(channels: ComplexArray, inside: BoolArray) -> FloatArray:
    """Coherent over total energy, 0..1: |sum of s|^2 / (n sum of |s|^2).

    R. Mallart, M. Fink, J. Acoust. Soc. Am. 96(6), 1994; as an image weight K. W. Hollman, K. W. Rigby, M. O'Donnell,
    IEEE Ultrasonics Symposium, 1999.
    """
    return generalised_coherence_factor(channels, inside, 0)


def generalised_coherence_factor(channels: ComplexArray, inside: BoolArray, bins: int) -> FloatArray:
    """Energy of the spatial frequencies -bins..bins of the aperture over the energy of all.

    P.-C. Li, M.-L. Li, IEEE Trans. UFFC 50(2), 2003. The discrete Fourier transform is that over the n elements of the
    aperture of each point, so that by Parseval's theorem all frequencies have n times the energy of the channels.
    """
    count = inside.sum(axis=0)
    order = np.arange(len(channels))[:, None, None] - inside.argmax(axis=0)
    turns = order / np.maximum(count, 1)
    low = np.zeros(count.shape)
    for k in range(-bins, bins + 1):
        low += np.abs((channels * np.exp(-2j * np.pi * k * turns)).sum(axis=0)) ** 2
    return np.asarray(np.minimum(_ratio(low, count * (np.abs(channels) ** 2).sum(axis=0)), 1.0))


def sign_coherence_factor(channels: ComplexArray, inside: BoolArray) -> tuple[FloatArray, FloatArray]:
    """1 - sqrt(1 - (mean sign)^2), 0..1, of the in-phase and of the quadrature signal.

    J. Camacho, M. Parrilla, C. Fritsch, IEEE Trans. UFFC 56(5), 2009, with exponent 1; each weighs its own component.
    """
    count = inside.sum(axis=0)
    factors = []
    for part in (channels.real, channels.imag):
        mean = _ratio(np.sign(part).sum(axis=0), count)
        factors.append(1 - np.sqrt(np.maximum(1 - mean**2, 0)))
    return factors[0], factors[1]


def delay_multiply_and_sum(channels: ComplexArray, inside: BoolArray) -> ComplexArray:
    """Baseband F-DMAS: 2 / (n - 1) times the sum over pairs i < j of sqrt(|s_i s_j|) exp(j (phase_i + phase_j)).

    G. Matrone, A. S. Savoia, G. Caliano, G. Magenes, IEEE Trans. Medical Imaging 34(4), 2015 multiply pairs of real
    channels (the signed root of each product) and pass the band round twice the centre frequency. The product of two
    analytic signals lies in that band alone, so nothing is left to filter (C.-C. Shen, P.-Y. Hsieh, Applied Sciences
    9(1), 2019, who multiply in baseband). The factor keeps the amplitude of a coherent point. The phase is that of
    twice the frequency. `filtered_delay_multiply_and_sum` is the original.
    """
    size = np.abs(channels)
    root = np.where(size > 0, channels / np.sqrt(np.where(size > 0, size, 1)), 0)
    pairs = root.sum(axis=0) ** 2 - (root**2).sum(axis=0)
    return np.asarray(_ratio(pairs, inside.sum(axis=0) - 1))


def filtered_delay_multiply_and_sum(channels: FloatArray, samples_per_period: float) -> FloatArray:
    """The original F-DMAS: `channels (E, L, N)` real, delayed; N along depth with so many samples a period of the echo.

    The sum over pairs of sign(s_i s_j) sqrt(|s_i s_j|), band-passed along depth round twice the centre frequency.
    """
    root = np.sign(channels) * np.sqrt(np.abs(channels))
    pairs = (root.sum(axis=0) ** 2 - (root**2).sum(axis=0)) / 2
    frequency = np.fft.rfftfreq(pairs.shape[-1])
    # From the centre frequency to three times it, as the products of a full band reach.
    centre = 2 / samples_per_period
    keep = np.abs(frequency - centre) <= centre / 2
    return np.asarray(np.fft.irfft(np.fft.rfft(pairs) * keep, pairs.shape[-1]))


def short_lag_coherence(channels: ComplexArray, inside: BoolArray, lags: int, reach: int) -> FloatArray:
    """Mean over lags 1..`lags` of the normalised correlation of elements so far apart, -1..1.

    M. A. Lediju, G. E. Trahey, B. C. Byram, J. J. Dahl, IEEE Trans. UFFC 58(7), 2011: R(m) is the mean over the n - m
    pairs of sum of Re(s_i s*_j) / sqrt(sum of |s_i|^2 sum of |s_j|^2), each sum over `reach` points to both sides along
    depth (the points at the ends repeated). The paper adds the lags up; the mean is the same on a scale of its own.
    """
    pad = ((0, 0), (0, 0), (reach, reach))
    wide = np.pad(channels, pad, mode="edge")
    shifts = [slice(k, k + channels.shape[2]) for k in range(2 * reach + 1)]
    power = sum((np.abs(wide[..., shift]) ** 2 for shift in shifts), np.zeros(channels.shape))
    scale = np.where(np.abs(channels) > 0, 1 / np.sqrt(np.where(power > 0, power, 1)), 0)
    count = inside.sum(axis=0)
    total = np.zeros(count.shape)
    for lag in range(1, lags + 1):
        product = (wide[:-lag] * wide[lag:].conj()).real
        summed = sum((product[..., shift] for shift in shifts), np.zeros(channels[lag:].shape))
        total += _ratio((summed * scale[:-lag] * scale[lag:]).sum(axis=0), count - lag)
    return total / lags


def lags_for(aperture_share: float, elements: int) -> int:
    """Lags up to a share of an aperture of so many elements, at least one."""
    return max(1, math.floor(aperture_share * elements))


def _ratio(over: NDArray[Any], under: NDArray[Any]) -> NDArray[Any]:
    return np.where(under > 0, over / np.where(under > 0, under, 1), 0)
