"""Named sets of settings, one TOML file each: `description` and a table `[settings]`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from sonod.daemon.config import SettingValue, check_settings
from sonod.daemon.errors import ConfigError


@dataclass(frozen=True)
class Preset:
    """A name, a line for people, and the settings that it changes."""

    name: str
    description: str
    settings: Mapping[str, SettingValue]


def load_presets(folder: str = "") -> dict[str, Preset]:
    """Our own presets, then those of `folder`, which win; ConfigError lists every file that cannot be used."""
    sources: list[Traversable] = [files("sonod") / "config" / "presets"]
    problems: list[str] = []
    if folder:
        if Path(folder).is_dir():
            sources.append(Path(folder))
        else:
            problems.append(f"presets.folder: no such folder {folder!r}")
    presets: dict[str, Preset] = {}
    for source in sources:
        for file in sorted(source.iterdir(), key=lambda item: item.name):
            if not file.name.endswith(".toml"):
                continue
            try:
                preset = _parse(file)
            except ValueError as error:
                problems.append(f"{file}: {error}")
                continue
            presets[preset.name] = preset
    if problems:
        raise ConfigError(problems)
    return presets


def _parse(file: Traversable) -> Preset:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    description, settings = values.pop("description", ""), values.pop("settings", {})
    if values:
        raise ValueError(f"unknown key {', '.join(sorted(values))}; a preset has description and [settings]")
    if not isinstance(description, str) or not isinstance(settings, dict) or not settings:
        raise ValueError("needs a text `description` and a table [settings] that is not empty")
    problems, accepted = check_settings(settings)
    if problems:
        raise ValueError("; ".join(f"settings.{problem}" for problem in problems))
    return Preset(file.name.removesuffix(".toml"), description, accepted)
