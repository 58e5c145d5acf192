"""Recordings: every frame or the reason why not."""

from __future__ import annotations

import os
import resource
import signal
import time
import types
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from daemon_bench import PATIENCE_S, Bench
from picture_driver import PictureDriver
from recordings import plane_acquisition, write_recording

from sonod.client.errors import RequestRefused
from sonod.daemon.cine.facts import RawFacts
from sonod.daemon.cine.messages import Batch, Policy, RecordJob
from sonod.daemon.cine.ring import CineRing, RingView
from sonod.daemon.cine.writer import RecordWriter
from sonod.daemon.errors import CommandError
from sonod.drivers.errors import RecordingError
from sonod.drivers.frame import Slot
from sonod.drivers.recording import Recording
from sonod.drivers.settings import default_settings

Start = Callable[..., Bench]


def test_recording_holds_every_frame_with_its_settings(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    assert bench.control.start_recording(str(path)) == str(path)
    bench.driver.deliver(5)
    while bench.control.status().frame < 5:
        pass
    outcome = bench.control.stop_recording()
    assert (outcome.paths, outcome.frames, outcome.complete, outcome.reason) == ((str(path),), 5, True, "")
    with Recording(path) as recording:
        assert recording.frame_count == 5
        frame = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
        for index in range(5):
            recording.read_frame(index, frame)
            np.testing.assert_array_equal(frame, index + 1)


def test_compressed_recording_holds_every_frame(start: Start, tmp_path: Path) -> None:
    source = write_recording(tmp_path / "source.h5")
    bench = start(driver={"uri": f"replay:{source}?loop=1&rate=60"}, record={"compression": "gzip"})
    path = tmp_path / "out.h5"
    bench.control.start_recording(str(path))
    while bench.control.status().recording.frames < 5:
        pass
    outcome = bench.control.stop_recording()
    assert outcome.complete
    with h5py.File(path) as file:
        assert file["rf"].compression == "gzip"
    with Recording(path) as recording:
        assert recording.frame_count == outcome.frames >= 5
        frame = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
        assert all(recording.whole(index, frame) for index in range(recording.frame_count))


def test_settings_that_change_the_data_continue_in_a_further_file(bench: Bench, tmp_path: Path) -> None:
    bench.control.start_recording(str(tmp_path / "out.h5"))
    bench.driver.deliver(2)
    while bench.control.status().frame < 2:
        pass
    bench.control.freeze()
    bench.control.set({"depth_m": 0.1})
    bench.control.unfreeze()
    bench.driver.deliver(3)
    while bench.control.status().frame < 5:
        pass
    outcome = bench.control.stop_recording()
    assert [Path(path).name for path in outcome.paths] == ["out.h5", "out-2.h5"]
    assert (outcome.frames, outcome.complete) == (5, True)
    counts = []
    for path in outcome.paths:
        with Recording(Path(path)) as recording:
            counts.append(recording.frame_count)
    assert counts == [2, 3]


def test_recording_ends_by_itself_and_tells(bench: Bench, tmp_path: Path) -> None:
    def record() -> None:
        bench.control.start_recording(str(tmp_path / "out.h5"), 1e-6)
        bench.driver.deliver(3)

    event = bench.event("recording_ended", record)
    assert event.facts["complete"] is True
    assert bench.control.stop_recording().frames == event.facts["frames"] >= 1
    assert not bench.control.status().recording.active


def test_second_recording_at_once_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.control.start_recording(str(tmp_path / "one.h5"))
    with pytest.raises(RequestRefused, match=r"recording into \S+one.h5 already; stop it first"):
        bench.control.start_recording(str(tmp_path / "two.h5"))
    bench.control.stop_recording()


def test_existing_file_is_not_overwritten(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "kept.h5"
    path.write_text("mine")
    with pytest.raises(RequestRefused, match="exists already"):
        bench.control.start_recording(str(path))
    assert path.read_text() == "mine"


def test_recording_under_way_is_finished_when_the_daemon_stops(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    bench.control.start_recording(str(path))
    bench.driver.deliver(2)
    while bench.control.status().frame < 2:
        pass
    bench.daemon.stop()
    with Recording(path) as recording:
        assert recording.frame_count == 2


def test_daemon_that_leaves_does_not_wait_for_a_process_to_start(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonod.daemon.cine.feed.MODULE", "this")
    monkeypatch.setattr(
        "sonod.daemon.cine.feed.WriterProcess.answers", lambda self, timeout_s=0.0: time.sleep(0.01) or []
    )
    asked = bench.daemon.keeping.recorder.start(str(tmp_path / "out.h5"), None)
    assert bench.daemon.stop() == ()
    with pytest.raises(CommandError, match="the daemon leaves"):
        asked.result(PATIENCE_S)


def test_disk_that_is_too_slow_closes_the_recording_as_incomplete(start: Start, tmp_path: Path) -> None:
    bench = start(cine={"rf_s": 0.0}, record={"queue_frames": 2})
    path = tmp_path / "out.h5"
    bench.control.start_recording(str(path))
    process = bench.daemon.keeping.recorder.process
    assert process is not None

    def overflow() -> None:
        os.kill(process, signal.SIGSTOP)
        bench.driver.deliver(40)
        while bench.control.status().frame < 40:
            pass
        os.kill(process, signal.SIGCONT)

    event = bench.event("recording_ended", overflow)
    assert "overwritten before" in event.facts["reason"]
    assert "the disk is too slow" in event.facts["reason"]
    assert event.facts["complete"] is False
    assert event.facts["frames"] + event.facts["unrecorded"] == 40
    with Recording(path) as recording:
        assert not recording.complete
        assert recording.incomplete_reason == event.facts["reason"]


def test_process_that_is_killed_is_told_and_the_daemon_goes_on(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    bench.control.start_recording(str(path))
    bench.driver.deliver(40)
    while bench.control.status().recording.flushed < 32:
        pass
    flushed = bench.control.status().recording.flushed

    def kill() -> None:
        process = bench.daemon.keeping.recorder.process
        assert process is not None
        os.kill(process, signal.SIGKILL)

    event = bench.event("recording_ended", kill)
    assert event.facts["reason"] == "the writing process ended (SIGKILL)"
    assert (event.facts["complete"], event.facts["unrecorded"]) == (False, 40 - event.facts["frames"])
    with Recording(path) as recording:
        assert recording.abandoned
        assert recording.frame_count >= flushed
        assert not recording.complete
        frame = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
        assert all(recording.whole(index, frame) for index in range(recording.frame_count))
    bench.driver.deliver(1)
    while bench.control.status().frame < 41:
        pass
    assert bench.control.status().state == "running"


def test_file_that_may_not_grow_ends_the_recording_in_good_order(start: Start, tmp_path: Path) -> None:
    """As on a full disk; HDF5 would take its process down, and leave a file that does not open."""
    source = write_recording(tmp_path / "source.h5", acquisition=plane_acquisition(samples=1 << 16))
    bench = start(driver={"uri": f"replay:{source}?loop=1&rate=30"}, cine={"image_s": 0.0})
    path = tmp_path / "out.h5"

    def fill() -> None:
        bench.control.start_recording(str(path))
        process, size = bench.daemon.keeping.recorder.process, path.stat().st_size
        assert process is not None
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, size))

    event = bench.event("recording_ended", fill)
    assert event.facts["reason"] == f"{path}: cannot be written (File too large)"
    assert event.facts["complete"] is False
    assert bench.control.status().recording.unrecorded == event.facts["unrecorded"] > 0
    with Recording(path) as recording:
        assert (recording.abandoned, recording.complete) == (False, False)
        assert recording.incomplete_reason == event.facts["reason"]
        assert recording.frame_count == event.facts["frames"] > 0
        frame = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
        assert all(recording.whole(index, frame) for index in range(recording.frame_count))
    assert bench.control.status().state == "running"


def test_recording_ends_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is closed while there is room for that."""
    driver = PictureDriver()
    driver.open()
    configuration = driver.prepare(default_settings(driver.knobs()))
    ring: CineRing[RawFacts] = CineRing("test", 1 << 16)
    slot = Slot(0)
    slot.prepare(configuration)
    job = RecordJob(tmp_path / "out.h5", {}, Policy(keep_free_bytes=1 << 20), configuration.acquisition)
    writer = RecordWriter(job, RingView(ring.descriptor))
    for number in (1, 2):
        slot.number = number
        ring.put(slot.data, RawFacts.of(slot))
    entries = ring.since(0)
    writer.write(Batch(entries[:1], []))
    free = types.SimpleNamespace(f_bavail=1, f_frsize=4096)
    monkeypatch.setattr("sonod.daemon.cine.space.os.statvfs", lambda folder: free)
    with pytest.raises(
        RecordingError, match=r"only 0 MiB are free, and record.keep_free_mib keeps 1; make room"
    ) as told:
        writer.write(Batch(entries[1:], []))
    assert writer.close(False, str(told.value)).frames == 1
    with Recording(tmp_path / "out.h5") as recording:
        assert (recording.frame_count, recording.abandoned) == (1, False)
        assert "only 0 MiB are free" in recording.incomplete_reason
    ring.close()


def test_full_disk_refuses_the_recording(start: Start, tmp_path: Path) -> None:
    bench = start(record={"keep_free_mib": 1 << 20})
    with pytest.raises(RequestRefused, match=r"only \d+ MiB are free"):
        bench.control.start_recording(str(tmp_path / "out.h5"))
    assert list(tmp_path.iterdir()) == []
