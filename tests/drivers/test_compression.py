"""Compressed recordings: every filter keeps every frame, also while it is written and after a kill.

A filter that is not here is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from recordings import plane_acquisition
from sonod_command import sonod

from sonod.daemon.config import parse_config
from sonod.daemon.errors import ConfigError
from sonod.drivers import compression, open_uri
from sonod.drivers.compression import COMPRESSIONS, CompressionName, compression_problem
from sonod.drivers.errors import RecordingError
from sonod.drivers.frame import Slot
from sonod.drivers.recording import Recording, RecordingWriter
from sonod.drivers.recording.repair import repair_recording
from sonod.drivers.recording.writer import CLOSING_BYTES, RESERVED_BYTES
from sonod.drivers.settings import default_settings

FRAMES = 20
FLUSHED = 16
KILLED = """
import os, sys
sys.path[:0] = sys.argv[2].split(os.pathsep)
from test_compression import frame
from recordings import plane_acquisition
from sonod.drivers.recording import RecordingWriter
writer = RecordingWriter(sys.argv[1], plane_acquisition(), compression=sys.argv[3])
for number in range(1, 21):
    writer.append_frame(frame(number), number=number)
os.kill(os.getpid(), 9)
"""
WITHOUT_PLUGIN = """
import sys
sys.modules["hdf5plugin"] = None
from sonod.drivers.recording import Recording
Recording(sys.argv[1])
"""


def frame(number: int) -> np.ndarray:
    """Smooth, as echoes are."""
    acquisition = plane_acquisition()
    phases = np.arange(np.prod(acquisition.shape)).reshape(acquisition.shape)
    return np.asarray(1000 * np.sin(0.3 * phases + number), np.int16)


pytestmark = pytest.mark.compression


@pytest.fixture(params=COMPRESSIONS)
def name(request: pytest.FixtureRequest) -> CompressionName:
    found: CompressionName = request.param
    if problem := compression_problem(found):
        pytest.skip(problem)
    return found


def whole_frames(path: Path) -> int:
    with Recording(path) as recording:
        out = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
        for index, number in enumerate(recording.numbers):
            assert recording.whole(index, out)
            assert np.array_equal(out, frame(int(number)))
        return recording.frame_count


def test_frames_are_read_back_while_they_are_written_and_afterwards(tmp_path: Path, name: CompressionName) -> None:
    path = tmp_path / "a.h5"
    with RecordingWriter(path, plane_acquisition(), compression=name) as writer:
        for number in range(1, FRAMES + 1):
            writer.append_frame(frame(number), number=number)
        assert whole_frames(path) == FLUSHED
    assert whole_frames(path) == FRAMES
    driver = open_uri(f"replay:{path}?rate=1000")
    driver.open()
    try:
        configuration = driver.prepare(default_settings(driver.knobs()))
        driver.apply(configuration)
        driver.start()
        slot = Slot(configuration.acquisition.nbytes)
        driver.read_into(slot, 30.0)
        assert np.array_equal(slot.data, frame(1))
    finally:
        driver.close()


def test_writer_that_is_killed_leaves_what_it_flushed(tmp_path: Path, name: CompressionName) -> None:
    path = tmp_path / "killed.h5"
    folders = os.pathsep.join((str(Path(__file__).parents[1]), str(Path(__file__).parent)))
    command = [sys.executable, "-c", KILLED, str(path), folders, name]
    assert subprocess.run(command, check=False).returncode == -9
    assert whole_frames(path) == FLUSHED
    repaired = repair_recording(path)
    assert (repaired.was_open, repaired.frames, repaired.damaged) == (True, FLUSHED, ())
    assert whole_frames(path) == FLUSHED


def test_room_is_asked_for_what_is_written_not_for_what_came(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    acquisition = plane_acquisition(samples=40_000)
    data = np.zeros(acquisition.shape, acquisition.dtype)
    count = 2 * (RESERVED_BYTES + CLOSING_BYTES) // data.nbytes
    with RecordingWriter(path, acquisition, compression="gzip") as writer:
        for number in range(1, count + 1):
            writer.append_frame(data, number=number)
        assert path.stat().st_size < 2 * RESERVED_BYTES
    assert path.stat().st_size < data.nbytes


def test_compression_whose_package_is_missing_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "find_spec", lambda name: None)
    path = tmp_path / "a.h5"
    line = "compression: 'lz4' needs the Python package hdf5plugin, which is not installed: pip install hdf5plugin, or"
    with pytest.raises(RecordingError) as refused:
        RecordingWriter(path, plane_acquisition(), compression="lz4")
    assert str(refused.value).startswith(line)
    assert not path.exists()
    with pytest.raises(ConfigError) as wrong:
        parse_config({"record": {"compression": "lz4"}})
    assert f"record.{line}" in str(wrong.value)
    assert parse_config({"record": {"compression": "gzip"}}).record.policy().compression == "gzip"


def test_reader_without_the_package_says_what_to_install(tmp_path: Path) -> None:
    if problem := compression_problem("bitshuffle-lz4"):
        pytest.skip(problem)
    path = tmp_path / "a.h5"
    with RecordingWriter(path, plane_acquisition(), compression="bitshuffle-lz4") as writer:
        writer.append_frame(frame(1), number=1)
    command = [sys.executable, "-c", WITHOUT_PLUGIN, str(path)]
    told = subprocess.run(command, check=False, capture_output=True, text=True).stderr.strip().splitlines()[-1]
    assert f"{path}: rf: is compressed with bitshuffle" in told
    assert "(HDF5 filter 32008), which is not here; pip install hdf5plugin" in told


def test_command_line_reads_what_is_compressed(tmp_path: Path, name: CompressionName) -> None:
    path = tmp_path / "a.h5"
    with RecordingWriter(path, plane_acquisition(), compression=name) as writer:
        for number in range(1, 4):
            writer.append_frame(frame(number), number=number)
    assert "3 frames, 3 of them whole" in sonod("repair", str(path)).stdout
    with h5py.File(path) as file:
        assert file["rf"].chunks is not None
