"""The real process as systemd would run it, a socket in the place of systemd."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from picture_recording import write_picture_recording

PATIENCE_S = 60.0


@dataclass
class Service:
    process: subprocess.Popen[str]
    manager: socket.socket
    config: Path

    def until(self, wanted: str) -> str:
        """The first line from the daemon that begins so."""
        while True:
            for line in self.manager.recv(4096).decode().splitlines():
                if line.startswith(wanted):
                    return line


def run(config: Path, address: Path, *more: str) -> subprocess.Popen[str]:
    variables = {
        "PATH": str(Path(sys.executable).parent) + ":/usr/bin:/bin",
        "NOTIFY_SOCKET": str(address),
        "WATCHDOG_USEC": "2000000",
    }
    command = [sys.executable, "-m", "sonod", "run", "--service", "--config", str(config), *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    recording = write_picture_recording(tmp_path / "pictures.h5")
    config = tmp_path / "sonod.toml"
    config.write_text(
        f'[driver]\nuri = "replay:{recording}?rate=50&loop=1"\n[viewer]\nenabled = false\n'
        '[publish]\nendpoint = "tcp://127.0.0.1:*"\n[control]\nendpoint = "tcp://127.0.0.1:*"\n'
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        process = run(config, tmp_path / "notify")
        yield Service(process, manager, config)
        process.kill()
        process.communicate()


def test_life_of_a_service(service: Service) -> None:
    service.until("READY=1")
    service.until("STATUS=running, good")
    service.until("WATCHDOG=1")

    good = service.config.read_text()
    service.config.write_text(good + "[settings]\ndepth_m = 99\n")
    service.process.send_signal(signal.SIGHUP)
    service.until("RELOADING=1")
    assert "reload refused" in service.until("STATUS=")
    assert service.process.poll() is None

    service.config.write_text(good + "[settings]\nframe_rate_hz = 40\n")
    service.process.send_signal(signal.SIGHUP)
    service.until("RELOADING=1")
    assert "refused" not in service.until("STATUS=")

    # Stopped by a signal it is silent, and feeds again when it may go on.
    service.process.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    _drain(service.manager)
    time.sleep(1.0)
    assert _drain(service.manager) == ""
    service.process.send_signal(signal.SIGCONT)
    service.until("WATCHDOG=1")

    service.process.terminate()
    service.until("STOPPING=1")
    assert service.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[driver]\nur = 1\n", "driver.ur: unknown key"),
        ('[driver]\nuri = "sim:"\n[settings]\ndepth_m = 0.29\n', "settings.depth_m: must be in"),
    ],
)
def test_bad_configuration_is_exit_78_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    config = tmp_path / "sonod.toml"
    config.write_text(text + '[publish]\nendpoint = "tcp://127.0.0.1:*"\n[control]\nendpoint = "tcp://127.0.0.1:*"\n')
    process = run(config, tmp_path / "nobody")
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 78, told
    assert any(line.startswith("sonod: ") and problem in line for line in told.splitlines()), told
    assert "Traceback" not in told


def _drain(manager: socket.socket) -> str:
    heard = ""
    manager.setblocking(False)
    try:
        while True:
            heard += manager.recv(4096).decode()
    except BlockingIOError:
        return heard
    finally:
        manager.settimeout(PATIENCE_S)
