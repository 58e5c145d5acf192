"""Another driver while the daemon runs: a new session at the same addresses, or the one before and the reason."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sonod.client.control import Control
from sonod.client.errors import RequestRefused
from sonod.client.subscriber import Subscriber
from sonod.daemon.access import Caller, Role
from sonod.daemon.errors import CommandError
from sonod.daemon.switch import Outcome, SwitchDesk

WAIT_S = 60.0
SMALL = """
[image]
columns = 32
rows = 64
[publish]
endpoint = "tcp://127.0.0.1:*"
[control]
endpoint = "tcp://127.0.0.1:*"
[viewer]
enabled = false
[log]
form = "json"
[settings]
depth_m = 0.03
"""
BOARD = "pic0rick:?emulated=1"


@dataclass
class Running:
    """`sonod run` and a client of it."""

    process: subprocess.Popen[str]
    control: Control
    frames: str

    def values(self, timeout_s: float = WAIT_S) -> dict[str, Any]:
        with Control(self.control.endpoint, timeout_s) as control:
            return dict(control.status().values)

    def until(self, true: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """`status` once it says so; between two daemons there is none."""
        deadline_s = time.monotonic() + WAIT_S
        while True:
            try:
                values = self.values(2.0)
            except Exception:  # noqa: BLE001  a daemon that is just beginning again answers nothing
                values = {}
            if values and true(values):
                return values
            assert time.monotonic() < deadline_s, values
            time.sleep(0.05)

    def switch(self, uri: str, **more: Any) -> dict[str, Any]:
        """Ask, and the status of the daemon that follows."""
        before = self.values()["session"]
        assert self.control.request("switch", {"driver": uri, **more}).text("session") == before
        return self.until(lambda values: values["session"] != before and values["switch"] is not None)


@contextmanager
def running(folder: Path, *arguments: str, config: str = SMALL) -> Iterator[Running]:
    file = folder / "sonod.toml"
    file.write_text(config)
    command = [sys.executable, "-m", "sonod", "run", "--config", str(file), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                facts = json.loads(line)
                if facts["event"] == "ready":
                    break
            with Control(facts["control"], WAIT_S) as control:
                yield Running(process, control, facts["frames"][0])
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()


def test_another_probe_begins_a_new_session_at_the_same_addresses(tmp_path: Path) -> None:
    with running(tmp_path) as daemon, Subscriber(daemon.frames) as subscriber:
        first = daemon.values()
        assert first["switch"] is None
        status = daemon.switch(BOARD)
        assert status["driver"] == BOARD
        assert status["switch"] == {"from": "sim:", "to": BOARD, "problems": []}
        daemon.until(lambda values: values["state"] == "running" and values["frame"] > 3)
        # A subscriber of before goes on, and its frames say which session they are of.
        frames = subscriber.frames("bmode", timeout_s=WAIT_S)
        assert any(frame.header.session == status["session"] for frame in frames)
        # And back, with the settings that the configuration has for its own driver.
        status = daemon.switch("sim:")
        daemon.until(lambda values: values["revision"] is not None)
        assert daemon.control.get().settings["depth_m"] == pytest.approx(0.03)


def test_a_driver_that_cannot_be_used_brings_the_one_before_back_with_its_settings(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.until(lambda values: values["revision"] is not None)
        daemon.control.set({"depth_m": 0.025})
        for uri, reason in (("replay:/nowhere.h5", "/nowhere.h5"), ("bulk:1209:0001", "1209")):
            status = daemon.switch(uri)
            assert status["driver"] == "sim:"
            assert status["switch"]["to"] == uri
            assert reason in " ".join(status["switch"]["problems"])
            daemon.until(lambda values: values["state"] == "running")
            assert daemon.control.get().settings["depth_m"] == pytest.approx(0.025)


def test_what_was_frozen_stays_frozen(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.until(lambda values: values["revision"] is not None)
        daemon.control.freeze()
        daemon.switch(BOARD)
        assert daemon.until(lambda values: values["state"] == "frozen")["frame"] == 0


def record(daemon: Running, folder: Path) -> None:
    """Begin a recording; a machine that is busy may need more than one try."""
    for number in itertools.count():
        with contextlib.suppress(RequestRefused):
            daemon.control.start_recording(str(folder / f"{number}.h5"))
            return
        assert number < 10


def test_refused_requests_change_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.until(lambda values: values["state"] == "running" and values["frame"] > 0)
        session = daemon.values()["session"]
        for uri in ("nonsense", "nonsense:", "sim:no-such-scene", ""):
            with pytest.raises(RequestRefused):
                daemon.control.request("switch", {"driver": uri})
        token = daemon.control.acquire_lease("robot", 600).token
        with pytest.raises(RequestRefused, match="robot"):
            daemon.control.request("switch", {"driver": BOARD})
        record(daemon, tmp_path)
        with pytest.raises(RequestRefused, match="a recording runs") as refusal:
            daemon.control.request("switch", {"driver": BOARD, "lease": token})
        assert refusal.value.code == "busy"
        daemon.control.stop_recording()
        assert daemon.values()["session"] == session
        assert daemon.switch(BOARD, lease=token)["driver"] == BOARD


def test_a_reload_after_a_switch_keeps_the_driver(tmp_path: Path) -> None:
    with running(tmp_path, "--service") as daemon, Subscriber(daemon.frames) as subscriber:
        daemon.switch(BOARD)
        (tmp_path / "sonod.toml").write_text(SMALL.replace("depth_m = 0.03", "depth_m = 0.02"))
        daemon.process.send_signal(signal.SIGHUP)
        assert any(getattr(message, "event", None) == "reloaded" for message in subscriber.messages("event"))
        assert daemon.values()["driver"] == BOARD
        assert daemon.control.get().settings["depth_m"] == pytest.approx(0.02)


def test_a_wish_is_taken_once_and_only_when_nothing_is_written() -> None:
    desk = SwitchDesk()
    desk.outcome = Outcome("sim:", BOARD)
    with pytest.raises(CommandError, match="a clip is saved"):
        desk.ask("sim:", "a clip is saved")
    assert desk.take() is None
    desk.ask(BOARD, "")
    with pytest.raises(CommandError, match="already"):
        desk.ask("sim:", "")
    assert (desk.take(), desk.take()) == (BOARD, None)
    assert desk.block() == {"from": "sim:", "to": BOARD, "problems": ()}


def test_a_key_for_viewing_or_recording_does_not_allow_it() -> None:
    for role in (Role.VIEW, Role.RECORD):
        with pytest.raises(CommandError, match="needs the role control"):
            Caller(role, "tablet", "key").require("switch")
