"""The fault campaign: faults at random moments, what is watched meanwhile, and what must hold in the end."""

from __future__ import annotations

import contextlib
import itertools
import random
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import zmq
from faults import DEEPEST_M, Faults
from soaked_daemon import WATCHDOG_S, Daemon

from sonod.client import Control, NoAnswer, RequestRefused, Subscriber
from sonod.drivers.emulated.server import RemoteBoard

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
# Rings are full when memory grows by less than this in this time.
FILLED_S, FILLED_BYTES = 2.0, 1 << 20
LINES_A_MINUTE = 900


@dataclass
class Account:
    """What the patient subscriber has seen."""

    frames: int = 0
    sessions: set[str] = field(default_factory=set)
    causes: Counter[str] = field(default_factory=Counter)
    unexplained: int = 0
    newest: float = 0.0


class UnknownFault(ValueError):
    """There is no fault of this name; the message has those that there are."""


class Campaign:
    """One daemon, its board, and everything that goes wrong with them. `only`: one kind of fault by name."""

    def __init__(
        self, daemon: Daemon, board: RemoteBoard, seed: int, only: str = "", steps_clock: bool = False
    ) -> None:
        self._daemon = daemon
        self._board = board
        self._random = random.Random(seed)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._faults = Faults(daemon, board, self._random, self._context)
        kinds = self._faults.kinds(steps_clock)
        if only and only not in kinds:
            raise UnknownFault(f"there is no fault {only!r}; there are {', '.join(kinds)}")
        self._kinds = [(name, cause) for name, cause in kinds.items() if only in ("", name)]
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
            name, cause = self._random.choice(self._kinds)
            self.done[name] += 1
            cause()
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

    # -- watching -----------------------------------------------------------------------------------------------------

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
        broken += self._faults.spoilt
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
            "device_losses": dict(self._daemon.device_losses.most_common()),
            "log_lines": dict(self._daemon.lines.most_common()),
            "errors": list(self._daemon.errors),
            "broken": broken,
        }
