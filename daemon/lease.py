"""Who may change what the probe transmits."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from sonod.daemon.errors import CommandError

DEFAULT_TTL_S = 10.0
SHORTEST_TTL_S = 1.0
LONGEST_TTL_S = 3600.0


@dataclass(frozen=True)
class Lease:
    """One holder's right, until `expires_ns` on the monotonic clock; the token proves it."""

    holder: str
    token: str
    ttl_s: float
    expires_ns: int


class LeaseKeeper:
    """At most one lease. While there is none, everybody may change everything; only the control thread calls this."""

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._lease: Lease | None = None

    @property
    def lease(self) -> Lease | None:
        return self._lease

    def acquire(self, holder: str, ttl_s: float, token: str | None = None) -> Lease:
        """Take the lease, or prolong it with its own token; CommandError when somebody else holds it."""
        present = self._lease
        if present is not None and present.token != token:
            raise CommandError("lease_held", f"the lease is held by {present.holder!r}; it must be released or expire")
        if present is None and token is not None:
            raise CommandError("lease_lost", "no lease has this token; it was released or has expired")
        new_token = secrets.token_hex(16) if present is None else present.token
        self._lease = Lease(holder, new_token, ttl_s, self._monotonic_ns() + int(ttl_s * 1e9))
        return self._lease

    def release(self, token: str) -> None:
        """Give the lease back; CommandError when the token is not its."""
        if self._lease is None or self._lease.token != token:
            raise CommandError("lease_lost", "no lease has this token; it was released or has expired")
        self._lease = None

    def require(self, token: str | None, what: str) -> None:
        """CommandError when somebody else holds the lease that `what` needs."""
        if self._lease is not None and self._lease.token != token:
            raise CommandError(
                "lease_held", f"{what}: affects acoustic output, and the lease is held by {self._lease.holder!r}"
            )

    def expire(self) -> Lease | None:
        """The lease that has run out just now, if one has."""
        present = self._lease
        if present is None or self._monotonic_ns() < present.expires_ns:
            return None
        self._lease = None
        return present
