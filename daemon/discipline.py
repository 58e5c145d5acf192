"""Whether somebody keeps the host's UTC: what the kernel's clock discipline says."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

# adjtimex(2): the clock is not synchronised; the state of a clock in error.
STA_UNSYNC = 0x0040
TIME_ERROR = 5


@dataclass(frozen=True)
class Discipline:
    """`synchronized`: NTP or PTP keeps the clock; None = the system does not say, as where it may not be asked."""

    synchronized: bool | None = None
    maximum_error_ns: int | None = None
    estimated_error_ns: int | None = None


class _Timex(ctypes.Structure):
    """struct timex of Linux; read only (modes = 0)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maximum_error_us", ctypes.c_long),
        ("estimated_error_us", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def read_discipline() -> Discipline:
    """As of now; unknown where there is no adjtimex or it is forbidden."""
    values = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(values))
    except (OSError, AttributeError):
        return Discipline()
    if state < 0:
        return Discipline()
    synchronized = state != TIME_ERROR and not values.status & STA_UNSYNC
    return Discipline(synchronized, values.maximum_error_us * 1000, values.estimated_error_us * 1000)
