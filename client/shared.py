"""Frames out of shared memory, for programs on the daemon's machine: docs/shared-memory.md."""

from __future__ import annotations

import mmap
import os
import platform
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sonod.client.control import Control
from sonod.client.errors import ClientError, NoAnswer
from sonod.client.frame import Frame
from sonod.client.losses import LossAccount, MissedFrames
from sonod.client.wire.errors import WireError
from sonod.client.wire.header import HeaderReader
from sonod.client.wire.payload import payload_array

FOLDER = Path("/dev/shm")
MAGIC, LAYOUT_VERSION = b"SONODSHM", 1
HEAD = struct.Struct("<8sIIQQQQ")
NEWEST, STATE = 6, 7
OPEN, CLOSED, REPLACED = 0, 1, 2
SUCCESSOR = slice(128, 256)
SLOT_HEAD = 64
ORDERED_MACHINES = ("x86_64", "AMD64")
# How long to sleep when nothing is there yet: far below a frame period.
NAP_S = 0.0002


class Segment:
    """One mapped segment, read only."""

    def __init__(self, name: str) -> None:
        descriptor = os.open(FOLDER / name.removeprefix("/"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._memory = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        magic, version, self.slots, stride, self._header_bytes, payload_bytes, first = HEAD.unpack_from(self._memory)
        needed = first + self.slots * stride
        if magic != MAGIC or version != LAYOUT_VERSION or len(self._memory) < needed or not self.slots:
            raise WireError(f"{name}: not a segment of layout {LAYOUT_VERSION}")
        self._payload_bytes = payload_bytes
        everything = np.frombuffer(self._memory, np.uint8)
        self._head = everything[:256].view(np.uint64)
        self._places = [everything[first + i * stride :][:stride] for i in range(self.slots)]
        self._words = [place[:SLOT_HEAD].view(np.uint64) for place in self._places]

    @property
    def newest(self) -> int:
        """The number of the newest complete message; 0 = none yet."""
        return int(self._head[NEWEST])

    @property
    def successor(self) -> str | None:
        """None while messages come; then the segment in which they go on, '' = in none."""
        state = int(self._head[STATE])
        if state == OPEN:
            return None
        return bytes(self._memory[SUCCESSOR]).rstrip(b"\0").decode() if state == REPLACED else ""

    def copy(self, number: int) -> tuple[bytes, NDArray[np.uint8]] | None:
        """Header and payload of a message; None when it has been overwritten, before or while it was copied."""
        index = number % self.slots
        words, place = self._words[index], self._places[index]
        if int(words[0]) != 2 * number:
            return None
        header_bytes, payload_bytes = int(words[2]), int(words[3])
        if header_bytes > self._header_bytes or payload_bytes > self._payload_bytes:
            return None
        header = place[SLOT_HEAD : SLOT_HEAD + header_bytes].tobytes()
        begin = SLOT_HEAD + self._header_bytes
        payload = place[begin : begin + payload_bytes].copy()
        # Read after everything above: the message was whole all the while.
        return (header, payload) if int(words[0]) == 2 * number else None


class SharedFrames:
    """One product's frames from a daemon on this machine, every one that is not overwritten before it is read.

    Keeps asking the daemon through `control` to go on writing. Frames are copies; one that is overwritten while it is
    read is never returned, and counts under `Frame.missing.queue` of the next.
    """

    def __init__(self, control: Control, product: str = "rf", ttl_s: float = 10.0) -> None:
        if platform.machine() not in ORDERED_MACHINES:
            raise ClientError("shared memory is read on x86-64 only; subscribe instead")
        self.product = product
        self._control = control
        self._ttl_s = ttl_s
        self._name = ""
        self._asked_s = -ttl_s
        self._segment: Segment | None = None
        self._last = 0
        self._headers = HeaderReader()
        self._account = LossAccount()
        self._ask()

    @property
    def losses(self) -> MissedFrames:
        """The frame numbers that did not come since the first, by cause."""
        return self._account.totals.get(self.product, MissedFrames())

    def next(self, timeout_s: float = 10.0, latest: bool = False) -> Frame:
        """The next frame, or with `latest` the newest; NoAnswer when none comes in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._ask()
            found = self._take(latest)
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise NoAnswer(f"{self._name}: no {self.product} within {timeout_s:g} s; is the daemon frozen?")
            time.sleep(NAP_S)

    def _take(self, latest: bool) -> Frame | None:
        segment = self._segment or self._open()
        if segment is None:
            return None
        newest = segment.newest
        if newest <= self._last:
            self._follow(segment)
            return None
        number = newest if latest else max(self._last + 1, newest - segment.slots + 1)
        passed_over = newest - self._last - 1 if latest else 0
        copied = segment.copy(number)
        # Overwritten meanwhile: the next turn begins with what is there then.
        self._last = number
        if copied is None:
            return None
        received_ns = time.monotonic_ns()
        header = self._headers.read(copied[0])
        data: NDArray[Any] = payload_array(header, copied[1].data)
        return Frame(header, data, received_ns, self._account.take(header, "", passed_over))

    def _open(self) -> Segment | None:
        """Map the segment once the first frame has made it; in the first one, what is there already is old."""
        try:
            segment = Segment(self._name)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise ClientError(f"{self._name}: may not be read; join the daemon's group ({error.strerror})") from error
        self._last = 0 if self._account.totals else max(0, segment.newest - 1)
        self._segment = segment
        return segment

    def _follow(self, segment: Segment) -> None:
        successor = segment.successor
        if successor is None or segment.newest > self._last:
            return
        self._segment = None
        if successor:
            self._name = successor
        else:
            self._asked_s = -self._ttl_s
            self._name = ""

    def _ask(self) -> None:
        now_s = time.monotonic()
        if self._name and now_s - self._asked_s < self._ttl_s / 3:
            return
        reply = self._control.request("shared_memory", {"product": self.product, "ttl_s": self._ttl_s})
        self._asked_s = now_s
        if self._segment is None:
            self._name = reply.text("name")

    def close(self) -> None:
        """Let go of the memory; the daemon stops writing when nobody asks any more."""
        self._segment = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
