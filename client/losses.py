"""Why a subscriber did not get a frame: the account of every frame number between two that arrived."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sonod.client.wire.header import FrameHeader


@dataclass(frozen=True)
class MissedFrames:
    """Frame numbers that did not arrive, each under exactly one cause.

    `device`: lost in the device or its transport; `ring`: dropped because processing was busy; `processing`: failed
    there or on the way to the socket; `unsubscribed`: not made, because nobody had subscribed to this stream;
    `skipped`: left out as this subscriber asked (every Nth, a rate, the latest only); `queue`: sent, and dropped
    because this subscriber, or its connection, did not take it in time; `unreadable`: came, and this client could make
    nothing of it, as of an encoding that it does not know.
    """

    device: int = 0
    ring: int = 0
    processing: int = 0
    unsubscribed: int = 0
    skipped: int = 0
    queue: int = 0
    unreadable: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))

    def __add__(self, other: MissedFrames) -> MissedFrames:
        return MissedFrames(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


NOTHING_MISSED = MissedFrames()


class LossAccount:
    """Explains, for each stream, the frame numbers between two headers that arrived one after the other."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], FrameHeader] = {}
        self._totals: dict[str, MissedFrames] = {}

    @property
    def totals(self) -> dict[str, MissedFrames]:
        """What is missing since the first frame of each product."""
        return dict(self._totals)

    def take(self, header: FrameHeader, variant: str = "", passed_over: int = 0, unreadable: int = 0) -> MissedFrames:
        """What is missing between the previous header of this stream and this one. Of the messages in between
        `passed_over` were left out here, and `unreadable` could not be read; a frame sent again, or another session,
        misses nothing."""
        key = (variant, header.product)
        before = self._last.get(key)
        if before is not None and before.session == header.session and header.frame <= before.frame:
            return NOTHING_MISSED
        self._last[key] = header
        self._totals.setdefault(header.product, NOTHING_MISSED)
        if before is None or before.session != header.session:
            return NOTHING_MISSED
        if header.frame == before.frame + 1:
            return NOTHING_MISSED
        missed = _between(before, header, passed_over, unreadable)
        self._totals[header.product] += missed
        return missed


def _between(before: FrameHeader, after: FrameHeader, passed_over: int, unreadable: int) -> MissedFrames:
    old, new = before.losses, after.losses
    if after.message is not None and before.message is not None:
        sent = after.message - before.message - 1
    else:
        # A daemon that does not number its messages: what it does not account for was sent.
        sent = after.frame - before.frame - 1 - (new.total - old.total)
    sent = max(0, sent)
    unreadable = min(unreadable, sent)
    here = min(passed_over, sent - unreadable)
    return MissedFrames(
        device=new.device - old.device,
        ring=new.ring - old.ring,
        processing=new.processing - old.processing,
        unsubscribed=new.unsubscribed - old.unsubscribed,
        skipped=new.skipped - old.skipped + here,
        queue=sent - here - unreadable,
        unreadable=unreadable,
    )
