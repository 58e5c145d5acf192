"""Whether the disk has room."""

from __future__ import annotations

import os
from pathlib import Path

from sonod.daemon.cine.messages import Policy
from sonod.drivers.errors import RecordingError


def require_space(folder: Path, nbytes: int, policy: Policy) -> None:
    """RecordingError when `nbytes` more would leave too little of the disk."""
    if not policy.keep_free_bytes:
        return
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free - nbytes < policy.keep_free_bytes:
        raise RecordingError(
            f"{folder}: only {free >> 20} MiB are free, and record.keep_free_mib keeps {policy.keep_free_bytes >> 20}; "
            "make room or record elsewhere"
        )
