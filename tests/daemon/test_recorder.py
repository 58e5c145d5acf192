"""Recordings: every frame or the reason why not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from daemon_bench import Bench
from picture_driver import PictureDriver

from sonod.client.errors import RequestRefused
from sonod.daemon.recorder import Recorder
from sonod.drivers.frame import Slot
from sonod.drivers.recording import Recording
from sonod.drivers.settings import default_settings


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


def test_settings_that_change_the_data_continue_in_a_further_file(bench: Bench, tmp_path: Path) -> None:
    bench.control.start_recording(str(tmp_path / "out.h5"))
    bench.driver.deliver(2)
    while bench.control.status().frame < 2:
        pass
    feeder = threading.Timer(0.05, bench.driver.deliver, (3,))
    feeder.start()
    bench.control.set({"depth_m": 0.1})
    feeder.join()
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


def test_overflow_closes_the_recording_as_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = PictureDriver()
    driver.open()
    configuration = driver.prepare(default_settings(driver.knobs()))
    outcomes = []
    ended = threading.Event()

    def end(outcome: object) -> None:
        outcomes.append(outcome)
        ended.set()

    recorder = Recorder(2, "session", lambda: configuration.acquisition, end)
    slot = Slot(0)
    slot.prepare(configuration)
    hold = threading.Event()
    write: Callable[[Slot], None] = recorder._write

    def slow(written: Slot) -> None:
        hold.wait(10)
        write(written)

    monkeypatch.setattr(recorder, "_write", slow)
    recorder.launch()
    recorder.start(str(tmp_path / "out.h5"), None).result(10)
    for number in range(1, 5):
        slot.number = number
        recorder.offer(slot)
    hold.set()
    assert ended.wait(10)
    outcome = outcomes[0]
    assert not outcome.complete
    assert outcome.reason == "the queue of 2 frames overflowed at frame 3: the disk is too slow"
    assert recorder.leave(10)
    with Recording(tmp_path / "out.h5") as recording:
        assert recording.frame_count == outcome.frames == 2
        assert not recording.complete
