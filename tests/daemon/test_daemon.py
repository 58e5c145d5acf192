"""The started daemon, seen through its sockets."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from daemon_bench import PATIENCE_S, Bench, threads
from picture_driver import COLUMNS, ROWS, PictureDriver

from sonod.client.frame import Frame
from sonod.client.subscriber import Subscriber
from sonod.client.wire.notices import SettingsNotice, StateNotice
from sonod.daemon.app import Daemon, run
from sonod.daemon.config import parse_config
from sonod.daemon.errors import ConfigError, EndpointError
from sonod.drivers.errors import AccessDenied, DeviceNotFound, Disconnected, DriverError, EndOfRecording

Start = Callable[..., Bench]


def test_frame_arrives_with_everything_it_needs(bench: Bench) -> None:
    frames = bench.frames()
    bench.driver.deliver()
    frame = next(frames)
    header = frame.header
    assert frame.data.shape == (ROWS, COLUMNS)
    np.testing.assert_array_equal(frame.data, 1)
    assert (header.frame, header.revision, header.probe) == (1, 0, "test-picture")
    assert header.session == bench.daemon.session.id
    assert header.geometry.shape == (ROWS, COLUMNS)
    assert set(header.settings) == {"depth_m", "gain_db", "tgc_db", "grey_map", "output_level", "frame_rate_hz"}
    times = header.times
    ledger = [times.first_byte_ns, times.last_byte_ns, times.dequeued_ns, times.processed_ns, times.published_ns]
    assert ledger == sorted(ledger)
    assert times.published_ns <= frame.received_ns
    assert times.transmit_ns is None
    assert abs(times.utc.utc_of(times.published_ns) - time.time_ns()) < 5e9


def test_sent_frames_keep_their_pixels_when_buffers_are_used_again(bench: Bench) -> None:
    frames = bench.frames()
    received = []
    for _ in range(12):
        bench.driver.deliver()
        received.append(next(frames))
    for number, frame in enumerate(received, 1):
        np.testing.assert_array_equal(frame.data, number)


def test_newcomer_learns_state_and_settings_at_once(bench: Bench) -> None:
    messages = bench.subscriber.messages("state", "settings", timeout_s=PATIENCE_S)
    kinds: set[type] = set()
    # Either subscription may be the first to arrive, and each is welcomed.
    for message in islice(messages, 4):
        kinds.add(type(message))
        if kinds == {StateNotice, SettingsNotice}:
            return
    raise AssertionError(kinds)


def test_further_addresses_carry_the_same_messages(start: Start, tmp_path: Path) -> None:
    bench = start(publish={"also": [f"ipc://{tmp_path}/frames"]})
    assert bench.control.describe().frames[1] == f"ipc://{tmp_path}/frames"
    with Subscriber(f"ipc://{tmp_path}/frames") as local:
        messages = local.messages("bmode", "state", timeout_s=PATIENCE_S)
        next(messages)
        bench.driver.deliver()
        assert any(isinstance(message, Frame) for message in messages)


def test_transaction_is_seen_between_two_frames_and_the_reply_names_the_first(bench: Bench) -> None:
    frames = bench.frames()
    bench.driver.deliver(2)
    before = list(islice(frames, 2))
    feeder = bench.feed_when_applied(3)
    applied = bench.control.set({"depth_m": 0.1, "gain_db": 3})
    after = list(islice(frames, 3))
    feeder.join()
    assert (applied.revision, applied.first_frame) == (1, 3)
    assert applied.applied == {"depth_m": 0.1, "gain_db": 3.0}
    assert [(frame.header.frame, frame.header.revision) for frame in before] == [(1, 0), (2, 0)]
    assert [(frame.header.frame, frame.header.revision) for frame in after] == [(3, 1), (4, 1), (5, 1)]
    assert after[0].data.shape == (2 * ROWS, COLUMNS)
    assert after[0].header.settings["gain_db"] == 3.0
    assert after[0].header.geometry.fingerprint != before[0].header.geometry.fingerprint


def test_settings_notice_names_the_first_frame(bench: Bench) -> None:
    messages = bench.subscriber.messages("settings", timeout_s=PATIENCE_S)
    next(messages)
    feeder = bench.feed_when_applied(1)
    bench.control.set({"gain_db": 1})
    told = []
    for message in messages:
        if isinstance(message, SettingsNotice) and message.revision == 1:
            told.append(message.first_frame)
            if message.first_frame is not None:
                break
    feeder.join()
    assert told[0] is None
    assert told[-1] == 1


def test_first_settings_come_from_the_configuration(start: Start) -> None:
    bench = start(settings={"depth_m": 0.1})
    assert bench.control.get(["depth_m"]).settings == {"depth_m": 0.1}
    assert bench.control.get().revision == 1


def test_refused_by_the_device_leaves_the_settings_as_they_were(start: Start) -> None:
    bench = start()
    bench.driver.apply_errors.append(DriverError("no power"))
    with pytest.raises(Exception, match="no power"):
        bench.control.set({"gain_db": 5})
    assert bench.control.get(["gain_db"]).settings == {"gain_db": 0.0}
    frames = bench.frames()
    bench.driver.deliver()
    assert next(frames).header.revision == 0


def test_freeze_stops_transmitting_and_settings_can_change_meanwhile(bench: Bench) -> None:
    frames = bench.frames()
    assert bench.control.freeze() == "frozen"
    assert not bench.driver.transmitting
    applied = bench.control.set({"gain_db": 2})
    assert applied.first_frame is None
    assert bench.control.unfreeze() == "running"
    assert bench.driver.transmitting
    bench.driver.deliver()
    assert next(frames).header.revision == applied.revision


def test_settings_that_no_frame_used_leave_no_plan_behind(bench: Bench) -> None:
    bench.control.freeze()
    for gain in range(20):
        bench.control.set({"gain_db": gain})
    assert len(bench.daemon._runner._plans) <= 2
    bench.control.unfreeze()
    frames = bench.frames()
    bench.driver.deliver()
    assert next(frames).header.settings["gain_db"] == 19.0


def test_stop_releases_the_device_and_start_opens_it_again(bench: Bench) -> None:
    assert bench.control.stop() == "stopped"
    assert bench.driver.state == "closed"
    assert bench.control.status().reason
    assert bench.control.start() in ("starting", "running")
    bench.until_state("running")
    assert bench.driver.opens == 2


def test_unplug_leads_to_recovering_and_frames_go_on_counting(bench: Bench) -> None:
    frames = bench.frames()
    bench.driver.deliver()
    assert next(frames).header.frame == 1
    bench.driver.open_errors = [DeviceNotFound("gone"), DeviceNotFound("still gone")]
    event = bench.event(
        "state_changed", lambda: bench.driver.tokens.put(Disconnected("cable pulled")), state="recovering"
    )
    assert event.message == "cable pulled"
    bench.until_state("running")
    bench.driver.deliver()
    frame = next(frames)
    assert (frame.header.frame, frame.header.revision) == (2, 0)
    assert bench.control.status().recoveries == 3


def test_bug_in_a_driver_leads_to_recovering_too(bench: Bench, log: io.StringIO) -> None:
    event = bench.event("state_changed", lambda: bench.driver.tokens.put(ZeroDivisionError("1/0")), state="recovering")
    assert event.message == "ZeroDivisionError: 1/0"
    bench.until_state("running")


def test_bug_in_closing_a_driver_does_not_end_acquisition(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(bench.driver, "_stop", broken)
    bench.event("state_changed", lambda: bench.driver.tokens.put(Disconnected("gone")), state="recovering")
    bench.until_state("running")


def test_device_that_fails_to_open_at_start_is_tried_again(start: Start) -> None:
    bench = start(lambda driver: driver.open_errors.extend([AccessDenied("permission"), AccessDenied("permission")]))
    bench.until_state("running")
    assert bench.driver.opens == 3


def test_device_that_stays_away_is_logged_once(start: Start, log: io.StringIO) -> None:
    bench = start(lambda driver: driver.open_errors.extend([AccessDenied("permission")] * 5))
    bench.until_state("running")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    levels = [line["level"] for line in lines if line["event"] == "device_lost"]
    assert levels == ["warning", "debug", "debug", "debug", "debug"]


def test_settings_before_the_device_was_opened_are_unavailable(start: Start) -> None:
    bench = start(
        lambda driver: driver.open_errors.extend([AccessDenied("permission")] * 500),
        acquire={"retry_first_s": 5.0, "retry_longest_s": 5.0},
    )
    with pytest.raises(Exception, match="permission") as caught:
        bench.control.set({"gain_db": 1})
    assert caught.value.code == "unavailable"  # type: ignore[attr-defined]
    assert bench.control.status().state == "recovering"
    assert bench.control.freeze() == "recovering"


def test_end_of_recording_leaves_the_daemon_up(bench: Bench) -> None:
    bench.driver.tokens.put(EndOfRecording("over"))
    bench.until_state("ended")
    assert bench.control.start() in ("starting", "running")
    bench.until_state("running")


def test_silent_device_is_opened_again(start: Start) -> None:
    bench = start(acquire={"stall_s": 0.01})
    bench.until_state("recovering")
    assert "no frame for" in bench.control.status().reason or bench.driver.opens > 1


def test_frames_that_nobody_wants_are_not_processed(start: Start) -> None:
    bench = start(cine={"image_s": 0.0})
    bench.driver.deliver(3)
    status = bench.until(lambda status: status.frame >= 3)
    assert status.values["processed"] == 0
    assert status.losses.total == 0
    assert status.values["wanted"] == []


def test_overload_drops_the_oldest_and_says_so(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = start(acquire={"waiting_frames": 2})
    frames = bench.frames()
    hold, entered = threading.Event(), threading.Event()
    plan_run = bench.daemon.planner._plan.run  # type: ignore[union-attr]

    def slow(*arguments: object) -> object:
        entered.set()
        hold.wait(PATIENCE_S)
        return plan_run(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.daemon.planner._plan, "run", slow)
    bench.driver.deliver()
    assert entered.wait(PATIENCE_S)
    bench.driver.deliver(5)
    # The number of the newest frame is told a moment before that frame waits with the others.
    bench.until(lambda status: status.losses.ring == 3)
    hold.set()
    received = list(islice(frames, 3))
    assert [frame.header.frame for frame in received] == [1, 5, 6]
    assert [frame.header.losses.ring for frame in received] == [0, 3, 3]
    assert [frame.missed for frame in received] == [0, 0, 0]


def test_failure_of_one_frame_is_counted_and_the_next_is_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = bench.frames()
    plan_run = bench.daemon.planner._plan.run  # type: ignore[union-attr]

    def broken(*arguments: object) -> object:
        monkeypatch.undo()
        raise ValueError("a bad frame")

    monkeypatch.setattr(bench.daemon.planner._plan, "run", broken)
    bench.driver.deliver(2)
    frame = next(frames)
    assert plan_run is not None
    assert (frame.header.frame, frame.header.losses.processing) == (2, 1)
    assert bench.control.status().values["last_failure"] == "ValueError: a bad frame"


def test_slow_subscriber_changes_nothing_for_the_others(start: Start) -> None:
    def widen(driver: PictureDriver) -> None:
        driver.columns = 20_000

    # Frames of 120 kB: 200 of them are far more than all the buffers in between hold.
    bench = start(widen)
    idle = Subscriber(bench.daemon.addresses.frames[0])
    sleeper = idle.messages("state", "bmode", timeout_s=PATIENCE_S)
    next(sleeper)
    frames = bench.frames()
    for number in range(1, 201):
        bench.driver.deliver()
        assert next(frames).header.frame == number
    idle.close()


def test_clean_stop_leaves_no_thread_and_tells_subscribers(start: Start) -> None:
    bench = start()
    messages = bench.subscriber.messages("state", timeout_s=PATIENCE_S)
    next(messages)
    assert threads()
    bench.daemon.stop()
    assert not threads()
    assert any(isinstance(message, StateNotice) and message.state == "leaving" for message in messages)
    assert bench.driver.state == "closed"


def test_stop_while_a_device_is_awaited_is_immediate(start: Start) -> None:
    bench = start(
        lambda driver: driver.open_errors.extend([AccessDenied("no")] * 9),
        acquire={"retry_first_s": 100.0, "retry_longest_s": 100.0},
    )
    bench.daemon.stop()
    assert not threads()


def test_port_in_use_is_one_clear_line(bench: Bench, make_daemon: Callable[..., Daemon]) -> None:
    taken = bench.daemon.addresses
    with pytest.raises(
        EndpointError, match=r"publish.endpoint: cannot listen on tcp://127.0.0.1:\d+ \(Address already in use\); "
    ):
        make_daemon(publish={"endpoint": taken.frames[0]})
    with pytest.raises(EndpointError, match=r"control.endpoint: cannot listen on"):
        make_daemon(control={"endpoint": taken.control})
    with pytest.raises(EndpointError, match=r"control.also: cannot listen on"):
        make_daemon(control={"also": [taken.control]})
    assert "\n" not in str(bench.control.status())


@pytest.mark.parametrize(
    ("error", "line"),
    [(DeviceNotFound("no file x.h5"), "no file x.h5"), (ConfigError(["settings.x: bad"]), "settings.x: bad")],
)
def test_what_can_never_be_opened_ends_the_start(start: Start, error: Exception, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        start(lambda driver: driver.open_errors.append(error))
    assert caught.value.problems == (line,)


def test_first_settings_outside_the_drivers_range_end_the_start(start: Start) -> None:
    with pytest.raises(ConfigError) as caught:
        start(settings={"depth_m": 0.2, "output_level": 0.1})
    assert caught.value.problems == ("settings.depth_m: must be in 0.02..0.1 m; got 0.2",)


def test_unknown_driver_is_a_configuration_error(make_daemon: Callable[..., Daemon]) -> None:
    with pytest.raises(ConfigError, match=r"driver.uri: driver 'nix': not known; there are"):
        make_daemon(driver={"uri": "nix:"})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_daemon_in_the_foreground(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    from daemon_bench import BASE

    from sonod import drivers

    monkeypatch.setitem(drivers.TABLE, "picture", "picture_driver:PictureDriver")
    handler = signal.getsignal(number)
    run(parse_config(BASE), ready=lambda daemon: os.kill(os.getpid(), number))
    assert not threads()
    assert signal.getsignal(number) is handler


def test_log_is_json_and_says_nothing_for_each_frame(bench: Bench, log: io.StringIO) -> None:
    frames = bench.frames()
    bench.driver.deliver(1)
    next(frames)
    # The ring of pictures says how much it holds after the first was sent.
    bench.until(lambda status: "keep" in status.stages)
    before = len(log.getvalue().splitlines())
    for _ in range(20):
        bench.driver.deliver()
        next(frames)
    lines = log.getvalue().splitlines()
    assert len(lines) == before
    assert {"event", "level", "timestamp"} <= set(json.loads(lines[0]))
