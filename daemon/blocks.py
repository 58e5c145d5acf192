"""Knobs, probes, presets and changes of settings as replies tell them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sonod.daemon.planner import Change, Present
from sonod.daemon.presets import Preset
from sonod.drivers.errors import SettingsRefused
from sonod.drivers.settings import Knob, Value

Result = dict[str, Any]


def knob_block(knob: Knob, present: Present, holder: str | None) -> Result:
    """A knob as `describe` tells it; `holder` alone may change it at present."""

    def bound(number: float) -> float | None:
        return number if math.isfinite(number) else None

    return {
        "name": knob.name,
        "kind": knob.kind,
        "unit": knob.unit,
        "value": present.settings.value(knob.name),
        "default": knob.default,
        "minimum": bound(knob.minimum),
        "maximum": bound(knob.maximum),
        "step": knob.step,
        "choices": knob.choices,
        "points": knob.points,
        "description": knob.description,
        "acoustic_output": knob.acoustic_output,
        "applied_by": knob.applied_by,
        "geometry": knob.geometry,
        "needs_lease": knob.needs_lease,
        "held_by": holder,
    }


def probe_block(present: Present) -> Result:
    """The probe as `describe` tells it."""
    probe = present.acquisition.probe
    frequency = probe.center_frequency_hz
    return {
        "name": probe.name,
        "kind": probe.kind,
        "elements": probe.element_count,
        "center_frequency_hz": frequency if math.isfinite(frequency) else None,
        "radius_m": probe.radius_m,
    }


def preset_block(preset: Preset, present: Present | None) -> Result:
    """What the preset changes on this probe; `misfit` says why it does not fit, null when it does."""
    settings: Mapping[str, Value] = dict(preset.settings)
    misfit: str | None = "no probe has been opened yet"
    if present is not None:
        settings = {**settings, **preset.probes.get(present.acquisition.probe.kind, {})}
        try:
            preset.changes_for(present)
            misfit = None
        except SettingsRefused as error:
            misfit = "; ".join(error.problems)
    return {
        "name": preset.name,
        "description": preset.description,
        "probes": tuple(preset.probes),
        "fits": misfit is None,
        "misfit": misfit,
        "settings": settings,
    }


def change_block(change: Change) -> Result:
    """A change that was made, as its reply tells it."""
    applied: dict[str, Value] = dict(change.applied)
    return {
        "revision": change.revision,
        "first_frame": change.first_frame,
        "applied": applied,
        "pending": change.pending,
    }
