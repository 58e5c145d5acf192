"""Clips: what was before somebody asked, whole or not at all, and nothing else is held up."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemon_bench import Bench
from recordings import write_recording
from sonod_command import sonod

from sonod.client.errors import RequestRefused
from sonod.client.replies import ClipOutcome
from sonod.daemon.environment import Environment
from sonod.drivers.recording import Recording

Start = Callable[..., Bench]


def deliver(bench: Bench, count: int) -> None:
    """Frames, and their pictures made."""
    until = bench.control.status().frame + count
    bench.driver.deliver(count)
    while bench.control.status().frame < until or bench.control.status().values["processed"] < until:
        pass


def saved(bench: Bench) -> ClipOutcome:
    """What came of the clip, when it is there."""
    while bench.control.status().clip.active:
        pass
    outcome = bench.control.status().clip.outcome
    assert outcome is not None
    return outcome


def manifest(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    return values


def test_clip_holds_what_was_before_it_was_asked_for(bench: Bench, tmp_path: Path) -> None:
    deliver(bench, 5)
    started = bench.control.clip(10.0, 0.0, str(tmp_path / "knee"))
    assert 0 < started.rf_held_s < 10
    outcome = saved(bench)
    assert (outcome.frames, outcome.pictures, outcome.complete, outcome.failed) == (5, 5, True, False)
    for name in ("raw.h5", "pictures.h5"):
        with Recording(tmp_path / "knee" / name) as recording:
            pixels = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
            assert recording.numbers.tolist() == [1, 2, 3, 4, 5]
            for index in range(5):
                assert recording.whole(index, pixels)
                np.testing.assert_array_equal(pixels, index + 1)


def test_manifest_has_hashes_revisions_marks_and_losses(bench: Bench, tmp_path: Path) -> None:
    deliver(bench, 2)
    marked = bench.control.mark("guidance", site="knee", side="left", text="needle at the capsule")
    assert marked.frame == 2
    bench.control.clip(10.0, 0.0, str(tmp_path / "knee"))
    saved(bench)
    values = manifest(tmp_path / "knee")
    assert values["complete"] is True
    assert values["frames"] == {"count": 2, "first": 1, "last": 2}
    assert values["settings_revisions"] == [bench.control.get().revision]
    assert values["probe"]["name"] == "Test Picture"
    assert values["from_ns"] < values["marks"][0]["monotonic_ns"] < values["to_ns"]
    assert {key: values["marks"][0][key] for key in ("phase", "site", "side", "text", "frame")} == {
        "phase": "guidance",
        "site": "knee",
        "side": "left",
        "text": "needle at the capsule",
        "frame": 2,
    }
    assert set(values["losses"].values()) == {0}
    assert sorted(values["files"]) == ["pictures.h5", "raw.h5"]
    for name, facts in values["files"].items():
        data = (tmp_path / "knee" / name).read_bytes()
        assert (facts["bytes"], facts["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_text_of_a_mark_is_told_to_nobody(bench: Bench, log: io.StringIO) -> None:
    event = bench.event("mark", lambda: bench.control.mark("pre", site="hip", text="only for the manifest"))
    assert (event.message, event.facts["phase"], event.facts["site"]) == ("pre hip", "pre", "hip")
    assert "only for the manifest" not in json.dumps(dict(event.facts)) + event.message + log.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"phase": "during"}, "phase: must be 'pre', 'guidance' or 'post'; got 'during'"),
        (
            {"phase": "pre", "site": "Left Knee"},
            "site: must be one word of at most 40 small letters, digits and hyphens; got 'Left Knee'",
        ),
        ({"phase": "pre", "side": "up"}, "side: must be '', 'left', 'right', 'both' or 'midline'; got 'up'"),
    ],
)
def test_marks_that_say_something_else_are_refused(bench: Bench, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(RequestRefused, match=message):
        bench.control.request("mark", arguments)


def test_frames_after_the_request_are_in_the_clip(bench: Bench, tmp_path: Path) -> None:
    deliver(bench, 2)
    # The process that writes may take longer to start than the clip lasts.
    soon = threading.Timer(0.2, bench.driver.deliver, (3,))
    soon.start()
    bench.control.clip(10.0, 1.5, str(tmp_path / "knee"))
    assert saved(bench).frames == 5
    soon.join()


def test_clip_of_a_frozen_probe_counts_back_from_its_last_frame(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(bench, 3)
    bench.control.freeze()
    session = bench.daemon.session
    later = session.monotonic_ns
    monkeypatch.setattr(session, "monotonic_ns", lambda: later() + 3_600_000_000_000)
    bench.control.clip(10.0, 0.0, str(tmp_path / "knee"))
    assert saved(bench).frames == 3


def test_every_frame_carries_its_settings(bench: Bench, tmp_path: Path) -> None:
    deliver(bench, 2)
    before = bench.control.get().revision
    for changes in ({"gain_db": 3.0}, {"depth_m": 0.1}):
        bench.control.freeze()
        bench.control.set(changes)
        bench.control.unfreeze()
        deliver(bench, 2)
    bench.control.clip(10.0, 0.0, str(tmp_path / "knee"))
    assert saved(bench).frames == 6
    folder = tmp_path / "knee"
    with Recording(folder / "raw.h5") as first, Recording(folder / "raw-2.h5") as second:
        assert first.revisions.tolist() == [before, before, before + 1, before + 1]
        assert second.revisions.tolist() == [before + 2, before + 2]
        assert first.settings[before + 1][0]["gain_db"] == 3.0
    assert sorted(manifest(folder)["geometry"]) == ["pictures-2.h5", "pictures.h5"]


def test_refused_clips_leave_nothing(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(RequestRefused, match="the rings hold no frame yet"):
        bench.control.clip(1.0, 0.0, str(tmp_path / "early"))
    deliver(bench, 1)
    (tmp_path / "there").mkdir()
    for path, message in (
        (tmp_path / "there", "exists already; choose another name"),
        (tmp_path / "none" / "clip", r"folder \S+none does not exist; make it first"),
        ("relative", "must be an absolute path of a new folder; got 'relative'"),
    ):
        with pytest.raises(RequestRefused, match=message):
            bench.control.clip(1.0, 0.0, str(path))
    with pytest.raises(RequestRefused, match=r"clip: path: give one, or configure record\.folder"):
        bench.control.clip(1.0, 0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_full_disk_refuses_the_clip_in_one_line(start: Start, tmp_path: Path) -> None:
    bench = start(record={"keep_free_mib": 1 << 20})
    deliver(bench, 1)
    with pytest.raises(
        RequestRefused, match=r"only \d+ MiB are free, and record.keep_free_mib keeps 1048576; make room"
    ):
        bench.control.clip(1.0, 0.0, str(tmp_path / "knee"))
    assert list(tmp_path.iterdir()) == []


def test_clip_goes_into_the_configured_folder_and_events_tell(start: Start, tmp_path: Path) -> None:
    bench = start(record={"folder": str(tmp_path)})
    deliver(bench, 1)
    event = bench.event("clip_ended", lambda: bench.control.clip(1.0, 0.0))
    assert event.facts["frames"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [Path(event.facts["path"]).name]


@pytest.fixture
def as_service(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A daemon that systemd has given a folder."""
    environment = Environment.read({"STATE_DIRECTORY": f"{tmp_path / 'state'}:{tmp_path / 'second'}"})
    monkeypatch.setattr(Environment, "read", lambda variables: environment)
    (tmp_path / "state").mkdir()
    bench = start()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    return bench


def test_command_without_a_folder_saves_where_the_service_keeps_its_files(as_service: Bench, tmp_path: Path) -> None:
    deliver(as_service, 2)
    done = sonod("clip", "--before", "10", "--after", "0", SONOD_CONTROL=as_service.control.endpoint)
    assert done.returncode == 0, done.stderr
    (made,) = (tmp_path / "state").iterdir()
    assert done.stdout.startswith(f"{made}: 2 raw frames, 2 pictures")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_service_that_may_not_write_there_says_where_it_may(as_service: Bench, tmp_path: Path) -> None:
    deliver(as_service, 1)
    for command in (("clip", "hidden/knee"), ("record", "hidden/knee.h5")):
        done = sonod(*command, SONOD_CONTROL=as_service.control.endpoint)
        assert done.returncode == 2
        assert "does not exist; make it first; as a service sonod writes below" in done.stderr
        assert str(tmp_path / "state") in done.stderr
    inside = sonod("clip", "state/none/knee", SONOD_CONTROL=as_service.control.endpoint)
    assert inside.stderr.endswith("does not exist; make it first\n")


def test_command_without_a_folder_saves_here_when_the_daemon_has_none(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    deliver(bench, 1)
    assert bench.control.status().clip.folder is None
    done = sonod("clip", "--after", "0", SONOD_CONTROL=bench.control.endpoint)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.iterdir()
    assert done.stdout.startswith(f"{made}: 1 raw frames")


def test_clip_that_cannot_be_seen_from_here_is_told(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(bench, 1)
    there = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: False if str(path).endswith("knee") else there(path))
    done = sonod("clip", str(tmp_path / "knee"), "--after", "0", SONOD_CONTROL=bench.control.endpoint)
    assert done.returncode == 0, done.stderr
    assert "you cannot see it from here: what the service saves is for the group sonod" in done.stdout


def test_process_that_dies_leaves_nothing_and_the_event_says_so(start: Start, tmp_path: Path) -> None:
    bench = start()
    deliver(bench, 1)

    def kill() -> None:
        bench.control.clip(1.0, 60.0, str(tmp_path / "knee"))
        clip = bench.daemon.keeping.clipper._clip
        assert clip is not None
        clip.feed.process._child.kill()
        deliver(bench, 1)

    event = bench.event("clip_failed", kill)
    assert event.facts["reason"] == "the writing process ended (SIGKILL)"
    assert list(tmp_path.iterdir()) == []
    # The next one is not in its way.
    bench.control.clip(60.0, 0.0, str(tmp_path / "again"))
    assert saved(bench).frames == 2


def test_second_clip_at_once_is_refused(bench: Bench, tmp_path: Path) -> None:
    deliver(bench, 1)
    bench.control.clip(1.0, 60.0, str(tmp_path / "one"))
    with pytest.raises(RequestRefused, match=r"the clip \S+one is being saved; wait for it"):
        bench.control.clip(1.0, 0.0, str(tmp_path / "two"))


def test_daemon_that_stops_leaves_no_half_a_clip(bench: Bench, tmp_path: Path) -> None:
    deliver(bench, 1)
    bench.control.clip(1.0, 60.0, str(tmp_path / "one"))
    bench.daemon.stop()
    assert list(tmp_path.iterdir()) == []


def test_saving_while_images_stream_drops_nothing(start: Start, tmp_path: Path) -> None:
    """60 images a second; `sonod bench clip` measures the same with frames of half a megabyte and 10 s."""
    source = write_recording(tmp_path / "source.h5", frames=7)
    bench = start(driver={"uri": f"replay:{source}?loop=1&rate=60"})
    frames = bench.frames()
    numbers = [next(frames).header.frame for _ in range(90)]
    asked = threading.Thread(target=bench.control.clip, args=(1.0, 0.5, str(tmp_path / "knee")))
    asked.start()
    while (outcome := bench.daemon.keeping.clipper.block())["last"] is None:
        numbers.append(next(frames).header.frame)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert outcome["last"]["complete"] is True
    asked.join()
    values = manifest(tmp_path / "knee")
    assert set(values["losses"].values()) == {0}
    for part in (values["frames"], values["pictures"]):
        assert part["count"] == part["last"] - part["first"] + 1 >= 85


def test_what_the_memory_does_not_hold_is_said_at_the_start(start: Start, log: io.StringIO) -> None:
    start(driver={"uri": "sim:"}, cine={"rf_memory_mib": 400})
    assert (
        '"the RF ring holds 6.0 s at this rate, not 10 s; more needs a larger cine.rf_memory_mib (400)"'
        in log.getvalue()
    )
