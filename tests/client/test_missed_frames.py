"""Who lost a frame: the daemon says what it lost itself, the rest is this subscriber's."""

from __future__ import annotations

from dataclasses import replace

import wire_messages as messages

from sonod.client.losses import LossAccount, MissedFrames
from sonod.client.wire.header import FrameHeader, Losses

NONE = Losses()


def header(
    frame: int, losses: Losses = NONE, session: str = "a", product: str = "bmode", message: int | None = None
) -> FrameHeader:
    return replace(messages.HEADER, frame=frame, losses=losses, session=session, product=product, message=message)


def test_consecutive_frames_miss_nothing() -> None:
    account = LossAccount()
    assert [account.take(header(frame)).total for frame in (7, 8, 9)] == [0, 0, 0]


def test_gap_that_the_daemon_accounts_for_is_not_ours() -> None:
    account = LossAccount()
    account.take(header(7, Losses(ring=1)))
    missed = account.take(header(12, Losses(device=1, ring=2, processing=1)))
    assert missed == MissedFrames(device=1, ring=1, processing=1, queue=1)


def test_every_number_of_a_gap_has_one_cause() -> None:
    account = LossAccount()
    account.take(header(10, Losses(1, 2, 3, 1, 0), message=3))
    after = header(40, Losses(4, 5, 6, 3, 4), message=18)
    missed = account.take(after, passed_over=5)
    assert missed == MissedFrames(device=3, ring=3, processing=3, unsubscribed=2, skipped=9, queue=9)
    assert missed.total == 40 - 10 - 1
    assert account.totals == {"bmode": missed}


def test_each_product_and_variant_has_its_own_account() -> None:
    account = LossAccount()
    account.take(header(7))
    account.take(header(3, product="rf"))
    account.take(header(2), "every-2")
    assert account.take(header(8)).total == 0


def test_new_session_starts_anew() -> None:
    account = LossAccount()
    account.take(header(70))
    assert account.take(header(5, session="b")).total == 0


def test_repeated_frame_misses_nothing() -> None:
    account = LossAccount()
    account.take(header(7, message=1))
    assert account.take(header(7, message=1)).total == 0
    assert account.take(header(9, message=2, losses=Losses(ring=1))).ring == 1
