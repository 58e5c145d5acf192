"""The first part of every published message: what it is and from which probe."""

from __future__ import annotations

import re
from dataclasses import dataclass

from older_wire.errors import WireError

MAJOR_VERSION = 1
PREFIX = f"sonod.{MAJOR_VERSION}."
# The probe's place in a topic while no probe has answered yet.
UNKNOWN_PROBE = "unknown"
_NAME = re.compile(r"[a-z0-9_-]+")


@dataclass(frozen=True)
class Topic:
    """`sonod.1.<product>.<probe>`; both names are of a-z, 0-9, _ and -, so that dots separate and prefixes filter."""

    product: str
    probe: str

    def __post_init__(self) -> None:
        for name, value in (("product", self.product), ("probe", self.probe)):
            if not _NAME.fullmatch(value):
                raise WireError(f"topic: {name} must be of a-z, 0-9, _ and -; got {value!r}")

    def encode(self) -> bytes:
        return f"{PREFIX}{self.product}.{self.probe}".encode("ascii")

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Topic:
        """WireError when it is not a topic of this major version."""
        text = bytes(data).decode("ascii", errors="replace")
        product, dot, probe = text.removeprefix(PREFIX).partition(".")
        if not text.startswith(PREFIX) or not dot:
            raise WireError(f"topic: must be {PREFIX}<product>.<probe>; got {text[:60]!r}")
        return cls(product, probe)


def subscription(product: str | None = None, probe: str | None = None) -> bytes:
    """The prefix to subscribe to: everything, one product of every probe, or one product of one probe."""
    if product is None:
        return PREFIX.encode("ascii")
    if probe is None:
        return f"{PREFIX}{product}.".encode("ascii")
    return Topic(product, probe_slug(probe)).encode()


def probe_slug(name: str) -> str:
    """A probe's name as topics carry it: lower case, everything else than a-z, 0-9, _ and - becomes -."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-") or UNKNOWN_PROBE
