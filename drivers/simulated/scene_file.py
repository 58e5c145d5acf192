"""Scene files: what the simulated probe looks at, as commented TOML; every error at once, each with its path."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sonod.drivers.errors import DeviceNotFound, DriverError, ProbeFileError
from sonod.drivers.probe_file import load_probe

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Decibels = Annotated[float, Field(ge=-120, le=80, allow_inf_nan=False)]
Place = tuple[Finite, Finite]
Name = Annotated[str, Field(min_length=1, max_length=60)]

# Labels are bytes, and three are taken: outside, needle and injectate.
MOST_TISSUES = 200


class SceneFileError(DriverError):
    """A scene file that cannot be used; `problems` has one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FibresFile(_Strict):
    """Fibres that mirror: they run in the image plane at an angle, or through it (`across`)."""

    length_m: Positive = 0.8e-3
    spacing_m: Positive = 0.35e-3
    echo_db: Decibels = 18.0
    angle_rad: Annotated[float, Field(ge=-3.2, le=3.2)] = 0.0
    across: bool = False


class TissueFile(_Strict):
    """One tissue. `echo_db`: level of its speckle against the scene's usual; omitted = echo-free."""

    echo_db: Decibels | None = None
    attenuation_db_cm_mhz: Annotated[float, Field(ge=0, le=50)] | None = None
    fibres: FibresFile | None = None


class LayerFile(_Strict):
    """A layer below the face, from the one before it down to `to_m`; its lower edge may wave and mirror."""

    tissue: Name
    to_m: Positive
    wave_m: NotNegative = 0.0
    wave_length_m: Positive = 20e-3
    slope: Annotated[float, Field(ge=-1, le=1)] = 0.0
    edge_db: Decibels | None = None


class FillFile(_Strict):
    """Round pieces of another tissue, packed inside a shape."""

    tissue: Name
    radius_m: Positive
    spacing_m: Positive


class FlowFile(_Strict):
    """Blood along a tube: a parabola over its width, between `rest_m_s` and `peak_m_s` on the axis, `rate_hz` times a
    second. Positive = from the tube's first end to its second."""

    peak_m_s: Annotated[float, Field(ge=-3, le=3)]
    rest_m_s: Annotated[float, Field(ge=-3, le=3)] = 0.0
    rate_hz: Annotated[float, Field(ge=0, le=5)] = 1.1


class ShapeFile(_Strict):
    """An ellipse (`center_m`, `radii_m`, `angle_rad`), a closed curve through `points_m`, or a tube (`from_m`, `to_m`,
    `radius_m`) of one tissue; later shapes lie over earlier ones."""

    name: Name
    tissue: Name
    center_m: Place | None = None
    radii_m: tuple[Positive, Positive] | None = None
    angle_rad: Annotated[float, Field(ge=-3.2, le=3.2)] = 0.0
    points_m: Annotated[list[Place], Field(min_length=3, max_length=400)] | None = None
    from_m: Place | None = None
    to_m: Place | None = None
    radius_m: Positive | None = None
    straight: bool = False
    edge_db: Decibels | None = None
    edge: Literal["all", "top"] = "all"
    fill: FillFile | None = None
    flow: FlowFile | None = None
    reverberation: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _one_form(self) -> ShapeFile:
        ellipse = self.center_m is not None and self.radii_m is not None
        tube = self.from_m is not None and self.to_m is not None and self.radius_m is not None
        if [ellipse, tube, self.points_m is not None].count(True) != 1:
            raise ValueError(
                "needs center_m and radii_m, or points_m, or from_m, to_m and radius_m; and only one of these"
            )
        if tube and self.from_m == self.to_m:
            raise ValueError("from_m and to_m are the same place")
        if self.flow is not None and not tube:
            raise ValueError("flow needs a tube: from_m, to_m and radius_m")
        return self


class PointFile(_Strict):
    """A thin wire through the image plane."""

    at_m: Place
    echo_db: Decibels = 35.0


class NeedleFile(_Strict):
    """A needle: its tip goes `travel_m` along the shaft to `end_m` and back in `period_s`, pointing down to the right,
    `angle_rad` from the face; in the image plane, or through it (`plane = "out"`: it comes from y < 0)."""

    end_m: Place
    angle_rad: Annotated[float, Field(ge=0, le=1.5)] = 0.45
    travel_m: NotNegative = 9e-3
    period_s: Positive = 8.0
    plane: Literal["in", "out"] = "in"
    diameter_m: Positive = 0.8e-3
    length_m: Positive = 28e-3
    swing_rad: Annotated[float, Field(ge=0, le=0.3)] = 0.026


class InjectateFile(_Strict):
    """Fluid that leaves the tip from `start_s` of each needle period on and spreads to `radius_m` (wide, high)."""

    start_s: NotNegative = 3.0
    duration_s: Positive = 2.5
    radius_m: tuple[Positive, Positive] = (4e-3, 1.2e-3)


class SceneHead(_Strict):
    title: Name
    description: str = ""
    probe: Name = "linear"
    tissue: Name
    depth_m: Positive = 0.04
    fits_any_probe: bool = False


class SceneFile(_Strict):
    scene: SceneHead
    tissues: Annotated[dict[Name, TissueFile], Field(min_length=1, max_length=MOST_TISSUES)]
    layers: list[LayerFile] = []
    shapes: Annotated[list[ShapeFile], Field(max_length=500)] = []
    points: Annotated[list[PointFile], Field(max_length=2000)] = []
    needle: NeedleFile | None = None
    injectate: InjectateFile | None = None


def scene_names() -> tuple[str, ...]:
    """Names of the scenes that come with sonod."""
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _shipped().iterdir() if _is_toml(entry)))


def load_scene(name_or_path: str) -> SceneFile:
    """The scene of a shipped name or of a file; DeviceNotFound for one that is not there, SceneFileError else."""
    if name_or_path in scene_names():
        return _parse((_shipped() / f"{name_or_path}.toml").read_text("utf-8"), f"{name_or_path}.toml")
    path = Path(name_or_path).expanduser()
    if path.suffix != ".toml":
        known = ", ".join(scene_names())
        raise DeviceNotFound(f"no scene {name_or_path!r}; there are {known}, or name a .toml file")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DeviceNotFound(f"{path}: cannot be read ({reason}); check the path") from error
    return _parse(text, str(path))


def _shipped() -> Traversable:
    return files("sonod") / "drivers" / "simulated" / "scenes"


def _is_toml(entry: Traversable) -> bool:
    return entry.name.endswith(".toml")


def _parse(text: str, where: str) -> SceneFile:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SceneFileError([f"{where}: is not TOML: {error}"]) from error
    problems: list[str] = []
    parsed: SceneFile | None = None
    try:
        # By way of JSON, where strict numbers and pairs written as lists go together.
        parsed = SceneFile.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        problems += [_line(where, problem["loc"], problem["msg"], problem["input"]) for problem in error.errors()]
    # Checked on what is written, so that they are told of a file that has other faults too.
    for further in (_unknown_tissues, _unknown_probe, _layers_out_of_order, _injectate_from_nowhere):
        problems += [f"{where}: {problem}" for problem in further(content)]
    if problems or parsed is None:
        raise SceneFileError(problems)
    return parsed


def _unknown_probe(content: dict[str, Any]) -> Iterator[str]:
    head = content.get("scene")
    probe = head.get("probe") if isinstance(head, dict) else None
    if isinstance(probe, str):
        try:
            load_probe(probe)
        except ProbeFileError as error:
            yield from (f"scene.probe: {problem}" for problem in error.problems)


def _layers_out_of_order(content: dict[str, Any]) -> Iterator[str]:
    layers = content.get("layers")
    above = 0.0
    for index, layer in enumerate(layers if isinstance(layers, list) else ()):
        depth = layer.get("to_m") if isinstance(layer, dict) else None
        if isinstance(depth, int | float):
            if index and depth <= above:
                yield f"layers.{index}.to_m: must lie below the layer before, got {depth:g}"
            above = depth


def _injectate_from_nowhere(content: dict[str, Any]) -> Iterator[str]:
    if "injectate" in content and "needle" not in content:
        yield "injectate: needs a [needle] to come from"


def _unknown_tissues(content: dict[str, Any]) -> Iterator[str]:
    tissues = content.get("tissues")
    known = set(tissues) if isinstance(tissues, dict) else set()
    used = [("scene.tissue", content["scene"].get("tissue"))] if isinstance(content.get("scene"), dict) else []
    for group in ("layers", "shapes"):
        entries = content.get(group)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, dict):
                used.append((f"{group}.{index}.tissue", entry.get("tissue")))
                if isinstance(entry.get("fill"), dict):
                    used.append((f"{group}.{index}.fill.tissue", entry["fill"].get("tissue")))
    for path, tissue in used:
        if isinstance(tissue, str) and tissue not in known:
            yield f"{path}: no tissue {tissue!r}; there are {', '.join(sorted(known)) or 'none'}"


def _line(where: str, place: tuple[int | str, ...], message: str, value: object) -> str:
    path = ".".join(str(part) for part in place) or "file"
    text = message.removeprefix("Value error, ")
    shown = "" if isinstance(value, dict | list) else f", got {value!r}"
    return f"{where}: {path}: {text[:1].lower()}{text[1:]}{shown}"
