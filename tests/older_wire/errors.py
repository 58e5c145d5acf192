"""What can be wrong with a message."""

from __future__ import annotations


class WireError(ValueError):
    """A message does not say what the protocol asks for; one line names the field, the value and what was expected."""
