"""Recordings that the daemon has compressed: `sonod verify` and `sonod process` make the same of them as ever."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from daemon_bench import Bench
from recordings import write_recording
from sonod_command import sonod

from sonod.daemon.verify import verify
from sonod.drivers.compression import COMPRESSIONS, CompressionName, compression_problem
from sonod.drivers.digests import digest_of

FRAMES = 12
WITHOUT_PLUGIN = 'import sys; sys.modules["hdf5plugin"] = None; from sonod.daemon.cli import main; main(sys.argv[1:])'


pytestmark = pytest.mark.compression


@pytest.fixture(params=[name for name in COMPRESSIONS if name != "none"])
def name(request: pytest.FixtureRequest) -> CompressionName:
    found: CompressionName = request.param
    if problem := compression_problem(found):
        pytest.skip(problem)
    return found


@pytest.fixture
def recorded(start: Callable[..., Bench], tmp_path: Path, name: CompressionName) -> Path:
    """A recording of a daemon that replays RF, with the pictures of all its frames."""
    source = write_recording(tmp_path / "source.h5", frames=5)
    bench = start(driver={"uri": f"replay:{source}?loop=1&rate=60"}, record={"compression": name})
    path = tmp_path / "compressed.h5"
    bench.control.start_recording(str(path))
    bench.until(lambda status: status.recording.frames >= FRAMES)
    assert bench.control.stop_recording().complete
    with h5py.File(path) as file:
        # gzip is HDF5's own; the others are filters that have been registered.
        filters = file["rf"].id.get_create_plist()
        assert filters.get_nfilters() == 1
    return path


def uncompressed(path: Path) -> Path:
    """The same recording, its samples as they are."""
    plain = Path(shutil.copy(path, path.with_name("plain.h5")))
    with h5py.File(plain, "r+") as file:
        samples, attributes = file["rf"][...], dict(file["rf"].attrs)
        del file["rf"]
        file.create_dataset("rf", data=samples).attrs.update(attributes)
    return plain


def processed(path: Path) -> np.ndarray:
    out = path.with_name(f"processed-{path.name}")
    result = sonod("process", str(path), "--out", str(out))
    assert result.returncode == 0, result.stderr
    with h5py.File(out) as file:
        return np.asarray(file["bmode/image"])


def test_verified_bit_for_bit(recorded: Path) -> None:
    result = sonod("verify", str(recorded), "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["same"] is True
    assert told["frames"] >= FRAMES
    assert told["pictures"] >= FRAMES - 1


def test_processed_into_the_same_pictures_as_what_is_not_compressed(recorded: Path) -> None:
    pictures = processed(recorded)
    assert len(pictures) >= FRAMES
    np.testing.assert_array_equal(pictures, processed(uncompressed(recorded)))


def test_changed_samples_are_found(recorded: Path) -> None:
    with h5py.File(recorded, "r+") as file:
        frame = file["rf"][5]
        frame[0, 0, 0] ^= 1
        file["rf"][5] = frame
        number = int(file["frames/number"][5])
    assert (
        verify(recorded).difference == f"{recorded.name}: frame {number}: its samples are not those that were recorded"
    )
    with h5py.File(recorded, "r+") as file:
        file["rf"][5] = frame // 2
        file["frames/digest"][5] = np.frombuffer(digest_of(np.asarray(frame // 2)), np.uint8)
    assert verify(recorded).difference == f"{recorded.name}: frame {number}: demodulation differs"


@pytest.mark.parametrize("command", ["verify", "process"])
def test_package_that_is_missing_is_one_line(recorded: Path, name: CompressionName, command: str) -> None:
    more = ["--out", str(recorded.with_name("out.h5"))] if command == "process" else []
    call = [sys.executable, "-c", WITHOUT_PLUGIN, command, str(recorded), *more]
    done = subprocess.run(call, capture_output=True, text=True, timeout=200)
    if name == "gzip":
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(recorded) in done.stderr
    assert "pip install hdf5plugin" in done.stderr
