"""`sonod check-config`: everything that is wrong with a file, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sonod.daemon.cli.output import put
from sonod.daemon.config import load_config
from sonod.daemon.errors import ConfigError
from sonod.daemon.keyring import Gate
from sonod.daemon.presets import load_presets
from sonod.drivers import open_uri
from sonod.drivers.errors import DriverError


def check_config(file: Annotated[Path, typer.Argument(metavar="FILE", help="A configuration in TOML.")]) -> None:
    """Say everything that is wrong with a configuration, each thing with its path. No device is touched."""
    config = load_config(file)
    problems = []
    try:
        open_uri(config.driver.uri)
    except DriverError as error:
        problems.append(f"{file}: driver.uri: {error}")
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
