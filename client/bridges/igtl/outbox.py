"""What waits to be sent to one client: bounded, and of each stream the newest only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

# Answers that wait; a client that asks and does not read is cut off.
ANSWERS = 64
# Different device names that a tracker may use at once.
STREAMS = 256

# Bytes for a header version: a message is made once for all clients that read the same version.
Parcel = Callable[[int], bytes]


class Outbox:
    """Filled by the bridge, emptied by the one task that writes to this client."""

    def __init__(self) -> None:
        self._answers: deque[Parcel] = deque()
        self._newest: dict[str, Parcel] = {}
        self._filled = asyncio.Event()
        self.passed_over = 0

    def answer(self, parcel: Parcel) -> bool:
        """Queue an answer; False when too many wait."""
        if len(self._answers) >= ANSWERS:
            return False
        self._answers.append(parcel)
        self._filled.set()
        return True

    def newest(self, stream: str, parcel: Parcel) -> None:
        """Queue the newest of a stream, instead of an older one that still waits."""
        if self._newest.pop(stream, None) is not None:
            self.passed_over += 1
        elif len(self._newest) >= STREAMS:
            self._newest.pop(next(iter(self._newest)))
            self.passed_over += 1
        self._newest[stream] = parcel
        self._filled.set()

    async def take(self) -> Parcel:
        """The next to send: answers first, then streams in the order in which they came."""
        while True:
            if self._answers:
                return self._answers.popleft()
            if self._newest:
                return self._newest.pop(next(iter(self._newest)))
            self._filled.clear()
            await self._filled.wait()
