"""Which channels of a WULPUS fire and listen in each shot of an image, and what that means as a sequence."""

from __future__ import annotations

from collections.abc import Sequence as Items

import numpy as np

from sonod.drivers.errors import DeviceNotFound
from sonod.drivers.probe import Probe
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind
from sonod.drivers.wulpus.protocol import MOST_SETTINGS, Board, TxRx

SCHEMES = ("synthetic", "plane", "line")


def settings_of(scheme: str, text: str, probe: Probe, board: Board) -> tuple[TxRx, ...]:
    """The settings of a named scheme, or those written as `text`; DeviceNotFound names what is wrong with them.

    `synthetic`: one element after the other fires and hears its own echo: synthetic aperture. `plane`: all fire
    together, one after the other listens. `line`: all fire and all listen: one line of sight, M-mode.
    `text` lists shots as TRANSMIT-RECEIVE, channels joined by `+`, shots by commas: `0-0,1-1` or `0+1+2-3`.
    """
    elements = probe.element_count
    if elements > board.channels:
        raise DeviceNotFound(f"probe {probe.name}: has {elements} elements, the board has {board.channels} channels")
    if text:
        return _written(text, elements)
    chosen = _spread(elements)
    everything = tuple(range(elements))
    if scheme == "synthetic":
        return tuple(TxRx((element,), (element,)) for element in chosen)
    if scheme == "plane":
        return tuple(TxRx(everything, (element,)) for element in chosen)
    return (TxRx(everything, everything),)


def sequence_of(settings: Items[TxRx], probe: Probe, t0_s: float) -> tuple[Probe, Sequence]:
    """The sequence of these settings, and the probe that it belongs to: (transmits, 1 channel).

    The board has one converter: channels heard together are summed before it. One setting that hears several is one
    line of sight, as if by one element in their middle.
    """
    positions = probe.element_positions_m
    if len(settings) == 1:
        return _one_line(settings[0], probe, t0_s)
    events = []
    for setting in settings:
        delays = np.full(len(positions), np.nan)
        delays[list(setting.transmit)] = 0.0
        heard = setting.receive[0] if len(setting.receive) == 1 else -1
        alone = len(setting.transmit) == 1
        origin = positions[setting.transmit[0]] if alone else np.zeros(3)
        kind = TransmitKind.SINGLE_ELEMENT if alone else TransmitKind.PLANE
        events.append(TransmitEvent(kind, delays, origin, np.array([heard], np.int32), t0_s=t0_s))
    return probe, Sequence(tuple(events))


def _one_line(setting: TxRx, probe: Probe, t0_s: float) -> tuple[Probe, Sequence]:
    positions = probe.element_positions_m
    heard = positions[list(setting.receive)]
    width = float(np.ptp(heard[:, 0])) + (probe.element_width_m or 0.0)
    middle = heard.mean(axis=0, keepdims=True)
    single = Probe.from_positions(
        probe.name,
        middle,
        probe.center_frequency_hz,
        fractional_bandwidth=probe.fractional_bandwidth,
        element_width_m=width,
    )
    event = TransmitEvent(TransmitKind.SINGLE_ELEMENT, np.zeros(1), middle[0], np.zeros(1, np.int32), t0_s=t0_s)
    return single, Sequence((event,))


def _spread(elements: int) -> list[int]:
    """All elements, or as many as settings fit a package, evenly over the array."""
    if elements <= MOST_SETTINGS:
        return list(range(elements))
    return [round(place) for place in np.linspace(0, elements - 1, MOST_SETTINGS)]


def _written(text: str, elements: int) -> tuple[TxRx, ...]:
    shots = text.split(",")
    if not 1 <= len(shots) <= MOST_SETTINGS:
        raise DeviceNotFound(f"txrx: must list 1..{MOST_SETTINGS} shots (more do not fit a package), got {len(shots)}")
    settings = []
    for shot in shots:
        transmit, dash, receive = shot.partition("-")
        try:
            setting = TxRx(*(tuple(int(channel) for channel in side.split("+")) for side in (transmit, receive)))
        except ValueError:
            dash = ""
        if not dash:
            raise DeviceNotFound(f"txrx: a shot is TRANSMIT-RECEIVE such as 0-0 or 0+1-2, got {shot!r}")
        for channels in (setting.transmit, setting.receive):
            if len(set(channels)) != len(channels) or not all(0 <= channel < elements for channel in channels):
                raise DeviceNotFound(f"txrx: channels must be different ones of 0..{elements - 1}, got {shot!r}")
        settings.append(setting)
    return tuple(settings)
