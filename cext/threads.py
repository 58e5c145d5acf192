"""How many threads the kernels use. Results do not depend on it; idle workers sleep.

Within `with Series():` workers that have nothing to do wait for the next kernel awake, for a tenth of a millisecond at
most, where there is a processor for each of them: to be woken takes longer than many a kernel. The pool is the calling
thread's; kernels of other threads run on these alone."""

from __future__ import annotations

import atexit

from sonod.cext._native import Series, set_thread_count, thread_count

__all__ = ["Series", "set_thread_count", "thread_count"]

# Workers end with the interpreter, not after it.
atexit.register(set_thread_count, 1)
