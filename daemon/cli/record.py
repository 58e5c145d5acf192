"""`sonod record`: raw frames of a running daemon into a file."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sonod.client.control import Control
from sonod.client.errors import RequestRefused
from sonod.client.replies import RecordingOutcome
from sonod.daemon.cli.connection import ControlOption, JsonOption, KeysOption, connect_alive
from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put, put_json

POLL_S = 0.25


def record(
    out: Annotated[Path, typer.Argument(metavar="OUT.h5", help="A new file.")],
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="End after so long; without it, at Ctrl+C.")
    ] = None,
    endpoint: ControlOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record raw frames with their settings, none left out."""
    path = out.expanduser().absolute()
    if seconds is not None and not seconds > 0:
        raise Failure(USAGE, f"--seconds: must be > 0; got {seconds:g}")
    with connect_alive(endpoint, keys) as control:
        control.start_recording(str(path), seconds)
        try:
            _wait(control)
        except KeyboardInterrupt:
            pass
        except BaseException:
            _stop_quietly(control)
            raise
        outcome = control.stop_recording()
    if as_json:
        put_json(asdict(outcome))
    elif outcome.complete:
        put(_told(outcome))
    if not outcome.complete:
        raise Failure(FAILED, f"recording incomplete: {outcome.reason} ({_told(outcome)})")


def _wait(control: Control) -> None:
    """Return when the recording has ended by itself; show progress on a terminal."""
    while True:
        recording = control.status().recording
        if not recording.active:
            if sys.stderr.isatty():
                sys.stderr.write("\r\x1b[K")
            return
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{recording.frames} frames; Ctrl+C ends the recording")
            sys.stderr.flush()
        time.sleep(POLL_S)


def _stop_quietly(control: Control) -> None:
    try:
        control.stop_recording()
    except (RequestRefused, TimeoutError):
        return


def _told(outcome: RecordingOutcome) -> str:
    return f"{outcome.frames} frames in {', '.join(outcome.paths)}"
