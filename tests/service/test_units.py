"""The unit files: systemd accepts them, they are hardened, and the udev rules name our devices and no others."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY

from sonod.drivers import TABLE, driver_class

UNITS = ("sonod.service", "sonod@.service")
FOLDER = REPOSITORY / "systemd"
# Of ten: 15 is 1.5, which the project promises.
THRESHOLD = 15

systemd = pytest.mark.systemd


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as installed, with a program that exists."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here; apt-get install systemd")
    for name in UNITS:
        text = (FOLDER / name).read_text()
        assert "@SONOD@" in text
        (tmp_path / name).write_text(text.replace("@SONOD@", "/usr/bin/true"))
    return tmp_path


@systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(installed: Path, name: str) -> None:
    command = ["systemd-analyze", "verify", "--recursive-errors=yes", "--man=no", str(installed / name)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


@systemd
@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("realtime", [False, True], ids=["", "realtime"])
def test_unit_is_hardened(installed: Path, name: str, realtime: bool) -> None:
    path = installed / name
    if realtime:
        added = (FOLDER / "realtime.conf").read_text()
        path.write_text(path.read_text().replace("[Install]", added + "[Install]"))
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", "--no-pager", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", UNITS)
def test_hotplug_is_not_shut_out(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert "DevicePolicy=closed" in text
    assert "DeviceAllow=char-usb_device rw" in text
    assert not re.search(r"^Private(Devices|Network)=yes", text, re.MULTILINE)
    assert re.search(r"^RestrictAddressFamilies=.*AF_NETLINK", text, re.MULTILINE)


def test_both_units_differ_in_nothing_but_their_names() -> None:
    def essence(name: str) -> list[str]:
        lines = (FOLDER / name).read_text().splitlines()
        directives = [line for line in lines if line and not line.startswith(("#", "Description", "Condition"))]
        return [re.sub(r"-%i|/%i$|(?<=/etc/sonod/)(%i|sonod)(?=\.toml)", "", line) for line in directives]

    assert essence(UNITS[0]) == essence(UNITS[1])


def test_rules_start_drivers_that_exist_with_devices_that_are_theirs() -> None:
    rules = (FOLDER / "70-sonod.rules").read_text()
    named = re.findall(
        r'ATTR\{idVendor\}=="(\w{4})"(?:, ATTR\{idProduct\}=="(\w{4})")?.*ENV\{SONOD_BOARD\}="([\w-]+)"', rules
    )
    assert {board for _, _, board in named} >= {"interson", "wulpus", "pic0rick", "ultr4rick"}
    for vendor, product, board in named:
        assert board in TABLE
        ids = driver_class(board).usb_ids
        assert any(int(vendor, 16) == pair[0] and product in ("", f"{pair[1]:04x}") for pair in ids), board


def test_every_line_that_gives_permission_gives_it_to_the_group_and_to_nobody_else() -> None:
    lines = [line for line in (FOLDER / "70-sonod.rules").read_text().splitlines() if "MODE" in line]
    assert lines
    assert all('MODE="0660", GROUP="sonod"' in line for line in lines)


def test_shared_identities_are_not_claimed() -> None:
    text = (FOLDER / "70-sonod.rules").read_text()
    rules = [line for line in text.splitlines() if not line.startswith("#")]
    for vendor, product in (("0403", "6010"), ("1209", "0001"), ("2341", "0043")):
        assert not any(vendor in line and product in line for line in rules)
