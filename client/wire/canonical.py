"""The part of a frame's header that differs between any two frames, as this package writes it, read without a parser.

JSON may be written in many ways; what is not written in this one way is read by `header.py` field by field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sonod.client.wire.fields import Fields
from sonod.client.wire.times import CLOCK, DeviceClock, Times, UtcMapping

_INT = rb"(0|[1-9]\d{0,18})"
_INT_OR_NULL = rb"(0|[1-9]\d{0,18}|null)"
_HEAD = re.compile(
    rb'(\{"sonod":1,"product":"[^"\\]*",)"frame":%(int)s,'
    rb'("session":"[^"\\]*","revision":\d+,"probe":"[^"\\]*","shape":\[[\d,]+\],'
    rb'"dtype":"[^"\\]*","byte_order":"[^"\\]*","encoding":"[^"\\]*",)"message":%(int)s,"repeated":false,'
    rb'"times":\{"clock":"monotonic","transmit_ns":%(null)s,"transmit_uncertainty_ns":%(null)s,'
    rb'"first_byte_ns":%(int)s,"last_byte_ns":%(int)s,"dequeued_ns":%(int)s,"processed_ns":%(int)s,'
    rb'"published_ns":%(int)s,'
    rb'"utc":\{"monotonic_ns":%(int)s,"utc_ns":%(int)s,"uncertainty_ns":%(int)s,"steps":%(int)s,'
    rb'"synchronized":(true|false|null)\},"device_ticks":%(null)s,"device_clock":(null|\{[^{}]*\})\},'
    rb'"losses":\{"device":%(int)s,"ring":%(int)s,"processing":%(int)s,"unsubscribed":%(int)s,"skipped":%(int)s\}'
    % {b"int": _INT, b"null": _INT_OR_NULL}
)
_FLAGS = {b"true": True, b"false": False, b"null": None}


@dataclass(frozen=True, slots=True)
class Head:
    """`constant` is the same for two frames of one product under the same settings; `losses` in the header's order."""

    constant: tuple[bytes, bytes]
    frame: int
    message: int
    times: Times
    losses: tuple[int, ...]


def read_head(data: bytes, end: int) -> Head | None:
    """The head in `data[:end]`, None when it is not all of it or not written as usual."""
    found = _HEAD.fullmatch(data, 0, end)
    if found is None:
        return None
    before, frame, after, message, transmit, uncertainty, *numbers, flag, ticks, clock, d, r, p, u, s = found.groups()
    first, last, dequeued, processed, published, monotonic, utc, utc_uncertainty, steps = map(int, numbers)
    times = Times(
        first,
        last,
        dequeued,
        processed,
        published,
        UtcMapping(monotonic, utc, utc_uncertainty, steps, _FLAGS[flag]),
        _optional(transmit),
        _optional(uncertainty),
        CLOCK,
        _optional(ticks),
        None if clock == b"null" else DeviceClock.read(Fields.parse(clock, "device_clock")),
    )
    return Head((before, after), int(frame), int(message), times, (int(d), int(r), int(p), int(u), int(s)))


def _optional(number: bytes) -> int | None:
    return None if number == b"null" else int(number)
