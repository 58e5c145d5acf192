"""What bad subscribers do to a good one, and to the daemon: one is stopped, one floods, one sends noise."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

import numpy as np

from sonod.client.control import Control
from sonod.client.errors import ClientError
from sonod.client.losses import MissedFrames
from sonod.client.subscriber import Subscriber
from sonod.daemon.bench.path import memory_mib
from sonod.daemon.bench.served import served_daemon

START_TIMEOUT_S = 30.0
SETTLE_FRAMES = 20
READY = "ready"
# Raw frames, because they are the largest, of about half a megabyte; nothing is beamformed, so that processing takes
# no time from anybody.
PRODUCT = "rf"
SETTINGS = "angle_count = 1\nframe_rate_hz = 20.0"
PERIOD_NS = 50_000_000
# Two daemons publish no nearer to the same moment than 0.2 of a period; where they begin is chance.
APART, APART_TRIES = 0.3, 20
FLOOD = 100_000
# Their threads, which do not exist yet when it is set, inherit it.
LOW_PRIORITY = 10

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
    """Good subscribers of two daemons alike, in the same seconds: one before and while the bad ones are at its daemon,
    and one `beside` it, whose daemon they leave alone. Times from published to received, milliseconds.

    `flooded` tells whether the one that floods came to all of its subscriptions: on a busy machine it may not.
    `missed` holds what the first did not get of what was made, `lost` what its daemon itself lost (a busy machine); the
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
    p50_beside_ms: float
    p99_beside_ms: float
    missed: int
    lost: int
    growth_mib: float
    cut_stalled: int
    cut_flooding: int
    subscriptions: int
    flooded: bool

    @property
    def p99_change(self) -> float:
        """Against before."""
        return self.p99_during_ms / self.p99_before_ms - 1

    @property
    def p99_change_beside(self) -> float:
        """Against the other daemon's good subscriber in the same seconds: what else the machine did met both."""
        return self.p99_during_ms / self.p99_beside_ms - 1


def measure_isolation(
    seconds: float, endpoint: str = "ipc", stalled_s: float = 10.0, flood: int = FLOOD, uri: str = "sim:wires"
) -> IsolationResult:
    """`seconds` without the bad subscribers, and as long with them. BenchFailed when a daemon does not run.

    The bad programs have little priority: what is measured is what they do through the daemon, not that a program
    which makes 100 000 subscriptions needs a processor for it.
    """
    more = f"stalled_s = {float(stalled_s)}\n[settings]\n{SETTINGS}"
    with (
        served_daemon(uri, endpoint, more) as daemon,
        served_daemon(uri, endpoint, more) as other,
        Control(daemon.control) as control,
        Control(other.control) as other_control,
        bad_subscribers(daemon.frames, PRODUCT, flood, low=True) as bad,
        _listening(other.frames, seconds) as beside,
        _listening(daemon.frames, seconds) as good,
    ):
        _set_apart(beside, good, other_control)
        beside.begin()
        good.begin()
        before = good.half()
        memory = memory_mib(daemon.pid)
        bad.begin()
        during = good.half()
        grown = memory_mib(daemon.pid) - memory
        counts, flooded = control.status().values["subscribers"], bad.flooded()
        beside.half()
        others = beside.half()
    missed = during.missed
    return IsolationResult(
        endpoint=endpoint,
        seconds=seconds,
        frames_before=len(before.durations_ns),
        frames_during=len(during.durations_ns),
        p50_before_ms=_ms(before, 50),
        p99_before_ms=_ms(before, 99),
        p50_during_ms=_ms(during, 50),
        p99_during_ms=_ms(during, 99),
        p50_beside_ms=_ms(others, 50),
        p99_beside_ms=_ms(others, 99),
        missed=missed.queue,
        lost=missed.device + missed.ring + missed.processing,
        growth_mib=round(grown, 1),
        cut_stalled=counts["cut_stalled"],
        cut_flooding=counts["cut_flooding"],
        subscriptions=flood,
        flooded=flooded,
    )


def _set_apart(beside: _Listener, good: _Listener, other: Control) -> None:
    """Have both daemons publish in turns, as well as it goes: what comes at the same moment waits for each other."""
    for _ in range(APART_TRIES):
        # Both have come since.
        time.sleep(3 * PERIOD_NS / 1e9)
        if abs((beside.published_ns - good.published_ns) % PERIOD_NS / PERIOD_NS - 0.5) < APART:
            return
        other.freeze()
        other.unfreeze()


@dataclass(frozen=True)
class _Heard:
    """Times from published to received, and what was missed meanwhile."""

    durations_ns: list[int]
    missed: MissedFrames


class _Listener:
    """A good subscriber in a process of its own, so that two do not wait for each other."""

    def __init__(self, frames_at: str, seconds: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._seconds = seconds
        self._told: multiprocessing.Queue[_Heard | str] = context.Queue()
        self._start = context.Event()
        self._published_ns: Synchronized[int] = context.Value("q", 0)
        arguments = (frames_at, seconds, self._start, self._published_ns, self._told)
        self._process = context.Process(target=_listen, args=arguments, daemon=True)
        self._process.start()
        self._next()

    @property
    def published_ns(self) -> int:
        """When its newest frame was, before it counts."""
        return self._published_ns.value

    def begin(self) -> None:
        """Let it count."""
        self._start.set()

    def half(self) -> _Heard:
        """What it has heard in the first half, and the next time in the second, when that is over."""
        heard = self._next()
        assert isinstance(heard, _Heard)
        return heard

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.join()

    def _next(self) -> _Heard | str:
        try:
            told = self._told.get(timeout=self._seconds + 2 * START_TIMEOUT_S)
        except queue.Empty:
            raise TimeoutError("the good subscriber does not answer") from None
        if isinstance(told, str) and told != READY:
            raise TimeoutError(told)
        return told


@contextlib.contextmanager
def _listening(frames_at: str, seconds: float) -> Iterator[_Listener]:
    """It receives, and is gone afterwards."""
    listener = _Listener(frames_at, seconds)
    try:
        yield listener
    finally:
        listener.end()


def _listen(
    frames_at: str,
    seconds: float,
    start: Event,
    published_ns: Synchronized[int],
    told: multiprocessing.Queue[_Heard | str],
) -> None:
    """The process of a good subscriber: two halves of `seconds` each."""
    try:
        with Subscriber(frames_at) as subscriber:
            frames = subscriber.frames(PRODUCT, timeout_s=START_TIMEOUT_S)
            for _ in range(SETTLE_FRAMES):
                next(frames)
            told.put(READY)
            while not start.is_set():
                published_ns.value = next(frames).header.times.published_ns
            end = time.monotonic()
            for _ in range(2):
                end += seconds
                durations: list[int] = []
                missed = MissedFrames()
                while time.monotonic() < end:
                    frame = next(frames)
                    durations.append(frame.received_ns - frame.header.times.published_ns)
                    missed += frame.missing
                told.put(_Heard(durations, missed))
    except ClientError as error:
        told.put(str(error))


class BadSubscribers:
    """The one that is to be stopped, the one that floods, and the one that sends noise; programs that wait.
    `floods`: with how many sockets, one after the other. `low`: with little priority."""

    def __init__(self, frames_at: str, product: str, flood: int, floods: int = 1, low: bool = False) -> None:
        self.programs = [
            start_program(STOPPED, frames_at, product, "state"),
            start_program(FLOODING, frames_at, str(flood), str(floods)),
            start_program(NOISY, frames_at),
        ]
        if low:
            for program in self.programs:
                os.sched_setscheduler(program.pid, os.SCHED_OTHER, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, program.pid, LOW_PRIORITY)
        self._stopping: threading.Thread | None = None

    def begin(self) -> None:
        """Let them loose."""
        # It receives for a moment, so that it is one like all others, and then never again.
        self._stopping = threading.Thread(target=self._stop_first)
        self._stopping.start()
        for program in self.programs:
            assert program.stdin is not None
            program.stdin.write(b"go\n")
            program.stdin.flush()

    def flooded(self) -> bool:
        """Whether the one that floods has subscribed so often for the first time."""
        told = self.programs[1].stdout
        assert told is not None
        return bool(select.select([told], [], [], 0)[0])

    def end(self) -> None:
        """Kill them."""
        for program in self.programs:
            program.kill()
            program.communicate()
        if self._stopping is not None:
            self._stopping.join()

    def _stop_first(self) -> None:
        stopped = self.programs[0]
        assert stopped.stdout is not None
        if stopped.stdout.readline():
            os.kill(stopped.pid, signal.SIGSTOP)


@contextlib.contextmanager
def bad_subscribers(
    frames_at: str, product: str, flood: int, floods: int = 1, low: bool = False
) -> Iterator[BadSubscribers]:
    """They wait until `begin`, and are gone afterwards."""
    bad = BadSubscribers(frames_at, product, flood, floods, low)
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


def _ms(heard: _Heard, share: float) -> float:
    return round(float(np.percentile(heard.durations_ns, share)) / 1e6, 3)
