"""The fault campaign: faults at random moments, what is watched meanwhile, and what must hold in the end."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import zmq
from faults import DEEPEST_M, Faults
from rests import Growth, Rest, growth
from soaked_daemon import WATCHDOG_S, Daemon

from sonod.client import Control, NoAnswer, RequestRefused, Subscriber
from sonod.drivers.emulated.server import RemoteBoard

SAMPLE_S = 0.5
PAUSE_S = (0.2, 1.2)
# Recovering from the last fault, on a busy machine.
SETTLE_S = 60.0
# Faults pause for a look at the daemon: so many times, or in long campaigns every ten minutes; seldom in short ones.
RESTS, REST_EVERY_S = 12, (20.0, 600.0)
# At rest memory changes by less than this in this time.
STEADY_S, STEADY_BYTES, LOOKS = 2.0, 1 << 20, 20
LINES_A_MINUTE = 900


@dataclass
class Account:
    """What the patient subscriber has seen."""

    frames: int = 0
    sessions: set[str] = field(default_factory=set)
    causes: Counter[str] = field(default_factory=Counter)
    unexplained: int = 0
    newest: float = 0.0


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
        self._kinds = [(name, cause) for name, cause in kinds.items() if only in ("", name)]
        self.account = Account()
        self.done: Counter[str] = Counter()
        self.samples: list[tuple[float, int, int]] = []
        self.rests: list[Rest] = []
        self._leaving = threading.Event()

    def run(self, seconds: float) -> list[str]:
        """The invariants that did not hold."""
        watchers = [threading.Thread(target=one, daemon=True) for one in (self._receive, self._sample)]
        for watcher in watchers:
            watcher.start()
        self._until_streaming()
        self._rest()
        # What the start took is not what is judged.
        self.samples.clear()
        begin = next_rest = time.monotonic()
        pause_s = min(max(seconds / RESTS, REST_EVERY_S[0]), REST_EVERY_S[1])
        while time.monotonic() < begin + seconds and self._alive:
            name, cause = self._random.choice(self._kinds)
            self.done[name] += 1
            cause()
            time.sleep(self._random.uniform(*PAUSE_S))
            if time.monotonic() > next_rest + pause_s:
                self._rest()
                next_rest = time.monotonic()
        self._recover()
        alive = self._alive
        streams = alive and self._until_streaming()
        if streams:
            self._rest()
        self._leaving.set()
        for watcher in watchers:
            watcher.join(SETTLE_S)
        self._context.destroy(linger=0)
        return self._broken(alive, streams)

    @property
    def _alive(self) -> bool:
        return self._daemon.process.poll() is None

    def _recover(self) -> None:
        self._board.ask(do="clear")
        self._board.plug()

    def _rest(self) -> None:
        """Look at the daemon in the state that all rests have: the largest frames flow, rings are full, and nobody but
        the patient subscriber is connected. On a machine too busy for that there is no look."""
        self._recover()
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < end and self._alive:
            losses = self._daemon.device_losses.total()
            if self._until_streaming() and self._set_deepest() and self._until_streaming():
                looks = self._looks()
                memory = [look.memory_bytes for look in looks]
                steady = memory and max(memory) - min(memory) < STEADY_BYTES
                if steady and self._daemon.device_losses.total() == losses:
                    self.rests.append(min(looks, key=lambda look: look.memory_bytes))
                    return

    def _set_deepest(self) -> bool:
        with contextlib.suppress(NoAnswer, RequestRefused), Control(self._daemon.control, 20.0) as control:
            return not control.set({"depth_m": DEEPEST_M}).pending
        return False

    def _looks(self) -> list[Rest]:
        looks = []
        for _ in range(LOOKS):
            time.sleep(STEADY_S / LOOKS)
            with contextlib.suppress(OSError):
                looks.append(Rest(time.monotonic(), self._daemon.memory_bytes, self._daemon.descriptors))
        return looks

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
        return broken + self.growth.broken

    @property
    def growth(self) -> Growth:
        return growth(self.rests)

    def report(self, broken: list[str]) -> dict[str, Any]:
        grown = self.growth
        slope = grown.memory_bytes_s
        seconds = self.samples[-1][0] - self.samples[0][0] if self.samples else 0.0
        return {
            "seconds": round(seconds),
            "faults": dict(sorted(self.done.items())),
            "frames_received": self.account.frames,
            "missing_by_cause": dict(sorted(self.account.causes.items())),
            "missing_without_cause": self.account.unexplained,
            "control_group": self._daemon.group is not None,
            "memory_mb": [round(one[1] / 1e6, 1) for one in self.samples[:: max(1, len(self.samples) // 10)]],
            "memory_at_rest_mb": [round(rest.memory_bytes / 1e6, 1) for rest in self.rests],
            "memory_growth_mb": round(grown.memory_bytes / 1e6, 2),
            "memory_slope_mb_per_hour": None if slope is None else round(slope * 3600 / 1e6, 1),
            "descriptors_at_rest": [rest.descriptors for rest in self.rests],
            "descriptor_growth": round(grown.descriptors, 1),
            "device_losses": dict(self._daemon.device_losses.most_common()),
            "log_lines": dict(self._daemon.lines.most_common()),
            "errors": list(self._daemon.errors),
            "broken": broken,
        }
