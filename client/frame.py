"""A received frame, and the account of frames that did not arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from sonod.client.wire.errors import WireError
from sonod.client.wire.header import FrameHeader, decode_header
from sonod.client.wire.notices import NOTICES, Notice, decode_notice
from sonod.client.wire.payload import payload_array
from sonod.client.wire.topic import Topic


@dataclass(frozen=True, eq=False)
class Frame:
    """One product of one frame.

    `data` is a read-only view of the message with the header's shape and dtype. `received_ns` is this machine's
    monotonic clock. `missed` counts the frames since the last one here that this subscriber alone did not get:
    too slow, or joined late; what the device or the daemon lost is in `header.losses`.
    """

    header: FrameHeader
    data: NDArray[Any]
    received_ns: int
    missed: int = 0


Message = Frame | Notice


class MissedFrames:
    """Tells what a subscriber itself missed from what was never published."""

    def __init__(self) -> None:
        self._last: dict[str, FrameHeader] = {}

    def count(self, header: FrameHeader) -> int:
        """Frames between the previous one of this product and this one that were published and did not arrive."""
        before = self._last.get(header.product)
        self._last[header.product] = header
        if before is None or before.session != header.session or header.frame <= before.frame:
            return 0
        gap = header.frame - before.frame - 1
        return max(0, gap - (header.losses.total - before.losses.total))


def read_message(parts: Sequence[bytes | memoryview], received_ns: int, missed: MissedFrames) -> Message:
    """The frame or notice in a multipart message; WireError when it is neither."""
    if len(parts) != 3:
        raise WireError(f"message: must have topic, header and payload; got {len(parts)} parts")
    topic = Topic.decode(parts[0])
    if topic.product in NOTICES:
        return decode_notice(parts[1])
    header = decode_header(parts[1])
    return Frame(header, payload_array(header, parts[2]), received_ns, missed.count(header))
