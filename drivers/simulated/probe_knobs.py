"""The usual knobs of a simulated probe, in the ranges of its file."""

from __future__ import annotations

from dataclasses import replace

from sonod.drivers.directivity import natural_f_number
from sonod.drivers.probe_file import ProbeFile
from sonod.drivers.settings import KNOBS, Knob
from sonod.drivers.simulated.scan import Scan

# Sequences with one transmission for each line or element: many, so fewer images a second.
MANY_TRANSMISSIONS = 32
MANY_FRAME_RATE_HZ = 8.0

ON_DEVICE = (
    "depth_m",
    "transmit_frequency_hz",
    "focus_depth_m",
    "angle_count",
    "angle_span_rad",
    "gain_db",
    "tgc_db",
    "frame_rate_hz",
    "output_level",
)
IN_PROCESSING = ("dynamic_range_db", "f_number", "apodization", "sound_speed_m_s", "persistence", "grey_map")


def probe_knobs(file: ProbeFile, scan: Scan) -> dict[str, Knob]:
    """The usual knobs in the ranges of the probe's file; the front-end acts on those of the transmission and gain."""
    center, half_band = file.probe.center_frequency_hz, file.probe.fractional_bandwidth / 2
    usual: dict[str, dict[str, float]] = {
        "transmit_frequency_hz": {
            "default": center,
            "minimum": center * (1 - half_band),
            "maximum": center * (1 + half_band),
        },
        "f_number": {"default": natural_f_number(file.probe, 1540.0)},
    }
    knobs = {}
    for name in (*ON_DEVICE, *IN_PROCESSING):
        knob = file.ranges.get(name) or KNOBS[name].narrowed(**usual.get(name, {}))
        knobs[name] = knob.on_device() if name in ON_DEVICE else knob
    count = knobs["angle_count"]
    most = min(count.maximum, file.probe.element_count)
    default = count.default if isinstance(count.default, int) else 1
    knobs["angle_count"] = count.narrowed(maximum=most, default=int(min(default, most)))
    if scan in (Scan.FOCUSED, Scan.SYNTHETIC):
        count, rate, span = knobs["angle_count"], knobs["frame_rate_hz"], knobs["angle_span_rad"]
        knobs["angle_count"] = count.narrowed(default=int(min(MANY_TRANSMISSIONS, count.maximum)))
        knobs["frame_rate_hz"] = rate.narrowed(default=min(max(MANY_FRAME_RATE_HZ, rate.minimum), rate.maximum))
        knobs["angle_span_rad"] = span.narrowed(default=span.maximum)
    return knobs


def with_depth(file: ProbeFile, depth_m: float) -> ProbeFile:
    """The probe with the scene's usual depth, as far as the probe can see."""
    knob = file.ranges.get("depth_m") or KNOBS["depth_m"]
    usual = min(max(depth_m, knob.minimum), knob.maximum)
    return replace(file, ranges={**file.ranges, "depth_m": knob.narrowed(default=usual)})
