"""Signals that end the daemon or have it read its configuration again."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Handles SIGINT, SIGTERM and, with `reloads`, SIGHUP (else it ends, too) while it is entered; on the main thread.

    The handler takes no lock: it runs between any two instructions of the main thread, which may hold that lock (as it
    does of a `threading.Event` that it waits for).
    """

    def __init__(self, reloads: bool) -> None:
        self._reloads = reloads
        self._leave = self._again = False
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._previous = {number: signal.signal(number, self._handle) for number in WATCHED}

    def __enter__(self) -> Signals:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._fd)

    def is_set(self) -> bool:
        """Whether the daemon is to end."""
        return self._leave

    def take_reload(self) -> bool:
        """Whether the configuration is to be read again, since the last call."""
        if not self._again:
            return False
        # Before the configuration is read: a signal that comes meanwhile is for the next time.
        self._again = False
        return True

    def wait(self, timeout_s: float) -> None:
        """Until a signal comes, or for so long."""
        if select.select([self._fd], [], [], timeout_s)[0]:
            os.eventfd_read(self._fd)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self._reloads:
            self._again = True
        else:
            self._leave = True
        os.eventfd_write(self._fd, 1)
