"""A ring of frames in shared memory: written without ever waiting, read by processes that map it."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F")

# Frames begin at multiples of this.
ALIGNMENT = 64
# In front of the frames, one word: the serial number of the oldest frame that is whole.
HEAD_BYTES = mmap.PAGESIZE
# Frames without bytes take no room; so many of them are kept.
MOST_ENTRIES = 1 << 14
# Memory is made resident in portions of this; the system may take some milliseconds for one.
PORTION_BYTES = 4 << 20
# <asm-generic/mman-common.h>, Linux 5.14; Python's `mmap` does not name it.
MADV_POPULATE_WRITE = 23

_LIBRARY = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Entry(Generic[F]):
    """One frame in the ring: `nbytes` at `offset`, and what is known of it."""

    serial: int
    offset: int
    nbytes: int
    facts: F


class CineRing(Generic[F]):
    """The newest frames, of any sizes, within `budget_bytes`. One thread puts, any thread looks.

    The memory belongs to no file that others see. `limit_bytes` of it are used, and become resident as frames first
    come, or before that by `populate`. The place of the next frame is given up before that frame comes: who has copied
    a frame and then still finds it whole (`RingView.copy`) has copied nothing else.
    """

    def __init__(self, name: str, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.limit_bytes = budget_bytes
        self.skipped = 0
        self.descriptor = os.memfd_create(f"sonod-{name}", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, HEAD_BYTES + budget_bytes)
        self._memory = mmap.mmap(self.descriptor, HEAD_BYTES + budget_bytes)
        everything = np.frombuffer(self._memory, np.uint8)
        self._floor = everything[:8].view(np.uint64)
        self._bytes = everything[HEAD_BYTES:]
        self._entries: deque[Entry[F]] = deque()
        self._lock = threading.Lock()
        self._address = everything.ctypes.data
        self._resident_bytes = 0
        self._serial = 0
        self._offset = 0
        self._closed = False

    def populate(self) -> bool:
        """Make one more portion of the memory in use resident, so that no frame has to wait for it; False when there is
        none left, or the system cannot do that. Not during `close`."""
        begin, end = self._resident_bytes, HEAD_BYTES + self.limit_bytes
        if begin >= end:
            return False
        nbytes = min(PORTION_BYTES, end - begin)
        self._resident_bytes = begin + nbytes
        # Not `mmap.madvise`, which would keep every other thread waiting meanwhile.
        address, size = ctypes.c_void_p(self._address + begin), ctypes.c_size_t(nbytes)
        return int(_LIBRARY.madvise(address, size, MADV_POPULATE_WRITE)) == 0

    @property
    def next_serial(self) -> int:
        """Of the frame that comes next."""
        return self._serial + 1

    def put(self, data: NDArray[Any], facts: F) -> None:
        """Keep a copy of `data`; a frame that is larger than the ring is counted in `skipped`."""
        nbytes = data.nbytes
        if nbytes > self.limit_bytes:
            self.skipped += 1
            return
        offset = self._make_room(nbytes)
        if nbytes:
            place = self._bytes[offset : offset + nbytes].view(data.dtype).reshape(data.shape)
            np.copyto(place, data)
        self._serial += 1
        with self._lock:
            self._entries.append(Entry(self._serial, offset, nbytes, facts))
        self._offset = offset + -(-nbytes // ALIGNMENT) * ALIGNMENT
        self._make_room(nbytes)

    def since(self, serial: int) -> list[Entry[F]]:
        """The frames from this serial number on that are still here."""
        with self._lock:
            if not self._entries:
                return []
            first = self._entries[0].serial
            skip = max(0, serial - first)
            return list(self._entries) if skip == 0 else [self._entries[i] for i in range(skip, len(self._entries))]

    def oldest(self) -> Entry[F] | None:
        """The oldest frame, None when there is none."""
        with self._lock:
            return self._entries[0] if self._entries else None

    def newest(self) -> Entry[F] | None:
        """The newest frame, None when there is none."""
        with self._lock:
            return self._entries[-1] if self._entries else None

    @property
    def count(self) -> int:
        return len(self._entries)

    def close(self) -> None:
        """Let go of the memory; readers that have mapped it keep it. Twice is allowed."""
        if self._closed:
            return
        self._closed = True
        del self._floor, self._bytes
        # Somebody may still look at a frame; the memory goes with the process then.
        with contextlib.suppress(BufferError):
            self._memory.close()
        os.close(self.descriptor)

    def _make_room(self, nbytes: int) -> int:
        """Where so many bytes go; what stands there is given up."""
        with self._lock:
            entries, offset = self._entries, self._offset
            if offset + nbytes > self.limit_bytes:
                # What lies behind is the oldest there is, and would be overwritten out of turn.
                while entries and entries[0].nbytes and entries[0].offset >= offset:
                    entries.popleft()
                offset = self._offset = 0
            # Frames without bytes overlap nothing, and must not hide one behind them that does.
            while entries and (_overlap(entries[0], offset, nbytes) or (nbytes and not entries[0].nbytes)):
                entries.popleft()
            while len(entries) >= MOST_ENTRIES:
                entries.popleft()
            self._floor[0] = entries[0].serial if entries else self._serial + 1
            return offset


class RingView:
    """A ring as another process reads it."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size, prot=mmap.PROT_READ)
        everything = np.frombuffer(self._memory, np.uint8)
        self._floor = everything[:8].view(np.uint64)
        self._bytes = everything[HEAD_BYTES:]

    def copy(self, entry: Entry[Any], out: NDArray[Any]) -> bool:
        """Copy a frame into `out`, an array of its bytes; False when it is not whole any more."""
        if entry.serial < int(self._floor[0]):
            return False
        np.copyto(out, self._bytes[entry.offset : entry.offset + entry.nbytes])
        return entry.serial >= int(self._floor[0])


def _overlap(entry: Entry[Any], offset: int, nbytes: int) -> bool:
    return entry.offset < offset + nbytes and offset < entry.offset + entry.nbytes
