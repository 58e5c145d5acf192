"""What bad subscribers do to a good one, and to the daemon: one is stopped, one floods, one sends noise."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sonod.client.control import Control
from sonod.client.frame import Frame
from sonod.client.losses import MissedFrames
from sonod.client.subscriber import Subscriber
from sonod.daemon.bench.path import memory_mib
from sonod.daemon.bench.served import served_daemon

START_TIMEOUT_S = 30.0
FRAME_TIMEOUT_S = 10.0
SETTLE_FRAMES = 20
# Raw frames, because they are the largest, of about half a megabyte; nothing is beamformed, so that processing takes
# no time from anybody.
PRODUCT = "rf"
SETTINGS = "angle_count = 1\nframe_rate_hz = 20.0"
FLOOD = 100_000

# Each waits for a line before it begins, so that starting a program is no part of what is measured.
STOPPED = """
import sys, zmq
print("ready", flush=True)
sys.stdin.readline()
socket = zmq.Context().socket(zmq.SUB)
for product in sys.argv[2:]:
    socket.subscribe(b"sonod.1." + product.encode() + b".")
socket.connect(sys.argv[1])
socket.recv_multipart()
print("receives", flush=True)
while True:
    socket.recv_multipart()
"""
# When it is cut, libzmq connects it again and sends everything anew, as long as the program goes on using its socket.
# Told so, it does the whole with so many sockets, one after the other.
FLOODING = """
import sys, time, zmq
print("ready", flush=True)
sys.stdin.readline()
context = zmq.Context()
for turn in range(int(sys.argv[3])):
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.connect(sys.argv[1])
    for index in range(int(sys.argv[2])):
        socket.subscribe(b"sonod.1.rf." + b"%06d" % index + b"x" * 100)
        if index % 1000 == 0:
            time.sleep(0.01)
    print("flooded", flush=True)
while True:
    socket.poll(1000)
"""
# Ten times a second, something that is no ZeroMQ, or stops being it.
NOISY = """
import contextlib, random, socket, sys, time
print("ready", flush=True)
sys.stdin.readline()
kind, _, address = sys.argv[1].partition("://")
greeting = b"\\xff" + bytes(8) + b"\\x7f\\x03\\x00NULL" + bytes(16 + 32)
ready = greeting + b"\\x04\\x19\\x05READY\\x0bSocket-Type\\0\\0\\0\\3SUB"
openings = (b"", b"GET / HTTP/1.1\\r\\n\\r\\n", greeting, ready)
index = 0
while True:
    time.sleep(0.1)
    index += 1
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX) as connection:
        host, _, port = address.rpartition(":")
        connection.connect((host, int(port)) if kind == "tcp" else address)
        connection.sendall(openings[index % len(openings)] + random.Random(index).randbytes(4096))
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
    more = f"stalled_s = {float(stalled_s)}\n[settings]\n{SETTINGS}"
    with (
        served_daemon(uri, endpoint, more) as daemon,
        Subscriber(daemon.frames) as subscriber,
        Control(daemon.control) as control,
    ):
        frames = subscriber.frames(PRODUCT, timeout_s=START_TIMEOUT_S)
        with bad_subscribers(daemon.frames, PRODUCT, flood) as bad:
            for _ in range(SETTLE_FRAMES):
                next(frames)
            before, _ = _listen(frames, seconds)
            memory = memory_mib(daemon.pid)
            bad.begin()
            during, missed = _listen(frames, seconds)
            grown = memory_mib(daemon.pid) - memory
            counts = control.status().values["subscribers"]
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


class BadSubscribers:
    """The one that is to be stopped, the one that floods, and the one that sends noise; programs that wait.
    `floods`: with how many sockets, one after the other."""

    def __init__(self, frames_at: str, product: str, flood: int, floods: int = 1) -> None:
        self._programs = [
            start_program(STOPPED, frames_at, product, "state"),
            start_program(FLOODING, frames_at, str(flood), str(floods)),
            start_program(NOISY, frames_at),
        ]
        self._stopping: threading.Thread | None = None

    def begin(self) -> None:
        """Let them loose."""
        # It receives for a moment, so that it is one like all others, and then never again.
        self._stopping = threading.Thread(target=self._stop_first)
        self._stopping.start()
        for program in self._programs:
            assert program.stdin is not None
            program.stdin.write(b"go\n")
            program.stdin.flush()

    def end(self) -> None:
        """Kill them."""
        for program in self._programs:
            program.kill()
            program.communicate()
        if self._stopping is not None:
            self._stopping.join()

    def _stop_first(self) -> None:
        stopped = self._programs[0]
        assert stopped.stdout is not None
        if stopped.stdout.readline():
            os.kill(stopped.pid, signal.SIGSTOP)


@contextlib.contextmanager
def bad_subscribers(frames_at: str, product: str, flood: int, floods: int = 1) -> Iterator[BadSubscribers]:
    """They wait until `begin`, and are gone afterwards."""
    bad = BadSubscribers(frames_at, product, flood, floods)
    try:
        yield bad
    finally:
        bad.end()


def start_program(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Started, and waiting for a line on its standard input."""
    command = [sys.executable, "-c", program, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _ms(durations_ns: list[int], share: float) -> float:
    return round(float(np.percentile(durations_ns, share)) / 1e6, 3)
