"""Transmissions from settings: plane, diverging and focused waves, or one element at a time."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np

from sonod.drivers.probe import ArrayKind, FloatArray, Probe
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind
from sonod.drivers.settings import Settings

# Focus depth over the width of the firing elements: narrow beams, and room beside them.
TRANSMIT_F_NUMBER = 2.0
# Half the opening of a sector whose probe has no edges that would limit it.
SECTOR_HALF_ANGLE_RAD = math.radians(40)
# A virtual source this many apertures behind a flat array opens its waves over the sector.
SOURCE_APERTURES = 0.6


class Scan(StrEnum):
    """How one image is made."""

    PLANE = "plane"
    DIVERGING = "diverging"
    FOCUSED = "focused"
    SYNTHETIC = "synthetic"


def half_angle_rad(probe: Probe) -> float:
    """Half the angle that a sector image of this probe spans; 0 for a flat linear array."""
    if probe.kind is ArrayKind.CURVILINEAR:
        return probe.pitch_m * probe.element_count / (2 * probe.radius_m)
    return SECTOR_HALF_ANGLE_RAD if probe.kind is ArrayKind.PHASED else 0.0


def transmissions(scan: Scan, probe: Probe, settings: Settings, sound_speed_m_s: float, sampling_hz: float) -> Sequence:
    """The sequence of one image; every element receives. The first sample of a transmission is taken as its first
    element fires."""
    count, c = settings.angle_count, sound_speed_m_s
    receive = np.arange(probe.element_count, dtype=np.int32)
    events = []
    for share in np.linspace(-0.5, 0.5, count) if count > 1 else (0.0,):
        angle = float(share * settings.angle_span_rad)
        if scan is Scan.PLANE:
            kind, origin, delays = TransmitKind.PLANE, np.zeros(3), _plane(probe, angle, c)
        elif scan is Scan.DIVERGING:
            kind = TransmitKind.DIVERGING
            origin, delays = _diverging(probe, angle, c)
        elif scan is Scan.FOCUSED:
            kind = TransmitKind.FOCUSED
            origin, delays = _focused(probe, float(share), settings, c)
        else:
            kind = TransmitKind.SINGLE_ELEMENT
            element = round((share + 0.5) * (probe.element_count - 1))
            origin = probe.element_positions_m[element]
            delays = np.full(probe.element_count, np.nan)
            delays[element] = 0.0
        t0 = math.floor(float(np.nanmin(delays)) * sampling_hz) / sampling_hz
        events.append(TransmitEvent(kind, delays, origin, receive, angle if scan is Scan.PLANE else 0.0, t0))
    return Sequence(tuple(events))


def transmit_weights(scan: Scan, sequence: Sequence, probe: Probe) -> FloatArray:
    """(transmits, elements): plane and diverging waves fade at the edges, which calms their ripple (Tukey, 25 %)."""
    delays = sequence.delays_s
    weights = np.where(np.isnan(delays), 0.0, 1.0)
    if scan in (Scan.PLANE, Scan.DIVERGING) and probe.element_count > 8:
        place = np.abs(np.linspace(-1, 1, probe.element_count))
        weights *= 0.5 + 0.5 * np.cos(np.pi * np.clip((place - 0.75) / 0.25, 0, 1) * 0.9)
    return np.asarray(weights)


def _plane(probe: Probe, angle: float, c: float) -> FloatArray:
    x, z = probe.element_positions_m[:, 0], probe.element_positions_m[:, 2]
    return np.asarray((x * math.sin(angle) + z * math.cos(angle)) / c)


def _diverging(probe: Probe, angle: float, c: float) -> tuple[FloatArray, FloatArray]:
    """Virtual source behind the face; the wave passes the face in front of its source at time zero."""
    behind = probe.radius_m if probe.kind is ArrayKind.CURVILINEAR else SOURCE_APERTURES * probe.aperture_m
    origin = -behind * np.array([math.sin(angle), 0.0, math.cos(angle)])
    distance = np.linalg.norm(probe.element_positions_m - origin, axis=1)
    return origin, np.asarray((distance - abs(origin[2])) / c)


def _focused(probe: Probe, share: float, settings: Settings, c: float) -> tuple[FloatArray, FloatArray]:
    """Scan line number `share` (-0.5..0.5) across the face or the sector; it leaves the face at time zero."""
    depth = settings.focus_depth_m
    foot = np.zeros(3)
    direction = np.array([0.0, 0.0, 1.0])
    if probe.kind is ArrayKind.CURVILINEAR:
        angle = 2 * share * half_angle_rad(probe)
        direction = np.array([math.sin(angle), 0.0, math.cos(angle)])
        foot = probe.radius_m * direction - np.array([0.0, 0.0, probe.radius_m])
    elif probe.kind is ArrayKind.PHASED:
        angle = share * settings.angle_span_rad
        direction = np.array([math.sin(angle), 0.0, math.cos(angle)])
    else:
        foot[0] = share * (probe.aperture_m - probe.pitch_m)
    focus = foot + depth * direction
    elements = probe.element_positions_m
    delays = (depth - np.linalg.norm(elements - focus, axis=1)) / c
    if probe.kind is not ArrayKind.PHASED:
        half = max(depth / TRANSMIT_F_NUMBER / 2, 2 * probe.pitch_m)
        delays = np.where(np.linalg.norm(elements - foot, axis=1) <= half, delays, np.nan)
    return focus, np.asarray(delays)
