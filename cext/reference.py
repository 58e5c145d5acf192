"""The operators of the core in plain NumPy float64, written to be read. Slow; for tests and for understanding.

Signals: RF `rf(t)` is real. Its baseband `iq(t)` at f0 satisfies `rf(t) = Re(iq(t) * exp(+2j*pi*f0*t))`, with t counted
from the time zero of the transmission, so that a cosine of amplitude A at f0 has |iq| = A.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

# Share of the half aperture over which a Tukey (25 %) window falls from 1 to 0.
TUKEY_TAPER = 0.25
# An element this share of the half aperture beyond its edge still takes part, so that rounding does not decide.
EDGE_TOLERANCE = 1e-5
# Lines closer than this to lying in the face (cosine to its normal) leave it at their nearest point to an element.
GRAZING_COSINE = 0.05


# -- prepare ----------------------------------------------------------------------------------------------------------


def clean(samples: ArrayLike) -> FloatArray:
    """Float64 copy in which NaN and infinities are 0."""
    values = np.array(samples, dtype=np.float64)
    values[~np.isfinite(values)] = 0.0
    return values


def kaiser_low_pass(taps: int, cutoff: float, attenuation_db: float) -> Callable[[FloatArray], FloatArray]:
    """Impulse response h(x) of a low-pass, x in samples from its centre; `cutoff` (-6 dB) in cycles per sample.

    A sinc under a Kaiser window of `taps` samples (J. F. Kaiser, IEEE ISCAS 1974). The sum over any unit-spaced set
    of x is 1 to about the stop-band attenuation.
    """
    beta = 0.1102 * (attenuation_db - 8.7) if attenuation_db > 50 else 0.5842 * (attenuation_db - 21) ** 0.4

    def response(x: FloatArray) -> FloatArray:
        inside = np.clip(1 - (2 * x / taps) ** 2, 0, None)
        window = np.where(np.abs(x) < taps / 2, np.i0(beta * np.sqrt(inside)) / np.i0(beta), 0.0)
        return np.asarray(2 * cutoff * np.sinc(2 * cutoff * x) * window)

    return response


def demodulate(
    raw: ArrayLike,
    *,
    sampling_hz: float,
    demodulation_hz: float,
    t0_s: ArrayLike,
    taps: int,
    cutoff_hz: float,
    attenuation_db: float,
    step: float = 1.0,
    sample_scale: float = 1.0,
    time_gain: ArrayLike | None = None,
    remove_offset: bool = True,
) -> ComplexArray:
    """Baseband (T, C, M) of RF `raw (T, C, N)`: offset, gain, 2 * exp(-2j*pi*f0*t), low-pass, every `step` samples."""
    rf = clean(raw)
    if remove_offset:
        rf -= rf.mean(axis=-1, keepdims=True)
    samples = rf.shape[-1]
    rf *= sample_scale
    if time_gain is not None:
        gain = clean(time_gain)
        rf *= gain if gain.ndim == 1 else gain[:, None, :]
    time = np.asarray(t0_s, dtype=np.float64)[:, None] + np.arange(samples) / sampling_hz
    mixed = 2 * rf * np.exp(-2j * np.pi * demodulation_hz * time)[:, None, :]
    return resample(mixed, step, kaiser_low_pass(taps, cutoff_hz / sampling_hz, attenuation_db))


def resample(signal: NDArray[Any], step: float, response: Callable[[FloatArray], FloatArray]) -> ComplexArray:
    """`signal (..., N)` at positions 0, step, 2 step, ... <= N - 1 through a low-pass; zero beyond its ends."""
    samples = signal.shape[-1]
    count = math.floor((samples - 1) / step + 1e-9) + 1
    positions = np.arange(count) * step
    matrix = response(positions[:, None] - np.arange(samples)[None, :])
    return np.asarray(signal @ matrix.T, dtype=np.complex128)


# -- beamform ---------------------------------------------------------------------------------------------------------


def window(name: str, u: FloatArray) -> FloatArray:
    """Weight at `u`, the distance from the middle of the aperture as a share of its half width; 0 beyond 1."""
    inside = u <= 1 + EDGE_TOLERANCE
    u = np.minimum(u, 1)
    if name == "rectangular":
        weight = np.ones_like(u)
    elif name == "hann":
        weight = 0.5 + 0.5 * np.cos(np.pi * u)
    elif name == "hamming":
        weight = 0.54 + 0.46 * np.cos(np.pi * u)
    elif name == "tukey":
        taper = np.clip((u - (1 - TUKEY_TAPER)) / TUKEY_TAPER, 0, 1)
        weight = 0.5 + 0.5 * np.cos(np.pi * taper)
    else:
        raise ValueError(f"apodization: must be rectangular, hann, hamming or tukey, got {name!r}")
    return np.where(inside, weight, 0.0)


def element_pitch_m(elements_m: FloatArray) -> float:
    """Median distance from an element to its nearest neighbour; 0 for a single element."""
    if len(elements_m) < 2:
        return 0.0
    nearest = []
    for element in elements_m:
        distance = np.sort(np.linalg.norm(elements_m - element, axis=-1))
        nearest.append(distance[1])
    return float(np.median(nearest))


def feet_of_lines(
    origins_m: FloatArray, directions: FloatArray, elements_m: FloatArray, normals: FloatArray
) -> FloatArray:
    """Distance along each line, from its origin, at which it leaves the array (lines,).

    It is where the line meets the plane that touches the array at the element nearest to the line; for a line that
    grazes the plane, the point of the line nearest to that element.
    """
    feet = np.empty(len(origins_m))
    for index, (origin, direction) in enumerate(zip(origins_m, directions, strict=True)):
        offset = elements_m - origin
        along = offset @ direction
        across = np.linalg.norm(offset - along[:, None] * direction, axis=-1)
        # An element on the far side of a ring is not where the line leaves.
        across[normals @ direction <= 0] += 1e3
        nearest = int(across.argmin())
        cosine = float(direction @ normals[nearest])
        if abs(cosine) < GRAZING_COSINE:
            feet[index] = along[nearest]
        else:
            feet[index] = float(offset[nearest] @ normals[nearest]) / cosine
    return feet


def receive_weights(
    origins_m: FloatArray,
    directions: FloatArray,
    distances_m: FloatArray,
    elements_m: FloatArray,
    normals: FloatArray,
    f_number: float,
    apodization: str,
) -> FloatArray:
    """Receive aperture (lines, distances, elements).

    The aperture of a point lies round the foot of its line, the place where the line leaves the array, and reaches
    r / (2 F) to each side, r being the distance from the foot to the point and |e - foot| that of an element; never
    less than one pitch, so that the nearest element stays. For lines straight down from a linear array this is
    |x - x_e| <= z / (2 F); for radial lines of curvilinear and phased arrays it is the same in polar form. Elements
    that look away from the line's direction are left out. With `f_number` 0 all elements take part and the window
    spans the whole array.
    """
    lines, count = len(origins_m), len(distances_m)
    if f_number == 0:
        lateral = np.linalg.norm(elements_m - elements_m.mean(axis=0), axis=-1)
        half = lateral.max() + element_pitch_m(elements_m) / 2
        weight = window(apodization, lateral / half if half > 0 else np.zeros_like(lateral))
        return np.broadcast_to(weight, (lines, count, len(elements_m))).copy()
    feet = feet_of_lines(origins_m, directions, elements_m, normals)
    pitch = element_pitch_m(elements_m)
    weight = np.zeros((lines, count, len(elements_m)))
    for index in range(lines):
        foot = origins_m[index] + feet[index] * directions[index]
        lateral = np.linalg.norm(elements_m - foot, axis=-1)
        lateral[normals @ directions[index] <= 0] = np.inf
        half = np.maximum((distances_m - feet[index]) / (2 * f_number), pitch)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.where(lateral[None, :] == 0, 0.0, lateral[None, :] / half[:, None])
        weight[index] = window(apodization, u)
    return weight


def linear_interpolation(trace: NDArray[Any], index: FloatArray) -> NDArray[Any]:
    """`trace (M,)` at fractional `index`; 0 outside 0..M-1 and for NaN."""
    samples = len(trace)
    inside = (index >= 0) & (index <= samples - 1)
    safe = np.where(inside, index, 0.0)
    before = np.minimum(safe.astype(np.int64), max(samples - 2, 0))
    after = np.minimum(before + 1, samples - 1)
    share = safe - before
    return np.where(inside, trace[before] * (1 - share) + trace[after] * share, 0)


def ideal_interpolation(trace: NDArray[Any], index: FloatArray) -> NDArray[Any]:
    """Band-limited: the trace is up-sampled 32 times by its spectrum (zeros appended), then read linearly."""
    factor, samples = 32, len(trace)
    padded = samples + 64
    spectrum = np.fft.fft(trace, padded)
    wide = np.zeros(padded * factor, dtype=np.complex128)
    half = (padded + 1) // 2
    wide[:half] = spectrum[:half]
    wide[-(padded - half) :] = spectrum[half:]
    fine = np.fft.ifft(wide)[: (samples - 1) * factor + 1] * factor
    return linear_interpolation(fine if np.iscomplexobj(trace) else fine.real, index * factor)


def delay_and_sum(
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
    apodization: str,
    time_offset_s: float = 0.0,
    receive_time_s: ArrayLike | None = None,
    interpolate: Callable[[NDArray[Any], FloatArray], NDArray[Any]] = linear_interpolation,
) -> NDArray[Any]:
    """Delay and sum of `data (T, C, M)`, complex baseband or (demodulation_hz = 0) real RF, on lines: (L, N).

    Point j of line i is origins_m[i] + directions[i] * distances_m[j]. The sum over transmits t and channels c of
    w_tx(t, p) * w_rx(p, e) * data[t, c]((tau - t0) * fs) * exp(+2j*pi*f0*tau), with
    tau = transmit_time(t, p) + |p - e| / c + time_offset and e = receive_elements[t, c] (-1: left out), over T * C.
    """
    origins, direction = np.asarray(origins_m, dtype=np.float64), np.asarray(directions, dtype=np.float64)
    distances = np.asarray(distances_m, dtype=np.float64)
    elements = np.asarray(element_positions_m, dtype=np.float64)
    normals = np.asarray(element_normals, dtype=np.float64)
    transmit_time = np.asarray(transmit_time_s, dtype=np.float64)
    t0 = np.asarray(t0_s, dtype=np.float64)
    weight_rx = receive_weights(origins, direction, distances, elements, normals, f_number, apodization)
    points = origins[:, None, :] + direction[:, None, :] * distances[None, :, None]
    transmits, channels = data.shape[:2]
    complex_data = demodulation_hz != 0
    out = np.zeros(points.shape[:2], dtype=np.complex128 if complex_data else np.float64)
    for t in range(transmits):
        weight_tx = np.ones_like(transmit_time[t]) if transmit_weight is None else np.asarray(transmit_weight)[t]
        seen = np.isfinite(transmit_time[t])
        for c in range(channels):
            element = int(receive_elements[t, c])
            if element < 0:
                continue
            if receive_time_s is None:
                receive_time = np.linalg.norm(points - elements[element], axis=-1) / sound_speed_m_s
            else:
                receive_time = np.asarray(receive_time_s, dtype=np.float64)[element]
            tau = np.where(seen, transmit_time[t] + receive_time + time_offset_s, np.nan)
            trace = np.where(np.isfinite(data[t, c]), data[t, c], 0)
            value = interpolate(trace, (tau - t0[t]) * sampling_hz)
            if complex_data:
                value = value * np.exp(2j * np.pi * demodulation_hz * np.where(seen, tau, 0.0))
            out += np.where(seen, value * weight_rx[:, :, element] * weight_tx, 0)
    return np.asarray(out / (transmits * channels))


# -- detect, compress, scan-convert -----------------------------------------------------------------------------------


def envelope(iq: NDArray[Any]) -> FloatArray:
    """Magnitude of `iq (..., 2)`."""
    return np.hypot(np.asarray(iq[..., 0], dtype=np.float64), np.asarray(iq[..., 1], dtype=np.float64))


def hilbert_envelope(lines: ArrayLike) -> FloatArray:
    """Magnitude of the analytic signal of real `lines (..., N)`: negative frequencies removed from the spectrum."""
    rf = clean(lines)
    samples = rf.shape[-1]
    spectrum = np.fft.fft(rf)
    gain = np.zeros(samples)
    gain[0] = 1
    gain[1 : (samples + 1) // 2] = 2
    if samples % 2 == 0:
        gain[samples // 2] = 1
    return np.abs(np.fft.ifft(spectrum * gain))


def grey_map(name: str, level: FloatArray) -> FloatArray:
    """Grey 0..1 for compressed `level` 0..1: `linear`, `s-curve` (smooth step), `gamma` (power 0.7) or `inverted`."""
    if name == "linear":
        return level
    if name == "s-curve":
        return np.asarray(level * level * (3 - 2 * level))
    if name == "gamma":
        return np.asarray(level**0.7)
    if name == "inverted":
        return np.asarray(1 - level)
    raise ValueError(f"grey_map: must be linear, s-curve, gamma or inverted, got {name!r}")


def compress(
    amplitude: ArrayLike,
    *,
    reference_amplitude: float,
    gain_db: float = 0.0,
    dynamic_range_db: float = 60.0,
    row_gain_db: ArrayLike | None = None,
) -> FloatArray:
    """Level 0..1 of `amplitude (rows, columns)`: 0 dB (the reference) is 1, -dynamic_range is 0; NaN is 0."""
    values = np.nan_to_num(np.asarray(amplitude, dtype=np.float64), nan=0.0, posinf=np.inf, neginf=0.0)
    with np.errstate(divide="ignore"):
        decibels = 20 * np.log10(np.maximum(values, 0) / reference_amplitude) + gain_db
    if row_gain_db is not None:
        decibels = decibels + np.asarray(row_gain_db, dtype=np.float64)[:, None]
    return np.clip(1 + decibels / dynamic_range_db, 0, 1)


def scan_convert(lines: ArrayLike, line_index: ArrayLike, sample_index: ArrayLike) -> FloatArray:
    """`lines (L, N)` at fractional (line, sample) of each pixel, bilinear; 0 where an index is NaN or more than half
    a step outside; within that half step the edge value."""
    values = np.asarray(lines, dtype=np.float64)
    row, column = np.asarray(line_index, dtype=np.float64), np.asarray(sample_index, dtype=np.float64)
    count, samples = values.shape
    inside = (row >= -0.5) & (row <= count - 0.5) & (column >= -0.5) & (column <= samples - 0.5)
    row = np.clip(np.where(inside, row, 0), 0, count - 1)
    column = np.clip(np.where(inside, column, 0), 0, samples - 1)
    i0, j0 = np.minimum(row.astype(int), max(count - 2, 0)), np.minimum(column.astype(int), max(samples - 2, 0))
    i1, j1 = np.minimum(i0 + 1, count - 1), np.minimum(j0 + 1, samples - 1)
    a, b = row - i0, column - j0
    near = values[i0, j0] * (1 - b) + values[i0, j1] * b
    far = values[i1, j0] * (1 - b) + values[i1, j1] * b
    return np.where(inside, near * (1 - a) + far * a, 0.0)


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC-32C (RFC 3720, appendix B.4), bit by bit."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def pack(samples: ArrayLike, bits: int) -> NDArray[np.uint8]:
    """Samples as two's complement of `bits` bits each, the first in the lowest bits of byte 0, without gaps."""
    values = np.asarray(samples, dtype=np.int64).reshape(-1)
    planes = values[:, None] >> np.arange(bits) & 1
    return np.packbits(planes.astype(np.uint8).reshape(-1), bitorder="little")


def unpack(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.int16]:
    """The reverse of `pack`."""
    planes = np.unpackbits(packed, bitorder="little")[: count * bits].reshape(count, bits).astype(np.int64)
    values = planes @ (1 << np.arange(bits))
    return np.asarray(np.where(planes[:, -1], values - (1 << bits), values), dtype=np.int16)
