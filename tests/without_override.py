"""A root that is refused like anybody else."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# capabilities(7): CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; capget(2): version 3, which has two words of each set.
OVERRIDE = 1 << 1 | 1 << 2
VERSION_3 = 0x20080522


@contextmanager
def without_override() -> Iterator[None]:
    """In this thread permissions of files hold, even for root."""
    library = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
    # effective, permitted, inheritable; twice.
    sets = (ctypes.c_uint32 * 6)()
    assert library.capget(header, sets) == 0
    before = sets[0]
    sets[0] = before & ~OVERRIDE
    assert library.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert library.capset(header, sets) == 0
