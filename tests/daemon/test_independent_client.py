"""A program that has only docs/wire-protocol.md to go by, in another language, gets along with the daemon."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from daemon_bench import Bench

CLIENT = Path(__file__).parents[1] / "client" / "independent" / "client.mjs"
TIMEOUT_S = 60

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed; the independent client did not run")
    return found


def run_client(node: str, frames: str, control: str) -> dict[str, Any]:
    command = [node, str(CLIENT), frames, control]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert result.returncode == 0, result.stderr
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def test_frames_and_settings_reach_a_client_in_javascript(node: str, bench: Bench) -> None:
    done = threading.Event()

    def feed() -> None:
        while not done.wait(0.02):
            bench.driver.deliver()

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        addresses = bench.daemon.addresses
        summary = run_client(node, addresses.frames[0], addresses.control)
    finally:
        done.set()
        feeder.join()
    assert summary["probe"] == "test-picture"
    assert summary["revisions"] == [0, 1]
    assert summary["first_seen"] >= summary["first_frame"]


@pytest.mark.data
def test_measured_recording_reaches_a_client_in_javascript(node: str, data_folder: Path) -> None:
    uri = f"replay:{data_folder / 'disk_pw_linear128_doppler.h5'}?loop=1"
    process = subprocess.Popen(
        [sys.executable, "-m", "sonod", "run", "--driver", uri, "--port", "0", "--no-viewer"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            facts = json.loads(line)
            if facts["event"] == "ready":
                break
        summary = run_client(node, facts["frames"][0], facts["control"])
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)
    assert summary["depths_m"][1] < summary["depths_m"][0]
