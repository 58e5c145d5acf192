"""Who lost a frame: the daemon says what it lost itself, the rest is this subscriber's."""

from __future__ import annotations

from dataclasses import replace

import wire_messages as messages

from sonod.client.frame import MissedFrames
from sonod.client.wire.header import FrameHeader, Losses

NONE = Losses()


def header(frame: int, losses: Losses = NONE, session: str = "a", product: str = "bmode") -> FrameHeader:
    return replace(messages.HEADER, frame=frame, losses=losses, session=session, product=product)


def test_consecutive_frames_miss_nothing() -> None:
    missed = MissedFrames()
    assert [missed.count(header(frame)) for frame in (7, 8, 9)] == [0, 0, 0]


def test_gap_that_the_daemon_accounts_for_is_not_ours() -> None:
    missed = MissedFrames()
    missed.count(header(7, Losses(ring=1)))
    assert missed.count(header(12, Losses(device=1, ring=2, processing=1))) == 1


def test_each_product_has_its_own_account() -> None:
    missed = MissedFrames()
    missed.count(header(7))
    missed.count(header(3, product="rf"))
    assert missed.count(header(8)) == 0


def test_new_session_starts_anew() -> None:
    missed = MissedFrames()
    missed.count(header(70))
    assert missed.count(header(5, session="b")) == 0
