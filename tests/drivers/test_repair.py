"""A recording whose writer was killed is read, and closed by `sonod repair`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from recordings import plane_acquisition, write_recording
from sonod_command import sonod

from sonod.drivers.errors import RecordingError
from sonod.drivers.recording import Recording, RecordingWriter
from sonod.drivers.recording.repair import repair_recording
from sonod.drivers.recording.superblock import lookup3

KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from recordings import frames_of, plane_acquisition
from sonod.drivers.recording import RecordingWriter
acquisition = plane_acquisition()
writer = RecordingWriter(sys.argv[1], acquisition)
for number, data in enumerate(frames_of(acquisition, 20), start=1):
    writer.append_frame(data, number=number)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def abandoned(tmp_path: Path) -> Path:
    """20 frames written, 16 of them flushed."""
    path = tmp_path / "killed.h5"
    tests = str(Path(__file__).parents[1])
    assert subprocess.run([sys.executable, "-c", KILLED, str(path), tests], check=False).returncode == -9
    return path


def test_flushed_frames_are_read_and_the_file_is_closed(abandoned: Path) -> None:
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(abandoned)
    with Recording(abandoned) as recording:
        assert (recording.abandoned, recording.complete, recording.frame_count) == (True, False, 16)
        assert recording.incomplete_reason == "the writer ended without closing the recording"
    result = sonod("repair", str(abandoned))
    assert (result.returncode, result.stdout) == (
        0,
        f"{abandoned}: closed as incomplete; 16 frames, 16 of them whole\n",
    )
    with Recording(abandoned) as recording:
        assert (recording.abandoned, recording.complete, recording.frame_count) == (False, False, 16)
        frame = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
        assert all(recording.whole(index, frame) for index in range(16))
    assert "was closed already" in sonod("repair", str(abandoned)).stdout


def test_damaged_frames_are_named(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["rf"][1, 0, 0, 0] ^= 1
    result = sonod("repair", str(path))
    assert (result.returncode, result.stderr) == (1, f"sonod: {path}: damaged frames: 2\n")


def test_file_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    acquisition = plane_acquisition()
    with RecordingWriter(path, acquisition) as writer:
        writer.append_frame(np.zeros(acquisition.shape, acquisition.dtype), number=1)
        writer.flush()
        result = subprocess.run(
            [sys.executable, "-m", "sonod", "repair", str(path)], check=False, capture_output=True, text=True
        )
        assert result.returncode == 2
        assert "is being written by another program; wait until it is closed" in result.stderr


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    assert sonod("repair", str(tmp_path / "none.h5")).returncode == 2
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(RecordingError, match="is not an HDF5 file"):
        repair_recording(tmp_path / "text.h5")


def test_closed_file_keeps_nothing_of_what_was_reserved(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.h5")
    assert path.stat().st_size < 1 << 20
    with Recording(path) as recording:
        assert recording.frame_count == 3


def test_checksum_is_that_of_hdf5(tmp_path: Path) -> None:
    """The superblock that HDF5 wrote, of 44 bytes and its checksum; and the vector of lookup3's author."""
    head = write_recording(tmp_path / "a.h5").read_bytes()[:48]
    assert lookup3(head[:44]) == int.from_bytes(head[44:], "little")
    assert lookup3(b"Four score and seven years ago") == 0x17770551
