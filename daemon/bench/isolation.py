"""What bad subscribers do to a good one, and to the daemon: one is stopped, one floods, one sends noise."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sonod.client.control import Control
from sonod.client.frame import Frame
from sonod.client.losses import MissedFrames
from sonod.client.subscriber import Subscriber
from sonod.daemon.bench.path import BenchFailed, free_ports, memory_mib

START_TIMEOUT_S = 30.0
FRAME_TIMEOUT_S = 10.0
SETTLE_FRAMES = 20
# Raw frames, because they are the largest, of about half a megabyte; nothing is beamformed, so that processing takes
# no time from anybody.
PRODUCT = "rf"
SETTINGS = "angle_count = 1\nframe_rate_hz = 20.0"
FLOOD = 100_000

STOPPED = """
import sys, time, zmq
socket = zmq.Context().socket(zmq.SUB)
for product in sys.argv[2:]:
    socket.subscribe(b"sonod.1." + product.encode() + b".")
socket.connect(sys.argv[1])
socket.recv_multipart()
print("ready", flush=True)
while True:
    socket.recv_multipart()
"""
FLOODING = """
import sys, time, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.setsockopt(zmq.SNDHWM, 0)
socket.connect(sys.argv[1])
print("ready", flush=True)
for index in range(int(sys.argv[2])):
    socket.subscribe(b"sonod.1.rf." + b"%06d" % index + b"x" * 100)
    if index % 1000 == 0:
        time.sleep(0.01)
time.sleep(3600)
"""


@dataclass(frozen=True)
class IsolationResult:
    """One good subscriber, before and while the bad ones are there; times from published to received, milliseconds.

    `missed` holds what it did not get of what was made, `lost` what the daemon itself lost (a busy machine); the
    daemon's memory is that of its process.
    """

    endpoint: str
    seconds: float
    frames_before: int
    frames_during: int
    p50_before_ms: float
    p99_before_ms: float
    p50_during_ms: float
    p99_during_ms: float
    missed: int
    lost: int
    growth_mib: float
    cut_stalled: int
    cut_flooding: int
    subscriptions_sent: int

    @property
    def p99_change(self) -> float:
        return self.p99_during_ms / self.p99_before_ms - 1


def measure_isolation(
    seconds: float, endpoint: str = "ipc", stalled_s: float = 10.0, flood: int = FLOOD, uri: str = "sim:wires"
) -> IsolationResult:
    """`seconds` without the bad subscribers, and as long with them. BenchFailed when the daemon does not run."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _daemon(Path(folder), endpoint, stalled_s, uri) as (pid, frames_at, control_at),
        Subscriber(frames_at) as subscriber,
        Control(control_at) as control,
    ):
        frames = subscriber.frames(PRODUCT, timeout_s=START_TIMEOUT_S)
        for _ in range(SETTLE_FRAMES):
            next(frames)
        before, _ = _listen(frames, seconds)
        memory = memory_mib(pid)
        with bad_subscribers(frames_at, PRODUCT, flood) as stopped:
            # It receives for a moment, so that it is one like all others, and then never again.
            next(frames)
            os.kill(stopped.pid, signal.SIGSTOP)
            during, missed = _listen(frames, seconds)
            grown = memory_mib(pid) - memory
            counts = control.status().values["subscribers"]
            os.kill(stopped.pid, signal.SIGCONT)
    return IsolationResult(
        endpoint=endpoint,
        seconds=seconds,
        frames_before=len(before),
        frames_during=len(during),
        p50_before_ms=_ms(before, 50),
        p99_before_ms=_ms(before, 99),
        p50_during_ms=_ms(during, 50),
        p99_during_ms=_ms(during, 99),
        missed=missed.queue,
        lost=missed.device + missed.ring + missed.processing,
        growth_mib=round(grown, 1),
        cut_stalled=counts["cut_stalled"],
        cut_flooding=counts["cut_flooding"],
        subscriptions_sent=flood,
    )


def _listen(frames: Iterator[Frame], seconds: float) -> tuple[list[int], MissedFrames]:
    """Times from published to received, and what was missed meanwhile."""
    durations: list[int] = []
    missed = MissedFrames()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        frame = next(frames)
        durations.append(frame.received_ns - frame.header.times.published_ns)
        missed += frame.missing
    return durations, missed


@contextlib.contextmanager
def bad_subscribers(frames_at: str, product: str, flood: int, stop: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """The one that is to be stopped (with `stop` it is already), the one that floods, and the one that sends noise."""
    leaving = threading.Event()
    stopped = _start(STOPPED, frames_at, product, "state")
    flooding = _start(FLOODING, frames_at, str(flood))
    noise = threading.Thread(target=_send_noise, args=(frames_at, leaving))
    noise.start()
    try:
        if stop:
            os.kill(stopped.pid, signal.SIGSTOP)
        yield stopped
    finally:
        leaving.set()
        noise.join()
        for process in (stopped, flooding):
            process.kill()
            process.wait()


def _start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


def _send_noise(frames_at: str, leaving: threading.Event) -> None:
    """Ten times a second, something that is no ZeroMQ, or stops being it."""
    rng = np.random.default_rng(1)
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16 + 32)
    openings = (b"", b"GET / HTTP/1.1\r\n\r\n", greeting, greeting + b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\3SUB")
    for index in range(1 << 30):
        if leaving.wait(0.1):
            return
        with contextlib.suppress(OSError), _connect(frames_at) as connection:
            connection.sendall(openings[index % len(openings)] + rng.bytes(4096))


def _connect(endpoint: str) -> socket.socket:
    kind, _, address = endpoint.partition("://")
    if kind == "tcp":
        host, port = address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), 5)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    return connection


@contextlib.contextmanager
def _daemon(folder: Path, endpoint: str, stalled_s: float, uri: str) -> Iterator[tuple[int, str, str]]:
    """(process, frames, control) of a daemon in a process of its own."""
    frames_port, control_port = free_ports(2)
    frames_at = f"ipc://{folder}/frames" if endpoint == "ipc" else f"tcp://127.0.0.1:{frames_port}"
    control_at = f"ipc://{folder}/control" if endpoint == "ipc" else f"tcp://127.0.0.1:{control_port}"
    config = folder / "bench.toml"
    config.write_text(
        f"""
[driver]
uri = "{uri}"
[publish]
endpoint = "{frames_at}"
stalled_s = {float(stalled_s)}
[control]
endpoint = "{control_at}"
[viewer]
enabled = false
[settings]
{SETTINGS}
"""
    )
    log = folder / "log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "sonod", "run", "--config", str(config)]
        daemon = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield daemon.pid, frames_at, control_at
    except TimeoutError as error:
        last = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise BenchFailed(f"{uri}: {error}; the daemon said: {' | '.join(last)}") from error
    finally:
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()


def _ms(durations_ns: list[int], share: float) -> float:
    return round(float(np.percentile(durations_ns, share)) / 1e6, 3)
