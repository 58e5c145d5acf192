"""What settings, probe, sequence and grid compile into: the right plan for what a driver delivers."""

from __future__ import annotations

from collections.abc import Mapping

from sonod.daemon.pipeline.base import Plan
from sonod.daemon.pipeline.channel import ChannelPlan
from sonod.daemon.pipeline.image import ImagePlan
from sonod.daemon.pipeline.level import Level
from sonod.daemon.pipeline.lines import LinesPlan
from sonod.daemon.pipeline.motion import MotionPlan, is_single_line
from sonod.daemon.pipeline.options import ImageOptions
from sonod.drivers.frame import Acquisition, Configuration, DataKind, SampleFormat
from sonod.drivers.settings import KNOBS, Knob

__all__ = ["ImageOptions", "Plan", "build_plan", "processing_knobs"]

# Knobs that act on every picture made here, and on every picture made from channel data.
PICTURE_KNOBS = ("gain_db", "dynamic_range_db", "persistence", "grey_map")
SAMPLE_KNOBS = ("depth_m", "sound_speed_m_s", "tgc_db")
BEAM_KNOBS = ("f_number", "apodization", "compounding")
# Needs straight rays, so not for layered media.
ADAPTIVE_KNOB = "beamformer"


def build_plan(configuration: Configuration, options: ImageOptions, previous: Plan | None = None) -> Plan:
    """The plan for what a driver delivers; slow, any thread. `previous` hands on the level: brightness stays."""
    acquisition = configuration.acquisition
    level = previous.level if previous is not None else Level(acquisition.reference_amplitude)
    if acquisition.reference_amplitude and acquisition.reference_amplitude != level.amplitude:
        level = Level(acquisition.reference_amplitude)
    if acquisition.kind is DataKind.IMAGE:
        return ImagePlan(configuration, level)
    if is_single_line(acquisition):
        return MotionPlan(configuration, options, level)
    if acquisition.kind is DataKind.LINES:
        return LinesPlan(configuration, options, level)
    return ChannelPlan(configuration, options, level)


def processing_knobs(driver_knobs: Mapping[str, Knob], acquisition: Acquisition) -> dict[str, Knob]:
    """Every knob a user can turn: the driver's own, and those that the driver leaves to processing."""
    if acquisition.kind is DataKind.IMAGE:
        return dict(driver_knobs)
    names = list(PICTURE_KNOBS)
    if acquisition.sample_format is SampleFormat.LOG8:
        names = ["persistence", "grey_map"]
    else:
        names += SAMPLE_KNOBS
    beams = acquisition.kind is DataKind.CHANNEL and not is_single_line(acquisition)
    if beams:
        names += BEAM_KNOBS if len(acquisition.layers) > 1 else (*BEAM_KNOBS, ADAPTIVE_KNOB)
    idle = set() if beams else set(BEAM_KNOBS)
    driven = {name: knob for name, knob in driver_knobs.items() if name not in idle}
    return {**{name: KNOBS[name] for name in names if name not in driven}, **driven}
