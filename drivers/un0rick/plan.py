"""What settings and options compile into: register values, gain codes, and the meaning of a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonod.drivers.frame import Acquisition, DataKind, LineGeometry, SampleFormat
from sonod.drivers.probe import Probe
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind
from sonod.drivers.settings import Settings
from sonod.drivers.un0rick import protocol
from sonod.drivers.un0rick.protocol import LineDecoder, Pulse, Register

# A gain code is 2 mV at the amplifier's control pin, nominally 50 dB for each volt. Nothing on the board is calibrated.
DB_PER_CODE = 0.1
MOST_GAIN_DB = DB_PER_CODE * (protocol.GAIN_CODES - 1)
# Beyond the depth, so that an echo from there is whole: a few cycles at the lowest frequency in use.
TAIL_S = 4e-6
SOUND_SPEED_M_S = 1540.0


@dataclass(frozen=True)
class Options:
    """What the URI says about the board's use.

    `lines` of one acquisition are summed, or, with `sweep_rad` > 0, are scan lines of a transducer that is swept over
    this angle meanwhile about a point `apex_m` behind its face. `double` samples every pair of lines at twice the rate.
    """

    lines: int = 1
    double: bool = False
    sweep_rad: float = 0.0
    apex_m: float = 0.0
    delay_s: float = 8 * protocol.TICK_S
    gap_s: float = 8 * protocol.TICK_S
    damping_s: float = 129 * protocol.TICK_S

    @property
    def sampling_hz(self) -> float:
        return protocol.SAMPLING_HZ * (2 if self.double else 1)


@dataclass(frozen=True, eq=False)
class Plan:
    """Ready to be loaded into the board; with the memory that reading needs."""

    options: Options
    pulse: Pulse
    registers: dict[Register, int]
    gains: tuple[int, ...]
    # Samples kept of each line.
    samples: int
    decoder: LineDecoder

    @property
    def duration_s(self) -> float:
        return protocol.acquisition_s(self.options.lines)

    def words_of(self, line: int) -> int:
        """Words to read of a line: the memory is one long row, so that only the last line may be cut."""
        return self.samples if line == self.options.lines - 1 else protocol.LINE_SAMPLES


def make_plan(options: Options, settings: Settings) -> Plan:
    pulse = Pulse(
        protocol.ticks_for(options.delay_s),
        protocol.width_ticks_for(settings.transmit_frequency_hz),
        protocol.ticks_for(options.gap_s),
        protocol.ticks_for(options.damping_s),
    )
    way_s = 2 * settings.depth_m / settings.sound_speed_m_s
    samples = protocol.samples_for(way_s + pulse.delay_s + pulse.width_ticks * protocol.TICK_S + TAIL_S)
    gains = gain_codes(settings, pulse.delay_s)
    registers = pulse.registers | {
        Register.DRMODE: int(options.double),
        Register.DACOUT: gains[0],
        Register.NBLINES: options.lines - 1,
    }
    return Plan(options, pulse, registers, gains, samples, LineDecoder(samples))


def gain_codes(settings: Settings, delay_s: float) -> tuple[int, ...]:
    """A code for each of the 32 steps: the curve at the depth of its middle plus the gain, within what the DAC has."""
    middles_s = (np.arange(protocol.GAIN_SEGMENTS) + 0.5) * protocol.SEGMENT_SAMPLES / protocol.SAMPLING_HZ - delay_s
    depths_m = middles_s * settings.sound_speed_m_s / 2
    curve = np.interp(depths_m, np.linspace(0, settings.depth_m, len(settings.tgc_db)), settings.tgc_db)
    codes = np.rint((settings.gain_db + curve) / DB_PER_CODE)
    return tuple(int(code) for code in np.clip(codes, 0, protocol.GAIN_CODES - 1))


def make_acquisition(plan: Plan, probe: Probe) -> Acquisition:
    """What the driver delivers under the plan: one summed trace, or the scan lines of a sweep."""
    options, pulse = plan.options, plan.pulse
    width_s = pulse.width_ticks * protocol.TICK_S
    # The pulse leaves `delay_s` after sample 0; what is heard is centred half its width later.
    t0_s = -pulse.delay_s
    event = TransmitEvent(TransmitKind.SINGLE_ELEMENT, np.zeros(1), np.zeros(3), np.zeros(1, np.int32), t0_s=t0_s)
    swept = options.sweep_rad > 0
    summed = 1 if swept else options.lines // (2 if options.double else 1)
    lines = _sweep(plan, t0_s - width_s / 2) if swept else None
    samples = plan.samples * (2 if options.double else 1)
    return Acquisition(
        probe=probe,
        sequence=Sequence((event,)),
        kind=DataKind.LINES if swept else DataKind.CHANNEL,
        sample_format=SampleFormat.RF,
        shape=(1, options.lines if swept else 1, samples),
        dtype=np.dtype(np.int16),
        sampling_hz=options.sampling_hz,
        sound_speed_m_s=SOUND_SPEED_M_S,
        center_frequency_hz=pulse.frequency_hz,
        pulse_delay_s=width_s / 2,
        sample_scale=protocol.VOLTS_PER_CODE / summed,
        sample_unit="V (nominal)",
        lines=lines,
        slow_time=not swept,
    )


def _sweep(plan: Plan, first_s: float) -> LineGeometry:
    """Lines at even angles about an apex behind the face; the middle one looks straight down from the origin."""
    options = plan.options
    angles = np.linspace(-0.5, 0.5, options.lines) * options.sweep_rad
    directions = np.stack([np.sin(angles), np.zeros_like(angles), np.cos(angles)], axis=1)
    origins = options.apex_m * directions - np.array([0.0, 0.0, options.apex_m])
    half_speed = SOUND_SPEED_M_S / 2
    return LineGeometry(
        origins,
        directions,
        first_s * half_speed,
        half_speed / protocol.SAMPLING_HZ,
        plan.samples,
        radius_m=options.apex_m,
    )


def deepest_m(options: Options) -> float:
    """The greatest depth that a line holds for sound of the usual speed, rounded down to a millimetre."""
    way_s = protocol.LINE_SAMPLES / protocol.SAMPLING_HZ - options.delay_s - TAIL_S
    return math.floor(way_s * SOUND_SPEED_M_S / 2 * 1000) / 1000
