"""`sonod conformance PROTOCOL`: does somebody's front-end, client or server keep to a published protocol?"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, Any

import typer

from sonod.client.conformance.client import CannotRun, check_client
from sonod.client.conformance.server import check_server
from sonod.client.control import DEFAULT_ENDPOINT as DEFAULT_CONTROL
from sonod.client.subscriber import DEFAULT_ENDPOINT as DEFAULT_FRAMES
from sonod.daemon.cli.connection import JsonOption, connect_alive
from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put, put_json
from sonod.daemon.environment import Environment

# Module and function that take a URI and give findings with `check` and `problem`.
BULK = "sonod.drivers.bulk.check:check_front_end"

conformance = typer.Typer(
    help="Check a front-end, a client or a server against its protocol's page, rule by rule.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@conformance.command()
def bulk(
    uri: Annotated[
        str, typer.Option("--uri", metavar="URI", help="The front-end; without it, the emulated one.")
    ] = "bulk:?emulated=1",
    as_json: JsonOption = False,
) -> None:
    """Check a front-end against docs/bulk-rf-protocol.md. It is kept from transmitting."""
    module, _, name = BULK.partition(":")
    _report(uri, getattr(import_module(module), name)(uri), as_json)


@conformance.command()
def client(
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND...", help="The client; {frames} and {control} become addresses."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Check a client: it is run against a scripted daemon and must report what it sees (docs/conformance.md). Put `--`
    before the command."""
    try:
        _report(command[0], check_client(command), as_json)
    except CannotRun as error:
        raise Failure(USAGE, str(error)) from error


@conformance.command()
def server(
    frames: Annotated[
        str | None, typer.Option("--frames", metavar="ENDPOINT", help="Its frames.", show_default=False)
    ] = None,
    control: Annotated[
        str | None, typer.Option("--control", metavar="ENDPOINT", help="Its control.", show_default=False)
    ] = None,
    change: Annotated[bool, typer.Option("--change", help="Also change a harmless setting, and set it back.")] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", help="Seconds to wait for an answer or a frame.", min=0.1)
    ] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Check a running server against docs/wire-protocol.md. Changes nothing unless --change is given."""
    environment = Environment.read()
    where = control or environment.control or DEFAULT_CONTROL
    connect_alive(where).close()
    findings = check_server(frames or environment.frames or DEFAULT_FRAMES, where, change, timeout_s)
    _report(where, findings, as_json)


def _report(subject: str, findings: Iterable[Any], as_json: bool) -> None:
    """Each rule as it is checked; Failure when one is not kept."""
    seen: list[Any] = []
    for finding in findings:
        seen.append(finding)
        if not as_json:
            put(f"{'FAIL' if finding.problem else 'ok  '}  {finding.check}")
            if finding.problem:
                put(f"      {finding.problem}")
    if as_json:
        put_json([{"check": finding.check, "problem": finding.problem} for finding in seen])
    failed = sum(bool(finding.problem) for finding in seen)
    if failed:
        raise Failure(FAILED, f"{subject}: {failed} of {len(seen)} rules are not kept")
    if not as_json:
        put(f"{subject}: keeps all {len(seen)} rules that were checked")
