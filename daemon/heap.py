"""Memory that was freed and that the C library still has."""

from __future__ import annotations

import contextlib
import ctypes


def trim_heap() -> bool:
    """Give to the system what is free in the heap; False when there was nothing, or the C library cannot (only glibc
    can). Takes milliseconds, during which threads that allocate may wait."""
    with contextlib.suppress(AttributeError):
        return bool(ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0)))
    return False
