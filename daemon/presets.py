"""Named sets of settings, one TOML file each: `description`, a table `[settings]` for every probe, and tables
`[probes.KIND]` with what is added for probes of one kind. With such tables a preset is for those kinds alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from sonod.daemon.config import SettingValue
from sonod.daemon.errors import ConfigError
from sonod.daemon.planner import Present
from sonod.daemon.settings_file import checked_settings, parse_toml
from sonod.drivers.errors import SettingsRefused
from sonod.drivers.settings import change_settings


@dataclass(frozen=True)
class Preset:
    """A name, a line for people, the settings that it changes on every probe, and those on probes of one kind."""

    name: str
    description: str
    settings: Mapping[str, SettingValue]
    probes: Mapping[str, Mapping[str, SettingValue]]

    def changes_for(self, present: Present) -> dict[str, SettingValue]:
        """What it changes on this probe; SettingsRefused when it does not fit."""
        kind = present.acquisition.probe.kind
        if self.probes and kind not in self.probes:
            raise SettingsRefused(
                [f"preset {self.name!r}: is for {' or '.join(self.probes)} probes; this one is {kind}"]
            )
        changes = {**self.settings, **self.probes.get(kind, {})}
        try:
            change_settings(present.settings, changes, present.knobs)
        except SettingsRefused as error:
            raise SettingsRefused([f"preset {self.name!r}: {problem}" for problem in error.problems]) from error
        return changes


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
                problems.append(f"{file}: {'; '.join(str(error).splitlines())}")
                continue
            presets[preset.name] = preset
    if problems:
        raise ConfigError(problems)
    return presets


def _parse(file: Traversable) -> Preset:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    values = parse_toml(text)
    description, settings, probes = values.pop("description", ""), values.pop("settings", {}), values.pop("probes", {})
    if values:
        names = ", ".join(sorted(values))
        raise ValueError(f"unknown key {names}; a preset has description, [settings] and [probes.KIND]")
    if not isinstance(description, str) or not isinstance(settings, dict) or not isinstance(probes, dict):
        raise ValueError("needs a text `description` and a table [settings] or tables [probes.KIND]")
    if not (settings or probes) or not all(isinstance(table, dict) for table in probes.values()):
        raise ValueError("needs a table [settings] that is not empty, or tables [probes.KIND]")
    return Preset(
        file.name.removesuffix(".toml"),
        description,
        checked_settings(settings, "settings"),
        {kind: checked_settings(table, f"probes.{kind}") for kind, table in probes.items()},
    )
