"""How long the daemon takes from the start of its process to the first picture in a subscriber's hands."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import distribution
from pathlib import Path
from statistics import median

from sonod.client.errors import NoAnswer
from sonod.client.frame import Frame
from sonod.client.subscriber import Subscriber
from sonod.daemon.bench.path import BenchFailed, free_ports

ROUNDS = 10
# A machine that does much else takes that long.
FRAME_S = 60.0
# Far longer than a start takes, since a look begins with a connection of its own.
LOOK_S = 5.0
LEAVE_S = 10.0
IMPORTS = ("-c", "import sonod.daemon.cli.run")
CONFIG = """
[driver]
uri = "{}"
[publish]
endpoint = "tcp://127.0.0.1:{}"
[control]
endpoint = "tcp://127.0.0.1:{}"
[viewer]
port = {}
[log]
form = "json"
"""


@dataclass(frozen=True)
class StartResult:
    """Seconds: the median of all rounds, the shortest and the longest, and of what the median round is made: imports
    (of a process of their own), the probe with its plan, its first frame, the picture of it and its publishing, and the
    subscriber's part. `editable`: the installation looks whether it must be built again, which is in the imports."""

    driver: str
    rounds: int
    median_s: float
    shortest_s: float
    longest_s: float
    imports_s: float
    open_s: float
    frame_s: float
    picture_s: float
    received_s: float
    editable: bool


@dataclass(frozen=True)
class _Round:
    """Seconds after the start of the process."""

    opened_s: float
    arrived_s: float
    published_s: float
    received_s: float


def measure_start(driver: str = "sim:", rounds: int = ROUNDS) -> StartResult:
    """Start and stop a daemon so many times, with the viewer page and a subscriber. BenchFailed when no
    picture comes."""
    imports_s = median(_imports_s() for _ in range(rounds))
    found = sorted((_round(driver) for _ in range(rounds)), key=lambda one: one.received_s)
    # One that was measured, so that its parts belong together.
    middle = found[rounds // 2]
    return StartResult(
        driver,
        rounds,
        round(median(one.received_s for one in found), 3),
        round(found[0].received_s, 3),
        round(found[-1].received_s, 3),
        round(imports_s, 3),
        round(middle.opened_s - imports_s, 3),
        round(middle.arrived_s - middle.opened_s, 3),
        round(middle.published_s - middle.arrived_s, 3),
        round(middle.received_s - middle.published_s, 3),
        _editable(),
    )


def _imports_s() -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, *IMPORTS], check=True)
    return time.monotonic() - begun


def _round(driver: str) -> _Round:
    frames_port, control_port, viewer_port = free_ports(3)
    with tempfile.TemporaryDirectory() as folder, Subscriber(f"tcp://127.0.0.1:{frames_port}") as subscriber:
        config = Path(folder, "start.toml")
        config.write_text(CONFIG.format(driver, frames_port, control_port, viewer_port))
        command = [sys.executable, "-m", "sonod", "run", "--config", str(config)]
        begun_ns, utc_s = time.monotonic_ns(), time.time()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
            frame = _first_frame(subscriber, daemon)
            received_ns = time.monotonic_ns()
            daemon.terminate()
            try:
                _, log = daemon.communicate(timeout=LEAVE_S)
            except subprocess.TimeoutExpired:
                daemon.kill()
                _, log = daemon.communicate()
    if frame is None:
        raise BenchFailed(f"{driver}: no picture came; the daemon said: {log.strip()[-300:]}")
    times = frame.header.times
    return _Round(
        _opened_utc_s(log.splitlines()) - utc_s,
        (times.last_byte_ns - begun_ns) / 1e9,
        (times.published_ns - begun_ns) / 1e9,
        (received_ns - begun_ns) / 1e9,
    )


def _first_frame(subscriber: Subscriber, daemon: subprocess.Popen[str]) -> Frame | None:
    """None when none comes, or the daemon has ended."""
    deadline_s = time.monotonic() + FRAME_S
    while time.monotonic() < deadline_s and daemon.poll() is None:
        with suppress(NoAnswer):
            return next(subscriber.frames("bmode", timeout_s=LOOK_S))
    return None


def _opened_utc_s(log: Sequence[str]) -> float:
    """When the device was open and its plan made, by the daemon's log in JSON."""
    for line in log:
        if line.startswith("{") and (entry := json.loads(line))["event"] == "device_opened":
            return datetime.fromisoformat(entry["timestamp"]).timestamp()
    raise BenchFailed(f"the daemon did not say that its device was opened: {' | '.join(log)[-300:]}")


def _editable() -> bool:
    return '"editable": true' in (distribution("sonod").read_text("direct_url.json") or "")
