"""The whole path: a real daemon in its own process, and one subscriber in this one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sonod.client.errors import NoAnswer
from sonod.client.subscriber import Subscriber
from sonod.daemon.errors import DaemonError
from sonod.daemon.pipeline.options import ImageOptions

# A daemon has this long to show its first picture.
START_TIMEOUT_S = 30.0
FRAME_TIMEOUT_S = 5.0
# Frames passed over before counting, while caches and clocks settle.
SETTLE_FRAMES = 15
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchFailed(DaemonError):
    """The daemon under measurement did not run."""


@dataclass(frozen=True)
class PathResult:
    """What a subscriber saw in `seconds`."""

    driver: str
    seconds: float
    frames: int
    frames_per_s: float
    missed: int
    lost: int
    shape: tuple[int, ...]
    processing_ms: float
    processing_p99_ms: float
    delivery_ms: float
    delivery_p99_ms: float
    daemon_cpu_percent: float
    daemon_memory_mib: float


def measure_path(uri: str, changes: Mapping[str, object], options: ImageOptions, seconds: float) -> PathResult:
    """Start a daemon on `uri`, receive its pictures for `seconds`, and stop it. BenchFailed when it does not run.

    `missed` counts frame numbers that never came; `lost` those of them the daemon says it lost itself.
    `processing` is last byte to published, `delivery` published to received; `daemon_cpu_percent` is of one core.
    """
    frames_port, control_port = free_ports(2)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "bench.toml"
        config.write_text(_config(uri, changes, options, frames_port, control_port))
        log = Path(folder) / "log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "sonod", "run", "--config", str(config)]
            daemon = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            return _receive(daemon, f"tcp://127.0.0.1:{frames_port}", uri, seconds)
        except NoAnswer as error:
            last = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise BenchFailed(f"{uri}: no picture came ({error}); the daemon said: {' | '.join(last)}") from error
        finally:
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()


def _receive(daemon: subprocess.Popen[bytes], endpoint: str, uri: str, seconds: float) -> PathResult:
    processing: list[int] = []
    delivery: list[int] = []
    numbers: list[int] = []
    losses: list[int] = []
    begun = cpu = 0.0
    shape: tuple[int, ...] = ()
    with Subscriber(endpoint) as subscriber:
        next(iter(subscriber.frames("bmode", timeout_s=START_TIMEOUT_S)))
        for index, frame in enumerate(subscriber.frames("bmode", timeout_s=FRAME_TIMEOUT_S)):
            if index < SETTLE_FRAMES:
                continue
            if not numbers:
                begun, cpu = time.monotonic(), cpu_s(daemon.pid)
            header = frame.header
            shape = header.shape
            numbers.append(header.frame)
            losses.append(header.losses.total)
            processing.append(header.times.published_ns - header.times.last_byte_ns)
            delivery.append(frame.received_ns - header.times.published_ns)
            if time.monotonic() - begun >= seconds:
                break
    elapsed = time.monotonic() - begun
    cpu = cpu_s(daemon.pid) - cpu
    return PathResult(
        driver=uri,
        seconds=round(elapsed, 2),
        frames=len(numbers),
        frames_per_s=round((len(numbers) - 1) / elapsed, 2),
        missed=numbers[-1] - numbers[0] + 1 - len(numbers),
        lost=losses[-1] - losses[0],
        shape=shape,
        processing_ms=_ms(processing, 50),
        processing_p99_ms=_ms(processing, 99),
        delivery_ms=_ms(delivery, 50),
        delivery_p99_ms=_ms(delivery, 99),
        daemon_cpu_percent=round(100 * cpu / elapsed, 1),
        daemon_memory_mib=round(memory_mib(daemon.pid), 1),
    )


def _config(uri: str, changes: Mapping[str, object], options: ImageOptions, frames_port: int, control_port: int) -> str:
    settings = "\n".join(f"{name} = {_toml(value)}" for name, value in changes.items())
    return f"""
[driver]
uri = {_toml(uri)}
[image]
columns = {options.columns}
rows = {options.rows}
pixel_m = {options.pixel_m}
quality = {_toml(options.quality)}
focused = {_toml(options.focused)}
[publish]
endpoint = "tcp://127.0.0.1:{frames_port}"
[control]
endpoint = "tcp://127.0.0.1:{control_port}"
[viewer]
enabled = false
[settings]
{settings}
"""


def _toml(value: object) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(list(value)) if isinstance(value, tuple) else str(value)


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _ms(durations_ns: list[int], percentile: float) -> float:
    return round(float(np.percentile(durations_ns, percentile)) / 1e6, 3)
