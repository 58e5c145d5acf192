"""What can go wrong for a client.

ClientError
├── NoAnswer         nothing came in time (also a TimeoutError); the daemon may not be running
├── AccessRefused    the daemon does not let us in: a key is missing, wrong or revoked
├── KeyFileError     a key file cannot be used (in `sonod.client.keys`)
├── AddressError     no daemon can ever be at the address (in `sonod.client.address`)
└── RequestRefused   the daemon refused a request and changed nothing

A message that breaks the protocol is a `sonod.client.wire.errors.WireError`.
"""

from __future__ import annotations

from sonod.client.wire.control import Problem


class ClientError(Exception):
    """Base of everything a client raises on purpose."""


class NoAnswer(ClientError, TimeoutError):
    """Nothing came in time."""


class AccessRefused(ClientError):
    """The daemon does not let us in; trying again is of no use."""


class RequestRefused(ClientError):
    """The daemon refused a request; `code` is for programs, `problems` has one line for each thing that is wrong."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.code = problem.code
        self.problems = problem.problems
