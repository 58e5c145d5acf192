"""A changed configuration file while the daemon runs: all of it is used, or none, and the reason is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonod.daemon.config import Config, load_config
from sonod.daemon.errors import CommandError, ConfigError
from sonod.daemon.planner import Change, Present
from sonod.daemon.presets import load_presets
from sonod.drivers.settings import Knob

# What can be changed between two frames; the rest is fixed when the sockets are bound and the device is opened.
LIVE_SECTIONS = ("settings", "log")
# The planner waits 5 s for the device and a few seconds for the first frame.
CHANGE_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Source:
    """Where the configuration came from, so that it can be read again."""

    path: Path | None
    overrides: Mapping[str, Mapping[str, Any]]

    def read(self) -> Config:
        """ConfigError has every problem."""
        return load_config(self.path, self.overrides)


def reload(
    source: Source,
    before: Config,
    present: Callable[[], Present | None],
    holder_of: Callable[[Knob], str | None],
    change: Callable[[Mapping[str, object]], Future[Change]],
) -> Config:
    """The new configuration, its settings in force; ConfigError when it cannot be used, and then nothing was changed.

    Settings that the file says as before stay as they are now, whoever changed them since; those that it no longer
    names return to their defaults.
    """
    after = source.read()
    problems = [
        f"{name}: this change needs a restart (systemctl restart sonod)"
        for name in type(after).model_fields
        if name not in LIVE_SECTIONS and getattr(after, name) != getattr(before, name)
    ]
    if problems:
        raise ConfigError(problems)
    load_presets(after.presets.folder)
    changes: dict[str, object] = {
        name: value for name, value in after.settings.items() if before.settings.get(name) != value
    }
    gone = [name for name in before.settings if name not in after.settings]
    if changes or gone:
        _change_settings(changes, gone, present(), holder_of, change)
    return after


def _change_settings(
    changes: dict[str, object],
    gone: list[str],
    present: Present | None,
    holder_of: Callable[[Knob], str | None],
    change: Callable[[Mapping[str, object]], Future[Change]],
) -> None:
    if present is None:
        raise ConfigError(["settings: no probe has been opened yet; reload again when one is"])
    changes |= {name: present.knobs[name].default for name in gone if name in present.knobs}
    holders = {name: holder_of(present.knobs[name]) for name in changes if name in present.knobs}
    problems = [
        f"settings.{name}: needs the lease, which is held by {holder!r}"
        for name, holder in holders.items()
        if holder is not None
    ]
    if problems:
        raise ConfigError(problems)
    try:
        change(changes).result(CHANGE_TIMEOUT_S)
    except CommandError as error:
        raise ConfigError([f"settings.{problem}" for problem in error.problems] or [str(error)]) from error
    except TimeoutError as error:
        raise ConfigError([f"settings: not taken by the device in {CHANGE_TIMEOUT_S:g} s"]) from error
