"""The gateway as a program: its command line, its end, and what a browser that never reads costs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from fake_daemon import FakeDaemon, Product, linear_scene
from viewer_client import viewer_process

from sonod.client.viewer.options import UsageError, parse_options
from sonod.client.wire.geometry import ImageGeometry

WAIT_S = 20


def run_viewer(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sonod.client.viewer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=WAIT_S)


def test_it_serves_the_page_at_the_address_it_prints_and_ends_on_sigterm() -> None:
    with FakeDaemon(linear_scene) as daemon, viewer_process(daemon) as (process, url):
        with urlopen(url, timeout=WAIT_S) as page:
            assert b"not a medical device" in page.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_it_ends_when_its_input_ends() -> None:
    with FakeDaemon(linear_scene) as daemon, viewer_process(daemon, "--until-input-ends") as (process, _):
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(WAIT_S) == 0


def test_a_port_in_use_is_one_clear_line_and_exit_code_69() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_viewer("--port", str(port))
    assert result.returncode == 69
    assert result.stderr.count("\n") == 1
    assert f"port {port}" in result.stderr
    assert "--port" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "0.0.0.0"], "this machine only"),
        (["--host", "192.168.1.5"], "ssh -L"),
        (["--port", "70000"], "0..65535"),
        (["--port", "x"], "--port"),
        (["--frames", "127.0.0.1:5555"], "tcp://HOST:PORT"),
        (["--verbose"], "--verbose"),
    ],
)
def test_a_wrong_command_line_is_refused_with_the_remedy(arguments: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]*$") as error:
        parse_options(arguments)
    assert told in str(error.value)


def test_a_wrong_command_line_is_one_line_and_exit_code_2() -> None:
    result = run_viewer("--host", "0.0.0.0")
    assert result.returncode == 2
    assert result.stderr.startswith("viewer: --host")
    assert result.stderr.count("\n") == 1


def large_scene(frame: int, settings: Mapping[str, Any]) -> list[Product]:
    """Frames of a megabyte."""
    return [("bmode", np.zeros((1024, 1024), np.uint8), ImageGeometry((1024, 1024), (1e-4, 1e-4), (0.0, 0.0, 0.0)))]


def test_browsers_that_never_read_do_not_make_the_gateway_grow() -> None:
    with FakeDaemon(large_scene, frame_rate_hz=200) as daemon, viewer_process(daemon) as (process, url):
        port = int(url.rstrip("/").rpartition(":")[2])
        browsers = [silent_browser(port) for _ in range(4)]
        try:
            wait_for_frames(daemon, 100)
            before = resident_bytes(process.pid)
            wait_for_frames(daemon, 200)
            # 200 frames went by: 200 megabytes, were they kept; each browser may hold one that waits and one sent.
            assert resident_bytes(process.pid) - before < 16e6
            with urlopen(url, timeout=WAIT_S) as page:
                assert page.status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0
        finally:
            for browser in browsers:
                browser.close()


def silent_browser(port: int) -> socket.socket:
    """A WebSocket that asks for images, acknowledges without end, and reads none."""
    browser = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
    browser.sendall(
        f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert browser.recv(12) == b"HTTP/1.1 101"
    browser.sendall(text_message('{"want":["bmode"]}'))
    for _ in range(50):
        browser.sendall(text_message('{"ack":"bmode"}'))
    return browser


def text_message(text: str) -> bytes:
    """A short masked WebSocket message; the mask is zero."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode()


def wait_for_frames(daemon: FakeDaemon, count: int) -> None:
    """Until the daemon has published so many more."""
    last = daemon.frame + count
    while daemon.frame < last:
        daemon.published.wait(WAIT_S)
        daemon.published.clear()


def resident_bytes(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
