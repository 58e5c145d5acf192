"""Small counters: stage durations, frame rate, the session's clock."""

from __future__ import annotations

from sonod.daemon.rate import FrameRate
from sonod.daemon.session import REFRESH_NS, Session
from sonod.daemon.stages import StageTable

MS = 1_000_000


def test_stage_table_keeps_last_mean_and_greatest() -> None:
    table = StageTable()
    for duration in (3, 9, 6):
        table.add("beamform", duration)
    table.add("detect", 1)
    assert table.block()["beamform"] == {"last_ns": 6, "mean_ns": 6, "max_ns": 9, "count": 3}
    assert list(table.block()) == ["beamform", "detect"]


def test_frame_rate_is_that_of_the_last_frames() -> None:
    rate = FrameRate()
    assert rate.hertz(0) == 0.0
    for index in range(100):
        rate.add(index * 20 * MS)
    assert rate.hertz(99 * 20 * MS) == 50.0


def test_frame_rate_falls_to_zero_when_frames_stop() -> None:
    rate = FrameRate()
    for index in range(3):
        rate.add(index * 1000 * MS)
    assert rate.hertz(4000 * MS) == 1.0
    assert rate.hertz(6000 * MS) == 0.0


def test_session_refreshes_utc_only_when_it_is_old() -> None:
    now = [1000]
    session = Session(lambda: now[0], lambda: 5_000_000 + 2 * now[0])
    first = session.utc
    session.refresh()
    assert session.utc is first
    now[0] += REFRESH_NS + 1
    session.refresh()
    assert session.utc.monotonic_ns == now[0]
    assert session.utc.utc_of(now[0] + 7) == 5_000_000 + 2 * now[0] + 7
