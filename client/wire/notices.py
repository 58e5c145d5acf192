"""The products that carry no picture: settings, state, clock and event. Their third part is empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sonod.client.wire.fields import Fields, compact
from sonod.client.wire.header import Losses, Value, check_version, values_from
from sonod.client.wire.times import DeviceClock, UtcMapping
from sonod.client.wire.topic import MAJOR_VERSION

SETTINGS, STATE, CLOCK, EVENT = "settings", "state", "clock", "event"
NOTICES = (SETTINGS, STATE, CLOCK, EVENT)


@dataclass(frozen=True)
class SettingsNotice:
    """The settings in force: every knob's value. `first_frame` is the first frame made with them, None = not yet."""

    session: str
    probe: str
    revision: int
    settings: Mapping[str, Value]
    first_frame: int | None = None
    published_ns: int = 0


@dataclass(frozen=True)
class StateNotice:
    """What the daemon is doing. `reason` says why in one line when it is not simply running.

    `health` is good, idle, starting, degraded, recovering or leaving, '' from a daemon that does not say.
    `since_ns` is when the state was entered and `published_ns` when this was sent, both on the monotonic clock;
    `frame` the newest acquired frame; `frame_rate_hz` frames acquired in the last second or so.
    """

    session: str
    probe: str
    state: str
    driver: str = ""
    reason: str = ""
    since_ns: int = 0
    published_ns: int = 0
    frame: int = 0
    frame_rate_hz: float = 0.0
    losses: Losses = field(default_factory=Losses)
    recording: str | None = None
    version: str = ""
    health: str = ""


@dataclass(frozen=True)
class ClockNotice:
    """How the daemon's monotonic clock relates to the host's UTC and to the device's clock.

    `utc_rate`: nanoseconds of UTC for one monotonic nanosecond, over the last minute without a step, with the root mean
    square `utc_residual_ns` of what a straight line leaves over. `maximum_error_ns` and `estimated_error_ns` are what
    the operating system believes of its UTC, None = it does not say.
    """

    session: str
    probe: str
    utc: UtcMapping
    utc_rate: float = 1.0
    utc_residual_ns: int = 0
    maximum_error_ns: int | None = None
    estimated_error_ns: int | None = None
    device_clock: DeviceClock | None = None
    published_ns: int = 0


@dataclass(frozen=True)
class EventNotice:
    """Something happened once: `event` is a short name, `message` one line for people, `facts` for programs."""

    session: str
    probe: str
    event: str
    message: str = ""
    level: str = "info"
    facts: Mapping[str, Any] = field(default_factory=dict)
    published_ns: int = 0


Notice = SettingsNotice | StateNotice | ClockNotice | EventNotice


def encode_notice(notice: Notice) -> bytes:
    """The notice as UTF-8 JSON."""
    values: dict[str, Any] = {"sonod": MAJOR_VERSION, "product": product_of(notice)}
    for name, value in vars(notice).items():
        values[name] = value.block() if isinstance(value, Losses | UtcMapping | DeviceClock) else value
    return compact(values).encode()


def decode_notice(data: bytes | memoryview) -> Notice:
    """The notice in `data`; WireError names what is wrong."""
    fields = Fields.parse(data, "notice")
    check_version(fields)
    product = fields.text("product")
    session, probe = fields.text("session"), fields.text("probe")
    published_ns = fields.integer("published_ns", 0)
    if product == SETTINGS:
        return SettingsNotice(
            session,
            probe,
            fields.integer("revision"),
            values_from(fields.inner("settings")),
            fields.optional_integer("first_frame"),
            published_ns,
        )
    if product == STATE:
        return StateNotice(
            session,
            probe,
            fields.text("state"),
            fields.text("driver", ""),
            fields.text("reason", ""),
            fields.integer("since_ns", 0),
            published_ns,
            fields.integer("frame", 0),
            fields.number("frame_rate_hz", 0.0),
            Losses.read(fields.optional_inner("losses")),
            fields.values.get("recording"),
            fields.text("version", ""),
            fields.text("health", ""),
        )
    if product == CLOCK:
        return ClockNotice(
            session,
            probe,
            UtcMapping.read(fields.inner("utc")),
            fields.number("utc_rate", 1.0),
            fields.integer("utc_residual_ns", 0),
            fields.optional_integer("maximum_error_ns"),
            fields.optional_integer("estimated_error_ns"),
            DeviceClock.read(fields.optional_inner("device_clock")),
            published_ns,
        )
    if product == EVENT:
        facts = fields.optional_inner("facts")
        return EventNotice(
            session,
            probe,
            fields.text("event"),
            fields.text("message", ""),
            fields.text("level", "info"),
            {} if facts is None else facts.values,
            published_ns,
        )
    raise fields.wrong("product", " or ".join(NOTICES))


def product_of(notice: Notice) -> str:
    """The product under which a notice is published."""
    if isinstance(notice, SettingsNotice):
        return SETTINGS
    if isinstance(notice, ClockNotice):
        return CLOCK
    return STATE if isinstance(notice, StateNotice) else EVENT
