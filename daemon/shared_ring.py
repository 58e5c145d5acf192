"""One segment of shared memory: the newest frames of one product, each in a slot with a sequence lock.

docs/shared-memory.md gives the layout byte by byte. One thread writes. The kernel lets go of the lock on the file when
the writer dies, however it dies; so whoever can take the lock knows that the segment is left over.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import platform
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path("/dev/shm")
PREFIX = "sonod."
MAGIC, LAYOUT_VERSION = b"SONODSHM", 1
HEAD = struct.Struct("<8sIIQQQQQQ32s32s")
# Places of the words that change, in units of eight bytes.
NEWEST, STATE = 6, 7
OPEN, CLOSED, REPLACED = 0, 1, 2
SUCCESSOR_OFFSET, SUCCESSOR_BYTES = 128, 128
FIRST_SLOT = 4096
SLOT_HEAD, ALIGNMENT = 64, 64
# Stores and loads are seen in program order there; elsewhere Python has no fences.
ORDERED_MACHINES = ("x86_64", "AMD64")


def supported() -> bool:
    """Whether this machine has a place for segments and keeps the order of stores."""
    return FOLDER.is_dir() and platform.machine() in ORDERED_MACHINES


class SharedRing:
    """Written frame by frame; a frame is readable until `slots` newer ones have come."""

    def __init__(
        self, name: str, session: str, product: str, slots: int, header_bytes: int, payload_bytes: int, mode: int
    ) -> None:
        self.name = name
        self.slots = slots
        self._header_bytes = _rounded(header_bytes, ALIGNMENT)
        self._payload_bytes = _rounded(payload_bytes, ALIGNMENT)
        stride = _rounded(SLOT_HEAD + self._header_bytes + self._payload_bytes, mmap.PAGESIZE)
        self.bytes = FIRST_SLOT + slots * stride
        self._path = FOLDER / name
        # Under another name until it is locked, so that nobody takes it for one that is left over.
        making = FOLDER / f".{name}"
        descriptor = os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(descriptor, mode)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Reserved now: a full /dev/shm is an error here, and not a signal at some later frame.
            os.posix_fallocate(descriptor, 0, self.bytes)
            self._memory = mmap.mmap(descriptor, self.bytes)
            head = HEAD.pack(
                MAGIC, LAYOUT_VERSION, slots, stride, self._header_bytes, self._payload_bytes, FIRST_SLOT, 0, OPEN,
                session.encode(), product.encode(),
            )  # fmt: skip
            self._memory[: len(head)] = head
            os.rename(making, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                making.unlink()
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        everything = np.frombuffer(self._memory, np.uint8)
        self._head = everything[:FIRST_SLOT].view(np.uint64)
        self._places = [everything[FIRST_SLOT + i * stride :][:stride] for i in range(slots)]
        self._words = [place[:SLOT_HEAD].view(np.uint64) for place in self._places]
        self.message = 0

    def fits(self, header_bytes: int, payload_bytes: int) -> bool:
        return header_bytes <= self._header_bytes and payload_bytes <= self._payload_bytes

    def write(self, frame: int, header: bytes, data: NDArray[Any], published_ns: int) -> None:
        """The next message; `data` is copied in C order, without gaps."""
        number = self.message + 1
        index = number % self.slots
        words, place = self._words[index], self._places[index]
        # Odd: being written. Each store below is seen after this one.
        words[0] = 2 * number - 1
        words[1:5] = (frame, len(header), data.nbytes, published_ns)
        place[SLOT_HEAD : SLOT_HEAD + len(header)] = np.frombuffer(header, np.uint8)
        begin = SLOT_HEAD + self._header_bytes
        np.copyto(place[begin : begin + data.nbytes].view(data.dtype).reshape(data.shape), data)
        words[0] = 2 * number
        self._head[NEWEST] = number
        self.message = number

    def close(self, successor: str = "") -> None:
        """Say that no more comes here, and where it goes on; what is mapped stays readable."""
        if successor:
            name = successor.encode()[: SUCCESSOR_BYTES - 1]
            self._memory[SUCCESSOR_OFFSET : SUCCESSOR_OFFSET + len(name)] = name
        self._head[STATE] = REPLACED if successor else CLOSED
        with contextlib.suppress(OSError):
            self._path.unlink()
        del self._head, self._words, self._places
        # A view that somebody still holds keeps the mapping; the file is gone all the same.
        with contextlib.suppress(BufferError):
            self._memory.close()
        os.close(self._descriptor)


def remove_stale() -> int:
    """Remove the segments that dead daemons of this user have left; how many there were."""
    removed = 0
    for path in (*FOLDER.glob(f"{PREFIX}*"), *FOLDER.glob(f".{PREFIX}*")):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_uid != os.geteuid():
                    continue
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
            finally:
                os.close(descriptor)
    return removed


def _rounded(count: int, unit: int) -> int:
    return -(-count // unit) * unit
