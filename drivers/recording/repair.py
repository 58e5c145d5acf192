"""Closing a recording in the place of a writer that has ended without doing so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sonod.drivers.recording.reader import Recording
from sonod.drivers.recording.superblock import close_abandoned


@dataclass(frozen=True)
class Repaired:
    """`was_open`: the file had to be closed. `damaged`: numbers of the frames that are not what was recorded."""

    was_open: bool
    frames: int
    damaged: tuple[int, ...]


def repair_recording(path: Path) -> Repaired:
    """Close the file if it is open, and compare every frame with its digest; RecordingError when it cannot be read or
    is still being written. Closed files are not touched."""
    with Recording(path) as recording:
        was_open = recording.abandoned
        frame = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
        numbers = recording.numbers
        damaged = tuple(
            int(numbers[index]) for index in range(recording.frame_count) if not recording.whole(index, frame)
        )
        frames = recording.frame_count
    if was_open:
        close_abandoned(path)
        with Recording(path) as recording:
            frames = min(frames, recording.frame_count)
    return Repaired(was_open, frames, damaged)
