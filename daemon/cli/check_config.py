"""`sonod check-config`: everything that is wrong with a file, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sonod.daemon.cli.output import put
from sonod.daemon.config import load_config, read_toml
from sonod.daemon.errors import ConfigError
from sonod.daemon.keyring import Gate
from sonod.daemon.presets import load_presets
from sonod.drivers import open_uri
from sonod.drivers.errors import DriverError


def check_config(file: Annotated[Path, typer.Argument(metavar="FILE", help="A configuration in TOML.")]) -> None:
    """Say everything that is wrong with a configuration, or with a scene of the simulated probe, each thing with its
    path. No device is touched."""
    if isinstance(read_toml(file).get("scene"), dict):
        _check_scene(file)
        return
    config = load_config(file)
    problems: list[str] = []
    try:
        open_uri(config.driver.uri)
    except DriverError as error:
        problems.extend(f"{file}: driver.uri: {line}" for line in str(error).splitlines())
    try:
        load_presets(config.presets.folder)
    except ConfigError as error:
        problems.extend(f"{file}: {problem}" for problem in error.problems)
    if config.access.keys:
        try:
            Gate(Path(config.access.keys))
        except ConfigError as error:
            problems.extend(f"{file}: access.keys: {problem}" for problem in error.problems)
    if problems:
        raise ConfigError(problems)
    put(f"{file}: good")


def _check_scene(file: Path) -> None:
    try:
        open_uri(f"sim:{file}")
    except DriverError as error:
        raise ConfigError(str(error).split("\n")) from error
    put(f"{file}: good")
