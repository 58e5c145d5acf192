"""What waits for one browser: never more than the newest of each kind."""

from __future__ import annotations

import asyncio
from collections import deque

# Events tell of things that happened once; of a browser that does not read, the oldest are forgotten.
EVENT_LIMIT = 16

Message = str | bytes


class Mailbox:
    """Newest text of each kind, newest frame of each product; a frame leaves when the one before was acknowledged."""

    def __init__(self) -> None:
        self.replaced = 0
        self._texts: dict[str, str] = {}
        self._events: deque[str] = deque(maxlen=EVENT_LIMIT)
        self._frames: dict[str, bytes] = {}
        self._unacknowledged: set[str] = set()
        self._ready = asyncio.Event()

    def put_text(self, kind: str, text: str) -> None:
        """Replace the text of this kind."""
        self._texts[kind] = text
        self._ready.set()

    def put_event(self, text: str) -> None:
        """Add a text that must not replace another."""
        self._events.append(text)
        self._ready.set()

    def put_frame(self, product: str, frame: bytes) -> None:
        """Replace the frame of this product."""
        self.replaced += product in self._frames
        self._frames[product] = frame
        self._ready.set()

    def acknowledge(self, product: str) -> None:
        """The browser has the last frame of this product and takes another."""
        self._unacknowledged.discard(product)
        self._ready.set()

    def forget(self, product: str) -> None:
        """The browser no longer looks at this product."""
        self._frames.pop(product, None)
        self._unacknowledged.discard(product)

    async def take(self) -> Message:
        """The next thing to send; waits until there is one."""
        while True:
            message = self._next()
            if message is not None:
                return message
            self._ready.clear()
            await self._ready.wait()

    def _next(self) -> Message | None:
        if self._texts:
            return self._texts.pop(next(iter(self._texts)))
        if self._events:
            return self._events.popleft()
        for product in self._frames:
            if product not in self._unacknowledged:
                self._unacknowledged.add(product)
                return self._frames.pop(product)
        return None
