"""The daemon's configuration: typed, frozen, checked as a whole before any device is touched."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from sonod.daemon.cine.keeper import MIB, CineLimits
from sonod.daemon.cine.messages import Policy
from sonod.daemon.endpoint import check_endpoint, is_exposed, is_ipc, is_loopback
from sonod.daemon.errors import ConfigError
from sonod.daemon.lease_desk import LeasePolicy
from sonod.daemon.pipeline.options import ImageOptions
from sonod.drivers.compression import CompressionName, compression_problem
from sonod.drivers.settings import KNOBS, OWN, Knob

Endpoint = Annotated[str, AfterValidator(check_endpoint)]
LatestEndpoint = Annotated[
    str, AfterValidator(lambda value: value if value in ("auto", "off") else check_endpoint(value))
]
SettingValue = float | int | str | tuple[float, ...]


def _loopback_host(host: str) -> str:
    if not is_loopback(host):
        raise ValueError(f"must be an address of this machine such as 127.0.0.1; got {host!r}")
    return host


class Section(BaseModel):
    """A table of the file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DriverSection(Section):
    uri: str = "sim:"


class ImageSection(Section):
    columns: int = Field(default=0, ge=0, le=4096)
    rows: int = Field(default=0, ge=0, le=4096)
    pixel_m: float = Field(default=0.0, ge=0, le=0.01)
    quality: Literal["exact", "default", "fast"] = "default"
    focused: Literal["lines", "synthetic"] = "lines"
    usual_rows: int = Field(default=512, ge=16, le=4096)
    finest_row_wavelengths: float = Field(default=0.25, gt=0, le=10)
    coherence_bins: int = Field(default=1, ge=0, le=4)
    coherence_lags: int = Field(default=8, ge=1, le=64)
    coherence_wavelengths: float = Field(default=1.0, ge=0, le=4)

    def options(self) -> ImageOptions:
        return ImageOptions(**self.model_dump())


class CoreSection(Section):
    threads: int = Field(default=0, ge=0, le=256)
    instruction_set: str = "auto"


class AcquireSection(Section):
    waiting_frames: int = Field(default=4, ge=1, le=64)
    read_timeout_s: float = Field(default=0.5, ge=0.01, le=1.0)
    stall_s: float = Field(default=30.0, ge=0)
    retry_first_s: float = Field(default=0.5, gt=0)
    retry_longest_s: float = Field(default=10.0, gt=0)


class PublishSection(Section):
    endpoint: Endpoint = "tcp://127.0.0.1:5555"
    also: tuple[Endpoint, ...] = ()
    latest: LatestEndpoint = "auto"
    high_water_messages: int = Field(default=16, ge=1, le=1000)
    max_connections: int = Field(default=64, ge=1, le=4096)
    stalled_s: float = Field(default=10.0, ge=0)

    @field_validator("also", mode="before")
    @classmethod
    def _from_list(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


class SharedMemorySection(Section):
    slots: int = Field(default=8, ge=2, le=1024)
    mode: Literal["0600", "0640", "0644"] = "0640"

    @property
    def permissions(self) -> int:
        """Of the segments' files; readers need no more than to read."""
        return int(self.mode, 8)


class ControlSection(Section):
    endpoint: Endpoint = "tcp://127.0.0.1:5556"
    also: tuple[Endpoint, ...] = ()

    @field_validator("also", mode="before")
    @classmethod
    def _from_list(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


class AccessSection(Section):
    keys: str = ""
    everywhere: bool = False


class LeaseSection(Section):
    required: bool = False
    when_lost: Literal["freeze", "keep"] = "freeze"
    grace_s: float = Field(default=5.0, ge=0, le=3600)

    def policy(self) -> LeasePolicy:
        return LeasePolicy(**self.model_dump())


class ViewerSection(Section):
    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=5580, ge=0, le=65535)
    keys: str = ""

    _loopback_only = field_validator("host")(_loopback_host)


class RecordSection(Section):
    queue_frames: int = Field(default=32, ge=2, le=4096)
    folder: str = ""
    flush_s: float = Field(default=0.5, ge=0, le=60)
    fsync_s: float = Field(default=5.0, ge=0, le=3600)
    keep_free_mib: int = Field(default=512, ge=0, le=1 << 20)
    compression: CompressionName = "none"

    @field_validator("compression")
    @classmethod
    def _filter_is_here(cls, value: CompressionName) -> CompressionName:
        if problem := compression_problem(value):
            raise ValueError(problem)
        return value

    def policy(self) -> Policy:
        return Policy(self.flush_s, self.fsync_s, self.keep_free_mib * MIB, self.compression)


class CineSection(Section):
    rf_s: float = Field(default=10.0, ge=0, le=600)
    image_s: float = Field(default=30.0, ge=0, le=3600)
    rf_memory_mib: int = Field(default=768, ge=1, le=65536)
    image_memory_mib: int = Field(default=256, ge=1, le=65536)

    def limits(self, queue_frames: int) -> CineLimits:
        return CineLimits(self.rf_s, self.rf_memory_mib * MIB, self.image_s, self.image_memory_mib * MIB, queue_frames)


class MetricsSection(Section):
    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = Field(default=5581, ge=0, le=65535)

    _loopback_only = field_validator("host")(_loopback_host)


class RealtimeSection(Section):
    reader_priority: int = Field(default=0, ge=0, le=99)
    runner_priority: int = Field(default=0, ge=0, le=99)
    reader_cpus: tuple[Annotated[int, Field(ge=0, le=4095)], ...] = ()
    runner_cpus: tuple[Annotated[int, Field(ge=0, le=4095)], ...] = ()
    lock_memory: bool = False

    @field_validator("reader_cpus", "runner_cpus", mode="before")
    @classmethod
    def _from_list(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


class PresetsSection(Section):
    folder: str = ""


class LogSection(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    form: Literal["auto", "human", "json", "journal"] = "auto"


class Config(Section):
    """Every key has a default, so that an empty file is a complete configuration."""

    driver: DriverSection = DriverSection()
    settings: Mapping[str, SettingValue] = Field(default_factory=dict)
    image: ImageSection = ImageSection()
    core: CoreSection = CoreSection()
    acquire: AcquireSection = AcquireSection()
    publish: PublishSection = PublishSection()
    shared_memory: SharedMemorySection = SharedMemorySection()
    control: ControlSection = ControlSection()
    access: AccessSection = AccessSection()
    lease: LeaseSection = LeaseSection()
    viewer: ViewerSection = ViewerSection()
    record: RecordSection = RecordSection()
    cine: CineSection = CineSection()
    metrics: MetricsSection = MetricsSection()
    realtime: RealtimeSection = RealtimeSection()
    presets: PresetsSection = PresetsSection()
    log: LogSection = LogSection()

    @property
    def latest_endpoints(self) -> tuple[str, ...]:
        """Where single newest frames are asked for; () = nowhere. `auto` is beside the first address of frames that
        needs no key, and beside the first that does."""
        if self.publish.latest != "auto":
            return () if self.publish.latest == "off" else (self.publish.latest,)
        beside: dict[bool, str] = {}
        for endpoint in sorted(self.frame_endpoints, key=self.needs_keys):
            beside.setdefault(self.needs_keys(endpoint), endpoint)
        return tuple(
            f"{endpoint}.latest" if is_ipc(endpoint) else f"{endpoint.rpartition(':')[0]}:*"
            for endpoint in beside.values()
        )

    @property
    def frame_endpoints(self) -> tuple[str, ...]:
        return (self.publish.endpoint, *self.publish.also)

    @property
    def control_endpoints(self) -> tuple[str, ...]:
        return (self.control.endpoint, *self.control.also)

    def needs_keys(self, endpoint: str) -> bool:
        """Whether whoever connects to the address needs a key."""
        return is_exposed(endpoint) or (self.access.everywhere and not is_ipc(endpoint))

    @field_validator("settings", mode="before")
    @classmethod
    def _known_settings(cls, values: object) -> object:
        """Names and widest ranges; what a driver narrows is known when it is open."""
        if not isinstance(values, dict):
            raise ValueError("must be a table of settings")
        problems, accepted = check_settings(values)
        if problems:
            raise ValueError("\n".join(problems))
        return accepted


def check_settings(
    values: Mapping[str, object], knobs: Mapping[str, Knob] = KNOBS
) -> tuple[list[str], dict[str, SettingValue]]:
    """Problems, one line each, and the values that a probe with these knobs could accept, or without them any probe."""
    problems: list[str] = []
    accepted: dict[str, SettingValue] = {}
    for name, value in values.items():
        if isinstance(value, dict) and OWN not in name:
            # [settings.scene] is the table of the knobs that begin with "scene."; the driver checks them.
            accepted.update({f"{name}{OWN}{key}": own for key, own in value.items()})
            continue
        if OWN in name:
            accepted[name] = value  # type: ignore[assignment]
            continue
        knob = knobs.get(name)
        if knob is None:
            problems.append(f"{name}: no such setting{suggestion(name, knobs)}")
            continue
        try:
            accepted[name] = knob.accept(value)
        except ValueError as error:
            problems.append(str(error))
    return problems, accepted


def suggestion(name: str, known: Mapping[str, object] | list[str]) -> str:
    """`; did you mean ...?` with the closest known names, else all of them."""
    close = get_close_matches(name, list(known), n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else f"; there are {', '.join(sorted(known))}"


def load_config(path: Path | None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """The file's configuration with single keys overridden (section -> key -> value); ConfigError has every problem."""
    values = {} if path is None else read_toml(path)
    for section, keys in (overrides or {}).items():
        table = values.setdefault(section, {})
        if isinstance(table, dict):
            table.update(keys)
    return parse_config(values, "" if path is None else f"{path}: ")


def parse_config(values: Mapping[str, Any], where: str = "") -> Config:
    """A checked configuration; ConfigError has every problem, each with its path and led by `where`."""
    try:
        config, problems = Config.model_validate(values), []
    except ValidationError as error:
        problems = [line for item in error.errors() for line in _lines(item)]
        # What is good of it, so that everything that is wrong is told at once.
        config = Config(
            **{name: section for name in Config.model_fields if (section := _good(values, name)) is not None}
        )
    problems += _access_problems(config)
    if problems:
        raise ConfigError([f"{where}{line}" for line in problems])
    return config


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; ConfigError names the file and the line."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror or error})"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not TOML: not UTF-8 at byte {error.start}"]) from error


def _good(values: Mapping[str, Any], name: str) -> Any:
    """One section, or None when it is missing or wrong."""
    model = Config.model_fields[name].annotation
    if name not in values or not (isinstance(model, type) and issubclass(model, Section)):
        return None
    try:
        return model.model_validate(values[name])
    except ValidationError:
        return None


def _access_problems(config: Config) -> list[str]:
    """Addresses that other machines can reach need keys, and so may the viewer."""
    groups = {"publish": config.frame_endpoints, "control": config.control_endpoints}
    addresses = [
        (f"{name}.{'also' if index else 'endpoint'}", endpoint)
        for name, endpoints in groups.items()
        for index, endpoint in enumerate(endpoints)
    ]
    addresses += [("publish.latest", place) for place in config.latest_endpoints if config.publish.latest != "auto"]
    if config.access.keys:
        if not config.viewer.enabled or config.viewer.keys:
            return []
        return [
            f"viewer.keys: the viewer page needs a key, for {name} has no address without; add one of this machine to "
            f"{name}.also, name a key file of role control here, or set viewer.enabled = false"
            for name, endpoints in groups.items()
            if all(map(config.needs_keys, endpoints))
        ]
    problems = [
        f"{key}: {endpoint} can be reached from other machines, which needs keys: make them with "
        "`sonod keys new NAME --role view`, and name their folder in access.keys"
        for key, endpoint in addresses
        if is_exposed(endpoint)
    ]
    if config.access.everywhere:
        problems.append("access.everywhere: needs the folder of keys in access.keys (`sonod keys new NAME`)")
    return problems


def _lines(item: Any) -> list[str]:
    """One pydantic error as lines of ours."""
    location = [str(part) for part in item["loc"]]
    path = ".".join(location)
    if item["type"] == "extra_forbidden":
        section: Any = Config
        for part in location[:-1]:
            section = section.model_fields[part].annotation
        return [f"{path}: unknown key{suggestion(location[-1], section.model_fields)}"]
    if item["type"] == "value_error":
        message = str(item["ctx"]["error"])
        if location == ["settings"]:
            return [f"settings.{line}" for line in message.split("\n")]
        return [f"{path}: {message}"]
    message = item["msg"].removeprefix("Input should be ").replace("a valid ", "a ")
    if item["type"] in ("model_type", "dict_type"):
        message = "a table"
    return [f"{path}: must be {message}; got {item['input']!r}"]
