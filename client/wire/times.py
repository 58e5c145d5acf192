"""The latency ledger of a frame: when each step happened, on the daemon's monotonic clock, and how that clock relates
to UTC and to the device's own clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sonod.client.wire.fields import Fields

CLOCK = "monotonic"
_STEPS = itemgetter("first_byte_ns", "last_byte_ns", "dequeued_ns", "processed_ns", "published_ns")
_ORIGIN = itemgetter("transmit_ns", "transmit_uncertainty_ns", "device_ticks", "clock", "device_clock")
_UTC = itemgetter("monotonic_ns", "utc_ns", "uncertainty_ns", "steps", "synchronized")


@dataclass(frozen=True)
class UtcMapping:
    """Both clocks read at the same moment: utc = utc_ns + (t - monotonic_ns). `utc_ns` counts from 1970.

    `uncertainty_ns`: the reading may be wrong by this much against the host's own UTC, None = not told. `steps` counts
    the times that the host's UTC was set, not slewed, since the session began. `synchronized`: the operating system
    says that NTP or PTP keeps the host's UTC; None = not known.
    """

    monotonic_ns: int
    utc_ns: int
    uncertainty_ns: int | None = None
    steps: int = 0
    synchronized: bool | None = None

    def utc_of(self, monotonic_ns: int) -> int:
        """Nanoseconds since 1970 of a monotonic time."""
        return self.utc_ns + (monotonic_ns - self.monotonic_ns)

    def block(self) -> dict[str, Any]:
        return {
            "monotonic_ns": self.monotonic_ns,
            "utc_ns": self.utc_ns,
            "uncertainty_ns": self.uncertainty_ns,
            "steps": self.steps,
            "synchronized": self.synchronized,
        }

    @classmethod
    def read(cls, fields: Fields) -> UtcMapping:
        known = fields.values.get("synchronized") is not None
        return cls(
            fields.integer("monotonic_ns"),
            fields.integer("utc_ns"),
            fields.optional_integer("uncertainty_ns"),
            fields.integer("steps", 0),
            fields.flag("synchronized") if known else None,
        )


@dataclass(frozen=True)
class DeviceClock:
    """The device's clock against the monotonic one: monotonic = monotonic_ns + (ticks - self.ticks) * ns_per_tick.

    `uncertainty_ns` holds at `ticks` and grows by `drift_uncertainty` nanoseconds for each nanosecond away from there;
    `residual_ns` is the median distance of single observations from the line. `epoch` counts the times that the
    device's clock began anew.
    """

    ticks: int
    monotonic_ns: int
    ns_per_tick: float
    uncertainty_ns: int
    drift_uncertainty: float = 0.0
    residual_ns: int = 0
    epoch: int = 0

    def monotonic_of(self, ticks: int) -> int:
        """The monotonic time at which the device's clock stood at `ticks`."""
        return self.monotonic_ns + round((ticks - self.ticks) * self.ns_per_tick)

    def uncertainty_at(self, ticks: int) -> int:
        """By how much that may be wrong."""
        return self.uncertainty_ns + round(abs(ticks - self.ticks) * self.ns_per_tick * self.drift_uncertainty)

    def block(self) -> dict[str, Any]:
        return {
            "ticks": self.ticks,
            "monotonic_ns": self.monotonic_ns,
            "ns_per_tick": self.ns_per_tick,
            "uncertainty_ns": self.uncertainty_ns,
            "drift_uncertainty": self.drift_uncertainty,
            "residual_ns": self.residual_ns,
            "epoch": self.epoch,
        }

    @classmethod
    def read(cls, fields: Fields | None) -> DeviceClock | None:
        if fields is None:
            return None
        return cls(
            fields.integer("ticks"),
            fields.integer("monotonic_ns"),
            fields.number("ns_per_tick"),
            fields.integer("uncertainty_ns", 0),
            fields.number("drift_uncertainty", 0.0),
            fields.integer("residual_ns", 0),
            fields.integer("epoch", 0),
        )


@dataclass(frozen=True)
class Times:
    """Nanoseconds of the daemon's monotonic clock (CLOCK_MONOTONIC of its machine).

    `transmit_ns`: the sound of the first transmit event left; None = not known; `transmit_uncertainty_ns` likewise.
    `first_byte_ns`, `last_byte_ns`: the host received the first and the last byte of the raw frame.
    `dequeued_ns`: processing began; `processed_ns`: the products were ready; `published_ns`: handed to the socket.
    `device_ticks`: the device's own time of the first transmit event, None = it has none.
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
    device_ticks: int | None = None
    device_clock: DeviceClock | None = None

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
            "utc": self.utc.block(),
            "device_ticks": self.device_ticks,
            "device_clock": None if self.device_clock is None else self.device_clock.block(),
        }

    @classmethod
    def quick(cls, values: Mapping[str, Any]) -> Times | None:
        """As `read`, of a block in which nothing is left out; None when something is, or is not as usual."""
        try:
            steps = _STEPS(values)
            transmit_ns, uncertainty_ns, ticks, clock, device_clock = _ORIGIN(values)
            monotonic_ns, utc_ns, utc_uncertainty_ns, utc_steps, synchronized = _UTC(values["utc"])
        except (KeyError, TypeError):
            return None
        whole = set(map(type, (*steps, monotonic_ns, utc_ns, utc_uncertainty_ns, utc_steps)))
        loose = set(map(type, (transmit_ns, uncertainty_ns, ticks)))
        if whole != {int} or not loose <= {int, type(None)} or synchronized not in (True, False, None):
            return None
        if clock != CLOCK:
            return None
        line = None if device_clock is None else DeviceClock.read(Fields(device_clock, "device_clock"))
        utc = UtcMapping(monotonic_ns, utc_ns, utc_uncertainty_ns, utc_steps, synchronized)
        first_byte_ns, last_byte_ns, dequeued_ns, processed_ns, published_ns = steps
        return cls(
            first_byte_ns,
            last_byte_ns,
            dequeued_ns,
            processed_ns,
            published_ns,
            utc,
            transmit_ns,
            uncertainty_ns,
            CLOCK,
            ticks,
            line,
        )

    @classmethod
    def read(cls, fields: Fields) -> Times:
        return cls(
            first_byte_ns=fields.integer("first_byte_ns"),
            last_byte_ns=fields.integer("last_byte_ns"),
            dequeued_ns=fields.integer("dequeued_ns"),
            processed_ns=fields.integer("processed_ns"),
            published_ns=fields.integer("published_ns"),
            utc=UtcMapping.read(fields.inner("utc")),
            transmit_ns=fields.optional_integer("transmit_ns"),
            transmit_uncertainty_ns=fields.optional_integer("transmit_uncertainty_ns"),
            clock=fields.text("clock", CLOCK),
            device_ticks=fields.optional_integer("device_ticks"),
            device_clock=DeviceClock.read(fields.optional_inner("device_clock")),
        )
