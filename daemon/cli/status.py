"""`sonod status`: what the daemon is doing."""

from __future__ import annotations

from typing import Annotated

import typer

from sonod.client.replies import Status
from sonod.daemon.cli.connection import PROBE_TIMEOUT_S, ControlOption, JsonOption, KeysOption, connect
from sonod.daemon.cli.output import milliseconds, put, put_json, put_table
from sonod.daemon.health import EXIT_CODES, Health


def status(
    endpoint: ControlOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only the health, and an exit code: 0 good or idle, 1 degraded, 75 waiting.")
    ] = False,
) -> None:
    """Show the state, the losses and how long each stage takes."""
    with connect(endpoint, PROBE_TIMEOUT_S, keys) as control:
        answer = control.status()
    if check:
        put(f"{answer.health}: {answer.state}{_why(answer)}")
        raise typer.Exit(EXIT_CODES[Health(answer.health)])
    if as_json:
        put_json(answer.values)
    else:
        _put_status(answer)


def _why(answer: Status) -> str:
    reason = answer.health_reason or answer.reason
    return f", {reason}" if reason else ""


def _put_status(answer: Status) -> None:
    losses = answer.losses
    revision = "-" if answer.revision is None else str(answer.revision)
    put(f"state      {answer.state}{f' ({answer.reason})' if answer.reason else ''}")
    put(f"health     {answer.health}{f' ({answer.health_reason})' if answer.health_reason else ''}")
    put(f"driver     {answer.driver}")
    put(f"probe      {answer.probe or 'not opened yet'}")
    put(f"settings   revision {revision}")
    put(f"frames     {answer.frame} acquired, {answer.frame_rate_hz:.1f} a second")
    put(f"lost       device {losses.device}, ring {losses.ring}, processing {losses.processing}")
    if answer.recording.active:
        put(f"recording  {answer.recording.path}, {answer.recording.frames} frames")
    if answer.lease_holder is not None:
        put(f"lease      {answer.lease_holder}")
    put(f"running    {answer.uptime_s:.0f} s, device reopened {answer.recoveries} times, sonod {answer.version}")
    if answer.stages:
        put()
        put_table(
            ("stage", "last ms", "mean ms", "max ms"),
            [
                (name, milliseconds(stage.last_ns), milliseconds(stage.mean_ns), milliseconds(stage.max_ns))
                for name, stage in answer.stages.items()
            ],
        )
