"""A small recording of finished pictures, which cost nothing to play."""

from __future__ import annotations

from pathlib import Path

from picture_driver import PictureDriver

from sonod.drivers.frame import Slot
from sonod.drivers.recording import RecordingWriter
from sonod.drivers.settings import default_settings


def write_picture_recording(path: Path, frames: int = 4) -> Path:
    """Write the recording and give its path; every pixel holds the frame's number."""
    driver = PictureDriver()
    driver.open()
    configuration = driver.prepare(default_settings(driver.knobs()))
    slot = Slot(0)
    slot.prepare(configuration)
    with RecordingWriter(path, configuration.acquisition) as writer:
        for slot.number in range(1, frames + 1):
            slot.data[:] = slot.number
            writer.append(slot)
    return path
