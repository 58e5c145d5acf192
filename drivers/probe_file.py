"""Configuration files of probes: geometry, frequency and the ranges of the settings, as commented TOML."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sonod.drivers.errors import ProbeFileError
from sonod.drivers.probe import ArrayKind, Probe
from sonod.drivers.settings import KNOBS, Knob

# More elements than any array in use; a larger number is a slip of the pen.
MOST_ELEMENTS = 4096

# Folders of config/ in which shipped files are looked for by name.
PROBES, BOARDS = "probes", "boards"

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, eq=False)
class ProbeFile:
    """What a probe's file says. `ranges` are the declared knobs narrowed to this probe; `sequence` is the usual one."""

    probe: Probe
    sampling_hz: float
    sequence: str
    ranges: Mapping[str, Knob]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Probe(_Strict):
    name: Annotated[str, Field(min_length=1)]
    kind: Literal["linear", "curvilinear", "phased", "single"]
    elements: Annotated[int, Field(ge=1, le=MOST_ELEMENTS)] = 1
    pitch_m: Positive | None = None
    radius_m: Positive | None = None
    element_width_m: Positive | None = None
    element_height_m: Positive | None = None
    elevation_focus_m: Positive | None = None
    band_hz: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    sampling_hz: Positive
    sequence: Literal["plane", "diverging", "focused", "synthetic"] = "plane"

    @model_validator(mode="after")
    def _agree(self) -> _Probe:
        low, high = self.band_hz
        if not low < high:
            raise ValueError(f"band_hz must rise, got {low:g}..{high:g}")
        if self.sampling_hz < 2 * high:
            raise ValueError(
                f"sampling_hz must be at least twice the band's upper end {high:g}, got {self.sampling_hz:g}"
            )
        if (self.radius_m is not None) != (self.kind == "curvilinear"):
            raise ValueError("radius_m belongs to a curvilinear probe, and only to one")
        if (self.pitch_m is None) != (self.kind == "single") or (self.kind == "single" and self.elements != 1):
            raise ValueError("elements and pitch_m belong to every array, and not to a single element")
        if self.pitch_m is not None and self.element_width_m is not None and self.element_width_m > self.pitch_m:
            raise ValueError(
                f"element_width_m must not exceed pitch_m, got {self.element_width_m:g} > {self.pitch_m:g}"
            )
        return self


class _Range(_Strict):
    default: float | list[float] | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: Positive | None = None


class _File(_Strict):
    probe: _Probe
    settings: dict[str, _Range] = {}


def probe_names() -> tuple[str, ...]:
    """Names of the probes that come with sonod."""
    return _names(PROBES)


def load_probe(name_or_path: str) -> ProbeFile:
    """The probe of a shipped name, or of a file; ProbeFileError lists everything that is wrong with it."""
    return _load(name_or_path, PROBES)


def load_board(name_or_path: str) -> ProbeFile:
    """The same for the transducer on a board, whose shipped files are in config/boards."""
    return _load(name_or_path, BOARDS)


def _load(name_or_path: str, folder: str) -> ProbeFile:
    names = _names(folder)
    if name_or_path in names:
        entry = _shipped(folder) / f"{name_or_path}.toml"
        return _parse(entry.read_text("utf-8"), f"{name_or_path}.toml")
    path = Path(name_or_path).expanduser()
    if path.suffix != ".toml" and not path.exists():
        known = ", ".join(names)
        raise ProbeFileError([f"probe {name_or_path!r}: not known; there are {known}, or name a .toml file"])
    try:
        return _parse(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ProbeFileError([f"{path}: cannot be read ({reason}); check the path"]) from error


def _names(folder: str) -> tuple[str, ...]:
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _shipped(folder).iterdir() if _is_toml(entry)))


def _shipped(folder: str) -> Traversable:
    return files("sonod") / "config" / folder


def _is_toml(entry: Traversable) -> bool:
    return entry.name.endswith(".toml")


def _parse(text: str, where: str) -> ProbeFile:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProbeFileError([f"{where}: is not TOML: {error}"]) from error
    problems: list[str] = []
    ranges: dict[str, Knob] = {}
    parsed: _File | None = None
    try:
        parsed = _File.model_validate(content)
    except ValidationError as error:
        problems += [_line(where, problem["loc"], problem["msg"], problem["input"]) for problem in error.errors()]
    settings = content.get("settings", {})
    for name in settings if isinstance(settings, dict) else ():
        knob = KNOBS.get(name)
        if knob is None:
            problems.append(f"{where}: settings.{name}: no such setting; there are {', '.join(KNOBS)}")
            continue
        if parsed is not None:
            own = {key: value for key, value in parsed.settings[name].model_dump().items() if value is not None}
            try:
                ranges[name] = knob.narrowed(**own)
            except ValueError as error:
                problems.append(f"{where}: settings.{name}.default: {error}")
    if problems or parsed is None:
        raise ProbeFileError(problems)
    return ProbeFile(_build(parsed.probe), parsed.probe.sampling_hz, parsed.probe.sequence, ranges)


def _build(said: _Probe) -> Probe:
    low, high = said.band_hz
    center = (low + high) / 2
    bandwidth = (high - low) / center
    height = said.element_height_m or 0.0
    focus = said.elevation_focus_m or math.inf
    if said.pitch_m is None:
        return Probe(
            said.name,
            ArrayKind.SINGLE,
            np.zeros((1, 3)),
            center,
            bandwidth,
            said.element_width_m or 0.0,
            height,
            focus,
        )
    if said.radius_m is not None:
        return Probe.curvilinear(
            said.name,
            said.elements,
            said.pitch_m,
            said.radius_m,
            center,
            fractional_bandwidth=bandwidth,
            element_width_m=said.element_width_m,
            element_height_m=height,
            elevation_focus_m=focus,
        )
    return Probe.linear(
        said.name,
        said.elements,
        said.pitch_m,
        center,
        fractional_bandwidth=bandwidth,
        element_width_m=said.element_width_m,
        element_height_m=height,
        elevation_focus_m=focus,
        phased=said.kind == "phased",
    )


def _line(where: str, place: tuple[int | str, ...], message: str, value: object) -> str:
    path = ".".join(str(part) for part in place) or "file"
    text = message.removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    shown = "" if isinstance(value, dict) else f", got {value!r}"
    return f"{where}: {path}: {text}{shown}"
