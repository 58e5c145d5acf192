"""A daemon in a process of its own, for what is measured from outside."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sonod.daemon.bench.path import BenchFailed, free_ports


@dataclass(frozen=True)
class ServedDaemon:
    """Its process, and where it is reached."""

    pid: int
    frames: str
    control: str


@contextlib.contextmanager
def served_daemon(uri: str, endpoint: str = "tcp", more: str = "") -> Iterator[ServedDaemon]:
    """On this driver, over `ipc` or `tcp`, with more lines of configuration (TOML) after the section `publish`.
    BenchFailed, with what the daemon said, when something does not come from it in time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames_port, control_port = free_ports(2)
        frames_at = f"ipc://{folder}/frames" if endpoint == "ipc" else f"tcp://127.0.0.1:{frames_port}"
        control_at = f"ipc://{folder}/control" if endpoint == "ipc" else f"tcp://127.0.0.1:{control_port}"
        config, log = folder / "bench.toml", folder / "log"
        config.write_text(
            f"""
[driver]
uri = "{uri}"
[control]
endpoint = "{control_at}"
[viewer]
enabled = false
[publish]
endpoint = "{frames_at}"
{more}
"""
        )
        with log.open("wb") as output:
            command = [sys.executable, "-m", "sonod", "run", "--config", str(config)]
            daemon = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            yield ServedDaemon(daemon.pid, frames_at, control_at)
        except TimeoutError as error:
            last = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise BenchFailed(f"{uri}: {error}; the daemon said: {' | '.join(last)}") from error
        finally:
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
