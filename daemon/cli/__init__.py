"""The `sonod` command. Every file has one command, or a few that belong together; here they get their names.

The command line is a client of the daemon like any other: it uses `sonod.client` where the daemon itself knows only the
wire format.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from sonod import __version__
from sonod.daemon.cli.failure import FAILED, Failure, reported, tell
from sonod.daemon.cli.output import put

# Command -> where its function is. Only the one that is asked for is imported: that is what most of the time would go
# to.
COMMANDS: dict[str, str] = {
    "run": "run:run",
    "devices": "devices:devices",
    "drivers": "drivers:drivers",
    "doctor": "doctor:doctor",
    "install-service": "install_service:install_service",
    "check-config": "check_config:check_config",
    "status": "status:status",
    "watch": "watch:watch",
    "get": "settings:get",
    "describe": "settings:describe",
    "set": "settings:set_values",
    "preset": "settings:preset",
    "save": "settings:save",
    "load": "settings:load",
    "lease": "lease:lease",
    "keys": "keys:keys",
    "freeze": "transmission:freeze",
    "unfreeze": "transmission:unfreeze",
    "record": "record:record",
    "clip": "clip:clip",
    "mark": "clip:mark",
    "verify": "verify:verify",
    "repair": "repair:repair",
    "process": "process:process",
    "view": "view:view",
    "bench": "bench:bench",
    "bridge": "bridge:bridge",
    "calibration": "calibration:calibration",
    "conformance": "conformance:conformance",
    "emulate": "emulate:emulate",
}


def command_line(names: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """The program with these of its commands."""
    app = typer.Typer(
        name="sonod",
        help="The daemon between an open-research ultrasound probe and everything that wants its images. Research "
        "software: not a medical device, not for diagnosis or treatment decisions.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for name in names:
        module, _, function = COMMANDS[name].partition(":")
        command = getattr(import_module(f"sonod.daemon.cli.{module}"), function)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _version(asked: bool) -> None:
    if asked:
        put(f"sonod {__version__}")
        raise typer.Exit


def _options(
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage or configuration, 69 device or daemon unavailable."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    # Accepted anywhere, because that is where people put it after a failure.
    given = [argument for argument in given if argument != "--debug"]
    try:
        with reported():
            asked = next((argument for argument in given if not argument.startswith("-")), "")
            names = (asked,) if asked in COMMANDS else () if given == ["--version"] else tuple(COMMANDS)
            command_line(names)(given)
    except Failure as failure:
        if debug:
            raise
        tell(failure)
        sys.exit(failure.code)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        tell(Failure(FAILED, f"{type(error).__name__}: {error} (a fault of sonod itself; --debug shows where)"))
        sys.exit(FAILED)
