"""The arguments of control commands: typed, and unknown ones are errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sonod.daemon.errors import CommandError
from sonod.daemon.lease import DEFAULT_TTL_S, LONGEST_TTL_S, SHORTEST_TTL_S

# Longest recording that a request may ask for: a day.
LONGEST_RECORDING_S = 86400.0
# Longest time before and after that a clip may ask for; what the rings hold is another matter.
LONGEST_CLIP_S = 3600.0


class Arguments(BaseModel):
    """No argument but those declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NoArguments(Arguments):
    pass


class GetArguments(Arguments):
    keys: list[str] | None = None


class SetArguments(Arguments):
    changes: dict[str, Any] = Field(min_length=1)
    expected_revision: int | None = None
    lease: str | None = None


class PresetArguments(Arguments):
    name: str
    expected_revision: int | None = None
    lease: str | None = None


class LoadArguments(Arguments):
    file: str
    expected_revision: int | None = None
    lease: str | None = None


class SwitchArguments(Arguments):
    driver: str = Field(min_length=1, max_length=1000)
    lease: str | None = None


class TransmitArguments(Arguments):
    lease: str | None = None


class RecordArguments(Arguments):
    action: Literal["start", "stop"]
    path: str | None = None
    seconds: float | None = Field(default=None, gt=0, le=LONGEST_RECORDING_S)


class ClipArguments(Arguments):
    path: str | None = None
    before_s: float = Field(default=10.0, ge=0, le=LONGEST_CLIP_S)
    after_s: float = Field(default=2.0, ge=0, le=LONGEST_CLIP_S)


class MarkArguments(Arguments):
    phase: Literal["pre", "guidance", "post"]
    # A word for the place, not a sentence: who is examined has no place here.
    site: str = Field(
        default="",
        pattern=r"^([a-z][a-z0-9-]{0,39})?$",
        description="one word of at most 40 small letters, digits and hyphens",
    )
    side: Literal["", "left", "right", "both", "midline"] = ""
    text: str = Field(default="", max_length=1000)


class SharedMemoryArguments(Arguments):
    product: str
    ttl_s: float = Field(default=10.0, ge=1, le=3600)


class LeaseArguments(Arguments):
    action: Literal["acquire", "takeover", "release", "status"]
    holder: str = Field(default="", max_length=200)
    token: str | None = None
    ttl_s: float = Field(default=DEFAULT_TTL_S, ge=SHORTEST_TTL_S, le=LONGEST_TTL_S)
    # Whether the lease ends with the connection that the request came over.
    connection: bool = False


A = TypeVar("A", bound=Arguments)


def parse_arguments(model: type[A], command: str, values: Mapping[str, Any]) -> A:
    """The checked arguments; CommandError `invalid` with one line for each problem."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_line(model, item) for item in error.errors()]
        raise CommandError("invalid", f"{command}: {'; '.join(problems)}", problems) from error


def _line(model: type[Arguments], item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown argument; there are {', '.join(model.model_fields) or 'none'}"
    if item["type"] == "missing":
        return f"{path}: missing"
    if item["type"] == "string_pattern_mismatch" and (described := model.model_fields[path].description):
        item = {**item, "msg": described}
    shown = repr(item["input"])
    message = item["msg"].removeprefix("Input should be ")
    return f"{path}: must be {message}; got {shown if len(shown) <= 60 else shown[:57] + '...'}"
