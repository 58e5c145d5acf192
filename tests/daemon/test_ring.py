from __future__ import annotations

import threading

import pytest

from sonod.daemon.ring import Place, SlotRing


def fill(ring: SlotRing, number: int, lost: int = 0) -> Place:
    place = ring.free()
    place.slot.number = number
    place.slot.lost = lost
    ring.put(place)
    return place


def test_frames_are_handed_over_in_order() -> None:
    ring = SlotRing(3)
    for number in (1, 2, 3):
        fill(ring, number)
    taken = [ring.take(0) for _ in range(4)]
    assert [place.slot.number for place in taken if place] == [1, 2, 3]
    assert taken[3] is None


def test_oldest_waiting_is_dropped_and_counted() -> None:
    ring = SlotRing(2)
    for number in (1, 2, 3, 4, 5):
        fill(ring, number)
    place = ring.take(0)
    assert place is not None
    assert (place.slot.number, place.ring_lost, ring.dropped) == (4, 3, 3)


def test_one_place_gives_the_newest() -> None:
    ring = SlotRing(1)
    for number in (1, 2, 3):
        fill(ring, number)
    place = ring.take(0)
    assert place is not None
    assert place.slot.number == 3


def test_losses_before_a_frame_are_those_of_older_frames_only() -> None:
    ring = SlotRing(2)
    fill(ring, 3, lost=2)
    fill(ring, 5, lost=1)
    first, second = ring.take(0), ring.take(0)
    assert first is not None
    assert second is not None
    assert (first.device_lost, second.device_lost) == (2, 3)


def test_slots_are_a_fixed_pool() -> None:
    ring = SlotRing(2)
    seen = set()
    for number in range(1, 30):
        seen.add(id(fill(ring, number).slot))
        if number % 3 == 0:
            place = ring.take(0)
            assert place is not None
            ring.give_back(place)
    assert len(seen) == 5


def test_waiting_processor_is_woken() -> None:
    ring = SlotRing(1)
    taken: list[Place | None] = []
    thread = threading.Thread(target=lambda: taken.append(ring.take(10)))
    thread.start()
    fill(ring, 1)
    thread.join(10)
    assert taken
    assert taken[0] is not None


def test_ring_needs_a_place() -> None:
    with pytest.raises(ValueError, match="waiting must be >= 1"):
        SlotRing(0)
