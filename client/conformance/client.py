"""Runs a client under test against the script, and holds what it prints against what is due.

The client prints one JSON object a line. It is started anew for nobody: one run sees the whole script.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from sonod.client.conformance.finding import Finding
from sonod.client.conformance.script import NEW_DEPTH_M, Step, script
from sonod.client.conformance.stage import FIRST_FRAME, REVISION, Stage
from sonod.client.errors import ClientError

FRAMES, CONTROL = "{frames}", "{control}"
# How long a client may take to start and to subscribe; then for each report.
START_S, REPORT_S = 30.0, 10.0
SUM_TOLERANCE, PLACE_TOLERANCE_M = 1e-9, 1e-9
# The last lines of its standard error that are shown when a client ends too early.
LAST_LINES = 3


class CannotRun(ClientError):
    """The command under test cannot be run; one line says why."""


class _Reports:
    """The lines of the client, read on a thread of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.frames: list[dict[str, Any]] = []
        self.applied: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._hear, args=(process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(START_S)

    def _hear(self, stream: Any) -> None:
        with stream:
            for line in stream:
                self.errors = [*self.errors, line.rstrip()][-LAST_LINES:]

    def _read(self, stream: Any) -> None:
        with stream:
            for line in stream:
                self._take(line.strip())

    def _take(self, line: str) -> None:
        try:
            values = json.loads(line)
        except ValueError:
            self.problems.append(f"not JSON: {line[:80]!r}")
            return
        if isinstance(values, dict) and "frame" in values:
            self.frames.append(values)
        elif isinstance(values, dict) and "applied" in values:
            self.applied.append(values)
        else:
            self.problems.append(f"neither `frame` nor `applied` in {line[:80]!r}")


def check_client(command: Sequence[str], start_s: float = START_S, report_s: float = REPORT_S) -> Iterator[Finding]:
    """A finding for each rule; CannotRun when there is no such program."""
    if not any(FRAMES in argument for argument in command):
        raise CannotRun(
            f"conformance client: the command must have {FRAMES} where the address of the frames goes, for example: "
            f"sonod conformance client -- python client.py {FRAMES} {CONTROL}"
        )
    with Stage() as stage:
        given = [argument.replace(FRAMES, stage.frames).replace(CONTROL, stage.control) for argument in command]
        try:
            process = subprocess.Popen(
                given, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        except OSError as error:
            raise CannotRun(f"{shlex.join(given)}: {error.strerror}") from error
        reports = _Reports(process)
        try:
            yield from _run(stage, process, reports, start_s, report_s)
            if any(CONTROL in argument for argument in command):
                yield from _controls(stage, process, reports, report_s)
        finally:
            process.terminate()
            try:
                process.wait(report_s)
            except subprocess.TimeoutExpired:
                process.kill()
            reports.join()
    yield Finding("every line is one of the two kinds of report", "; ".join(reports.problems[:LAST_LINES]))


def _run(
    stage: Stage, process: subprocess.Popen[str], reports: _Reports, start_s: float, report_s: float
) -> Iterator[Finding]:
    wanted = [step.messages[0][0] for step in script() if step.due is not None]

    def ready() -> bool:
        return process.poll() is not None or all(map(stage.subscribed, wanted))

    if not stage.until(ready, start_s) or process.poll() is not None:
        yield Finding(
            "the client subscribes to B-mode and envelope of any probe",
            _ended(process, reports)
            or f"subscribed to {sorted(stage.prefixes) or 'nothing'} only, within {start_s:g} s",
        )
        return
    yield Finding("the client subscribes to B-mode and envelope of any probe")
    for step in script():
        before = len(reports.frames)
        for message in step.messages:
            stage.publish(message)
        if step.due is None:
            # The report of the next step shows whether this one was passed over.
            yield Finding(step.rule, _unwanted(stage, process, reports, before))
            continue
        stage.until(lambda before=before: len(reports.frames) > before or process.poll() is not None, report_s)  # type: ignore[misc]
        if len(reports.frames) == before:
            problem = _ended(process, reports) or f"frame {step.due['frame']} was not reported within {report_s:g} s"
            yield Finding(step.rule, problem)
            if process.poll() is not None:
                return
            continue
        extra = [report["frame"] for report in reports.frames[before + 1 :]]
        yield Finding(
            step.rule, f"reported more: frames {extra}" if extra else _difference(step, reports.frames[before])
        )


def _unwanted(stage: Stage, process: subprocess.Popen[str], reports: _Reports, before: int) -> str:
    stage.until(lambda: process.poll() is not None or len(reports.frames) > before, 0.2)
    if len(reports.frames) > before:
        return f"was reported as {json.dumps(reports.frames[before])[:200]}"
    return _ended(process, reports)


def _controls(stage: Stage, process: subprocess.Popen[str], reports: _Reports, report_s: float) -> Iterator[Finding]:
    stage.until(lambda: bool(reports.applied) or process.poll() is not None, report_s)
    commands = [request.command for request in stage.requests]
    yield Finding("requests are one part of JSON with id and command", "; ".join(stage.problems[:LAST_LINES]))
    yield Finding(
        "the client asks for a change of depth_m", "" if "set" in commands else f"asked {commands or 'nothing'}"
    )
    due = {"applied": {"depth_m": NEW_DEPTH_M}, "revision": REVISION, "first_frame": FIRST_FRAME}
    if not reports.applied:
        problem = f"nothing with `applied` was reported within {report_s:g} s"
    else:
        got = {key: reports.applied[0].get(key) for key in due}
        problem = "" if got == due else f"must be {json.dumps(due)}; got {json.dumps(got)}"
    yield Finding("the answer is found by its id, and what it says is reported", problem)


def _difference(step: Step, report: dict[str, Any]) -> str:
    """What a report says otherwise than is due; empty when nothing."""
    assert step.due is not None
    for key, due in step.due.items():
        got = report.get(key)
        if key == "missed" and got is None:
            # Counting is asked of those only who say that they count.
            continue
        if not _same(key, got, due):
            return f"frame {step.due['frame']}: {key} must be {json.dumps(due)}; got {json.dumps(got)}"
    return ""


def _same(key: str, got: Any, due: Any) -> bool:
    if key == "sum":
        return isinstance(got, int | float) and math.isclose(got, due, rel_tol=SUM_TOLERANCE)
    if key == "last_pixel_m":
        return (
            isinstance(got, list)
            and len(got) == len(due)
            and all(
                isinstance(a, int | float) and abs(a - b) <= PLACE_TOLERANCE_M for a, b in zip(got, due, strict=True)
            )
        )
    return bool(got == due)


def _ended(process: subprocess.Popen[str], reports: _Reports) -> str:
    if process.poll() is None:
        return ""
    reports.join()
    said = f": {' / '.join(reports.errors)}" if reports.errors else ""
    return f"the client ended with exit code {process.returncode}{said}"
