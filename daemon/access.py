"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sonod.daemon.errors import CommandError


class Role(StrEnum):
    """What a key allows; each role may do what those before it may."""

    VIEW = "view"  # receive everything, ask everything
    RECORD = "record"  # write recordings
    CONTROL = "control"  # change settings, transmit, hold the lease


_RANK = {role: rank for rank, role in enumerate(Role)}

# What each command needs; one that is not named here needs `control`.
NEEDED: Mapping[str, Role] = {
    "describe": Role.VIEW,
    "get": Role.VIEW,
    "status": Role.VIEW,
    "save": Role.VIEW,
    "record": Role.RECORD,
    "clip": Role.RECORD,
    "mark": Role.RECORD,
}


@dataclass(frozen=True)
class Caller:
    """Who sent a request: `key` is the public key of the connection, '' on this machine, where none is needed;
    `connection` names the connection while the daemon runs, None when it is gone already."""

    role: Role | None = Role.CONTROL
    name: str = ""
    key: str = ""
    connection: int | None = None

    @property
    def remote(self) -> bool:
        """Whether the caller came with a key, so perhaps from another machine."""
        return bool(self.key)

    def may(self, role: Role) -> bool:
        return self.role is not None and _RANK[self.role] >= _RANK[role]

    def require(self, command: str, role: Role | None = None) -> None:
        """CommandError `forbidden` when the caller's key does not allow the command."""
        needed = role or NEEDED.get(command, Role.CONTROL)
        if self.may(needed):
            return
        if self.role is None:
            raise CommandError("forbidden", f"{command}: the key of this connection has been revoked")
        raise CommandError(
            "forbidden", f"{command}: needs the role {needed}; the key of {self.name!r} has the role {self.role}"
        )


# A program on this machine, over loopback or an ipc socket that it may open.
LOCAL = Caller()
