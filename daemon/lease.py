"""Who may change what the probe transmits, and what a pixel is."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sonod.daemon.errors import CommandError

DEFAULT_TTL_S = 10.0
SHORTEST_TTL_S = 1.0
LONGEST_TTL_S = 3600.0


class LeaseEnd(StrEnum):
    """Why a lease ended without having been released."""

    TIME = "time"  # it was not prolonged
    CONNECTION = "connection"  # the connection that it was bound to has closed
    REVOKED = "revoked"  # its holder's key may control no longer


@dataclass(frozen=True)
class Lease:
    """One holder's right, until `expires_ns` on the monotonic clock; the token proves it.

    `connection` is the one that it ends with, None = none; `key` is the public key that its holder came with, '' =
    none.
    """

    holder: str
    token: str
    ttl_s: float
    expires_ns: int
    connection: int | None = None
    key: str = ""


class LeaseKeeper:
    """At most one lease; only the control thread calls this.

    While there is none, everybody may change everything; when leases are `required`, nobody may.
    """

    def __init__(self, monotonic_ns: Callable[[], int], required: bool = False) -> None:
        self.required = required
        self._monotonic_ns = monotonic_ns
        self._lease: Lease | None = None

    @property
    def lease(self) -> Lease | None:
        return self._lease

    def acquire(
        self, holder: str, ttl_s: float, token: str | None = None, connection: int | None = None, key: str = ""
    ) -> Lease:
        """Take the lease, or prolong it with its own token; CommandError when somebody else holds it."""
        present = self._lease
        if present is None and token is not None:
            raise CommandError("lease_lost", "no lease has this token; it was released, taken over or has expired")
        if present is not None and present.token != token:
            raise CommandError(
                "lease_held",
                f"the lease is held by {present.holder!r}; it must be released or expire, or be taken over "
                "with the action `takeover`",
            )
        return self._grant(holder, ttl_s, None if present is None else present.token, connection, key)

    def take_over(self, holder: str, ttl_s: float, connection: int | None = None, key: str = "") -> Lease:
        """The lease of a new holder, whoever held it; the old token is worth nothing."""
        return self._grant(holder, ttl_s, None, connection, key)

    def release(self, token: str) -> Lease:
        """Give the lease back; CommandError when the token is not its."""
        present = self._lease
        if present is None or not secrets.compare_digest(present.token.encode(), token.encode()):
            raise CommandError("lease_lost", "no lease has this token; it was released, taken over or has expired")
        self._lease = None
        return present

    def require(self, token: str | None, what: str) -> None:
        """CommandError when `what` needs a lease that is not the caller's."""
        present = self._lease
        if present is None:
            if self.required:
                raise CommandError(
                    "lease_needed", f"{what}: needs the lease, which nobody holds; acquire it first (`lease`)"
                )
            # Its sender believes to be alone.
            if token is not None:
                raise CommandError(
                    "lease_lost",
                    f"{what}: no lease has this token; it was released, taken over or has expired; acquire it anew, or "
                    "leave the token out",
                )
        elif present.token != token:
            raise CommandError(
                "lease_held",
                f"{what}: affects acoustic output or geometry, and the lease is held by {present.holder!r}",
            )

    def expire(self) -> Lease | None:
        """The lease that has run out just now, if one has."""
        present = self._lease
        if present is None or self._monotonic_ns() < present.expires_ns:
            return None
        self._lease = None
        return present

    def drop(self, ends: Callable[[Lease], bool]) -> Lease | None:
        """The lease that ends just now because `ends` says so, if it does."""
        present = self._lease
        if present is None or not ends(present):
            return None
        self._lease = None
        return present

    def _grant(self, holder: str, ttl_s: float, token: str | None, connection: int | None, key: str) -> Lease:
        expires_ns = self._monotonic_ns() + int(ttl_s * 1e9)
        self._lease = Lease(holder, token or secrets.token_hex(16), ttl_s, expires_ns, connection, key)
        return self._lease
