"""The assertion that results do not depend on instruction set and thread count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext.instruction import instruction_sets, select_instruction_set
from sonod.cext.threads import set_thread_count


def assert_same_bits(run: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Runs `run` on every instruction set with 1, 2 and 5 threads; the result of all, which must be one."""
    first: NDArray[Any] | None = None
    for name in instruction_sets():
        select_instruction_set(name)
        for threads in (1, 2, 5):
            set_thread_count(threads)
            result = run().copy()
            if first is None:
                first = result
            elif first.tobytes() != result.tobytes():
                worst = np.abs(result.astype(np.float64) - first).max()
                raise AssertionError(f"{name} with {threads} threads differs by up to {worst}")
    assert first is not None
    return first
