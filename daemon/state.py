"""What the daemon is doing: the states, and which may follow which."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    STARTING = "starting"  # opening the device for the first time, or again after `start`
    RUNNING = "running"  # transmitting and reading
    FROZEN = "frozen"  # device open, not transmitting
    RECOVERING = "recovering"  # device gone or failed; opening it again, with pauses
    ENDED = "ended"  # a recording that plays once has been played
    STOPPED = "stopped"  # device released on request
    LEAVING = "leaving"  # the daemon ends


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.STARTING: frozenset({State.RUNNING, State.FROZEN, State.RECOVERING, State.STOPPED, State.LEAVING}),
    State.RUNNING: frozenset({State.FROZEN, State.RECOVERING, State.ENDED, State.STOPPED, State.LEAVING}),
    State.FROZEN: frozenset({State.RUNNING, State.RECOVERING, State.STOPPED, State.LEAVING}),
    State.RECOVERING: frozenset({State.RUNNING, State.FROZEN, State.STOPPED, State.LEAVING}),
    State.ENDED: frozenset({State.STARTING, State.STOPPED, State.LEAVING}),
    State.STOPPED: frozenset({State.STARTING, State.LEAVING}),
    State.LEAVING: frozenset(),
}


@dataclass(frozen=True)
class Situation:
    """A state, why, and since when on the monotonic clock."""

    state: State
    reason: str
    since_ns: int


class StateKeeper:
    """The one place that knows the state; any thread may read, `enter` checks the table and tells the listener."""

    def __init__(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._situation = Situation(State.STARTING, "", monotonic_ns())
        self.listener: Callable[[Situation], None] = lambda situation: None

    @property
    def situation(self) -> Situation:
        return self._situation

    @property
    def state(self) -> State:
        return self._situation.state

    def enter(self, state: State, reason: str = "") -> None:
        """Enter a state, or renew the reason of the present one; RuntimeError when the table forbids it."""
        with self._lock:
            before = self._situation
            if state is before.state:
                if reason == before.reason:
                    return
                self._situation = Situation(state, reason, before.since_ns)
            elif state in TRANSITIONS[before.state]:
                self._situation = Situation(state, reason, self._monotonic_ns())
            else:
                raise RuntimeError(f"state: {state} cannot follow {before.state}")
            situation = self._situation
        self.listener(situation)
