"""Real-time rights for the threads of the frame path, where the system allows them.

Refused, each is one line in the log, and the daemon runs on without it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from collections.abc import Callable, Sequence

import structlog

MCL_CURRENT, MCL_FUTURE = 1, 2


def privilege_thread(role: str, priority: int, cpus: Sequence[int]) -> None:
    """Give the calling thread SCHED_FIFO `priority` (0 = leave it) and bind it to `cpus` (() = leave it).

    Threads that it starts from now on inherit both.
    """
    log = structlog.get_logger()
    if priority:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        except OSError as error:
            log.warning(
                "realtime_refused",
                thread=role,
                wanted=f"SCHED_FIFO {priority}",
                reason=error.strerror,
                remedy="allow it with LimitRTPRIO and RestrictRealtime=no (docs/service.md), or set "
                f"realtime.{role}_priority = 0",
            )
        else:
            log.info("realtime", thread=role, priority=priority)
    if cpus:
        try:
            os.sched_setaffinity(0, cpus)
        except OSError as error:
            there_are = ", ".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
            log.warning(
                "affinity_refused",
                thread=role,
                wanted=list(cpus),
                reason=error.strerror,
                remedy=f"this process may use processors {there_are}; correct realtime.{role}_cpus",
            )
        else:
            log.info("affinity", thread=role, cpus=list(cpus))


def lock_memory(library: Callable[[], ctypes.CDLL] = lambda: ctypes.CDLL(None, use_errno=True)) -> bool:
    """Keep all memory of this process in RAM, now and later; False when the system refuses.

    Asked for only when there is no limit: with one, allocations would fail later, when it is reached.
    """
    log = structlog.get_logger()
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    remedy = "allow it with LimitMEMLOCK=infinity (docs/service.md), or set realtime.lock_memory = false"
    if limit != resource.RLIM_INFINITY:
        log.warning("memory_lock_refused", reason=f"the limit is {limit // 1024} KiB", remedy=remedy)
        return False
    if library().mlockall(MCL_CURRENT | MCL_FUTURE) != 0:
        number = ctypes.get_errno() or errno.EPERM
        log.warning("memory_lock_refused", reason=os.strerror(number), remedy=remedy)
        return False
    log.info("memory_locked")
    return True
