"""When a transmission reaches a point, and from where it comes."""

from __future__ import annotations

import math

import numpy as np

from sonod.drivers.probe import AnyFloatArray, FloatArray, Probe
from sonod.drivers.sequence import TransmitEvent, TransmitKind


def arrival_s(
    event: TransmitEvent, probe: Probe, x_m: AnyFloatArray, z_m: AnyFloatArray, sound_speed_m_s: float
) -> FloatArray:
    """Time after the transmission's time zero at which its wave front is at (x, z), of the shape of `x_m`.

    The wave front of a focused wave converges before its focus and spreads behind it; beside the cone of its elements
    one goes smoothly over into the other.
    """
    c, origin = sound_speed_m_s, event.origin_m
    if event.kind is TransmitKind.PLANE:
        return np.asarray((x_m * math.sin(event.angle_rad) + z_m * math.cos(event.angle_rad)) / c)
    distance = np.hypot(x_m - origin[0], z_m - origin[2])
    elements = probe.element_positions_m[np.isfinite(event.delays_s)]
    delays = event.delays_s[np.isfinite(event.delays_s)]
    if event.kind is TransmitKind.FOCUSED:
        at_focus = delays + np.linalg.norm(elements - origin, axis=1) / c
        return np.asarray(at_focus.mean() + distance * _side(event, elements, x_m, z_m, distance) / c)
    offset = delays - np.linalg.norm(elements - origin, axis=1) / c
    return np.asarray(offset.mean() + distance / c)


def direction(event: TransmitEvent, probe: Probe, x_m: FloatArray, z_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit direction (x, z) in which the sound goes at each point."""
    if event.kind is TransmitKind.PLANE:
        return np.full_like(x_m, math.sin(event.angle_rad)), np.full_like(x_m, math.cos(event.angle_rad))
    dx, dz = x_m - event.origin_m[0], z_m - event.origin_m[2]
    distance = np.maximum(np.hypot(dx, dz), 1e-9)
    sign = np.ones_like(x_m)
    if event.kind is TransmitKind.FOCUSED:
        elements = probe.element_positions_m[np.isfinite(event.delays_s)]
        sign = np.where(_side(event, elements, x_m, z_m, distance) >= 0, 1.0, -1.0)
    return np.asarray(sign * dx / distance), np.asarray(sign * dz / distance)


def _side(
    event: TransmitEvent, elements: AnyFloatArray, x_m: AnyFloatArray, z_m: AnyFloatArray, distance: AnyFloatArray
) -> FloatArray:
    """-1 in the converging cone before the focus, 1 in the cone behind it, in between beside them."""
    origin = event.origin_m
    axis = origin - elements.mean(axis=0)
    axis = axis / np.linalg.norm(axis)
    rays = origin - elements
    opening = float((rays @ axis / np.linalg.norm(rays, axis=1)).min())
    along = (x_m - origin[0]) * axis[0] + (z_m - origin[2]) * axis[2]
    return np.asarray(np.clip(along / np.maximum(distance, 1e-9) / max(opening, 0.05), -1, 1))
