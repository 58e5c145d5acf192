"""The daemon that a command talks to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sonod.client.control import DEFAULT_ENDPOINT as DEFAULT_CONTROL
from sonod.client.control import Control
from sonod.daemon.environment import Environment

# Long enough for a change of settings at a slow frame rate, short enough for a person.
TIMEOUT_S = 10.0
# A daemon on this machine that is there answers at once.
PROBE_TIMEOUT_S = 2.0

ControlOption = Annotated[
    str | None, typer.Option("--control", metavar="ENDPOINT", help="Control address of the daemon.", show_default=False)
]
KeysOption = Annotated[
    Path | None,
    typer.Option(
        "--keys", metavar="FILE", help="Key file made by `sonod keys new`, for a daemon elsewhere; else SONOD_KEYS."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def connect(endpoint: str | None, timeout_s: float = TIMEOUT_S, keys: Path | None = None) -> Control:
    """A control client of the daemon at the endpoint, else at that of the environment, else at the usual place."""
    return Control(endpoint or Environment.read().control or DEFAULT_CONTROL, timeout_s, keys=key_file(keys))


def key_file(given: Path | None) -> Path | None:
    """The key file that was given, else that of the environment."""
    return given or Environment.read().keys


def connect_alive(endpoint: str | None, keys: Path | None = None) -> Control:
    """As `connect`, but NoAnswer soon when nobody is there."""
    control = connect(endpoint, PROBE_TIMEOUT_S, keys)
    try:
        control.status()
    except BaseException:
        control.close()
        raise
    control.timeout_s = TIMEOUT_S
    return control
