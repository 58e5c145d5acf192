"""One-way travel times in float64: when the sound of a transmit event reaches a point, and how long echoes travel.

Times count from the time zero of the transmit event. Closed forms are anchored to the element delays, so that any
convention of time zero works: the constant between form and delays is the median over the elements that fire.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Distances to this many (element, point) pairs are held at once by `arrival_by_elements`.
PAIRS_AT_ONCE = 4_000_000
# Rays traced through a layered medium; their travel times are interpolated.
RAY_COUNT = 1024
# Steepest ray traced, as a share of the critical one; beyond it the lateral distance is hundreds of depths.
LARGEST_RAY_PARAMETER = 0.99999


def plane_arrival(
    points_m: FloatArray, angle_rad: float, delays_s: FloatArray, elements_m: FloatArray, sound_speed_m_s: float
) -> FloatArray:
    """Plane wave steered by `angle_rad` towards +x: time at `points_m (..., 3)`, shape (...)."""
    direction = np.array([math.sin(angle_rad), 0.0, math.cos(angle_rad)]) / sound_speed_m_s
    anchor = np.nanmedian(delays_s - elements_m @ direction)
    return np.asarray(points_m @ direction + anchor)


def diverging_arrival(
    points_m: FloatArray, source_m: FloatArray, delays_s: FloatArray, elements_m: FloatArray, sound_speed_m_s: float
) -> FloatArray:
    """Wave that spreads from a virtual source behind the face: time at `points_m (..., 3)`, shape (...)."""
    anchor = np.nanmedian(delays_s - np.linalg.norm(elements_m - source_m, axis=-1) / sound_speed_m_s)
    return np.asarray(np.linalg.norm(points_m - source_m, axis=-1) / sound_speed_m_s + anchor)


def focused_arrival(
    points_m: FloatArray,
    focus_m: FloatArray,
    delays_s: FloatArray,
    elements_m: FloatArray,
    sound_speed_m_s: float,
    waist_m: float,
) -> tuple[FloatArray, FloatArray]:
    """Wave that converges to a focus and spreads beyond it: (time, weight) at `points_m (..., 3)`.

    The focus acts as a virtual source (Frazier and O'Brien, IEEE TUFFC 45(1), 1998), but through the focal zone the
    wave front flattens as that of a Gaussian beam does, R(z) = z + zR^2 / z (A. E. Siegman, Lasers, 1986, ch. 17),
    so that nothing jumps there. The weight falls as a Hann window from 1 on the axis to 0 at the edge of the double
    cone that the firing elements span over the focus; the cone is nowhere narrower than `waist_m` to each side.
    """
    firing = np.isfinite(delays_s)
    arrival_at_focus = np.nanmedian(delays_s + np.linalg.norm(elements_m - focus_m, axis=-1) / sound_speed_m_s)
    active = elements_m[firing]
    centre = active.mean(axis=0)
    reach = max(float(np.linalg.norm(focus_m - centre)), 1e-9)
    axis = (focus_m - centre) / reach
    offset = points_m - focus_m
    along = offset @ axis
    distance = np.linalg.norm(offset, axis=-1)
    # Seen from the focus, the aperture is as wide as its extent across the axis.
    spread = (active - centre) - ((active - centre) @ axis)[:, None] * axis
    half_aperture = float(np.linalg.norm(spread, axis=-1).max())
    across = np.sqrt(np.maximum(distance**2 - along**2, 0))
    half_width = np.maximum(np.abs(along) * half_aperture / reach, waist_m)
    # The focal zone ends where the cone is as wide as the waist.
    zone = waist_m * reach / max(half_aperture, 1e-9)
    radius = np.maximum(np.abs(along), 1e-9) + zone**2 / np.maximum(np.abs(along), 1e-9)
    bend = across**2 / (np.sqrt(radius**2 + across**2) + radius)
    time = arrival_at_focus + (along + np.copysign(bend, along)) / sound_speed_m_s
    weight = np.where(across < half_width, np.cos(np.pi / 2 * np.minimum(across / half_width, 1)) ** 2, 0.0)
    return time, weight


def element_arrival(points_m: FloatArray, element_m: FloatArray, delay_s: float, sound_speed_m_s: float) -> FloatArray:
    """Wave from one element: time at `points_m (..., 3)`, shape (...)."""
    return np.asarray(np.linalg.norm(points_m - element_m, axis=-1) / sound_speed_m_s + delay_s)


def arrival_by_elements(
    points_m: FloatArray, delays_s: FloatArray, elements_m: FloatArray, sound_speed_m_s: float
) -> FloatArray:
    """First arrival from any firing element, min over k of delays_s[k] + |p - e_k| / c, at `points_m (..., 3)`.

    Right for any array and delay law whose wave front does not fold; the closed forms are smoother near the face.
    """
    firing = np.isfinite(delays_s)
    elements, delays = elements_m[firing], delays_s[firing]
    flat = points_m.reshape(-1, 3)
    time = np.empty(len(flat))
    step = max(1, PAIRS_AT_ONCE // len(elements))
    for start in range(0, len(flat), step):
        part = flat[start : start + step]
        distance = np.linalg.norm(part[:, None] - elements[None], axis=-1)
        time[start : start + step] = (delays + distance / sound_speed_m_s).min(axis=1)
    return time.reshape(points_m.shape[:-1])


def layered_times(
    lateral_m: FloatArray, depths_m: FloatArray, thicknesses_m: Sequence[float], sound_speeds_m_s: Sequence[float]
) -> FloatArray:
    """Travel time through horizontal layers from the surface to each depth at each lateral distance.

    `lateral_m (depths, ...)` >= 0 and `depths_m (depths,)`; result shaped as `lateral_m`. Rays obey Snell's law, so
    the time is Fermat's minimum; the last layer goes on for ever. Times are interpolated between traced rays.
    """
    speeds = np.asarray(sound_speeds_m_s, dtype=np.float64)
    edges = np.concatenate([[0.0], np.cumsum(np.asarray(thicknesses_m, dtype=np.float64))])
    edges[-1] = np.inf
    time = np.empty_like(lateral_m, dtype=np.float64)
    for row, depth in enumerate(depths_m):
        passed = np.clip(depth - edges[:-1], 0, np.diff(edges))
        used = passed > 0
        if not used.any():
            time[row] = lateral_m[row] / speeds[0]
            continue
        thickness, speed = passed[used], speeds[used]
        # Ray parameters crowd towards the critical one, where the lateral distance grows fastest.
        sine = LARGEST_RAY_PARAMETER * np.sin(np.linspace(0, np.pi / 2, RAY_COUNT))
        cosine = np.sqrt(1 - (sine[:, None] * speed / speed.max()) ** 2)
        reached = (thickness * (sine[:, None] * speed / speed.max()) / cosine).sum(axis=1)
        taken = (thickness / (speed * cosine)).sum(axis=1)
        time[row] = np.interp(lateral_m[row], reached, taken)
    return time
