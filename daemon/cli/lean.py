"""Imports structlog without rich, which it would import wherever that is installed, for tracebacks in colours: 0.1 s of
every start, and no journal shows them. To be imported before anything else imports structlog."""

from __future__ import annotations

import sys
from types import ModuleType

SPARED = "rich"


def import_structlog() -> ModuleType:
    """structlog; `rich` can be imported as ever afterwards."""
    before = sys.modules.get(SPARED)
    # An entry that is None is a module that is not there.
    sys.modules[SPARED] = None  # type: ignore[assignment]
    try:
        import structlog
    finally:
        if before is None:
            del sys.modules[SPARED]
        else:
            sys.modules[SPARED] = before
    return structlog


import_structlog()
