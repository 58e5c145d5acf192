"""Which part of a stream a subscriber wants, and how it is packed: the words behind the + of a topic."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sonod.client.wire.errors import WireError

# Beyond these a variant would be another word for nothing.
LARGEST_EVERY = 1000
LARGEST_RATE_HZ = 1000
# Subscribing to this one asks for the last frame again, once, should no new one be coming.
LAST = "last"
_WORDS = re.compile(r"(?:every-(?P<every>[1-9]\d{0,3})|rate-(?P<rate>[1-9]\d{0,3}))?\+?(?P<lz4>lz4)?")


@dataclass(frozen=True)
class Variant:
    """`every`: only frames whose number it divides; `rate_hz`: at most so many a second, 0 = no limit; one of both.
    `lz4`: the payload is one LZ4 block."""

    every: int = 1
    rate_hz: int = 0
    lz4: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.every <= LARGEST_EVERY:
            raise WireError(f"variant: every must be in 1..{LARGEST_EVERY}; got {self.every}")
        if not 0 <= self.rate_hz <= LARGEST_RATE_HZ:
            raise WireError(f"variant: rate must be in 1..{LARGEST_RATE_HZ} Hz; got {self.rate_hz}")
        if self.every > 1 and self.rate_hz:
            raise WireError("variant: every and rate exclude each other")

    @property
    def text(self) -> str:
        """As topics carry it; '' is the stream itself."""
        policy = f"every-{self.every}" if self.every > 1 else f"rate-{self.rate_hz}" if self.rate_hz else ""
        return "+".join(word for word in (policy, "lz4" if self.lz4 else "") if word)

    @classmethod
    def parse(cls, text: str) -> Variant:
        """WireError when it is not one that this version knows, spelt as `text` spells it."""
        match = _WORDS.fullmatch(text)
        if match is None:
            raise WireError(f"variant: must be every-N or rate-HZ, lz4, or both joined by +; got {text[:60]!r}")
        variant = cls(int(match["every"] or 1), int(match["rate"] or 0), match["lz4"] is not None)
        if variant.text != text or not text:
            raise WireError(f"variant: must be spelt {variant.text!r}; got {text!r}")
        return variant
