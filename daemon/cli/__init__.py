"""The `sonod` command. Every file has one command, or a few that belong together; here they get their names.

The command line is a client of the daemon like any other: it uses `sonod.client` where the daemon itself knows only the
wire format.
"""

from __future__ import annotations

import sys

import typer

from sonod import __version__
from sonod.daemon.cli.bench import bench
from sonod.daemon.cli.bridge import bridge
from sonod.daemon.cli.calibration import calibration
from sonod.daemon.cli.check_config import check_config
from sonod.daemon.cli.conformance import conformance
from sonod.daemon.cli.devices import devices
from sonod.daemon.cli.drivers import drivers
from sonod.daemon.cli.emulate import emulate
from sonod.daemon.cli.failure import FAILED, Failure, reported, tell
from sonod.daemon.cli.lease import lease
from sonod.daemon.cli.output import put
from sonod.daemon.cli.process import process
from sonod.daemon.cli.record import record
from sonod.daemon.cli.run import run
from sonod.daemon.cli.settings import get, load, preset, save, set_values
from sonod.daemon.cli.status import status
from sonod.daemon.cli.transmission import freeze, unfreeze
from sonod.daemon.cli.view import view
from sonod.daemon.cli.watch import watch

app = typer.Typer(
    name="sonod",
    help="The daemon between an open-research ultrasound probe and everything that wants its images. Research "
    "software: not a medical device, not for diagnosis or treatment decisions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(run)
app.command()(devices)
app.command()(drivers)
app.command("check-config")(check_config)
app.command()(status)
app.command()(watch)
app.command()(get)
app.command("set")(set_values)
app.command()(preset)
app.command()(save)
app.command()(load)
app.add_typer(lease, name="lease")
app.command()(freeze)
app.command()(unfreeze)
app.command()(record)
app.command()(process)
app.command()(view)
app.command()(bench)
app.add_typer(bridge, name="bridge")
app.add_typer(calibration, name="calibration")
app.add_typer(conformance, name="conformance")
app.command()(emulate)


def _version(asked: bool) -> None:
    if asked:
        put(f"sonod {__version__}")
        raise typer.Exit


@app.callback()
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
            app(given)
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
