"""The first part of every published message: what it is, from which probe, and in which variant of its stream."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sonod.client.wire.errors import WireError

MAJOR_VERSION = 1
PREFIX = f"sonod.{MAJOR_VERSION}."
VARIANT_PREFIX = f"sonod.{MAJOR_VERSION}+"
# The probe's place in a topic while no probe has answered yet.
UNKNOWN_PROBE = "unknown"
_NAME = re.compile(r"[a-z0-9_-]+")
_VARIANT = re.compile(r"[a-z0-9_-]+(\+[a-z0-9_-]+)*")


@dataclass(frozen=True)
class Topic:
    """`sonod.1.<product>.<probe>`, or `sonod.1+<variant>.<product>.<probe>`; names are of a-z, 0-9, _ and -, so that
    dots separate and prefixes filter. A variant's words are joined by +."""

    product: str
    probe: str
    variant: str = ""

    def __post_init__(self) -> None:
        for name, value in (("product", self.product), ("probe", self.probe)):
            if not _NAME.fullmatch(value):
                raise WireError(f"topic: {name} must be of a-z, 0-9, _ and -; got {value!r}")
        if self.variant and not _VARIANT.fullmatch(self.variant):
            raise WireError(f"topic: variant must be of a-z, 0-9, _, - and +; got {self.variant!r}")

    def encode(self) -> bytes:
        prefix = f"{VARIANT_PREFIX}{self.variant}." if self.variant else PREFIX
        return f"{prefix}{self.product}.{self.probe}".encode("ascii")

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Topic:
        """WireError when it is not a topic of this major version."""
        text = bytes(data).decode("ascii", errors="replace")
        variant, rest = "", text.removeprefix(PREFIX)
        if text.startswith(VARIANT_PREFIX):
            variant, _, rest = text.removeprefix(VARIANT_PREFIX).partition(".")
        product, dot, probe = rest.partition(".")
        if not (text.startswith(PREFIX) or variant) or not dot:
            raise WireError(f"topic: must be {PREFIX}<product>.<probe>; got {text[:60]!r}")
        return cls(product, probe, variant)


def is_refusal(topic: bytes, payload: bytes | memoryview) -> bool:
    """Whether a message is the event that stands in the place of a variant's frames: it is not served."""
    return not payload and topic.startswith(VARIANT_PREFIX.encode("ascii"))


def subscription(product: str | None = None, probe: str | None = None, variant: str = "") -> bytes:
    """The prefix to subscribe to: everything, one product of every probe, or one product of one probe; in a variant
    if one is named (`Variant.text`)."""
    prefix = f"{VARIANT_PREFIX}{variant}." if variant else PREFIX
    if product is None:
        return prefix.encode("ascii")
    if probe is None:
        return f"{prefix}{product}.".encode("ascii")
    return Topic(product, probe_slug(probe), variant).encode()


def probe_slug(name: str) -> str:
    """A probe's name as topics carry it: lower case, everything else than a-z, 0-9, _ and - becomes -."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-") or UNKNOWN_PROBE
