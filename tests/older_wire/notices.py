"""The products that carry no picture: settings, state and event. Their third part is empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from older_wire.fields import Fields, compact
from older_wire.header import Losses, Value, check_version, values_from
from older_wire.topic import MAJOR_VERSION

SETTINGS, STATE, EVENT = "settings", "state", "event"
NOTICES = (SETTINGS, STATE, EVENT)


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


Notice = SettingsNotice | StateNotice | EventNotice


def encode_notice(notice: Notice) -> bytes:
    """The notice as UTF-8 JSON."""
    values: dict[str, Any] = {"sonod": MAJOR_VERSION, "product": product_of(notice)}
    for name, value in vars(notice).items():
        values[name] = value.block() if isinstance(value, Losses) else value
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
    return STATE if isinstance(notice, StateNotice) else EVENT
