"""Settings to the sequence table that a front-end fires, and to what its samples mean; touches no device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonod.drivers.bulk.protocol import TICK_S, Capabilities, Flag, Format, Header, Layout
from sonod.drivers.bulk.ranges import LONGEST_WAY_BACK, SOUND_SPEED_M_S
from sonod.drivers.bulk.table import NOT_CONNECTED, SILENT, Shot, Table
from sonod.drivers.errors import SettingsRefused
from sonod.drivers.frame import Acquisition, DataKind, SampleFormat
from sonod.drivers.probe import Probe
from sonod.drivers.sequence import Sequence, TransmitEvent
from sonod.drivers.settings import Settings
from sonod.drivers.simulated.scan import Scan, transmissions

PULSE_PERIODS = 4
# The drive that a table asks for: two cycles.
HALF_CYCLES = 4
# A pulse of two cycles has its peak about so many periods after it began.
PULSE_DELAY_PERIODS = 1.5


@dataclass(frozen=True, eq=False)
class Plan:
    """What a configuration means to the device; `table.number` is given when it is loaded."""

    table: Table
    payload_bytes: int


def make_plan(
    settings: Settings, own: Capabilities, probe: Probe, scan: Scan, form: Format, layout: Layout
) -> tuple[Acquisition, Plan]:
    """Table and meaning of a frame under `settings`; SettingsRefused when the front-end cannot do them together."""
    rate = own.sampling_hz
    sequence = _on_ticks(transmissions(scan, probe, settings, SOUND_SPEED_M_S, rate), own.channels)
    samples = _sample_count(sequence, probe, settings, rate)
    problems = []
    if samples > own.most_samples:
        problems.append(f"depth_m: {settings.depth_m:g} m needs {samples} samples, the most is {own.most_samples}")
    table = _table(settings, sequence, form, layout, samples, rate, own)
    least_us = math.ceil(len(table.shots) * table.shot_ns / 1000)
    if table.frame_us < least_us:
        problems.append(
            f"frame_rate_hz: {settings.frame_rate_hz:g} Hz is too fast for {len(table.shots)} transmissions to "
            f"{settings.depth_m:g} m; at most {1e6 / least_us:g} Hz"
        )
    if problems:
        raise SettingsRefused(problems)
    shape: tuple[int, ...] = (len(table.shots), table.channel_count, samples)
    frequency = settings.transmit_frequency_hz
    acquisition = Acquisition(
        probe=probe,
        sequence=sequence,
        kind=DataKind.CHANNEL,
        sample_format=SampleFormat.IQ if form is Format.IQ16 else SampleFormat.RF,
        shape=(*shape, 2) if form is Format.IQ16 else shape,
        dtype=np.dtype(np.int16),
        sampling_hz=float(rate),
        sound_speed_m_s=SOUND_SPEED_M_S,
        demodulation_hz=float(table.demodulation_hz),
        center_frequency_hz=frequency,
        pulse_delay_s=PULSE_DELAY_PERIODS / frequency,
    )
    return acquisition, Plan(table, form.payload_bytes(table.channel_count, samples))


def _on_ticks(sequence: Sequence, channels: int) -> Sequence:
    """The sequence as the device will fire it: times rounded to its ticks, no more channels than it has."""
    events = []
    for event in sequence.events:
        delays = np.round(event.delays_s / TICK_S) * TICK_S
        events.append(
            TransmitEvent(
                event.kind,
                delays,
                event.origin_m,
                event.receive_elements[:channels],
                event.angle_rad,
                round(event.t0_s / TICK_S) * TICK_S,
            )
        )
    return Sequence(tuple(events))


def _sample_count(sequence: Sequence, probe: Probe, settings: Settings, rate: int) -> int:
    """Samples until the last echo from the depth has come back, a multiple of 16."""
    begin = min(float(np.nanmin(event.delays_s)) - event.t0_s for event in sequence.events)
    end = max(float(np.nanmax(event.delays_s)) - event.t0_s for event in sequence.events)
    seconds = max(begin, end) + (1 + LONGEST_WAY_BACK) * settings.depth_m / SOUND_SPEED_M_S
    seconds += PULSE_PERIODS / settings.transmit_frequency_hz
    return 16 * math.ceil(seconds * rate / 16)


def _table(
    settings: Settings, sequence: Sequence, form: Format, layout: Layout, samples: int, rate: int, own: Capabilities
) -> Table:
    shots = []
    for event in sequence.events:
        delays = np.where(np.isnan(event.delays_s), SILENT, np.round(event.delays_s / TICK_S)).astype(np.int32)
        receive = np.where(event.receive_elements < 0, NOT_CONNECTED, event.receive_elements).astype(np.uint16)
        shots.append(
            Shot(
                round(settings.transmit_frequency_hz),
                HALF_CYCLES,
                round(settings.output_level * 0xFFFF),
                round(event.t0_s / TICK_S),
                delays,
                receive,
            )
        )
    seconds = samples / rate
    points = settings.tgc_db[: own.most_gain_points]
    spacing_s = 2 * settings.depth_m / SOUND_SPEED_M_S / max(len(points) - 1, 1)
    return Table(
        0,
        form,
        layout,
        samples,
        rate,
        round(1e6 / settings.frame_rate_hz),
        max(own.least_shot_ns, math.ceil(seconds * 1e9)),
        tuple(shots),
        round(spacing_s * 1e9),
        tuple(round(100 * (settings.gain_db + point)) for point in points),
        round(settings.transmit_frequency_hz) if form is Format.IQ16 else 0,
    )


def same_table(one: Table, other: Table) -> bool:
    """Whether a front-end could not tell them apart."""
    return one.to_bytes() == other.to_bytes()


def fits(header: Header, table: Table) -> bool:
    """Whether a shot is one that the table asked for."""
    return (
        header.shot < len(table.shots)
        and (header.channels, header.samples) == (table.channel_count, table.samples)
        and (header.format, header.layout) == (table.format, table.layout)
        and bool(header.flags & Flag.FIRST_SHOT) == (header.shot == 0)
    )
