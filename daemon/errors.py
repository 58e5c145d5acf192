"""What can go wrong in the daemon itself.

DaemonError
├── ConfigError     the configuration cannot be used; `problems` holds one line for each thing that is wrong
├── EndpointError   an address cannot be bound
└── CommandError    a control request is refused; nothing was changed
"""

from __future__ import annotations

from collections.abc import Sequence


class DaemonError(Exception):
    """Base of everything the daemon raises on purpose; the message names the thing, the value and the remedy."""


class ConfigError(DaemonError):
    """The configuration cannot be used."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class EndpointError(DaemonError):
    """An address cannot be bound."""


class CommandError(DaemonError):
    """A control request is refused. `code` is one of those in docs/wire-protocol.md."""

    def __init__(self, code: str, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.problems = tuple(problems)
