"""The imaging parameters of PLUS in terms of our knobs.

DepthMm               depth_m                 millimetres
GainPercent           gain_db                 0 and 100 % are the ends of the knob's range, linear in dB
FrequencyMhz          transmit_frequency_hz   megahertz
DynRangeDb            dynamic_range_db        as it is
PowerDb               output_level            20 log10, 0 dB = the probe's maximum; -60 dB and less = 0, silent
FocusDepthPercent     focus_depth_m           share of depth_m
TimeGainCompensation  tgc_db                  dB at the face, half-way and at full depth; linear between
SoundVelocity         sound_speed_m_s         as it is
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sonod.client.replies import KnobDescription
from sonod.client.wire.header import Value

FAINTEST_DB = -60.0
_TGC_POINTS = 3

Knobs = Mapping[str, KnobDescription]
Values = Mapping[str, Value]


class ParameterError(ValueError):
    """A parameter that cannot be read or set; one line says why."""


@dataclass(frozen=True)
class Parameter:
    """`read` gives the numbers from the settings, `write` the knob's value from numbers; `count` numbers each way."""

    knob: str
    read: Callable[[KnobDescription, Values], Sequence[float]]
    write: Callable[[KnobDescription, Values, Sequence[float]], Value]
    count: int = 1


def _number(values: Values, name: str) -> float:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ParameterError(f"the setting {name} is not known")
    return float(value)


def _scaled(knob: str, factor: float) -> Parameter:
    """PLUS's number is the knob's times a factor."""
    return Parameter(
        knob,
        lambda described, values: (_number(values, described.name) * factor,),
        lambda described, values, numbers: numbers[0] / factor,
    )


def _range(described: KnobDescription) -> tuple[float, float]:
    if described.minimum is None or described.maximum is None or not described.maximum > described.minimum:
        raise ParameterError(f"{described.name} has no range to take a percentage of")
    return described.minimum, described.maximum


def _percent(described: KnobDescription, values: Values) -> tuple[float]:
    low, high = _range(described)
    return ((_number(values, described.name) - low) / (high - low) * 100,)


def _from_percent(described: KnobDescription, values: Values, numbers: Sequence[float]) -> float:
    low, high = _range(described)
    return low + numbers[0] / 100 * (high - low)


def _decibels(described: KnobDescription, values: Values) -> tuple[float]:
    level = _number(values, described.name)
    return (max(FAINTEST_DB, 20 * math.log10(level)) if level > 0 else FAINTEST_DB,)


def _from_decibels(described: KnobDescription, values: Values, numbers: Sequence[float]) -> float:
    return float(10 ** (numbers[0] / 20)) if numbers[0] > FAINTEST_DB else 0.0


def _focus(described: KnobDescription, values: Values) -> tuple[float]:
    return (_number(values, described.name) / _number(values, "depth_m") * 100,)


def _from_focus(described: KnobDescription, values: Values, numbers: Sequence[float]) -> float:
    return numbers[0] / 100 * _number(values, "depth_m")


def _curve(described: KnobDescription, values: Values) -> tuple[float, ...]:
    value = values.get(described.name)
    if not isinstance(value, tuple) or not value:
        raise ParameterError(f"the setting {described.name} is no curve")
    places = np.linspace(0, 1, _TGC_POINTS)
    return tuple(float(gain) for gain in np.interp(places, np.linspace(0, 1, len(value)), value))


def _from_curve(described: KnobDescription, values: Values, numbers: Sequence[float]) -> tuple[float, ...]:
    places = np.linspace(0, 1, max(described.points, 1))
    return tuple(float(gain) for gain in np.interp(places, np.linspace(0, 1, _TGC_POINTS), numbers))


PARAMETERS: Mapping[str, Parameter] = {
    "DepthMm": _scaled("depth_m", 1e3),
    "GainPercent": Parameter("gain_db", _percent, _from_percent),
    "FrequencyMhz": _scaled("transmit_frequency_hz", 1e-6),
    "DynRangeDb": _scaled("dynamic_range_db", 1.0),
    "PowerDb": Parameter("output_level", _decibels, _from_decibels),
    "FocusDepthPercent": Parameter("focus_depth_m", _focus, _from_focus),
    "TimeGainCompensation": Parameter("tgc_db", _curve, _from_curve, _TGC_POINTS),
    "SoundVelocity": _scaled("sound_speed_m_s", 1.0),
}


def read_parameter(name: str, knobs: Knobs, values: Values) -> str:
    """A parameter as PLUS writes it: numbers with spaces between; ParameterError when this probe has none."""
    parameter, described = _known(name, knobs)
    return " ".join(f"{number:.10g}" for number in parameter.read(described, values))


def knob_change(name: str, text: str, knobs: Knobs, values: Values) -> tuple[str, Value]:
    """(knob, value) that a parameter's text asks for; the daemon checks the range. ParameterError when it is none."""
    parameter, described = _known(name, knobs)
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) != parameter.count or not all(map(math.isfinite, numbers)):
        wanted = "a number" if parameter.count == 1 else f"{parameter.count} numbers"
        raise ParameterError(f"{name}: must be {wanted}; got {text[:60]!r}")
    return parameter.knob, parameter.write(described, values, numbers)


def _known(name: str, knobs: Knobs) -> tuple[Parameter, KnobDescription]:
    parameter = PARAMETERS.get(name)
    if parameter is None:
        raise ParameterError(f"{name[:60]}: not known; there are {', '.join(PARAMETERS)}")
    described = knobs.get(parameter.knob)
    if described is None:
        raise ParameterError(f"{name}: this probe has no {parameter.knob}")
    return parameter, described
