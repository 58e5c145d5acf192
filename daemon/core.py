"""How the compiled core is used in this process: threads and instruction set, chosen once at the start."""

from __future__ import annotations

import os

from sonod.cext.instruction import instruction_sets, select_instruction_set
from sonod.cext.threads import set_thread_count
from sonod.daemon.errors import ConfigError

AUTO = "auto"


def configure_core(threads: int = 0, instruction_set: str = AUTO) -> None:
    """Use `threads` (0 = one for each processor core this process may use) and the named instruction set; ConfigError
    when the processor does not have it. Results depend on neither."""
    if instruction_set != AUTO:
        try:
            select_instruction_set(instruction_set)
        except ValueError as error:
            there_are = ", ".join((AUTO, *instruction_sets()))
            raise ConfigError(
                [f"core.instruction_set: {instruction_set!r} is not available here; there are {there_are}"]
            ) from error
    set_thread_count(threads or len(os.sched_getaffinity(0)))
