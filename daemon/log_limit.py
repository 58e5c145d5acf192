"""Keeps the log's volume bounded: what repeats without end is counted instead of written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

# So many lines of one event at once, then one in every so many seconds. There are a few dozen events, so that the whole
# log stays under a few hundred lines a minute whatever happens.
BURST = 10
PERIOD_S = 6.0
# Events have names of our own, but a library's bug must not make this table grow.
EVENTS_LIMIT = 256


class LogLimit:
    """A structlog processor that drops lines of an event that repeats too fast. The next line of it that passes says
    with `suppressed` how many were not written. Debug lines pass: who asks for them wants them all."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # event -> lines still allowed, when that was so, lines suppressed since the last that passed
        self._budgets: dict[str, tuple[float, float, int]] = {}

    def __call__(self, logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if method == "debug":
            return line
        now = self._monotonic()
        with self._lock:
            event = str(line.get("event", ""))
            if event not in self._budgets and len(self._budgets) >= EVENTS_LIMIT:
                event = ""
            allowed, since, suppressed = self._budgets.get(event, (float(BURST), now, 0))
            allowed = min(float(BURST), allowed + (now - since) / PERIOD_S)
            if allowed < 1.0:
                self._budgets[event] = (allowed, now, suppressed + 1)
                raise structlog.DropEvent
            self._budgets[event] = (allowed - 1.0, now, 0)
        if suppressed:
            line["suppressed"] = suppressed
        return line
