"""The doctor on a machine where all is well, and on one with each thing wrong, one at a time."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sonod.daemon.cli import main
from sonod.daemon.config import Config, parse_config
from sonod.daemon.doctor import Finding, Limit, Machine, Verdict, examine

SONOD_GROUP = 990
FREE = {"publish": {"endpoint": "tcp://127.0.0.1:*"}, "control": {"endpoint": "tcp://127.0.0.1:*"}}
QUIET = {**FREE, "viewer": {"enabled": False}}
BOARD = "sys/bus/usb/devices/1-1"


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text + "\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A scanner PC as it should be, an Interson probe plugged in, seen by the user of the service."""
    root = tmp_path / "root"
    for name, text in {"idVendor": "1921", "idProduct": "0090", "busnum": "1", "devnum": "7", "serial": "A1"}.items():
        write(root, f"{BOARD}/{name}", text)
    write(root, "dev/bus/usb/001/007", "")
    write(root, "etc/udev/rules.d/70-sonod.rules", "")
    write(root, "etc/group", "root:x:0:\nsonod:x:990:someone")
    write(root, "sys/module/usbcore/parameters/usbfs_memory_mb", "16")
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance")
    write(root, "sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc")
    write(root, "run/chrony/chronyd.pid", "1")
    write(root, "proc/meminfo", "MemTotal:        8000000 kB\nMemFree:  1 kB")
    write(root, "proc/cpuinfo", "flags\t\t: fpu sse2 avx avx2")
    write(root, "var/lib/sonod/.keep", "")
    return Machine(
        root=root,
        user_id=991,
        group_ids=frozenset({991, SONOD_GROUP}),
        limits=Limit(99, -1),
        free_bytes=lambda folder: 500 << 30,
        node=lambda path: (0o660, 0, SONOD_GROUP),
    )


def troubles(machine: Machine, config: Config | None = None) -> list[Finding]:
    found = examine(machine, config or parse_config(QUIET))
    return [finding for finding in found if finding.verdict is not Verdict.GOOD]


def test_machine_as_it_should_be_has_no_troubles(machine: Machine) -> None:
    assert troubles(machine) == []
    assert {finding.check for finding in examine(machine, parse_config(QUIET))} == {
        "permissions", "udev", "group", "usbfs", "governor", "instructions", "realtime", "clock", "memory", "disk",
        "ports",
    }  # fmt: skip


def remove(path: str) -> Callable[[Machine], Machine]:
    def apply(machine: Machine) -> Machine:
        target = machine.root / path
        if target.is_dir():
            for one in sorted(target.rglob("*"), reverse=True):
                one.rmdir() if one.is_dir() else one.unlink()
            target.rmdir()
        else:
            target.unlink()
        return machine

    return apply


def put(path: str, text: str) -> Callable[[Machine], Machine]:
    def apply(machine: Machine) -> Machine:
        write(machine.root, path, text)
        return machine

    return apply


def with_(**changes: Any) -> Callable[[Machine], Machine]:
    return lambda machine: replace(machine, **changes)


def gone(path: Path) -> tuple[int, int, int]:
    raise FileNotFoundError(2, "No such file or directory")


@pytest.mark.parametrize(
    ("spoil", "check", "verdict", "message", "remedy"),
    [
        (remove("dev/bus"), "usb", "warning", "/dev/bus/usb is not there", "modprobe xhci_pci"),
        (with_(group_ids=frozenset({991})), "permissions", "wrong", "1921:0090 A1", "--device 1921:0090"),
        (with_(node=lambda path: (0o600, 0, 0)), "permissions", "wrong", "may not open it", 'GROUP="sonod"'),
        (with_(node=gone), "permissions", "wrong", "no device node", "udevadm trigger"),
        (remove("etc/udev"), "udev", "warning", "no udev rules", "sonod install-service"),
        (put("etc/group", "root:x:0:"), "group", "warning", "no group sonod", "groupadd --system sonod"),
        (put("sys/module/usbcore/parameters/usbfs_memory_mb", "4"), "usbfs", "wrong", "is 4", "usbcore."),
        (
            put("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave"),
            "governor",
            "warning",
            "powersave",
            "cpupower frequency-set -g performance",
        ),
        (put("proc/cpuinfo", "flags: fpu sse2"), "instructions", "warning", "no AVX2", "-cpu host"),
        (
            put("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"),
            "clock",
            "warning",
            "clock is hpet",
            "dmesg",
        ),
        (remove("run"), "clock", "warning", "no program keeps the clock in step", "chrony"),
        (
            put("proc/meminfo", "MemTotal: 2000000 kB"),
            "memory",
            "warning",
            "1024 MiB of this machine's 1953 MiB",
            "cine.",
        ),
        (with_(free_bytes=lambda folder: 5 << 30), "disk", "warning", "5.4 GB free", "move old recordings"),
        (with_(free_bytes=lambda folder: 1 << 20), "disk", "wrong", "0.0 GB free", "move old recordings"),
    ],
)
def test_the_one_thing_wrong_is_named_with_its_cure(
    machine: Machine, spoil: Callable[[Machine], Machine], check: str, verdict: str, message: str, remedy: str
) -> None:
    (finding,) = troubles(spoil(machine))
    assert (finding.check, finding.verdict) == (check, verdict)
    assert message in finding.message
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("section", "limits", "message"),
    [
        ({"reader_priority": 50}, Limit(0, -1), "priority 50 is asked for, 0 is allowed"),
        ({"lock_memory": True}, Limit(99, 8 << 20), "the limit is 8192 KiB"),
    ],
)
def test_refused_real_time_rights_are_foretold(
    machine: Machine, section: dict[str, Any], limits: Limit, message: str
) -> None:
    (finding,) = troubles(replace(machine, limits=limits), parse_config({**QUIET, "realtime": section}))
    assert (finding.check, finding.verdict) == ("realtime", Verdict.WARNING)
    assert message in finding.message
    assert "install-service --realtime" in finding.remedy


def test_folder_for_clips_that_is_not_there_is_wrong(machine: Machine) -> None:
    config = parse_config({**QUIET, "record": {"folder": "/srv/clips"}})
    (finding,) = troubles(machine, config)
    assert (finding.check, finding.verdict) == ("disk", Verdict.WRONG)
    assert "record.folder: /srv/clips is not there" in finding.message
    assert finding.remedy == "make it: mkdir -p /srv/clips"
    write(machine.root, "srv/clips/.keep", "")
    assert "recordings in /srv/clips" in next(one.message for one in examine(machine, config) if one.check == "disk")


def test_unknown_instruction_set_is_wrong(machine: Machine) -> None:
    (finding,) = troubles(machine, parse_config({**QUIET, "core": {"instruction_set": "avx1024"}}))
    assert (finding.check, finding.verdict) == ("instructions", Verdict.WRONG)
    assert "auto, base" in finding.remedy


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_port_of_another_program_is_named(machine: Machine, taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    config = parse_config(
        {**QUIET, "publish": {"endpoint": f"tcp://127.0.0.1:{free}"}, "metrics": {"enabled": True, "port": taken}}
    )
    (finding,) = troubles(machine, config)
    assert (finding.check, finding.verdict) == ("ports", Verdict.WRONG)
    assert f"metrics.port: port {taken} is in use" in finding.message
    assert f"sport = :{taken}" in finding.remedy


def test_running_daemon_is_no_trouble(machine: Machine, taken: int) -> None:
    assert troubles(machine, parse_config({**QUIET, "control": {"endpoint": f"tcp://127.0.0.1:{taken}"}})) == []


def test_processor_that_chooses_by_itself_is_no_trouble(machine: Machine) -> None:
    write(machine.root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave")
    write(machine.root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "intel_pstate")
    assert troubles(machine) == []


@pytest.mark.parametrize(("user_id", "node"), [(0, (0o600, 0, 0)), (991, (0o600, 991, 0)), (991, (0o666, 0, 0))])
def test_whoever_may_open_the_board_has_no_trouble(machine: Machine, user_id: int, node: tuple[int, int, int]) -> None:
    assert troubles(replace(machine, user_id=user_id, group_ids=frozenset(), node=lambda path: node)) == []


def test_command_tells_people_and_programs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = import_module("sonod.daemon.cli.doctor")
    bad = replace(machine, free_bytes=lambda folder: 1)
    for one, code in ((machine, 0), (bad, 1)):
        monkeypatch.setattr(command, "Machine", lambda one=one: one)
        monkeypatch.setattr(command, "load_config", lambda path: parse_config(QUIET))
        with pytest.raises(SystemExit) as left:
            main(["doctor"])
        assert (left.value.code or 0) == code
    assert "BAD   disk          0.0 GB free" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["doctor", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["check"] for row in rows if row["verdict"] == "wrong"] == ["disk"]
    assert all(row["remedy"] for row in rows if row["verdict"] != "good")
