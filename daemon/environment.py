"""Everything the daemon and its command line read from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """`SONOD_CONFIG`: configuration file when `--config` is not given. `SONOD_FRAMES`, `SONOD_CONTROL`: endpoints of
    the daemon that the command line talks to. `SONOD_KEYS`: key file for it. `SONOD_LEASE`: token of the
    lease you hold. `DISPLAY`, `WAYLAND_DISPLAY`: whether there is a screen to open a browser on.

    From systemd: `NOTIFY_SOCKET`, where it wants to be told; `WATCHDOG_USEC` and `WATCHDOG_PID`, how often it wants to
    hear from us; `JOURNAL_STREAM`, device and inode of the stream that leads to the journal;
    `STATE_DIRECTORY`, where a service keeps its files."""

    config: Path | None
    frames: str | None
    control: str | None
    keys: Path | None
    lease: str | None
    has_screen: bool
    notify_socket: str = ""
    watchdog_s: float = 0.0
    journal_stream: str = ""
    state_directory: Path | None = None

    @classmethod
    def read(cls, variables: Mapping[str, str] = os.environ) -> Environment:
        config, keys = variables.get("SONOD_CONFIG"), variables.get("SONOD_KEYS")
        return cls(
            config=Path(config) if config else None,
            frames=variables.get("SONOD_FRAMES") or None,
            control=variables.get("SONOD_CONTROL") or None,
            keys=Path(keys) if keys else None,
            lease=variables.get("SONOD_LEASE") or None,
            has_screen=bool(variables.get("DISPLAY") or variables.get("WAYLAND_DISPLAY")),
            notify_socket=variables.get("NOTIFY_SOCKET", ""),
            watchdog_s=_watchdog_s(variables),
            journal_stream=variables.get("JOURNAL_STREAM", ""),
            # Several are separated by colons; our units have one.
            state_directory=Path(state.split(":")[0]) if (state := variables.get("STATE_DIRECTORY")) else None,
        )


def _watchdog_s(variables: Mapping[str, str]) -> float:
    """0 when nobody watches this process."""
    asked, process = variables.get("WATCHDOG_USEC", ""), variables.get("WATCHDOG_PID", "")
    if not asked.isdigit() or (process and process != str(os.getpid())):
        return 0.0
    return int(asked) / 1e6
