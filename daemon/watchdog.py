"""Whether the threads of the frame path are alive, told to systemd by the thread that knows: the reader.

There is no timer in it. The reader feeds the watchdog from its own loop, which turns while frames come and while it
waits for a device, a wish or the next attempt; and only while every other watched thread has shown a pulse lately. A
reader that hangs in a driver, or a runner that hangs in a plan, ends the feeding, and systemd restarts the daemon.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from sonod.daemon.notify import Notifier

# Feedings in one period that systemd allows: one may be late.
FEEDINGS_A_PERIOD = 4
# A thread silent for so much of the period has hung: its loop turns at least once a second.
SILENCE = 0.5


class Pulse:
    """When one thread's loop last turned; it beats, any thread may look. Until the thread is started, its birth."""

    def __init__(self, name: str, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.name = name
        self._monotonic_ns = monotonic_ns
        self.last_ns = monotonic_ns()

    def beat(self) -> None:
        self.last_ns = self._monotonic_ns()


class Watchdog:
    """Feeds systemd's watchdog of `period_s` (0 = nobody watches) as long as all pulses beat."""

    def __init__(
        self,
        notifier: Notifier,
        period_s: float = 0.0,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._notifier = notifier
        self._period_ns = int(period_s * 1e9)
        self._monotonic_ns = monotonic_ns
        self._next_ns = 0
        self._silent = ""
        self.pulses: list[Pulse] = []
        self._log = structlog.get_logger()

    def watch(self, name: str) -> Pulse:
        """The pulse of one more thread that must turn."""
        pulse = Pulse(name, self._monotonic_ns)
        self.pulses.append(pulse)
        return pulse

    def feed(self) -> None:
        """On the reader's thread, at every turn of its loop; costs one look at the clock."""
        now_ns = self._monotonic_ns()
        if not self._period_ns or now_ns < self._next_ns:
            return
        silent = [pulse.name for pulse in self.pulses if now_ns - pulse.last_ns > SILENCE * self._period_ns]
        if silent:
            # Said once; systemd will act when nothing changes.
            if self._silent != silent[0]:
                self._silent = silent[0]
                self._log.error("thread_silent", thread=silent[0], watchdog_s=self._period_ns / 1e9)
            return
        self._silent = ""
        self._next_ns = now_ns + self._period_ns // FEEDINGS_A_PERIOD
        self._notifier.well()
