"""Holding the lease for as long as a program needs it."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from sonod.client.control import DEFAULT_ENDPOINT, Control
from sonod.client.errors import AccessRefused, NoAnswer, RequestRefused
from sonod.client.keys import Keys

# Prolonged so often within the time to live that two requests may fail.
RENEWALS = 4
ANSWER_TIMEOUT_S = 2.0


class HeldLease:
    """The lease, kept by a thread and a connection of its own until `release`.

        with HeldLease("needle tracker") as lease:
            control.set({"output_level": 0.2}, lease=lease.token)

    The daemon ends it when this process dies, at once on the same machine. RequestRefused when somebody else holds it,
    unless `take_over`; NoAnswer when there is no daemon. `lost` tells that it was taken over or has expired.
    """

    def __init__(
        self,
        holder: str,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        ttl_s: float = 10.0,
        take_over: bool = False,
        keys: Keys = None,
    ) -> None:
        self.holder = holder
        self.lost = False
        self._ttl_s = ttl_s
        self._control = Control(endpoint, ANSWER_TIMEOUT_S, keys=keys)
        try:
            if take_over:
                lease = self._control.take_over_lease(holder, ttl_s, connection=True)
            else:
                lease = self._control.acquire_lease(holder, ttl_s, connection=True)
        except BaseException:
            self._control.close()
            raise
        self.token = lease.token or ""
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._prolong, name="sonod-lease", daemon=True)
        self._thread.start()

    def wait_lost(self, timeout_s: float | None = None) -> bool:
        """Wait until the lease is lost or released; whether it was lost."""
        self._thread.join(timeout_s)
        return self.lost

    def release(self) -> None:
        """Give the lease back; twice is allowed."""
        if self._leaving.is_set():
            return
        self._leaving.set()
        self._thread.join()
        try:
            if not self.lost:
                self._control.release_lease(self.token)
        except (RequestRefused, AccessRefused, NoAnswer):
            # Gone already, or it ends with this connection.
            pass
        finally:
            self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _prolong(self) -> None:
        while not self._leaving.wait(self._ttl_s / RENEWALS):
            try:
                self._control.acquire_lease(self.holder, self._ttl_s, self.token, connection=True)
            except NoAnswer:
                # The daemon may be busy; when it is gone, the next request finds the one that follows it.
                continue
            except (RequestRefused, AccessRefused):
                self.lost = True
                return
