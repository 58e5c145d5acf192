"""`sonod doctor`: what is wrong with this machine, and the cure."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sonod.daemon.cli.connection import JsonOption
from sonod.daemon.cli.failure import FAILED
from sonod.daemon.cli.output import put, put_json
from sonod.daemon.config import load_config
from sonod.daemon.doctor import Finding, Machine, Verdict, examine
from sonod.daemon.environment import Environment

MARKS = {Verdict.GOOD: "ok  ", Verdict.WARNING: "warn", Verdict.WRONG: "BAD "}


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The configuration that the machine is meant for.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what is wrong with this machine, each thing with its remedy. Changes nothing, fires nothing. Exit code 0
    when nothing is wrong (there may be warnings), 1 when something is."""
    findings = examine(Machine(), load_config(config or Environment.read().config))
    if as_json:
        put_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _put(finding)
    if any(finding.verdict is Verdict.WRONG for finding in findings):
        raise typer.Exit(FAILED)


def _put(finding: Finding) -> None:
    put(f"{MARKS[finding.verdict]}  {finding.check:<13} {finding.message}")
    if finding.remedy:
        for line in textwrap.wrap(finding.remedy, 96, break_long_words=False, break_on_hyphens=False):
            put(f"      {'':<13} {'-> ' if line == finding.remedy[: len(line)] else '   '}{line}")
