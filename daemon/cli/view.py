"""`sonod view`: the live picture in a browser."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from sonod.daemon.cli.connection import ControlOption, KeysOption, connect_alive
from sonod.daemon.cli.failure import UNAVAILABLE, Failure
from sonod.daemon.cli.output import put
from sonod.daemon.environment import Environment


def view(
    endpoint: ControlOption = None,
    keys: KeysOption = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser where there is a screen.")] = True,
) -> None:
    """Print the address of the viewer page and open it in a browser."""
    with connect_alive(endpoint, keys) as control:
        url = control.describe().viewer
    if url is None:
        raise Failure(UNAVAILABLE, "this daemon serves no viewer page; start it with `sonod run --viewer`")
    put(url)
    if show and Environment.read().has_screen:
        webbrowser.open(url)
