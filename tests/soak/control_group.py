"""Limits of processor and memory for the daemon of the fault campaign, by control groups of version 1 or 2."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 50_000


@dataclass(frozen=True)
class _Files:
    """Where a limit is written, and what says that there is none."""

    processor: str
    memory: str
    out_of_memory: str


V1 = _Files("cpu.cfs_quota_us", "memory.limit_in_bytes", "memory.oom_control")
V2 = _Files("cpu.max", "memory.max", "memory.events")


class ControlGroup:
    """A group of its own for a process and its children. OSError when it cannot be made here, which takes root, and
    with version 2 a system that gives the controllers to a group of the first level."""

    def __init__(self, name: str, process: int) -> None:
        self._files = V2 if (ROOT / "cgroup.controllers").exists() else V1
        places = (ROOT,) if self._files is V2 else (ROOT / "cpu", ROOT / "memory")
        self._folders = [place / name for place in places]
        try:
            for folder in self._folders:
                folder.mkdir()
            for folder in self._folders:
                (folder / "cgroup.procs").write_text(str(process))
            self.processor(1.0)
            self._place(self._files.memory).read_text()
        except OSError:
            self.close()
            raise

    def processor(self, share: float) -> None:
        """So much of one processor for all of it; 1 and more = no limit."""
        quota_us = int(share * PERIOD_US)
        limited = share < 1
        if self._files is V2:
            self._place("cpu.max").write_text(f"{quota_us if limited else 'max'} {PERIOD_US}")
            return
        self._place("cpu.cfs_period_us").write_text(str(PERIOD_US))
        self._place("cpu.cfs_quota_us").write_text(str(quota_us if limited else -1))

    def memory(self, limit_bytes: int) -> None:
        """No more than that, page cache of its files included; the kernel ends what needs more."""
        self._place(self._files.memory).write_text(str(limit_bytes))

    @property
    def ended_for_memory(self) -> int:
        """Processes that the kernel has ended because they needed more."""
        words = self._place(self._files.out_of_memory).read_text().split()
        return int(words[words.index("oom_kill") + 1])

    def close(self) -> None:
        """Away with it; what is still in it goes back to where it came from."""
        for folder in self._folders:
            with contextlib.suppress(OSError):
                for process in (folder / "cgroup.procs").read_text().split():
                    (folder.parent / "cgroup.procs").write_text(process)
                folder.rmdir()

    def _place(self, name: str) -> Path:
        kind = name.partition(".")[0]
        folder = self._folders[0] if self._files is V2 or kind == "cpu" else self._folders[1]
        return folder / name


def group_of(process: int) -> ControlGroup | None:
    """A control group for the process where that is allowed."""
    try:
        return ControlGroup(f"sonod-soak-{os.getpid()}-{process}", process)
    except OSError:
        return None
