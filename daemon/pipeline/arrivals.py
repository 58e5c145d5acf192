"""When each transmission reaches each beamformed point, for a whole sequence; and the way back through layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sonod.cext import arrival
from sonod.drivers.frame import Layer
from sonod.drivers.probe import FloatArray, Probe
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind

# A closed form is used when it agrees with the element delays to this share of a period; else the delays decide.
CLOSED_FORM_PERIODS = 0.1
# An echo's envelope peaks about this many periods after the echo begins.
PULSE_PEAK_PERIODS = 1.5


def transmit_times(
    sequence: Sequence,
    probe: Probe,
    points_m: FloatArray,
    sound_speed_m_s: float,
    period_s: float,
    *,
    line_by_line: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """(time, weight) of every transmission at `points_m (lines, samples, 3)`: (transmits, lines, samples) each.

    Times are in seconds after the transmission's time zero, NaN where it does not count; the weight is None where
    all are 1. `line_by_line`: transmission t makes line t alone.
    """
    lines, samples = points_m.shape[:2]
    count = len(sequence.events)
    time = np.full((count, lines, samples), np.nan, np.float32)
    weight: NDArray[np.float32] | None = None
    apart = _focus_spacing_m(sequence)
    for index, event in enumerate(sequence.events):
        if line_by_line:
            own, _ = event_times(event, probe, points_m[index : index + 1], sound_speed_m_s, period_s)
            time[index, index] = own[0]
            continue
        own, own_weight = event_times(event, probe, points_m, sound_speed_m_s, period_s, apart)
        if own_weight is not None:
            if weight is None:
                weight = np.ones((count, lines, samples), np.float32)
            weight[index] = own_weight
            own = np.where(own_weight > 0, own, np.nan)
        time[index] = own
    if weight is not None:
        # Points that more transmissions reach are not brighter for it: the weights are a mean over those that do.
        total = weight.sum(axis=0)
        weight *= count / np.where(total > 0, total, 1)
    return time, weight


def event_times(
    event: TransmitEvent,
    probe: Probe,
    points_m: FloatArray,
    sound_speed_m_s: float,
    period_s: float,
    focus_spacing_m: float = 0.0,
) -> tuple[FloatArray, FloatArray | None]:
    """(time, weight or None) of one transmission at `points_m (..., 3)`.

    `focus_spacing_m` between neighbouring foci: a focused beam counts at least so far from its axis, and at least as
    far as it is wide.
    """
    elements, delays, c = probe.element_positions_m, event.delays_s, sound_speed_m_s
    firing = np.isfinite(delays)
    if firing.sum() == 1:
        # One element makes a spherical wave, whatever it is called.
        own = int(firing.argmax())
        return arrival.element_arrival(points_m, elements[own], float(delays[own]), c), None
    if event.kind is TransmitKind.FOCUSED:
        active = elements[firing]
        reach = float(np.linalg.norm(event.origin_m - active.mean(axis=0)))
        beam_width = c * period_s * reach / max(float(np.ptp(active[:, 0])), 1e-9)
        waist = max(focus_spacing_m, beam_width)
        return arrival.focused_arrival(points_m, event.origin_m, delays, elements, c, waist)
    at_elements = elements[firing]
    if event.kind is TransmitKind.PLANE:
        form = arrival.plane_arrival(at_elements, event.angle_rad, delays, elements, c)
        if np.abs(form - delays[firing]).max() <= CLOSED_FORM_PERIODS * period_s:
            return arrival.plane_arrival(points_m, event.angle_rad, delays, elements, c), None
    if event.kind is TransmitKind.DIVERGING:
        form = arrival.diverging_arrival(at_elements, event.origin_m, delays, elements, c)
        if np.abs(form - delays[firing]).max() <= CLOSED_FORM_PERIODS * period_s:
            return arrival.diverging_arrival(points_m, event.origin_m, delays, elements, c), None
    return arrival.arrival_by_elements(points_m, delays, elements, c), None


def _focus_spacing_m(sequence: Sequence) -> float:
    """Median distance between the foci of successive transmissions; 0 for one."""
    if len(sequence.events) < 2:
        return 0.0
    return float(np.median(np.linalg.norm(np.diff(sequence.origins_m, axis=0), axis=1)))


def boundaries_as_seen(layers: tuple[Layer, ...], period_s: float) -> tuple[Layer, ...]:
    """The layers of a record whose pulse delay is not known: the first one thicker by the lag of an echo's peak, so
    that the echo of its boundary still belongs to it and is not stretched by the speed below."""
    first = layers[0]
    lag_m = PULSE_PEAK_PERIODS * period_s / 2 * first.sound_speed_m_s
    return (replace(first, thickness_m=first.thickness_m + lag_m), *layers[1:])


def layered_receive_times(
    probe: Probe, points_m: FloatArray, layers: tuple[Layer, ...], sound_speed_m_s: float
) -> NDArray[np.float32]:
    """One-way times (elements, lines, samples) through horizontal layers, for elements on the surface z = 0 and lines
    straight down; the speed given replaces that of the first layer."""
    depths = points_m[0, :, 2]
    columns = points_m[:, 0, :2]
    lateral = np.linalg.norm(probe.element_positions_m[:, None, :2] - columns[None], axis=-1)
    speeds = [sound_speed_m_s, *(layer.sound_speed_m_s for layer in layers[1:])]
    thicknesses = [layer.thickness_m for layer in layers]
    spread = np.broadcast_to(lateral, (len(depths), *lateral.shape))
    times = arrival.layered_times(spread, depths, thicknesses, speeds)
    return np.ascontiguousarray(np.moveaxis(times, 0, -1), dtype=np.float32)


def layered_transmit_times(sequence: Sequence, receive_time_s: NDArray[np.float32]) -> NDArray[np.float32]:
    """(transmits, lines, samples): the first arrival from the firing elements, through the same layers."""
    time = np.empty((len(sequence.events), *receive_time_s.shape[1:]), np.float32)
    for index, event in enumerate(sequence.events):
        firing = np.flatnonzero(np.isfinite(event.delays_s))
        delays = event.delays_s[firing].astype(np.float32)
        time[index] = (receive_time_s[firing] + delays[:, None, None]).min(axis=0)
    return time
