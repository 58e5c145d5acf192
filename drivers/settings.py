"""Every knob, declared once, and the immutable set of their values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from sonod.drivers.errors import SettingsRefused
from sonod.drivers.rules import broken_rules

Value = float | int | str | tuple[float, ...]

# Points of the time-gain curve, evenly spaced from the face to the depth; people know eight sliders.
TGC_POINTS = 8


class AppliedBy(StrEnum):
    """Who acts on a knob: the device (the RF changes) or the processing (the picture changes)."""

    DEVICE = "device"
    PROCESSING = "processing"


@dataclass(frozen=True)
class Knob:
    """One setting: unit, range, step, default, whether it affects acoustic output, and whether it changes where a
    pixel lies (`geometry`).

    `kind` is `float`, `int`, `choice` or `curve` (a tuple of `points` floats, each in the range).
    """

    name: str
    kind: str
    unit: str
    default: Value
    description: str
    minimum: float = -math.inf
    maximum: float = math.inf
    step: float = 0.0
    choices: tuple[str, ...] = ()
    points: int = 0
    acoustic_output: bool = False
    applied_by: AppliedBy = AppliedBy.PROCESSING
    geometry: bool = False

    @property
    def needs_lease(self) -> bool:
        """Whether only the holder of the lease may change it while there is one."""
        return self.acoustic_output or self.geometry

    def __post_init__(self) -> None:
        if self.kind not in {"float", "int", "choice", "curve"}:
            raise ValueError(f"knob {self.name}: kind must be float, int, choice or curve, got {self.kind!r}")
        if self.kind != "choice" and not self.minimum <= self.maximum:
            raise ValueError(f"knob {self.name}: minimum {self.minimum} is above maximum {self.maximum}")
        object.__setattr__(self, "default", self.accept(self.default))

    def accept(self, value: object) -> Value:
        """The value as this knob stores it; ValueError with the allowed range when it cannot be used."""
        if self.kind == "choice":
            if value not in self.choices:
                raise ValueError(f"{self.name}: must be one of {', '.join(self.choices)}; got {value!r}")
            return str(value)
        if self.kind == "curve":
            if isinstance(value, str) or not hasattr(value, "__iter__"):
                raise ValueError(f"{self.name}: must be a list of {self.points} numbers; got {value!r}")
            points = tuple(self._number(point) for point in value)
            if len(points) != self.points:
                raise ValueError(f"{self.name}: must have {self.points} points; got {len(points)}")
            return points
        number = self._number(value)
        if self.kind == "int":
            if number != int(number):
                raise ValueError(f"{self.name}: must be a whole number; got {value!r}")
            return int(number)
        return number

    def _number(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{self.name}: must be a number; got {value!r}")
        number = float(value)
        # A value on the border may arrive with a rounding error of its decimal form.
        slack = (
            1e-9 * max(abs(self.minimum), abs(self.maximum), 1e-6)
            if math.isfinite(self.minimum + self.maximum)
            else 0.0
        )
        if not self.minimum - slack <= number <= self.maximum + slack:
            raise ValueError(
                f"{self.name}: must be in {self.minimum:g}..{self.maximum:g} {self.unit}; got {value!r}".replace(
                    " ;", ";"
                )
            )
        return min(max(number, self.minimum), self.maximum)

    def narrowed(self, **changes: Any) -> Knob:
        """The same knob with a driver's own range, step or default."""
        return replace(self, **changes)

    def on_device(self, **changes: Any) -> Knob:
        """The same knob, applied by the device, with its own range."""
        return replace(self, applied_by=AppliedBy.DEVICE, **changes)


@dataclass(frozen=True)
class Settings:
    """The value of every knob, and the revision that names this set. Units are in the names."""

    depth_m: float = 0.05
    gain_db: float = 0.0
    tgc_db: tuple[float, ...] = (0.0,) * TGC_POINTS
    dynamic_range_db: float = 60.0
    transmit_frequency_hz: float = 5e6
    focus_depth_m: float = 0.03
    angle_count: int = 3
    angle_span_rad: float = math.radians(20)
    f_number: float = 1.5
    apodization: str = "tukey"
    beamformer: str = "delay-and-sum"
    compounding: str = "coherent"
    sound_speed_m_s: float = 1540.0
    persistence: float = 0.0
    grey_map: str = "linear"
    frame_rate_hz: float = 30.0
    output_level: float = 0.5
    revision: int = 0

    def value(self, name: str) -> Value:
        """The value of one knob by name."""
        value: Value = getattr(self, name)
        return value

    def as_mapping(self) -> dict[str, Value]:
        """Every knob by name, without the revision."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "revision"}


KNOBS: Mapping[str, Knob] = {
    knob.name: knob
    for knob in (
        Knob(
            "depth_m",
            "float",
            "m",
            0.05,
            "Depth of the deepest image row below the face",
            0.005,
            0.3,
            0.001,
            geometry=True,
        ),
        Knob("gain_db", "float", "dB", 0.0, "Overall receive gain", -40, 40, 1),
        Knob(
            "tgc_db",
            "curve",
            "dB",
            (0.0,) * TGC_POINTS,
            "Time-gain curve: gain at evenly spaced depths from the face to the depth",
            -40,
            40,
            1,
            points=TGC_POINTS,
        ),
        Knob("dynamic_range_db", "float", "dB", 60.0, "Range of echo levels between black and white", 20, 100, 1),
        Knob(
            "transmit_frequency_hz",
            "float",
            "Hz",
            5e6,
            "Centre frequency of the transmitted pulse",
            2e4,
            50e6,
            1e5,
            acoustic_output=True,
        ),
        Knob(
            "focus_depth_m",
            "float",
            "m",
            0.03,
            "Transmit focus depth of focused sequences",
            0.002,
            0.3,
            0.001,
            acoustic_output=True,
        ),
        Knob(
            "angle_count", "int", "", 3, "Number of steered transmissions in one image", 1, 128, 1, acoustic_output=True
        ),
        Knob(
            "angle_span_rad",
            "float",
            "rad",
            math.radians(20),
            "Angle between the first and the last transmission",
            0,
            math.radians(80),
            math.radians(1),
            acoustic_output=True,
        ),
        Knob("f_number", "float", "", 1.5, "Depth over receive aperture (0 = all elements)", 0, 10, 0.1),
        Knob(
            "apodization",
            "choice",
            "",
            "tukey",
            "Receive window across the active aperture",
            choices=("rectangular", "hann", "hamming", "tukey"),
        ),
        Knob(
            "beamformer",
            "choice",
            "",
            "delay-and-sum",
            "What is made of the delayed channels of each point",
            choices=(
                "delay-and-sum",
                "coherence-factor",
                "generalised-coherence-factor",
                "sign-coherence-factor",
                "delay-multiply-and-sum",
                "short-lag-coherence",
            ),
        ),
        Knob(
            "compounding",
            "choice",
            "",
            "coherent",
            "How transmissions are added: as signals, or after detection (less speckle)",
            choices=("coherent", "incoherent"),
        ),
        Knob(
            "sound_speed_m_s",
            "float",
            "m/s",
            1540.0,
            "Speed of sound assumed when focusing",
            300,
            8000,
            1,
            geometry=True,
        ),
        Knob(
            "persistence", "float", "", 0.0, "Share of the previous picture that stays in the next one", 0, 0.95, 0.05
        ),
        Knob(
            "grey_map",
            "choice",
            "",
            "linear",
            "Curve from compressed echo level to grey",
            choices=("linear", "s-curve", "gamma", "inverted"),
        ),
        Knob(
            "frame_rate_hz",
            "float",
            "Hz",
            30.0,
            "Images per second asked of the probe",
            0.1,
            1000,
            1,
            acoustic_output=True,
        ),
        Knob(
            "output_level",
            "float",
            "",
            0.5,
            "Transmit amplitude as a share of the probe's maximum",
            0,
            1,
            0.05,
            acoustic_output=True,
        ),
    )
}


def default_settings(knobs: Mapping[str, Knob]) -> Settings:
    """The defaults of `knobs` as a settings value of revision 0."""
    return Settings(**{name: knob.default for name, knob in knobs.items()})  # type: ignore[arg-type]


def change_settings(
    current: Settings, changes: Mapping[str, object], knobs: Mapping[str, Knob], *, whole: bool = False
) -> Settings:
    """`current` with all `changes` and the next revision; else SettingsRefused with every problem, nothing changed.

    `whole`: the changes are a complete state that was in force before, not what somebody asks for knob by knob.
    """
    problems: list[str] = []
    accepted: dict[str, Any] = {}
    for name, value in changes.items():
        knob = knobs.get(name)
        if knob is None:
            problems.append(f"{name}: no such setting; there are {', '.join(sorted(knobs))}")
            continue
        try:
            accepted[name] = knob.accept(value)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise SettingsRefused(problems)
    changed = replace(current, **accepted, revision=current.revision + 1)
    problems = broken_rules(changed, accepted.keys(), knobs.keys(), whole=whole)
    if problems:
        raise SettingsRefused(problems)
    return changed
