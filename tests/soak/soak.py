"""The fault campaign: everything goes wrong, again and again, and the daemon must not care.

    python tests/soak/soak.py [--seconds 300] [--seed 1] [--report FILE.json] [--only FAULT] [--step-clock]

Starts the daemon as a service on an emulated front-end (bulk RF protocol, through the real libusb under umockdev's
preload library), one patient subscriber, and then, at moments that the seed decides, faults: USB errors, unplugging,
consumers that stall, die or flood, malformed bytes, changes of settings, reloads of good and bad configurations,
moments without processor time or with little of it, recordings whose process is killed, has no memory or a full disk,
clips. With `--step-clock` (as root, on a machine that nobody else uses) also steps of the system's clock. Where control
groups may be made, the daemon and its children have 768 MiB from the start to the end. Exit code 0 when every invariant
held:

- the process that was started is alive at the end, streams, and then ends as asked;
- every frame number that the patient subscriber did not receive has exactly one cause in its accounts;
- every frame that a recording had flushed is in its file and whole, and clips have the hashes of their manifests;
- the watchdog was fed all the time; the log's volume is bounded; nothing was ended for want of memory;
- resident memory and open descriptors are flat: of a campaign of minutes the last quarter against the second, of a
  shorter one its end against its start with the same settings.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from soaked_daemon import WATCHDOG_S, Daemon

from sonod.client import Control, NoAnswer, RequestRefused, Subscriber
from sonod.drivers.emulated.server import RemoteBoard
from sonod.drivers.errors import RecordingError
from sonod.drivers.recording import Recording

SAMPLE_S = 0.5
PAUSE_S = (0.2, 1.2)
# Recovering from the last fault, on a busy machine.
SETTLE_S = 60.0
# Allowed between the medians of the second and the last quarter: plans of other depths, the heap's fragments.
MEMORY_GROWTH_BYTES = 24 << 20
DESCRIPTOR_GROWTH = 6
# Below this the quarters of a campaign say nothing of memory, and what each fault takes when it first comes (a heap of
# its own for a thread, a plan of another depth) is not told from growth: a short campaign finds large leaks only.
SHORT_S, SHORT_GROWTH_BYTES = 120.0, 64 << 20
DEEPEST_M = 0.1
# Rings are full when memory grows by less than this in this time.
FILLED_S, FILLED_BYTES = 2.0, 1 << 20
# Of a processor that is taken away and given back.
TURN_S = 0.05
LINES_A_MINUTE = 900
FAULTS = (
    "corrupt_frames",
    "drop_frames",
    "duplicate_frames",
    "short_packets",
    "bus_errors",
    "zero_packets",
    "stall_control",
)


@dataclass
class Account:
    """What the patient subscriber has seen."""

    frames: int = 0
    sessions: set[str] = field(default_factory=set)
    causes: Counter[str] = field(default_factory=Counter)
    unexplained: int = 0
    newest: float = 0.0


class Campaign:
    def __init__(
        self, daemon: Daemon, board: RemoteBoard, seed: int, only: str = "", steps_clock: bool = False
    ) -> None:
        self._daemon = daemon
        self._board = board
        self._random = random.Random(seed)
        self._only = only
        self._steps_clock = steps_clock
        self._folder = daemon.config.parent / "recordings"
        self._folder.mkdir()
        self.spoilt: list[str] = []
        self._context = zmq.Context()
        self.account = Account()
        self.done: Counter[str] = Counter()
        self.samples: list[tuple[float, int, int]] = []
        self._leaving = threading.Event()
        self._memory_before = self._memory_after = 0

    def run(self, seconds: float) -> list[str]:
        """The invariants that did not hold."""
        watchers = [threading.Thread(target=one, daemon=True) for one in (self._receive, self._sample)]
        for watcher in watchers:
            watcher.start()
        self._until_streaming()
        self._fill_pools()
        self._memory_before = self._least_memory()
        # What the start took is not what is judged.
        self.samples.clear()
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._daemon.process.poll() is None:
            fault = self._random.choice(self._faults if not self._only else (getattr(self, f"_{self._only}"),))
            self.done[fault.__name__.strip("_")] += 1
            fault()
            time.sleep(self._random.uniform(*PAUSE_S))
        self._board.ask(do="clear")
        self._board.plug()
        alive = self._daemon.process.poll() is None
        streams = alive and self._until_streaming()
        if streams:
            self._fill_pools()
            self._memory_after = self._least_memory()
        self._leaving.set()
        for watcher in watchers:
            watcher.join(SETTLE_S)
        self._context.destroy(linger=0)
        return self._broken(alive, streams)

    def _fill_pools(self) -> None:
        """Once the largest frames there will be, until the rings are full: their places are kept, and what grows from
        then on is a leak."""
        with contextlib.suppress(NoAnswer, RequestRefused), Control(self._daemon.control, 20.0) as control:
            control.set({"depth_m": DEEPEST_M})
        self._until_streaming()
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < end:
            before = self._daemon.memory_bytes
            time.sleep(FILLED_S)
            if self._daemon.memory_bytes - before < FILLED_BYTES:
                return

    def _least_memory(self) -> int:
        """Over a while: plans come and go."""
        seen = []
        for _ in range(20):
            seen.append(self._daemon.memory_bytes)
            time.sleep(FILLED_S / 20)
        return min(seen)

    # -- faults -------------------------------------------------------------------------------------------------------

    @property
    def _faults(self) -> tuple[Callable[[], None], ...]:
        return (
            self._unplug, self._usb_fault, self._halt, self._silent, self._stalling_consumer, self._dying_consumer,
            self._flooding_consumer, self._malformed, self._control_flood, self._settings, self._good_reload,
            self._bad_reload, self._no_processor, self._little_processor, self._recorder_killed, self._disk_full,
            self._memory_refused, self._clip, *((self._clock_step,) if self._steps_clock else ()),
        )  # fmt: skip

    def _unplug(self) -> None:
        self._board.unplug()
        time.sleep(self._random.uniform(0.0, 1.0))
        self._board.plug()

    def _usb_fault(self) -> None:
        self._board.set(**{self._random.choice(FAULTS): self._random.randint(1, 5)})

    def _halt(self) -> None:
        self._board.set(halt=[0x81])

    def _silent(self) -> None:
        self._board.set(silent=True)
        time.sleep(self._random.uniform(0.1, 1.0))
        self._board.set(silent=False)

    def _stalling_consumer(self) -> None:
        stalled = self._consumer(receive_limit=1)
        time.sleep(self._random.uniform(0.5, 2.0))
        stalled.close(linger=0)

    def _dying_consumer(self) -> None:
        for _ in range(5):
            consumer = self._consumer()
            consumer.poll(50)
            consumer.close(linger=0)

    def _flooding_consumer(self) -> None:
        consumer = self._consumer()
        for number in range(3000):
            consumer.setsockopt(zmq.SUBSCRIBE, f"sonod.1.{number}".encode())
        time.sleep(0.2)
        consumer.close(linger=0)

    def _malformed(self) -> None:
        for endpoint in (self._daemon.frames, self._daemon.control):
            with contextlib.suppress(OSError):
                port = int(endpoint.rsplit(":", 1)[1])
                with socket.create_connection(("127.0.0.1", port), timeout=1) as raw:
                    raw.sendall(self._random.randbytes(self._random.randint(1, 5000)))

    def _control_flood(self) -> None:
        dealer = self._context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.SNDHWM, 2000)
        dealer.connect(self._daemon.control)
        with contextlib.suppress(zmq.Again):
            for number in range(500):
                body = b'{"id": %d, "command": "status"}' % number if number % 3 else b"\xff{"
                dealer.send_multipart([b"", body], zmq.NOBLOCK)
        time.sleep(0.2)
        dealer.close(linger=0)

    def _settings(self) -> None:
        with contextlib.suppress(NoAnswer, RequestRefused), Control(self._daemon.control, 20.0) as control:
            control.set({"depth_m": round(self._random.uniform(0.03, DEEPEST_M), 3)})

    def _good_reload(self) -> None:
        self._daemon.write(round(self._random.uniform(0.03, DEEPEST_M), 3))
        self._daemon.process.send_signal(signal.SIGHUP)

    def _bad_reload(self) -> None:
        self._daemon.write(0.05, spoilt=True)
        self._daemon.process.send_signal(signal.SIGHUP)

    def _no_processor(self) -> None:
        self._daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(self._random.uniform(0.05, 0.5))
        self._daemon.process.send_signal(signal.SIGCONT)

    def _little_processor(self) -> None:
        """A tenth to a half of one processor."""
        share, seconds = self._random.uniform(0.1, 0.5), self._random.uniform(0.5, 2.0)
        group = self._daemon.group
        if group is not None:
            group.processor(share)
            time.sleep(seconds)
            group.processor(1.0)
            return
        # Without control groups nearly the same, in turns.
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._daemon.process.send_signal(signal.SIGSTOP)
            time.sleep(TURN_S * (1 - share))
            self._daemon.process.send_signal(signal.SIGCONT)
            time.sleep(TURN_S * share)

    def _clock_step(self) -> None:
        """Of the system's clock, there and back."""
        step_s = self._random.choice((-1, 1)) * self._random.uniform(0.01, 3600)
        for step in (step_s, -step_s):
            time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + step)
            time.sleep(self._random.uniform(0.2, 1.0))

    def _memory_refused(self) -> None:
        """The process that writes gets no more memory than it has."""

        def refuse(writer: int, path: Path) -> None:
            size = int(Path(f"/proc/{writer}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(writer, resource.RLIMIT_AS, (size, size))

        self._record(refuse)

    def _recorder_killed(self) -> None:
        self._record(lambda writer, path: os.kill(writer, signal.SIGKILL))

    def _disk_full(self) -> None:
        """As far as the process that writes can tell: the file grows no more."""

        def fill(writer: int, path: Path) -> None:
            size = path.stat().st_size
            resource.prlimit(writer, resource.RLIMIT_FSIZE, (size, size))

        self._record(fill)

    def _record(self, harm: Callable[[int, Path], object]) -> None:
        """A recording that comes to harm: what was flushed must be in it, and the daemon must say that it ended."""
        path = self._folder / f"{sum(self.done.values())}.h5"
        with contextlib.suppress(NoAnswer, RequestRefused), Control(self._daemon.control, 20.0) as control:
            control.start_recording(str(path))
            time.sleep(self._random.uniform(0.1, 1.0))
            flushed = control.status().recording.flushed
            for writer in self._daemon.writers:
                with contextlib.suppress(OSError):
                    harm(writer, path)
            # Without frames nobody finds out; then it ends as asked.
            deadline = time.monotonic() + 5.0
            while (going := control.status().recording.active) and time.monotonic() < deadline:
                time.sleep(0.02)
            if going:
                control.stop_recording()
            self.spoilt += _spoilt(path, flushed)
        for left in self._folder.glob("*.h5"):
            left.unlink()

    def _clip(self) -> None:
        with contextlib.suppress(NoAnswer, RequestRefused), Control(self._daemon.control, 20.0) as control:
            path = self._folder / "clip"
            control.clip(1.0, 0.2, str(path))
            while control.status().clip.active:
                time.sleep(0.05)
            outcome = control.status().clip.outcome
            if outcome is not None and not outcome.failed:
                manifest = json.loads((path / "manifest.json").read_text())
                for name, facts in manifest["files"].items():
                    if hashlib.sha256((path / name).read_bytes()).hexdigest() != facts["sha256"]:
                        self.spoilt.append(f"{name} of a clip has another hash")
        shutil.rmtree(self._folder / "clip", ignore_errors=True)
        self.spoilt += [f"left over: {path.name}" for path in self._folder.glob(".*part*")]

    # -- watching -----------------------------------------------------------------------------------------------------

    def _consumer(self, receive_limit: int = 100) -> zmq.Socket[bytes]:
        consumer = self._context.socket(zmq.SUB)
        consumer.setsockopt(zmq.RCVHWM, receive_limit)
        consumer.setsockopt(zmq.SUBSCRIBE, b"sonod.1.")
        consumer.connect(self._daemon.frames)
        return consumer

    def _receive(self) -> None:
        account, last = self.account, 0
        while not self._leaving.is_set():
            with Subscriber(self._daemon.frames) as subscriber, contextlib.suppress(NoAnswer):
                last = 0
                for frame in subscriber.frames("bmode", timeout_s=2.0):
                    header, missing = frame.header, frame.missing
                    if last and header.session in account.sessions and header.frame > last:
                        account.unexplained += abs(header.frame - last - 1 - missing.total)
                        account.causes.update({name: count for name, count in vars(missing).items() if count})
                    account.sessions.add(header.session)
                    account.frames += 1
                    account.newest = time.monotonic()
                    last = header.frame
                    if self._leaving.is_set():
                        return

    def _sample(self) -> None:
        while not self._leaving.wait(SAMPLE_S):
            with contextlib.suppress(OSError):
                self.samples.append((time.monotonic(), self._daemon.memory_bytes, self._daemon.descriptors))

    def _until_streaming(self) -> bool:
        begun = time.monotonic()
        while time.monotonic() - begun < SETTLE_S:
            if self.account.newest > begun + 1.0:
                return True
            time.sleep(0.05)
        return False

    # -- judging ------------------------------------------------------------------------------------------------------

    def _broken(self, alive: bool, streams: bool) -> list[str]:
        account, lines = self.account, self._daemon.lines
        broken = []
        if not alive:
            broken.append(f"the daemon has ended with {self._daemon.process.returncode}")
        if not streams:
            broken.append(f"no frames {SETTLE_S:.0f} s after the last fault")
        if len(account.sessions) != 1:
            broken.append(f"{len(account.sessions)} sessions: the daemon was restarted")
        broken += self.spoilt
        if self._daemon.group is not None and (ended := self._daemon.group.ended_for_memory):
            broken.append(f"{ended} processes were ended for want of memory")
        if account.unexplained:
            broken.append(f"{account.unexplained} missing frames without a cause")
        fed = self._daemon.fed
        gap_s = max((later - one for one, later in itertools.pairwise(fed)), default=99.0)
        if gap_s > WATCHDOG_S:
            broken.append(f"the watchdog was not fed for {gap_s:.1f} s")
        minutes = max(1.0, (self.samples[-1][0] - self.samples[0][0]) / 60) if self.samples else 1.0
        if sum(lines.values()) > LINES_A_MINUTE * minutes:
            broken.append(f"{sum(lines.values())} log lines in {minutes:.1f} minutes: {lines.most_common(3)}")
        memory, descriptors = self.growth()
        if memory > (SHORT_GROWTH_BYTES if self._short else MEMORY_GROWTH_BYTES):
            broken.append(f"memory has grown by {memory / 1e6:.1f} MB")
        if descriptors > DESCRIPTOR_GROWTH:
            broken.append(f"open descriptors have grown by {descriptors:.0f}")
        return broken

    @property
    def _short(self) -> bool:
        return not self.samples or self.samples[-1][0] - self.samples[0][0] < SHORT_S

    def growth(self) -> tuple[float, float]:
        """Of memory in bytes and of descriptors: from the median of the second quarter to that of the last, but of
        memory in campaigns too short for that, where plans of other depths take megabytes, the end less the start."""
        quarter = len(self.samples) // 4
        if not quarter:
            return 0.0, 0.0
        early, late = self.samples[quarter : 2 * quarter], self.samples[-quarter:]
        memory, descriptors = (
            statistics.median(one[place] for one in late) - statistics.median(one[place] for one in early)
            for place in (1, 2)
        )
        if self._short:
            memory = self._memory_after - self._memory_before
        return memory, descriptors

    def report(self, broken: list[str]) -> dict[str, Any]:
        memory, descriptors = self.growth()
        seconds = self.samples[-1][0] - self.samples[0][0] if self.samples else 0.0
        return {
            "seconds": round(seconds),
            "faults": dict(sorted(self.done.items())),
            "frames_received": self.account.frames,
            "missing_by_cause": dict(sorted(self.account.causes.items())),
            "missing_without_cause": self.account.unexplained,
            "control_group": self._daemon.group is not None,
            "memory_mb": [round(one[1] / 1e6, 1) for one in self.samples[:: max(1, len(self.samples) // 10)]],
            "memory_growth_mb": round(memory / 1e6, 2),
            "memory_slope_mb_per_hour": round(memory / 1e6 / (seconds / 2) * 3600, 1) if seconds > 120 else None,
            "descriptors": [one[2] for one in self.samples[:: max(1, len(self.samples) // 10)]],
            "descriptor_growth": descriptors,
            "log_lines": dict(self._daemon.lines.most_common()),
            "errors": list(self._daemon.errors),
            "broken": broken,
        }


def run(seconds: float, seed: int, only: str = "", steps_clock: bool = False) -> dict[str, Any]:
    """One campaign; its report, `broken` being the invariants that did not hold."""
    with tempfile.TemporaryDirectory(prefix="sonod-") as folder:
        with RemoteBoard("bulk", Path(folder, "t"), phantom="wires", probe="phased") as board:
            daemon = Daemon(Path(folder), board.environment)
            campaign = Campaign(daemon, board, seed, only, steps_clock)
            try:
                broken = campaign.run(seconds)
                daemon.process.terminate()
                if daemon.process.wait(SETTLE_S) != 0:
                    broken.append(f"asked to stop, the daemon ended with {daemon.process.returncode}")
            finally:
                daemon.close()
        return campaign.report(broken)


def _spoilt(path: Path, flushed: int) -> list[str]:
    """What is wrong with a recording of which so many frames were flushed."""
    if not flushed:
        return []
    try:
        with Recording(path) as recording:
            frame = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
            whole = sum(recording.whole(index, frame) for index in range(recording.frame_count))
            if whole != recording.frame_count or whole < flushed:
                return [f"{flushed} frames were flushed; of {recording.frame_count} in the file {whole} are whole"]
    except RecordingError as error:
        return [f"{flushed} frames were flushed, but: {error}"]
    return []


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="The fault campaign.")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--only", default="", help="one fault by name, as in the report: to find the guilty one")
    parser.add_argument("--step-clock", action="store_true", help="also steps of the system's clock; as root")
    options = parser.parse_args(arguments)
    if options.step_clock and os.geteuid() != 0:
        sys.exit("soak: --step-clock: only root may set the clock")
    report = run(options.seconds, options.seed, options.only, options.step_clock)
    text = json.dumps(report, indent=2)
    if options.report is not None:
        options.report.write_text(text + "\n")
    sys.stdout.write(text + "\n")
    return bool(report["broken"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
