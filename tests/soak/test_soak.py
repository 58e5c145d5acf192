"""The fault campaign: its shortest form, in CI that of five minutes (SONOD_SOAK_SECONDS=300; docs/service.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from sonod.drivers.emulated.usbfs import preload_library

SECONDS = float(os.environ.get("SONOD_SOAK_SECONDS", "12"))
# From here on there is a slope of memory.
MINUTES_S = 300.0
# Until it streams, and from the last fault to the end.
BESIDE_S = 240.0


@pytest.mark.minutes
@pytest.mark.umockdev
@pytest.mark.timeout(SECONDS + BESIDE_S + 60)
def test_campaign_breaks_nothing() -> None:
    if preload_library() is None:
        pytest.skip("umockdev is not installed: apt-get install umockdev")
    program = Path(__file__).with_name("soak.py")
    command = [sys.executable, str(program), "--seconds", str(SECONDS), "--seed", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            told, errors = running.communicate(timeout=SECONDS + BESIDE_S)
        finally:
            # Not killed, as `subprocess.run` would do: it ends its daemon and its board.
            running.terminate()
    assert running.returncode == 0, told + errors
    report = json.loads(told)
    assert report["broken"] == []
    assert SECONDS < MINUTES_S or report["memory_slope_mb_per_hour"] is not None, told
    assert report["frames_received"] > 0
    assert sum(report["faults"].values()) >= 3


@pytest.mark.umockdev
def test_fault_that_there_is_not_is_named_in_one_line() -> None:
    if preload_library() is None:
        pytest.skip("umockdev is not installed: apt-get install umockdev")
    program = Path(__file__).with_name("soak.py")
    command = [sys.executable, str(program), "--only", "thunder"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert done.stderr.startswith("soak: --only: there is no fault 'thunder'; there are unplug, ")
    assert done.stderr.count("\n") == 1


def test_recorder_killed_at_random_moments_leaves_what_it_flushed() -> None:
    program = Path(__file__).with_name("recorder_kills.py")
    command = [sys.executable, str(program), "--rounds", "3", "--seed", "11"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["good"] == 3


def test_limits_are_left_out_where_no_control_group_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    control_group = import_module("control_group")
    monkeypatch.setattr(control_group, "ROOT", tmp_path)
    assert control_group.group_of(os.getpid()) is None
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    assert control_group.group_of(os.getpid()) is None
