"""Where clients may have files written on the daemon's machine."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from sonod.daemon.errors import CommandError


def clip_place(asked: str | None, folder: Path | None, utc_s: float) -> Path:
    """The folder of a new clip: as asked, or with the time as its name in `folder`."""
    if asked is None:
        if folder is None:
            raise CommandError("refused", "clip: path: give one, or configure record.folder")
        return folder / datetime.fromtimestamp(utc_s, UTC).strftime("clip-%Y%m%dT%H%M%S.%fZ")
    path = Path(asked)
    if not path.is_absolute() or not path.name or ".." in path.parts:
        raise CommandError("invalid", f"clip: path: must be an absolute path of a new folder; got {asked!r}")
    return path


def check_place(path: str, folder: Path | None, command: str) -> None:
    """Whoever may record need not be let write everywhere on this machine."""
    if folder is None:
        raise CommandError("forbidden", f"{command}: with a key only into record.folder, which is not configured")
    place = Path(os.path.realpath(path))
    if not place.is_relative_to(os.path.realpath(folder)):
        raise CommandError("forbidden", f"{command}: path: with a key only into {folder}; got {path}")
