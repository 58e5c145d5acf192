"""`sonod verify`: the same pixels, or which stage differs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from sonod.cext.instruction import instruction_set as present_set
from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put, put_json
from sonod.daemon.core import AUTO, configure_core
from sonod.daemon.verify import STAGE_NAMES, Unverifiable, Verified
from sonod.daemon.verify import verify as verify_path


def verify(
    path: Annotated[Path, typer.Argument(metavar="RECORDING|CLIP", help="A recording, or the folder of a clip.")],
    threads: Annotated[int, typer.Option(help="Threads of the core; 0 = one for each processor core.")] = 0,
    instruction_set: Annotated[
        str, typer.Option("--instruction-set", help="Kernels to use; the results are the same.")
    ] = AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Make the pictures of a recording again and compare them with those that were made when it was recorded.

    Exit code 0: the same, bit for bit; 1: something differs, and the first frame and stage are named; 2: not a
    recording, or one without digests."""
    if not path.exists():
        raise Failure(USAGE, f"{path}: no such file or folder; name a recording or a clip")
    if threads < 0:
        raise Failure(USAGE, f"--threads: must be >= 0; got {threads}")
    configure_core(threads, instruction_set)
    try:
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("frames", total=None)
            found = verify_path(path, lambda done, total: progress.update(task, completed=done, total=total))
    except Unverifiable as error:
        raise Failure(USAGE, str(error)) from error
    if as_json:
        stages = [stage for stage in STAGE_NAMES if stage in found.stages]
        put_json({**vars(found), "stages": stages, "same": found.same, "instruction_set": present_set()})
    elif found.same:
        put(f"{path}: {_told(found)}")
    if not found.same:
        raise Failure(FAILED, f"{path}: {found.difference}")


def _told(found: Verified) -> str:
    stages = ", ".join(name for stage, name in STAGE_NAMES.items() if stage in found.stages)
    line = f"the same: {found.frames} raw frames, {found.pictures} pictures bit for bit ({stages})"
    if found.files:
        line = f"{line}, SHA-256 of {found.files} files"
    if found.unknown_history:
        line = (
            f"{line}; of {found.unknown_history} more, whose persistence reaches back before the recording, all stages "
            "but the last"
        )
    return line
