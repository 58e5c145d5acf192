"""The `sonod` command as people and scripts use it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from picture_recording import write_picture_recording
from sonod_command import sonod

from sonod.daemon.cli import COMMANDS
from sonod.drivers.attached import Board, recognise
from sonod.drivers.transports.usb_bus import UsbDevice

COMMAND_TIMEOUT_S = 60

DEVICES = import_module("sonod.daemon.cli.devices")


@dataclass
class Running:
    """A daemon in a process of its own that plays a small recording."""

    process: subprocess.Popen[str]
    control: str
    frames: str
    recording: Path


def sonod_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "sonod", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_picture_recording(tmp_path_factory.mktemp("recording") / "pictures.h5")


@pytest.fixture(scope="module")
def running(recording: Path) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "sonod", "run", "--driver", f"replay:{recording}?rate=50", "--port", "0", "--no-viewer"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        facts = json.loads(line)
        if facts["event"] == "ready":
            break
    yield Running(process, facts["control"], facts["frames"][0], recording)
    process.terminate()
    process.communicate(timeout=COMMAND_TIMEOUT_S)


def ask(running: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    return sonod(*arguments, SONOD_CONTROL=running.control, SONOD_FRAMES=running.frames)


def failed_with(result: subprocess.CompletedProcess[str], code: int, line: str) -> None:
    """One line on standard error, nothing on standard output, no traceback."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert re.search(line, result.stderr), result.stderr


def test_status_is_for_people_and_for_programs(running: Running) -> None:
    people, programs = ask(running, "status"), ask(running, "status", "--json")
    assert people.returncode == programs.returncode == 0
    assert "state      running" in people.stdout
    assert json.loads(programs.stdout)["state"] == "running"


def test_health_is_a_word_and_an_exit_code(running: Running) -> None:
    good = ask(running, "status", "--check")
    assert (good.returncode, good.stdout) == (0, "good: running\n")
    assert ask(running, "freeze").returncode == 0
    idle = ask(running, "status", "--check")
    assert (idle.returncode, idle.stdout) == (0, "idle: frozen, frozen on request; the probe does not transmit\n")
    assert ask(running, "unfreeze").returncode == 0


def test_settings_can_be_read_and_changed(running: Running) -> None:
    before = json.loads(ask(running, "get", "--json").stdout)
    changed = ask(running, "set", "frame_rate_hz=40", "--json")
    assert changed.returncode == 0, changed.stderr
    applied = json.loads(changed.stdout)
    assert applied["revision"] == before["revision"] + 1
    assert applied["first_frame"] > 0
    assert ask(running, "get", "frame_rate_hz").stdout == "40\n"
    assert "0.1..1000" in ask(running, "get").stdout


@pytest.mark.parametrize(
    ("pair", "line"),
    [
        ("frame_rate_hz", "'frame_rate_hz': must be KEY=VALUE"),
        ("frame_rat=3", "frame_rat: no such setting; did you mean frame_rate_hz"),
        ("frame_rate_hz=1e6", r"frame_rate_hz: must be in 0.1..1000 Hz; got 1000000"),
        ("frame_rate_hz=fast", "frame_rate_hz: must be a number; got 'fast'"),
    ],
)
def test_wrong_setting_is_refused_with_one_line(running: Running, pair: str, line: str) -> None:
    failed_with(ask(running, "set", pair), 2, line)


def test_revision_that_others_have_left_is_refused(running: Running) -> None:
    failed_with(ask(running, "set", "frame_rate_hz=41", "--expect", "999"), 1, "expected revision 999")


def test_unknown_preset_is_refused(running: Running) -> None:
    assert "needle" in ask(running, "preset").stdout
    failed_with(ask(running, "preset", "needel"), 2, "preset 'needel': not known; did you mean needle")


def test_freeze_and_unfreeze(running: Running) -> None:
    assert ask(running, "freeze").stdout == "frozen\n"
    assert ask(running, "unfreeze").stdout == "running\n"


def test_watch_prints_frames_for_programs(running: Running) -> None:
    result = ask(running, "watch", "--frames", "bmode", "--json", "--count", "12")
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == 12
    frames = [line for line in lines if "frame" in line]
    assert frames[0]["shape"] == [6, 4]


def test_record_writes_a_file_that_replays(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    result = ask(running, "record", str(path), "--seconds", "0.2", "--json")
    assert result.returncode == 0, result.stderr
    outcome = json.loads(result.stdout)
    assert outcome["complete"]
    assert outcome["frames"] >= 2
    failed_with(ask(running, "record", str(path)), 2, "exists already")


def test_view_says_when_there_is_no_page(running: Running) -> None:
    failed_with(ask(running, "view"), 69, "serves no viewer page")


def test_second_daemon_on_the_same_port_says_so(running: Running) -> None:
    port = int(running.frames.rsplit(":", 1)[1])
    result = sonod("run", "--driver", f"replay:{running.recording}", "--port", str(port), "--no-viewer")
    failed_with(result, 2, rf"publish.endpoint: cannot listen on tcp://127.0.0.1:{port}")


@pytest.mark.parametrize("command", [("status",), ("set", "gain_db=1")])
def test_absent_daemon_is_exit_69(command: tuple[str, ...], tmp_path: Path) -> None:
    result = sonod(*command, SONOD_CONTROL=f"ipc://{tmp_path}/nobody")
    failed_with(result, 69, "no answer within 2 s; is the daemon running")


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        ("nix:", "driver 'nix': not known; there are sim, replay"),
        ("nonsense", "driver URI 'nonsense': must be NAME:REST"),
        ("replay:/nowhere.h5", "no file /nowhere.h5"),
        ("replay:x?lop=1", "unknown option lop"),
        ("sim:elephant", "elephant"),
    ],
)
def test_uri_that_cannot_be_is_exit_2(uri: str, line: str) -> None:
    failed_with(sonod("run", "--driver", uri, "--port", "0", "--no-viewer"), 2, line)


def test_folder_for_clips_that_cannot_be_made_is_exit_2(recording: Path) -> None:
    folder = recording / "clips"
    failed_with(
        sonod("run", "--no-viewer", "--record-folder", str(folder)), 2, f"--record-folder: {folder} cannot be made"
    )


def test_first_setting_out_of_range_is_exit_2(recording: Path) -> None:
    arguments = ("run", "--driver", f"replay:{recording}", "--port", "0", "--no-viewer")
    failed_with(
        sonod(*arguments, "--set", "frame_rate_hz=0"), 2, r"settings.frame_rate_hz: must be in 0.1..1000 Hz; got 0"
    )


def test_truncated_recording_is_exit_2(recording: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.h5"
    broken.write_bytes(recording.read_bytes()[:1000])
    failed_with(sonod("run", "--driver", f"replay:{broken}", "--port", "0", "--no-viewer"), 2, "broken.h5")


def test_configuration_is_checked_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('[publish]\nendpoint = "tcp://0.0.0.0:5555"\n[acquire]\nwaiting = 1\n[settings]\ndepth_m = 9\n')
    result = sonod("check-config", str(path))
    assert (result.returncode, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert "publish.endpoint: tcp://0.0.0.0:5555 can be reached from other machines" in result.stderr
    assert "acquire.waiting: unknown key; did you mean waiting_frames" in result.stderr
    assert "settings.depth_m: must be in 0.005..0.3 m; got 9" in result.stderr


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[driver]\nuri = sim:\n")
    failed_with(sonod("run", "--config", str(path)), 2, r"broken.toml: not TOML: .*line 2")


def test_good_configuration_is_said_to_be_good(tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text("")
    result = sonod("check-config", str(path))
    assert (result.returncode, result.stdout) == (0, f"{path}: good\n")


def test_drivers_are_listed() -> None:
    rows = json.loads(sonod("drivers", "--json").stdout)
    assert {row["name"] for row in rows} >= {"sim", "replay"}
    assert all(row["uri"] and row["summary"] for row in rows)


def device(**changes: object) -> UsbDevice:
    values = {"vendor_id": 0x0403, "product_id": 0x601E, "bus": 2, "address": 20, "manufacturer": "FTDI"}
    values |= {"product": "Bridge", "serial": "1", "drivers": ("bulk",), "permission": "", "busy": False}
    return UsbDevice(**values | changes)  # type: ignore[arg-type]


def test_devices_are_listed_with_driver_and_missing_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    attached = (device(), device(product_id=1, permission="the rule"), device(product_id=2, busy=True, drivers=()))
    monkeypatch.setattr(DEVICES, "attached_devices", lambda: attached)
    ready = Board("bulk", "bulk:1", "0403:601e", "2:20", "FTDI Bridge", "1", "1.2", "ready")
    monkeypatch.setattr(DEVICES, "recognise", lambda one: ready if one is attached[0] else recognise(one))
    listed = sonod("devices")
    assert listed.returncode == 0
    assert re.search(r"0403:601e +2:20 +FTDI Bridge +1 +bulk +1.2 +ready", listed.stdout)
    assert re.search(r"0403:0001 .* permission missing", listed.stdout)
    assert re.search(r"0403:0002 .* none +- +in use by another program", listed.stdout)
    assert "    the rule" in listed.stdout
    rows = json.loads(sonod("devices", "--json").stdout)
    assert [row["usb_id"] for row in rows if not row["emulated"]] == ["0403:601e", "0403:0001", "0403:0002"]
    assert [row["cure"] for row in rows[:3]] == [
        "",
        "put into /etc/udev/rules.d/70-sonod.rules, then plug in again: the rule",
        "",
    ]
    assert "un0rick:?emulated=1" in {row["uri"] for row in rows if row["emulated"]}


def test_devices_says_when_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEVICES, "attached_devices", tuple)
    listed = sonod("devices").stdout
    assert listed.startswith("No USB device is attached")
    assert re.search(r"interson:\?emulated=1 .* FPGA 7 +ready", listed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_daemon_with_exit_0(recording: Path, number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sonod", "run", "--driver", f"replay:{recording}", "--port", "0", "--no-viewer"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line)["event"] == "ready":
            break
    process.send_signal(number)
    process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert process.returncode == 0


def test_unknown_command_is_exit_2() -> None:
    result = sonod_process("fly")
    assert result.returncode == 2
    assert "fly" in result.stderr
    assert "Traceback" not in result.stderr


def test_every_command_has_its_function_and_help() -> None:
    listed = sonod("--help").stdout
    for name in COMMANDS:
        assert re.search(rf"^\W*{name} +\w", listed, re.MULTILINE), name
        assert sonod(name, "--help").returncode == 0


def test_command_that_talks_to_a_daemon_imports_no_frame_path() -> None:
    program = (
        "import sys; from sonod.daemon.cli import command_line; command_line(('status',)); "
        "print(sorted({'sonod.daemon.app', 'sonod.cext._native', 'h5py', 'PIL', 'aiohttp'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    assert result.stdout == "[]\n", result.stderr
