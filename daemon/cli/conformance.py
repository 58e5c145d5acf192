"""`sonod conformance PROTOCOL`: does a front-end keep to a published protocol?"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer

from sonod.daemon.cli.connection import JsonOption
from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put, put_json

# Protocol -> "module:function" that takes a URI and gives findings with `check` and `problem`.
PROTOCOLS = {"bulk": "sonod.drivers.bulk.check:check_front_end"}


def conformance(
    protocol: Annotated[str, typer.Argument(help=f"One of {', '.join(PROTOCOLS)}.")],
    uri: Annotated[
        str, typer.Option("--uri", metavar="URI", help="The front-end; without it, the emulated one.")
    ] = "bulk:?emulated=1",
    as_json: JsonOption = False,
) -> None:
    """Check a front-end against its protocol's page, rule by rule. It is kept from transmitting."""
    if protocol not in PROTOCOLS:
        raise Failure(USAGE, f"protocol {protocol!r}: not known; there are {', '.join(PROTOCOLS)}")
    module, _, name = PROTOCOLS[protocol].partition(":")
    findings: list[Any] = []
    for finding in getattr(import_module(module), name)(uri):
        findings.append(finding)
        if not as_json:
            put(f"{'FAIL' if finding.problem else 'ok  '}  {finding.check}")
            if finding.problem:
                put(f"      {finding.problem}")
    if as_json:
        put_json([{"check": finding.check, "problem": finding.problem} for finding in findings])
    failed = sum(bool(finding.problem) for finding in findings)
    if failed:
        raise Failure(FAILED, f"{uri}: {failed} of {len(findings)} rules are not kept")
    if not as_json:
        put(f"{uri}: keeps all {len(findings)} rules that were checked")
