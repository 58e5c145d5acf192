"""The viewer's gateway lives and dies with the daemon."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from picture_recording import write_picture_recording

TIMEOUT_S = 30


def begin(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A daemon whose page is served, and the page's address."""
    recording = write_picture_recording(folder / "pictures.h5")
    command = [sys.executable, "-m", "sonod", "run", "--driver", f"replay:{recording}", "--port", "0"]
    process = subprocess.Popen([*command, "--viewer-port", "0"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        facts = json.loads(line)
        if facts["event"] == "viewer_ready":
            return process, facts["url"]
    raise AssertionError("no viewer_ready in the log")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_page_is_served_until_the_daemon_ends_however_it_ends(tmp_path: Path, number: int) -> None:
    process, url = begin(tmp_path)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as page:
            assert b"sonod" in page.read().lower()
    finally:
        process.send_signal(number)
        # The gateway holds the same standard error: its end is the end of both.
        process.communicate(timeout=TIMEOUT_S)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=TIMEOUT_S)


def test_gateway_that_cannot_serve_does_not_stop_the_daemon(tmp_path: Path) -> None:
    first, url = begin(tmp_path)
    port = url.rstrip("/").rsplit(":", 1)[1]
    recording = tmp_path / "pictures.h5"
    command = [sys.executable, "-m", "sonod", "run", "--driver", f"replay:{recording}", "--port", "0"]
    second = subprocess.Popen([*command, "--viewer-port", port], stderr=subprocess.PIPE, text=True)
    try:
        assert second.stderr is not None
        events = []
        for line in second.stderr:
            if line.startswith("{"):
                events.append(json.loads(line))
                if events[-1]["event"] == "viewer_ended":
                    break
        assert events[-1]["exit_code"] != 0
        assert second.poll() is None
    finally:
        for process in (first, second):
            process.terminate()
            process.communicate(timeout=TIMEOUT_S)
    assert second.returncode == 0
