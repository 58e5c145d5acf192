"""The ring of frames: within its bytes, never waiting, and what was overwritten is never taken for whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonod.daemon.cine.ring import CineRing, Entry, RingView

BUDGET = 4096


@pytest.fixture
def ring() -> Iterator[CineRing[int]]:
    made: CineRing[int] = CineRing("test", BUDGET)
    yield made
    made.close()


def frame(number: int, nbytes: int) -> np.ndarray:
    return np.full(nbytes, number % 251, np.uint8)


def copied(view: RingView, entry: Entry[int]) -> np.ndarray | None:
    out = np.zeros(entry.nbytes, np.uint8)
    return out if view.copy(entry, out) else None


def resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssShmem:"):
            return int(line.split()[1])
    raise AssertionError("the system does not say")


def test_memory_in_use_is_resident_before_frames_come_and_no_more_than_that() -> None:
    made: CineRing[int] = CineRing("test", 64 << 20)
    try:
        made.put(frame(7, 1000), 7)
        made.limit_bytes = 24 << 20
        before = resident_kib()
        while made.populate():
            pass
        grown = resident_kib() - before
        if not grown:
            pytest.skip("this system makes memory resident only when it is used")
        assert 20 << 10 < grown <= 25 << 10
        view = RingView(made.descriptor)
        newest = made.newest()
        assert newest is not None
        found = copied(view, newest)
        assert found is not None
        assert np.all(found == 7)
        made.limit_bytes = 32 << 20
        assert made.populate()
    finally:
        made.close()


def test_newest_frames_are_kept_and_the_oldest_go(ring: CineRing[int]) -> None:
    for number in range(1, 21):
        ring.put(frame(number, 1000), number)
    kept = [entry.facts for entry in ring.since(0)]
    # Of the four that fit, one place is free for the frame to come.
    assert kept == [18, 19, 20]
    view = RingView(ring.descriptor)
    for entry in ring.since(0):
        found = copied(view, entry)
        assert found is not None
        assert (found == entry.facts % 251).all()


def test_frame_that_was_overwritten_is_not_taken_for_whole(ring: CineRing[int]) -> None:
    ring.put(frame(1, 1000), 1)
    old = ring.since(0)[0]
    view = RingView(ring.descriptor)
    assert copied(view, old) is not None
    for number in range(2, 6):
        ring.put(frame(number, 1000), number)
    assert copied(view, old) is None


def test_frame_that_is_overwritten_while_it_is_copied_is_refused(ring: CineRing[int]) -> None:
    """The place is given up before the next frame comes, so that a copy under way finds out."""
    for number in (1, 2, 3):
        ring.put(frame(number, 1000), number)
    first = ring.since(0)[0]
    view = RingView(ring.descriptor)
    ring.put(frame(4, 1000), 4)
    # Nothing has been written over the first frame yet, but its place is promised.
    assert copied(view, first) is None


def test_frame_larger_than_the_ring_is_counted(ring: CineRing[int]) -> None:
    ring.put(frame(1, BUDGET + 1), 1)
    assert (ring.skipped, ring.since(0), ring.next_serial) == (1, [], 1)


def test_since_begins_at_a_serial_number(ring: CineRing[int]) -> None:
    for number in range(1, 4):
        ring.put(frame(number, 100), number)
    assert [entry.facts for entry in ring.since(2)] == [2, 3]
    assert ring.since(4) == []


def test_fewer_bytes_are_used_when_fewer_are_needed(ring: CineRing[int]) -> None:
    for number in range(1, 5):
        ring.put(frame(number, 1000), number)
    ring.limit_bytes = 1024
    for number in range(5, 30):
        ring.put(frame(number, 200), number)
    assert all(entry.offset + entry.nbytes <= 1024 for entry in ring.since(0))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1500), st.one_of(st.none(), st.integers(1000, BUDGET))), min_size=1, max_size=80)
)
def test_what_is_kept_is_whole_whatever_the_sizes_and_limits(steps: list[tuple[int, int | None]]) -> None:
    ring: CineRing[int] = CineRing("test", BUDGET)
    view = RingView(ring.descriptor)
    try:
        for number, (nbytes, limit) in enumerate(steps, start=1):
            if limit is not None:
                ring.limit_bytes = limit
            ring.put(frame(number, nbytes), number)
            for entry in ring.since(0):
                found = copied(view, entry)
                assert found is not None
                assert (found == entry.facts % 251).all()
                assert entry.offset + entry.nbytes <= BUDGET
    finally:
        ring.close()
