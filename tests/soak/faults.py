"""Everything that goes wrong in the fault campaign, one method for each kind."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zmq
from soaked_daemon import Daemon

from sonod.client import Control, NoAnswer, RequestRefused
from sonod.drivers.emulated.server import RemoteBoard
from sonod.drivers.errors import RecordingError
from sonod.drivers.recording import Recording

# The deepest image that is asked for.
DEEPEST_M = 0.1
# Of a processor that is taken away and given back.
TURN_S = 0.05
LONGEST_STEP_S = 3600.0
USB_FAULTS = (
    "corrupt_frames",
    "drop_frames",
    "duplicate_frames",
    "short_packets",
    "bus_errors",
    "zero_packets",
    "stall_control",
)


KINDS = (
    "unplug", "usb_fault", "halt", "silent", "stalling_consumer", "dying_consumer", "flooding_consumer", "malformed",
    "control_flood", "settings", "good_reload", "bad_reload", "no_processor", "little_processor", "recorder_killed",
    "disk_full", "memory_refused", "clip",
)  # fmt: skip


def names(steps_clock: bool) -> tuple[str, ...]:
    """Of the faults that there are."""
    return (*KINDS, "clock_step") if steps_clock else KINDS


class Faults:
    """Done to one daemon and its board. `spoilt` has what recordings and clips have lost that was flushed; `folder` is
    where they are made, and emptied."""

    def __init__(
        self, daemon: Daemon, board: RemoteBoard, random_: random.Random, context: zmq.Context[zmq.Socket[bytes]]
    ) -> None:
        self._daemon = daemon
        self._board = board
        self._random = random_
        self._context = context
        self._folder = daemon.config.parent / "recordings"
        self._folder.mkdir()
        self._made = 0
        self.spoilt: list[str] = []

    def kinds(self, steps_clock: bool) -> dict[str, Callable[[], None]]:
        """Name -> what does it."""
        return {name: getattr(self, f"_{name}") for name in names(steps_clock)}

    def _unplug(self) -> None:
        self._board.unplug()
        time.sleep(self._random.uniform(0.0, 1.0))
        self._board.plug()

    def _usb_fault(self) -> None:
        self._board.set(**{self._random.choice(USB_FAULTS): self._random.randint(1, 5)})

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
        """Of the system's clock, there and back, whatever happens meanwhile."""
        step_ns = round(self._random.choice((-1, 1)) * self._random.uniform(0.01, LONGEST_STEP_S) * 1e9)
        offset_ns = time.time_ns() - time.monotonic_ns()
        try:
            time.clock_settime_ns(time.CLOCK_REALTIME, time.monotonic_ns() + offset_ns + step_ns)
            time.sleep(self._random.uniform(0.2, 1.0))
        finally:
            time.clock_settime_ns(time.CLOCK_REALTIME, time.monotonic_ns() + offset_ns)
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
        self._made += 1
        path = self._folder / f"{self._made}.h5"
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
            # Here, because one whose end was not seen may still be going on.
            self.spoilt += [f"left over: {part.name}" for part in self._folder.glob(".*part*")]
        shutil.rmtree(self._folder / "clip", ignore_errors=True)

    def _consumer(self, receive_limit: int = 100) -> zmq.Socket[bytes]:
        consumer = self._context.socket(zmq.SUB)
        consumer.setsockopt(zmq.RCVHWM, receive_limit)
        consumer.setsockopt(zmq.SUBSCRIBE, b"sonod.1.")
        consumer.connect(self._daemon.frames)
        return consumer


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
