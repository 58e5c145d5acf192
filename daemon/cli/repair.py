"""`sonod repair`: a recording whose writer ended without closing it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put


def repair(
    recording: Annotated[Path, typer.Argument(metavar="RECORDING.h5", help="A recording of format sonod-rf.")],
) -> None:
    """Close a recording whose writer was killed or lost power, and look at every frame.

    sonod reads such files as they are; other programs cannot before. Exit code 1 when frames are damaged."""
    # Imported here: h5py is for those who need it.
    from sonod.drivers.recording.repair import repair_recording

    if not recording.is_file():
        raise Failure(USAGE, f"{recording}: no such file; name a recording of format sonod-rf")
    try:
        found = repair_recording(recording)
    except OSError as error:
        raise Failure(FAILED, f"{recording}: cannot be written ({error.strerror or error})") from error
    done = "closed as incomplete" if found.was_open else "was closed already"
    put(f"{recording}: {done}; {found.frames} frames, {found.frames - len(found.damaged)} of them whole")
    if found.damaged:
        raise Failure(FAILED, f"{recording}: damaged frames: {', '.join(map(str, found.damaged))}")
