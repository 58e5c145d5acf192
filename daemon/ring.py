"""The fixed pool of slots between the thread that reads the device and the thread that processes."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from sonod.drivers.frame import Slot


@dataclass
class Place:
    """A slot and what was lost before its frame: by the device, and here because processing was busy."""

    slot: Slot
    device_lost: int = 0
    ring_lost: int = 0


class SlotRing:
    """Frames wait in the order they came, at most `waiting` of them; when one more comes, the oldest is dropped.

    One reader takes free places and puts them, one processor takes and releases them. With `waiting=1` the processor
    always gets the newest frame; each further place forgives one more late moment at the price of one frame of delay.
    """

    def __init__(self, waiting: int) -> None:
        if waiting < 1:
            raise ValueError(f"ring: waiting must be >= 1, got {waiting}")
        # One place is with the reader, and one or two with the processor, which keeps the last frame until the next.
        self._free = deque(Place(Slot(0)) for _ in range(waiting + 3))
        self._waiting: deque[Place] = deque()
        self._limit = waiting
        self._ready = threading.Condition()
        self._device_lost = 0
        self._ring_lost = 0

    @property
    def dropped(self) -> int:
        """Frames dropped here since the session began."""
        return self._ring_lost

    @property
    def device_lost(self) -> int:
        """Frames that the device or its transport lost since the session began."""
        return self._device_lost

    def free(self) -> Place:
        """A place to read into."""
        with self._ready:
            return self._free.popleft()

    def give_back(self, place: Place) -> None:
        """A place that was not filled, or has been processed."""
        with self._ready:
            self._free.append(place)

    def put(self, place: Place) -> None:
        """A filled place for the processor."""
        with self._ready:
            self._device_lost += place.slot.lost
            place.device_lost = self._device_lost
            if len(self._waiting) == self._limit:
                self._free.append(self._waiting.popleft())
                self._ring_lost += 1
            self._waiting.append(place)
            self._ready.notify()

    def take(self, timeout_s: float) -> Place | None:
        """The next place to process, or None when none came in time."""
        with self._ready:
            if not self._waiting and not self._ready.wait_for(lambda: bool(self._waiting), timeout_s):
                return None
            place = self._waiting.popleft()
            place.ring_lost = self._ring_lost
            return place
