"""The simulation in plain NumPy float64, written to be read; cext/simulate.py says what is modelled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext.pulse import ComplexArray, FloatArray
from sonod.cext.simulate import EchoModel, Meeting, Reflectors


def reference_ways(
    model: EchoModel, x_m: FloatArray, z_m: FloatArray, loss: NDArray[np.floating[Any]] | None = None
) -> tuple[FloatArray, FloatArray]:
    """Distance and one-way weight between points and elements: two arrays (points, elements)."""
    dx = x_m[:, None] - model.positions_m[None, :, 0]
    dz = z_m[:, None] - model.positions_m[None, :, 2]
    distance = np.hypot(dx, dz)
    cosine = (dx * model.normals[None, :, 0] + dz * model.normals[None, :, 2]) / distance
    weight = model.directivity(cosine) * model.decay(distance)
    if loss is not None and len(loss):
        elements = np.linspace(0, 1, len(model.positions_m))
        weight *= np.stack([np.interp(elements, model.stations_x(), row) for row in loss])
    return distance, weight


def reference_amplitude(
    model: EchoModel,
    x_m: FloatArray,
    z_m: FloatArray,
    delays_s: FloatArray,
    weights: FloatArray,
    arrival_s: FloatArray,
    loss: FloatArray | None = None,
) -> ComplexArray:
    """What all elements together send into the pulse that arrives at `arrival_s (transmits, points)`."""
    distance, way = reference_ways(model, x_m, z_m, loss)
    out = np.zeros(arrival_s.shape, complex)
    for index, (delays, weight) in enumerate(zip(delays_s, weights, strict=True)):
        firing = np.isfinite(delays)
        lag = delays[firing] + distance[:, firing] / model.sound_speed_m_s - arrival_s[index][:, None]
        wave = model.pulse.correlation(lag) * np.exp(-2j * np.pi * model.pulse.frequency_hz * lag)
        out[index] = (weight[firing] * way[:, firing] * wave).sum(axis=1)
    return out


def reference_echoes(
    model: EchoModel,
    reflectors: Reflectors,
    meeting: Meeting,
    t0_s: FloatArray,
    samples: int,
    start_s: FloatArray,
) -> FloatArray:
    """Echoes (transmits, channels, samples); the loss is that of each echo's own way."""
    x, z = reflectors.x_m.astype(float), reflectors.z_m.astype(float)
    distance, way = reference_ways(model, x, z, reflectors.loss)
    dx = x[:, None] - model.positions_m[None, :, 0]
    dz = z[:, None] - model.positions_m[None, :, 2]
    along = (dx * reflectors.axis[0][:, None] + dz * reflectors.axis[1][:, None]) / distance
    sampled = np.arange(samples) / model.sampling_hz
    out = np.zeros((len(meeting.arrival_s), len(model.positions_m), samples))
    for t in range(len(out)):
        for p in range(len(x)):
            lobe = np.sinc(reflectors.piece_m[p] / model.wavelength_m * (meeting.incoming[t, p] + along[p]))
            strength = way[p] * (reflectors.rough[p] + reflectors.smooth[p] * lobe)
            arrived = meeting.arrival_s[t, p] + distance[p] / model.sound_speed_m_s
            loss = model.attenuation_np_m_hz * model.sound_speed_m_s * (arrived - start_s[t])
            for k in range(len(strength)):
                time = t0_s[t] + sampled - arrived[k] - model.pulse.delay_s
                near = np.abs(time) < 2 * model.pulse.half_length_s
                echo = model.pulse.envelope(time[near], loss[k]) * np.exp(
                    2j * np.pi * model.pulse.frequency_hz * time[near]
                )
                out[t, k, near] += strength[k] * (meeting.amplitude[t, p] * echo).real
    return out
