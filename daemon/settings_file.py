"""A set of settings as text: TOML with a table `[settings]`, which is the `changes` of a `set` request.

The same file is a saved state (`save`, `load`), a preset, and the `[settings]` of a configuration.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence

from sonod.daemon.config import SettingValue, check_settings
from sonod.drivers.settings import KNOBS, Knob, Value

# As long as a request may be; a complete state takes a kilobyte.
LONGEST_FILE_BYTES = 60 * 1024


def dump_settings(settings: Mapping[str, Value], remarks: Sequence[str] = ()) -> str:
    """The file's text; reading it again gives the same values, bit for bit."""
    lines = [f"# {' '.join(remark.split())}" for remark in remarks]
    lines += ["", "[settings]", *(f"{name} = {_toml(value)}" for name, value in settings.items())]
    return "\n".join(lines).lstrip("\n") + "\n"


def parse_settings(text: str, knobs: Mapping[str, Knob] = KNOBS) -> dict[str, SettingValue]:
    """The settings in a saved file, a preset without tables for probes, or a configuration of settings alone;
    ValueError with one line for each problem that they are to a probe with these knobs."""
    values = parse_toml(text)
    values.pop("description", "")
    settings = values.pop("settings", None)
    if values:
        raise ValueError(f"unknown key {', '.join(sorted(values))}; a file of settings has a table [settings] alone")
    if not isinstance(settings, dict) or not settings:
        raise ValueError("needs a table [settings] that is not empty")
    return checked_settings(settings, "settings", knobs)


def checked_settings(
    settings: Mapping[str, object], table: str, knobs: Mapping[str, Knob] = KNOBS
) -> dict[str, SettingValue]:
    """The values that a probe with these knobs could accept; ValueError with one line for each that it could not."""
    problems, accepted = check_settings(settings, knobs)
    if problems:
        raise ValueError("\n".join(f"{table}.{problem}" for problem in problems))
    return accepted


def parse_toml(text: str) -> dict[str, object]:
    """The tables in the text; ValueError when it is not TOML."""
    if len(text.encode()) > LONGEST_FILE_BYTES:
        raise ValueError(f"must be at most {LONGEST_FILE_BYTES} bytes; got {len(text.encode())}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from error
    except RecursionError as error:
        raise ValueError("not TOML: nested too deeply") from error


def _toml(value: Value) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, tuple):
        return f"[{', '.join(repr(float(point)) for point in value)}]"
    return repr(value)
