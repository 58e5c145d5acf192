"""The latency ledger of a frame: when each step happened, on the daemon's monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from older_wire.fields import Fields

CLOCK = "monotonic"


@dataclass(frozen=True)
class UtcMapping:
    """Both clocks read at the same moment: utc = utc_ns + (t - monotonic_ns). `utc_ns` counts from 1970."""

    monotonic_ns: int
    utc_ns: int

    def utc_of(self, monotonic_ns: int) -> int:
        """Nanoseconds since 1970 of a monotonic time."""
        return self.utc_ns + (monotonic_ns - self.monotonic_ns)


@dataclass(frozen=True)
class Times:
    """Nanoseconds of the daemon's monotonic clock (CLOCK_MONOTONIC of its machine).

    `transmit_ns`: the sound of the first transmit event left; None = not known; `transmit_uncertainty_ns` likewise.
    `first_byte_ns`, `last_byte_ns`: the host received the first and the last byte of the raw frame.
    `dequeued_ns`: processing began; `processed_ns`: the products were ready; `published_ns`: handed to the socket.
    """

    first_byte_ns: int
    last_byte_ns: int
    dequeued_ns: int
    processed_ns: int
    published_ns: int
    utc: UtcMapping
    transmit_ns: int | None = None
    transmit_uncertainty_ns: int | None = None
    clock: str = CLOCK

    def block(self) -> dict[str, Any]:
        """As the header carries it."""
        return {
            "clock": self.clock,
            "transmit_ns": self.transmit_ns,
            "transmit_uncertainty_ns": self.transmit_uncertainty_ns,
            "first_byte_ns": self.first_byte_ns,
            "last_byte_ns": self.last_byte_ns,
            "dequeued_ns": self.dequeued_ns,
            "processed_ns": self.processed_ns,
            "published_ns": self.published_ns,
            "utc": {"monotonic_ns": self.utc.monotonic_ns, "utc_ns": self.utc.utc_ns},
        }

    @classmethod
    def read(cls, fields: Fields) -> Times:
        utc = fields.inner("utc")
        return cls(
            first_byte_ns=fields.integer("first_byte_ns"),
            last_byte_ns=fields.integer("last_byte_ns"),
            dequeued_ns=fields.integer("dequeued_ns"),
            processed_ns=fields.integer("processed_ns"),
            published_ns=fields.integer("published_ns"),
            utc=UtcMapping(utc.integer("monotonic_ns"), utc.integer("utc_ns")),
            transmit_ns=fields.optional_integer("transmit_ns"),
            transmit_uncertainty_ns=fields.optional_integer("transmit_uncertainty_ns"),
            clock=fields.text("clock", CLOCK),
        )
