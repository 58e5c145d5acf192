"""Where the lease is asked for, and what happens when its holder goes away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sonod.daemon.access import Caller, Role
from sonod.daemon.arguments import LeaseArguments
from sonod.daemon.errors import CommandError
from sonod.daemon.lease import Lease, LeaseEnd, LeaseKeeper
from sonod.drivers.settings import Knob

Result = dict[str, Any]

REASONS = {
    LeaseEnd.TIME: "was not prolonged in time",
    LeaseEnd.CONNECTION: "has ended with its connection",
    LeaseEnd.REVOKED: "has ended because its key may control no longer",
}


class Tell(Protocol):
    """Publishes an event."""

    def __call__(self, event: str, message: str, level: str = "info", **facts: Any) -> None: ...


@dataclass(frozen=True)
class LeasePolicy:
    """`required`: guarded knobs and transmission need the lease at all times, and the probe is frozen `grace_s` after
    the last one was released. `when_lost`: what happens when a holder goes away without releasing it."""

    required: bool = False
    when_lost: Literal["freeze", "keep"] = "freeze"
    grace_s: float = 5.0


class LeaseDesk:
    """The lease as commands see it; only the control thread calls this. `freeze` stops transmission if there is any."""

    def __init__(
        self, policy: LeasePolicy, freeze: Callable[[], bool], tell: Tell, monotonic_ns: Callable[[], int]
    ) -> None:
        self.keeper = LeaseKeeper(monotonic_ns, policy.required)
        self._policy = policy
        self._freeze = freeze
        self._tell = tell
        self._monotonic_ns = monotonic_ns
        self._free_since_ns: int | None = None

    def act(self, arguments: LeaseArguments, caller: Caller) -> Result:
        """What a `lease` request does; CommandError when it is refused."""
        if arguments.action == "status":
            return self.block()
        caller.require(f"lease {arguments.action}", Role.CONTROL)
        if arguments.action == "release":
            if arguments.token is None:
                raise CommandError("invalid", "lease: token: missing", ("token: missing",))
            released = self.keeper.release(arguments.token)
            self._free_since_ns = self._monotonic_ns()
            self._tell("lease_released", f"{released.holder!r} has released the lease", holder=released.holder)
            return self.block()
        if not arguments.holder:
            raise CommandError("invalid", "lease: holder: missing; say who you are", ("holder: missing",))
        if arguments.connection and caller.connection is None:
            raise CommandError("unavailable", "lease: connection: this connection is not known; ask again")
        connection = caller.connection if arguments.connection else None
        before = self.keeper.lease
        if arguments.action == "acquire":
            lease = self.keeper.acquire(arguments.holder, arguments.ttl_s, arguments.token, connection, caller.key)
        else:
            lease = self.keeper.take_over(arguments.holder, arguments.ttl_s, connection, caller.key)
            if before is not None:
                message = f"{lease.holder!r} has taken the lease over from {before.holder!r}"
                self._tell("lease_taken_over", message, "warning", holder=lease.holder, previous=before.holder)
        if before is None:
            self._tell("lease_acquired", f"{lease.holder!r} holds the lease", holder=lease.holder)
        return {"token": lease.token, **self.block()}

    def require(self, token: str | None, what: str) -> None:
        """CommandError when `what` needs a lease that is not the caller's."""
        self.keeper.require(token, what)

    def holder_of(self, knob: Knob) -> str | None:
        """Who alone may change the knob at present; None = everybody."""
        lease = self.keeper.lease
        return lease.holder if lease is not None and knob.needs_lease else None

    def block(self) -> Result:
        """Who holds the lease."""
        lease = self.keeper.lease
        if lease is None:
            return {"holder": None, "expires_in_s": None, "required": self._policy.required}
        remaining_ns = lease.expires_ns - self._monotonic_ns()
        return {
            "holder": lease.holder,
            "expires_in_s": round(max(0, remaining_ns) / 1e9, 3),
            "required": self._policy.required,
        }

    def tick(self) -> None:
        """End a lease that has run out, and freeze a probe that nobody has held for too long."""
        lease = self.keeper.expire()
        if lease is not None:
            self._lost(lease, LeaseEnd.TIME)
        since_ns = self._free_since_ns
        if not self._policy.required or since_ns is None:
            return
        if self.keeper.lease is not None:
            self._free_since_ns = None
        elif self._monotonic_ns() - since_ns >= self._policy.grace_s * 1e9:
            self._free_since_ns = None
            if self._freeze():
                message = f"nobody has held the lease for {self._policy.grace_s:g} s; the probe is frozen"
                self._tell("lease_missing", message, "warning")

    def connection_ended(self, number: int) -> None:
        """End the lease that was bound to the connection."""
        lease = self.keeper.drop(lambda lease: lease.connection == number)
        if lease is not None:
            self._lost(lease, LeaseEnd.CONNECTION)

    def keys_changed(self, may_control: Callable[[str], bool]) -> None:
        """End the lease of a holder whose key may control no longer."""
        lease = self.keeper.drop(lambda lease: bool(lease.key) and not may_control(lease.key))
        if lease is not None:
            self._lost(lease, LeaseEnd.REVOKED)

    def _lost(self, lease: Lease, cause: LeaseEnd) -> None:
        self._free_since_ns = self._monotonic_ns()
        message = f"the lease of {lease.holder!r} {REASONS[cause]}"
        if self._policy.when_lost == "freeze":
            self._freeze()
            message += "; the probe is frozen"
        self._tell("lease_expired", message, "warning", holder=lease.holder, cause=cause)
