"""When a transmission reaches a point, and from where it comes."""

from __future__ import annotations

import math

import numpy as np

from sonod.drivers.probe import FloatArray, Probe
from sonod.drivers.sequence import TransmitEvent, TransmitKind


def arrival_s(
    event: TransmitEvent, probe: Probe, x_m: FloatArray, z_m: FloatArray, sound_speed_m_s: float
) -> FloatArray:
    """Time after the transmission's time zero at which its wave front is at (x, z), of the shape of `x_m`.

    The wave front of a focused wave converges before its focus and spreads behind it.
    """
    c, origin, elements = sound_speed_m_s, event.origin_m, probe.element_positions_m
    if event.kind is TransmitKind.PLANE:
        return np.asarray((x_m * math.sin(event.angle_rad) + z_m * math.cos(event.angle_rad)) / c)
    distance = np.hypot(x_m - origin[0], z_m - origin[2])
    if event.kind is TransmitKind.FOCUSED:
        firing = np.isfinite(event.delays_s)
        at_focus = event.delays_s[firing] + np.linalg.norm(elements[firing] - origin, axis=1) / c
        axis = origin - elements[firing].mean(axis=0)
        ahead = (x_m - origin[0]) * axis[0] + (z_m - origin[2]) * axis[2] >= 0
        return np.asarray(at_focus.mean() + np.where(ahead, distance, -distance) / c)
    firing = np.isfinite(event.delays_s)
    offset = event.delays_s[firing] - np.linalg.norm(elements[firing] - origin, axis=1) / c
    return np.asarray(offset.mean() + distance / c)


def incoming_cosine(
    event: TransmitEvent, probe: Probe, x_m: FloatArray, z_m: FloatArray, axis: tuple[float, float]
) -> FloatArray:
    """Cosine between the way of the sound at (x, z) and the unit direction `axis` (x, z)."""
    if event.kind is TransmitKind.PLANE:
        along = math.sin(event.angle_rad) * axis[0] + math.cos(event.angle_rad) * axis[1]
        return np.full_like(x_m, along)
    dx, dz = x_m - event.origin_m[0], z_m - event.origin_m[2]
    distance = np.maximum(np.hypot(dx, dz), 1e-9)
    cosine = (dx * axis[0] + dz * axis[1]) / distance
    if event.kind is TransmitKind.FOCUSED:
        face = event.origin_m - probe.element_positions_m[np.isfinite(event.delays_s)].mean(axis=0)
        cosine = np.where(dx * face[0] + dz * face[2] >= 0, cosine, -cosine)
    return np.asarray(cosine)
