"""How many threads the kernels use. Results do not depend on it; idle workers sleep."""

from __future__ import annotations

import atexit

from sonod.cext._native import set_thread_count, thread_count

__all__ = ["set_thread_count", "thread_count"]

# Workers end with the interpreter, not after it.
atexit.register(set_thread_count, 1)
