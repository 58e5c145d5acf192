"""Wakes a thread that polls sockets."""

from __future__ import annotations

import os
import threading


class Waker:
    """`fd` becomes readable when any thread calls `wake`; closed, waking does nothing."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # The number of a closed descriptor may belong to something else by now.
        self._lock = threading.Lock()
        self._open = True

    def wake(self) -> None:
        """On any thread."""
        with self._lock:
            if self._open:
                os.eventfd_write(self.fd, 1)

    def calm(self) -> None:
        """On the thread that was woken."""
        os.eventfd_read(self.fd)

    def close(self) -> None:
        """Twice is allowed."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self.fd)
