"""`sonod run`: the daemon in the foreground."""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import sonod.daemon.cli.lean  # noqa: F401

# isort: split
from sonod.daemon.app import Daemon
from sonod.daemon.app import run as run_daemon
from sonod.daemon.cli.failure import CONFIGURATION, UNAVAILABLE, USAGE, Failure
from sonod.daemon.cli.values import parse_changes
from sonod.daemon.config import Config
from sonod.daemon.core import configure_core
from sonod.daemon.environment import Environment
from sonod.daemon.errors import ConfigError, EndpointError
from sonod.daemon.log import configure_logging
from sonod.daemon.reload import Source

LARGEST_FRAMES_PORT = 65534


def run(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Configuration; without it, every default.")
    ] = None,
    driver: Annotated[
        str | None, typer.Option("--driver", metavar="URI", help="Probe, for example sim: or replay:FILE.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="PORT", help="Frames on this port of 127.0.0.1, control on the next."),
    ] = None,
    viewer_port: Annotated[
        int | None, typer.Option("--viewer-port", metavar="PORT", help="The viewer page on this port.")
    ] = None,
    viewer: Annotated[bool | None, typer.Option("--viewer/--no-viewer", help="Serve the viewer page.")] = None,
    record_folder: Annotated[
        Path | None,
        typer.Option(
            "--record-folder",
            metavar="FOLDER",
            help="Clips of the viewer page, and of clients that name no place, go here; made when it is not there.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Initial setting; may be repeated.")
    ] = None,
    log_level: Annotated[str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, ...")] = None,
    service: Annotated[
        bool,
        typer.Option(
            "--service", help="As a service: SIGHUP reads the configuration again, a bad configuration is exit code 78."
        ),
    ] = False,
) -> None:
    """Run the daemon in the foreground. Without arguments: the simulated probe and the viewer page."""
    overrides: dict[str, dict[str, Any]] = {}
    if driver is not None:
        overrides["driver"] = {"uri": driver}
    if port is not None:
        if not 0 <= port <= LARGEST_FRAMES_PORT:
            raise Failure(USAGE, f"--port: must be in 0..{LARGEST_FRAMES_PORT}; got {port}")
        # Port 0 stands for any free port.
        frames, control = ("*", "*") if port == 0 else (str(port), str(port + 1))
        overrides["publish"] = {"endpoint": f"tcp://127.0.0.1:{frames}"}
        overrides["control"] = {"endpoint": f"tcp://127.0.0.1:{control}"}
    page = {"port": viewer_port, "enabled": viewer}
    if given := {key: value for key, value in page.items() if value is not None}:
        overrides["viewer"] = given
    if record_folder is not None:
        overrides["record"] = {"folder": str(_make_folder(record_folder.expanduser().absolute()))}
    if settings:
        overrides["settings"] = parse_changes(settings)
    if log_level is not None:
        overrides["log"] = {"level": log_level}
    environment = Environment.read()
    source = Source(config or environment.config, overrides)
    if not service:
        checked = _prepare(source, environment)
        run_daemon(checked, _greet, environment=environment)
        return
    faulthandler.enable()
    try:
        checked = _prepare(source, environment)
        run_daemon(checked, source=source, environment=environment)
    except ConfigError as error:
        # Not 2, which a restart would not mend either, but which says nothing to whoever reads `systemctl status`.
        raise Failure(CONFIGURATION, *error.problems) from error
    except EndpointError as error:
        # Perhaps the program that has the port ends.
        raise Failure(UNAVAILABLE, str(error)) from error


def _prepare(source: Source, environment: Environment) -> Config:
    """The checked configuration, with logging and the core as it says."""
    checked = source.read()
    configure_logging(checked.log.level, checked.log.form, journal_stream=environment.journal_stream)
    configure_core(checked.core.threads, checked.core.instruction_set)
    return checked


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(USAGE, f"--record-folder: {folder} cannot be made ({error.strerror}); choose another") from error
    return folder


def _greet(daemon: Daemon) -> None:
    """Where to look, for the person at the terminal."""
    viewer = daemon.addresses.viewer
    if viewer is not None and sys.stderr.isatty():
        sys.stderr.write(f"\n    live image:  {viewer}\n    stop:        Ctrl+C\n\n")
