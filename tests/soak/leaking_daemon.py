"""`sonod` with a leak, which the campaign must find: `leaking_daemon.py MB ...` keeps MB of each change of settings."""

from __future__ import annotations

import sys
from typing import Any

from sonod.daemon.cli import main
from sonod.daemon.planner import Planner

kept: list[bytes] = []


def leak(nbytes: int) -> None:
    change = Planner.change

    def leaking(self: Planner, *arguments: Any, **named: Any) -> Any:
        # Not zeros, which would take no memory.
        kept.append(b"\1" * nbytes)
        return change(self, *arguments, **named)

    Planner.change = leaking  # type: ignore[method-assign]


if __name__ == "__main__":
    leak(int(float(sys.argv.pop(1)) * 1e6))
    main()
