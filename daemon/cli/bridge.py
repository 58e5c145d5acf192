"""`sonod bridge`: the pictures for programs that speak another protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sonod import __version__
from sonod.client.bridges.igtl.options import DEFAULT_DEVICE, DEFAULT_PORT, Options, UsageError
from sonod.client.bridges.igtl.serve import run
from sonod.client.bridges.igtl.server import PortInUse
from sonod.client.calibration import load
from sonod.client.control import DEFAULT_ENDPOINT as DEFAULT_CONTROL
from sonod.client.subscriber import DEFAULT_ENDPOINT as DEFAULT_FRAMES
from sonod.daemon.cli.connection import ControlOption
from sonod.daemon.cli.failure import UNAVAILABLE, USAGE, Failure
from sonod.daemon.cli.output import put
from sonod.daemon.environment import Environment

bridge = typer.Typer(
    help="Give the pictures to programs that speak another protocol.", no_args_is_help=True, rich_markup_mode=None
)


@bridge.callback()
def _group() -> None:
    pass


@bridge.command()
def igtl(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port; 0 = any free one.")] = DEFAULT_PORT,
    device: Annotated[str, typer.Option("--device", help="Device name of the pictures.")] = DEFAULT_DEVICE,
    coordinates: Annotated[str, typer.Option("--coordinates", help="RAS or LPS.")] = "RAS",
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", metavar="FILE", help="Place pictures in its target's frame; none while void."),
    ] = None,
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Listen beyond this machine; others may only watch.")
    ] = False,
    lease: Annotated[
        bool, typer.Option("--lease", help="Hold the lease, so that only clients of this bridge change the probe.")
    ] = False,
    frames: Annotated[
        str | None, typer.Option("--frames", metavar="ENDPOINT", help="Frames of the daemon.", show_default=False)
    ] = None,
    endpoint: ControlOption = None,
) -> None:
    """Serve OpenIGTLink: pictures out, transforms and PLUS commands in. Ctrl+C ends it."""
    environment = Environment.read()
    try:
        options = Options(
            frames or environment.frames or DEFAULT_FRAMES,
            endpoint or environment.control or DEFAULT_CONTROL,
            host,
            port,
            device,
            coordinates.upper(),
            allow_network,
            lease,
        )
    except UsageError as error:
        raise Failure(USAGE, str(error)) from error
    stored = None if calibration is None else load(calibration)
    try:
        run(options, __version__, stored, lambda name, number: put(f"OpenIGTLink at {name}:{number}"))
    except PortInUse as error:
        raise Failure(UNAVAILABLE, str(error)) from error
