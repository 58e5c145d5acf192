"""Everything the daemon and its command line read from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """`SONOD_CONFIG`: configuration file when `--config` is not given. `SONOD_FRAMES`, `SONOD_CONTROL`: endpoints of
    the daemon that the command line talks to. `SONOD_LEASE`: token of the lease you hold. `DISPLAY`,
    `WAYLAND_DISPLAY`: whether there is a screen to open a browser on."""

    config: Path | None
    frames: str | None
    control: str | None
    lease: str | None
    has_screen: bool

    @classmethod
    def read(cls, variables: Mapping[str, str] = os.environ) -> Environment:
        config = variables.get("SONOD_CONFIG")
        return cls(
            config=Path(config) if config else None,
            frames=variables.get("SONOD_FRAMES") or None,
            control=variables.get("SONOD_CONTROL") or None,
            lease=variables.get("SONOD_LEASE") or None,
            has_screen=bool(variables.get("DISPLAY") or variables.get("WAYLAND_DISPLAY")),
        )
