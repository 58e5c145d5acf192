"""From start to stop of the daemon: one id, one clock."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from sonod.client.wire.times import UtcMapping

# Slewing (NTP) moves UTC against the monotonic clock by at most 500 parts per million: 5 ms in ten seconds.
REFRESH_NS = 10_000_000_000


class Session:
    """The session's id and the relation of its monotonic clock to UTC."""

    def __init__(
        self,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        utc_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.monotonic_ns = monotonic_ns
        self._utc_ns = utc_ns
        self._utc = self._read()

    @property
    def utc(self) -> UtcMapping:
        """The mapping in use; call `refresh` now and then."""
        return self._utc

    def refresh(self) -> None:
        """Read both clocks again when the last reading is old."""
        if self.monotonic_ns() - self._utc.monotonic_ns > REFRESH_NS:
            self._utc = self._read()

    def _read(self) -> UtcMapping:
        before = self.monotonic_ns()
        utc = self._utc_ns()
        return UtcMapping((before + self.monotonic_ns()) // 2, utc)
