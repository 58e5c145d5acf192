"""The pulse that a driven probe sends and hears, and what tissue takes from it."""

from __future__ import annotations

import math

from sonod.cext.pulse import HALF_WIDTH_DEVIATIONS, Pulse
from sonod.drivers.probe import Probe

# Bandwidth (-6 dB, share of the frequency) of the pulse that drives the elements: about two cycles.
DRIVE_BANDWIDTH = 0.7
# The pulse peaks this many standard deviations after the sound arrives, where it has risen from -40 dB.
PULSE_DELAY_DEVIATIONS = 3.0


def driven_pulse(probe: Probe, transmit_hz: float) -> Pulse:
    """Two Gaussian bands multiplied, the drive's and the probe's: again a Gaussian, between them, and weaker the
    further they are apart. The sum of line sources with 1 / sqrt(d) is to be taken times sqrt(frequency)."""
    probe_hz = probe.center_frequency_hz
    drive = DRIVE_BANDWIDTH * transmit_hz / 2 / HALF_WIDTH_DEVIATIONS
    own = probe.fractional_bandwidth * probe_hz / 2 / HALF_WIDTH_DEVIATIONS
    total = drive**2 + own**2
    frequency = (transmit_hz * own**2 + probe_hz * drive**2) / total
    amplitude = math.exp(-((transmit_hz - probe_hz) ** 2) / (2 * total)) * math.sqrt(frequency / probe_hz)
    deviation = drive * own / math.sqrt(total)
    return Pulse.gaussian(frequency, deviation, PULSE_DELAY_DEVIATIONS / (2 * math.pi * deviation), amplitude)


def neper_per_m_hz(decibels_cm_mhz: float) -> float:
    """One-way amplitude attenuation that rises with frequency."""
    return decibels_cm_mhz * 100 / 1e6 * math.log(10) / 20
