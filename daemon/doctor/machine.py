"""The machine that is examined."""

from __future__ import annotations

import os
import resource
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Limit(NamedTuple):
    """A soft limit of this process; -1 = none."""

    realtime_priority: int
    locked_bytes: int


@dataclass(frozen=True)
class Machine:
    """Where and as whom the checks look."""

    root: Path = Path("/")
    user_id: int = field(default_factory=os.geteuid)
    group_ids: frozenset[int] = field(default_factory=lambda: frozenset({*os.getgroups(), os.getegid()}))
    limits: Limit = field(
        default_factory=lambda: Limit(
            resource.getrlimit(resource.RLIMIT_RTPRIO)[0], resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        )
    )
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free
    # What `stat` says of a device node: permission bits, owner, group.
    node: Callable[[Path], tuple[int, int, int]] = lambda path: (
        stat.S_IMODE(path.stat().st_mode),
        path.stat().st_uid,
        path.stat().st_gid,
    )

    def text(self, path: str) -> str | None:
        """The file's text without the line's end, or None."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return None


def read(path: Path) -> str:
    """The file's text without the line's end, '' when there is none."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
