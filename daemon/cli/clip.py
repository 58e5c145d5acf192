"""`sonod clip` and `sonod mark`: the last seconds into a folder, and what was happening in them."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sonod.client.control import Control
from sonod.client.replies import ClipOutcome, ClipStarted
from sonod.daemon.cli.connection import ControlOption, JsonOption, KeysOption, connect_alive
from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put, put_json

POLL_S = 0.1
NOT_SEEN = (
    "It is on the daemon's machine, and you cannot see it from here: what the service saves is for the group sonod "
    "(usermod -aG sonod NAME, log in again), and its /tmp is its own."
)


def clip(
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="A new folder; without it, clip-TIME in record.folder or the service's folder, else here.",
        ),
    ] = None,
    before: Annotated[float, typer.Option("--before", metavar="S", help="Seconds before now.")] = 10.0,
    after: Annotated[float, typer.Option("--after", metavar="S", help="Seconds from now on.")] = 2.0,
    endpoint: ControlOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Save the last seconds, raw frames and pictures, while everything goes on."""
    for name, value in (("before", before), ("after", after)):
        if not value >= 0:
            raise Failure(USAGE, f"--{name}: must be >= 0; got {value:g}")
    with connect_alive(endpoint, keys) as control:
        if out is None and keys is None and control.status().clip.folder is None:
            out = Path(datetime.now(UTC).strftime("clip-%Y%m%dT%H%M%SZ"))
        started = control.clip(before, after, None if out is None else str(out.expanduser().absolute()))
        outcome = _wait(control, started)
    if outcome.failed:
        raise Failure(FAILED, f"{outcome.path}: {outcome.reason}")
    if as_json:
        put_json({**asdict(started), **asdict(outcome)})
    else:
        put(_told(started, outcome))
        if not os.path.lexists(outcome.path):
            put(NOT_SEEN)
    if not outcome.complete:
        raise Failure(FAILED, f"{outcome.path}: {outcome.reason}")


def mark(
    phase: Annotated[str, typer.Argument(metavar="PHASE", help="pre, guidance or post.")],
    site: Annotated[str, typer.Option("--site", help="Where, in one word: knee, carpal-tunnel.")] = "",
    side: Annotated[str, typer.Option("--side", help="left, right, both or midline.")] = "",
    text: Annotated[str, typer.Option("--text", help="For the manifests of clips only; no names of patients.")] = "",
    endpoint: ControlOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mark this moment for the clips that show it."""
    with connect_alive(endpoint, keys) as control:
        marked = control.mark(phase, site=site, side=side, text=text)
    if as_json:
        put_json(asdict(marked))
    else:
        put(f"marked at frame {marked.frame}")


def _wait(control: Control, started: ClipStarted) -> ClipOutcome:
    """What came of the clip; progress on a terminal."""
    while True:
        status = control.status().clip
        if not status.active or status.path != started.path:
            if sys.stderr.isatty():
                sys.stderr.write("\r\x1b[K")
            break
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[Ksaving {started.path}")
            sys.stderr.flush()
        time.sleep(POLL_S)
    outcome = status.outcome
    if outcome is None or outcome.path != started.path:
        raise Failure(FAILED, f"{started.path}: the daemon saved another clip since; look whether it is there")
    return outcome


def _told(started: ClipStarted, outcome: ClipOutcome) -> str:
    line = f"{outcome.path}: {outcome.frames} raw frames, {outcome.pictures} pictures"
    short = [
        f"{name} of the last {held:.1f} s only"
        for name, held in (("RF", started.rf_held_s), ("pictures", started.image_held_s))
        if held < started.before_s - 0.1
    ]
    return f"{line} ({', '.join(short)} were held)" if short else line
