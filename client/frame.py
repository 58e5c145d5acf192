"""A received frame, with its whole latency ledger and the account of those that did not arrive."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from sonod.client.errors import RequestRefused
from sonod.client.losses import NOTHING_MISSED, LossAccount, MissedFrames
from sonod.client.wire.control import Problem
from sonod.client.wire.errors import WireError
from sonod.client.wire.header import FrameHeader, HeaderReader
from sonod.client.wire.notices import NOTICES, EventNotice, Notice, decode_notice
from sonod.client.wire.payload import payload_array
from sonod.client.wire.topic import Topic, is_refusal


@dataclass(frozen=True, eq=False)
class Frame:
    """One product of one frame.

    `data` is a read-only view of the message with the header's shape and dtype. `received_ns` is this machine's
    monotonic clock, the daemon's own when both run on one machine. `missing` says why the frames between the last one
    of this stream and this one did not come, `missed` how many of them this subscriber alone did not get: it was too
    slow. `displayed_ns` is None until `displayed` tells.
    """

    header: FrameHeader
    data: NDArray[Any]
    received_ns: int
    missing: MissedFrames = NOTHING_MISSED
    variant: str = ""
    displayed_ns: int | None = None

    @property
    def missed(self) -> int:
        return self.missing.queue

    def displayed(self, displayed_ns: int | None = None) -> Frame:
        """This frame with the time at which it was shown; none given = now."""
        return replace(self, displayed_ns=time.monotonic_ns() if displayed_ns is None else displayed_ns)


Message = Frame | Notice

# Messages of one topic, one after the other, of which nothing can be made before it is an error: none will follow that
# can. One alone may be of a later version's kind.
UNREADABLE_IN_A_ROW = 8
# Topics that are remembered; a daemon has a dozen.
MOST_TOPICS = 64
NOTHING = (0, 0)


class MessageReader:
    """Turns multipart messages of one subscription into frames and notices, and accounts for what is missing."""

    def __init__(self) -> None:
        self.account = LossAccount()
        self._headers = HeaderReader()
        self._topics: dict[bytes, Topic] = {}
        # Of each topic of which something was read: the messages since then that could not be, and those that were
        # passed over before them.
        self._unreadable: dict[bytes, tuple[int, int]] = {}

    def take(self, parts: Sequence[bytes | memoryview], received_ns: int, passed_over: int = 0) -> Message | None:
        """As `read`, but None for a message of which nothing can be made: the next frame of its topic counts it as
        missing. WireError when it is the first of its topic, or one of many in a row."""
        try:
            return self.read(parts, received_ns, passed_over)
        except WireError:
            topic = bytes(parts[0])
            count, passed = self._unreadable.get(topic, (UNREADABLE_IN_A_ROW, 0))
            if count + 1 >= UNREADABLE_IN_A_ROW:
                raise
            self._unreadable[topic] = count + 1, passed + passed_over
            return None

    def read(self, parts: Sequence[bytes | memoryview], received_ns: int, passed_over: int = 0) -> Message:
        """The frame or notice in a message; WireError when it is neither, RequestRefused when it says that the variant
        which was subscribed to brings nothing. `passed_over` messages of the same topic came before it and are left out
        on purpose."""
        if len(parts) != 3:
            raise WireError(f"message: must have topic, header and payload; got {len(parts)} parts")
        name = bytes(parts[0])
        if is_refusal(name, parts[2]):
            raise _refusal(parts[1])
        topic = self._topic(name)
        if topic.product in NOTICES:
            notice = decode_notice(parts[1])
            self._good(name)
            return notice
        header = self._headers.read(parts[1])
        data = payload_array(header, parts[2])
        unreadable, passed = self._good(name)
        missing = self.account.take(header, topic.variant, passed_over + passed, unreadable)
        return Frame(header, data, received_ns, missing, topic.variant)

    def _good(self, topic: bytes) -> tuple[int, int]:
        """A message of this topic was read: how many before it were not, and how many were passed over before those."""
        before = self._unreadable.get(topic, NOTHING)
        if before is not NOTHING or len(self._unreadable) < MOST_TOPICS:
            self._unreadable[topic] = NOTHING
        return before

    def _topic(self, data: bytes) -> Topic:
        topic = self._topics.get(data)
        if topic is None:
            topic = Topic.decode(data)
            if len(self._topics) < MOST_TOPICS:
                self._topics[data] = topic
        return topic


def _refusal(header: bytes | memoryview) -> RequestRefused:
    """The notice that comes in the place of a variant's frames."""
    notice = decode_notice(header)
    if not isinstance(notice, EventNotice):
        raise WireError(f"message: a variant has frames and no notices; got {type(notice).__name__}")
    return RequestRefused(Problem("refused", notice.message, (notice.message,)))
