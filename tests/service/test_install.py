"""`sonod install-service`: what it puts where, what it takes away, and what it refuses."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from sonod.daemon import installation
from sonod.daemon.cli import main
from sonod.daemon.config import load_config
from sonod.daemon.errors import ConfigError
from sonod.daemon.installation import PACKAGED, Device, installed_program, run, service_files

PROGRAM = "/opt/sonod/bin/sonod"


def sonod(*arguments: str) -> tuple[int, str, str]:
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors), pytest.raises(SystemExit) as left:
        main(["install-service", *arguments])
    return int(left.value.code or 0), output.getvalue(), errors.getvalue()


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


FILES = {
    "etc/systemd/system/sonod.service",
    "etc/systemd/system/sonod@.service",
    "etc/udev/rules.d/70-sonod.rules",
    "etc/sysusers.d/sonod.conf",
    "etc/tmpfiles.d/sonod.conf",
    "etc/sonod/sonod.toml",
}


def test_installs_and_takes_away_but_for_what_people_edit(tmp_path: Path) -> None:
    code, told, _ = sonod("--root", str(tmp_path), "--program", PROGRAM)
    assert code == 0
    assert tree(tmp_path) == FILES
    assert all(f"write            {tmp_path / path}" in told for path in FILES)
    unit = (tmp_path / "etc/systemd/system/sonod.service").read_text()
    assert f"ExecStart={PROGRAM} run --service --config /etc/sonod/sonod.toml" in unit
    assert "@SONOD@" not in unit
    assert load_config(tmp_path / "etc/sonod/sonod.toml").metrics.enabled
    code, told, _ = sonod("--root", str(tmp_path), "--uninstall")
    assert code == 0
    assert tree(tmp_path) == {"etc/sonod/sonod.toml"}
    assert "stay" in told


def test_edited_configuration_is_kept_and_an_old_unit_is_replaced(tmp_path: Path) -> None:
    sonod("--root", str(tmp_path), "--program", PROGRAM)
    (tmp_path / "etc/sonod/sonod.toml").write_text("# mine\n")
    (tmp_path / "etc/systemd/system/sonod.service").write_text("old")
    _, told, _ = sonod("--root", str(tmp_path), "--program", PROGRAM)
    assert (tmp_path / "etc/sonod/sonod.toml").read_text() == "# mine\n"
    assert f"kept as it is    {tmp_path}/etc/sonod/sonod.toml" in told
    assert f"overwrite        {tmp_path}/etc/systemd/system/sonod.service" in told
    assert f"as it should be  {tmp_path}/etc/udev/rules.d/70-sonod.rules" in told


def test_dry_run_changes_nothing(tmp_path: Path) -> None:
    code, told, _ = sonod("--root", str(tmp_path), "--program", PROGRAM, "--dry-run", "--realtime")
    assert code == 0
    assert "etc/systemd/system/sonod.service.d/realtime.conf" in told
    assert tree(tmp_path) == set()


def test_named_board_gets_a_rule_once_and_starts_its_driver(tmp_path: Path) -> None:
    for _ in range(2):
        sonod("--root", str(tmp_path), "--program", PROGRAM, "--device", "0403:6010:FT12", "--device", "cafe:4011")
    lines = (tmp_path / "etc/udev/rules.d/71-sonod-local.rules").read_text().splitlines()
    assert len(lines) == 5
    assert 'ATTR{serial}=="FT12", MODE="0660", GROUP="sonod"' in lines[1]
    assert "sonod@un0rick.service" in lines[1]
    # Two drivers claim it: which, only the administrator knows.
    assert not any("SYSTEMD_WANTS" in line for line in lines[3:])
    assert Device.parse("1234:5678").driver == "bulk"


@pytest.mark.parametrize("text", ["0403", "0403:xyz1", "0403:6010:A B", '0403:6010:"'])
def test_device_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    code, _, told = sonod("--root", str(tmp_path), "--program", PROGRAM, "--device", text)
    assert code == 2
    assert "--device: must be VID:PID or VID:PID:SERIAL" in told
    assert tree(tmp_path) == set()


def test_without_root_it_says_so_and_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, told, error = sonod("--program", PROGRAM)
    assert (code, told) == (1, "")
    assert error.startswith(
        "sonod: install-service: must be root to write below /etc/systemd/system; use sudo, or --dry-run"
    )


def test_packaged_units_are_not_doubled(tmp_path: Path) -> None:
    for file in service_files("/usr/bin/sonod", PACKAGED):
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.path).write_text(file.text)
    _, told, _ = sonod("--root", str(tmp_path), "--realtime", "--device", "1921:0090")
    assert "a package has put them" in told
    assert not (tmp_path / "etc/systemd/system/sonod.service").exists()
    assert (tmp_path / "etc/systemd/system/sonod.service.d/realtime.conf").is_file()
    assert (tmp_path / "etc/udev/rules.d/71-sonod-local.rules").is_file()


@pytest.mark.parametrize(
    ("executable", "origin", "problem"),
    [
        ("/home/lab/venv/bin/python", None, "/home/lab/venv/bin/sonod is in a home directory"),
        ("/opt/sonod/bin/python", '{"dir_info": {"editable": true}}', "this is an editable installation"),
        ("/opt/sonod/bin/python", None, ""),
    ],
)
def test_installation_that_a_service_cannot_run_is_refused(
    monkeypatch: pytest.MonkeyPatch, executable: str, origin: str | None, problem: str
) -> None:
    class Distribution:
        def read_text(self, name: str) -> str | None:
            return origin

    monkeypatch.setattr(installation.sys, "executable", executable)
    monkeypatch.setattr(installation.sys, "base_prefix", "/usr")
    monkeypatch.setattr(installation, "distribution", lambda name: Distribution())
    if problem:
        with pytest.raises(ConfigError, match=problem):
            installed_program()
    else:
        assert installed_program() == "/opt/sonod/bin/sonod"


def test_system_command_that_fails_is_told_and_does_not_stop_the_others() -> None:
    def call(command: list[str], **options: object) -> int:
        if command == ["absent"]:
            raise FileNotFoundError(2, "No such file or directory")
        return 3 if command == ["failing"] else 0

    lines = list(run((("absent",), ("failing",), ("good", "thing")), False, call))
    assert lines == [
        "not run          absent (No such file or directory)",
        "failed (3)       failing",
        "run              good thing",
    ]
