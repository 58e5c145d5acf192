"""`sonod verify`: the same pixels as when it was recorded, or the first frame and the stage that differ."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from daemon_bench import BASE, PATIENCE_S
from recordings import write_recording
from sonod_command import sonod

from sonod.cext.instruction import instruction_set, instruction_sets, select_instruction_set
from sonod.cext.threads import set_thread_count, thread_count
from sonod.client.control import Control
from sonod.daemon.app import Daemon
from sonod.daemon.cine.bundle import sha256_of
from sonod.daemon.config import parse_config
from sonod.daemon.verify import STAGE_NAMES, verify
from sonod.drivers.digests import digest_of


def make_clip(folder: Path, use: Callable[[Control], None]) -> Path:
    """A clip of a daemon that replays RF, in which `use` happens."""
    source = write_recording(folder / "source.h5", frames=7)
    uri = f"replay:{source}?loop=1&rate=100"
    daemon = Daemon(parse_config({**BASE, "driver": {"uri": uri}}))
    try:
        daemon.start()
        with Control(daemon.addresses.control, PATIENCE_S) as control:
            use(control)
            path = folder / "clip"
            control.clip(60.0, 0.0, str(path))
            while control.status().clip.active:
                pass
            assert control.status().clip.outcome is not None
            assert not control.status().clip.outcome.failed  # type: ignore[union-attr]
    finally:
        daemon.stop()
    return path


def let_pass(control: Control, frames: int = 20) -> None:
    until = control.status().values["processed"] + frames
    while control.status().values["processed"] < until:
        pass


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def use(control: Control) -> None:
        let_pass(control)
        control.set({"gain_db": 6.0})
        let_pass(control)

    return make_clip(tmp_path_factory.mktemp("made"), use)


@pytest.fixture
def clip(made: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "clip"))


@pytest.fixture
def core() -> Iterator[None]:
    before = instruction_set(), thread_count()
    yield
    select_instruction_set(before[0])
    set_thread_count(before[1])


def sealed(clip: Path) -> Path:
    """With the hashes of what is in it now, as somebody would who knows how."""
    manifest = json.loads((clip / "manifest.json").read_text())
    for name in manifest["files"]:
        manifest["files"][name]["sha256"] = sha256_of(clip / name)
    (clip / "manifest.json").write_text(json.dumps(manifest))
    return clip


@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.usefixtures("core")
def test_pictures_are_the_same_on_every_instruction_set(made: Path, name: str, threads: int) -> None:
    select_instruction_set(name)
    set_thread_count(threads)
    found = verify(made)
    assert found.same, found.difference
    assert found.files == 2
    assert found.frames >= found.pictures >= 40
    assert found.unknown_history == 0
    assert {"prepare", "beamform", "compress"} <= found.stages


@pytest.mark.parametrize("stage", ["prepare", "beamform", "compress"])
def test_first_stage_that_differs_is_named(clip: Path, stage: str) -> None:
    with h5py.File(clip / "raw.h5", "r+") as file:
        stages = list(STAGE_NAMES)
        number = int(file["pictures/number"][11])
        for later in stages[stages.index(stage) :]:
            rows = file["pictures"][later]
            if rows[11].any():
                rows[11] = rows[11] ^ 1
    assert verify(sealed(clip)).difference == f"raw.h5: frame {number}: {STAGE_NAMES[stage]} differs"


def test_changed_samples_are_found_before_their_pictures(clip: Path) -> None:
    with h5py.File(clip / "raw.h5", "r+") as file:
        file["rf"][5, 0, 0, 0] ^= 1
        number = int(file["frames/number"][5])
    sealed(clip)
    assert verify(clip).difference == f"raw.h5: frame {number}: its samples are not those that were recorded"


def test_changed_samples_with_their_digest_make_another_picture(clip: Path) -> None:
    with h5py.File(clip / "raw.h5", "r+") as file:
        frame = file["rf"][5] // 2
        file["rf"][5] = frame
        file["frames/digest"][5] = np.frombuffer(digest_of(frame), np.uint8)
        number = int(file["frames/number"][5])
    assert verify(sealed(clip)).difference == f"raw.h5: frame {number}: demodulation differs"


def test_changed_pixels_are_found(clip: Path) -> None:
    with h5py.File(clip / "pictures.h5", "r+") as file:
        picture = file["image_u8"][3] ^ 1
        file["image_u8"][3] = picture
        number = int(file["frames/number"][3])
    sealed(clip)
    assert verify(clip).difference == f"pictures.h5: frame {number}: its pixels are not those that were saved"
    with h5py.File(clip / "pictures.h5", "r+") as file:
        file["frames/digest"][3] = np.frombuffer(digest_of(picture), np.uint8)
    assert (
        verify(sealed(clip)).difference == f"pictures.h5: frame {number}: its pixels are not those that were published"
    )


def test_changed_file_is_found_by_its_hash(clip: Path) -> None:
    with (clip / "raw.h5").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    found = verify(clip)
    assert (found.difference, found.frames) == ("raw.h5: its SHA-256 is not that of the manifest", 0)
    (clip / "pictures.h5").unlink()
    result = sonod("verify", str(clip))
    assert result.returncode == 1
    assert result.stderr == f"sonod: {clip}: raw.h5: its SHA-256 is not that of the manifest\n"


def test_persistence_from_before_the_recording_is_said(tmp_path: Path) -> None:
    """The pictures before the first change are known up to the last stage; those of new settings begin anew."""

    def use(control: Control) -> None:
        control.set({"persistence": 0.5})
        let_pass(control)

    clip = make_clip(tmp_path, use)
    assert verify(clip).unknown_history == 0
    with h5py.File(clip / "raw.h5", "r+") as file:
        # As if the first pictures with persistence had been before the recording.
        before = file["pictures/pictures_before"]
        rows = np.flatnonzero(file["pictures/revision"][...] == file["pictures/revision"][-1])
        before[rows[0] :] = before[rows[0] :] + 3
    found = verify(sealed(clip))
    assert found.same
    assert found.unknown_history == len(rows)
    assert found.pictures > 0


def test_command_says_what_was_compared_and_how_it_ended(made: Path, tmp_path: Path) -> None:
    result = sonod("verify", str(made))
    assert result.returncode == 0
    assert "pictures bit for bit (demodulation, delay and sum, " in result.stdout
    assert result.stdout.endswith("SHA-256 of 2 files\n")
    assert json.loads(sonod("verify", str(made / "raw.h5"), "--json").stdout)["same"] is True
    foreign = write_recording(tmp_path / "foreign.h5")
    for path, message in (
        (tmp_path / "none", "no such file or folder; name a recording or a clip"),
        (tmp_path, "no manifest.json (No such file or directory); name a recording or a clip"),
        (foreign, "holds no digests of pictures: it was not recorded by this release or a later one, or nothing"),
    ):
        result = sonod("verify", str(path))
        assert (result.returncode, result.stdout) == (2, "")
        assert f"{path}: {message}" in result.stderr
        assert result.stderr.count("\n") == 1


def test_clip_plays_and_is_processed_as_any_recording(made: Path, tmp_path: Path) -> None:
    for name in ("raw.h5", "pictures.h5"):
        result = sonod("process", str(made / name), "--out", str(tmp_path / name))
        assert result.returncode == 0, result.stderr
        with h5py.File(tmp_path / name) as file:
            assert file["bmode/image"].shape[0] >= 40
