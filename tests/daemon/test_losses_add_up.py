"""Random losses at every stage: what the client is told equals what happened, and every number has one cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import wire_messages as messages
from hypothesis import given, settings
from hypothesis import strategies as st

from sonod.client.losses import LossAccount, MissedFrames
from sonod.client.wire.header import FrameHeader, Losses
from sonod.client.wire.variant import Variant
from sonod.daemon.ring import Place, SlotRing
from sonod.daemon.streams import Streams

VARIANTS = (Variant(), Variant(every=3), Variant(rate_hz=20), Variant(every=2, lz4=True))


class Path:
    """The frame path without threads: the daemon's ring and streams, a fate for each frame, and the truth by number."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.truth: dict[int, str] = {}
        self.ring = SlotRing(2)
        self.streams = Streams()
        self.number = 0
        self.failed = 0

    def acquire(self, lost: int) -> None:
        """One frame from the device, after `lost` that the device lost."""
        for _ in range(lost):
            self.number += 1
            self.truth[self.number] = "device"
        self.number += 1
        place = self.ring.free()
        place.slot.number, place.slot.lost = self.number, lost
        self.truth[self.number] = "ring"
        self.ring.put(place)

    def process(self, fate: str) -> FrameHeader | None:
        """Take one frame from the ring to its fate; the header that a subscriber receives."""
        place = self.ring.take(0)
        if place is None:
            return None
        try:
            return self._send(place, fate)
        finally:
            self.ring.give_back(place)

    def _send(self, place: Place, fate: str) -> FrameHeader | None:
        frame = place.slot.number
        if fate == "processing":
            self.truth[frame] = "processing"
            self.failed += 1
            return None
        if fate == "unsubscribed":
            self.truth[frame] = "unsubscribed"
            return None
        if fate == "dropped":
            stream = self.streams.of("bmode", self.variant)
            self.streams.lost("bmode")
            self.truth[frame] = "processing"
            assert stream.dropped
            return None
        stream = self.streams.of("bmode", self.variant)
        header = header_of(frame, Losses(place.device_lost, place.ring_lost, self.failed))
        if not stream.takes(header):
            self.truth[frame] = "skipped"
            return None
        header = stream.completed(header)
        stream.messages += 1
        self.truth[frame] = "queue" if fate == "queue" else "received"
        return None if fate == "queue" else header


def header_of(frame: int, losses: Losses) -> FrameHeader:
    times = replace(messages.HEADER.times, last_byte_ns=frame * 30_000_000)
    return replace(messages.HEADER, frame=frame, losses=losses, message=None, times=times)


fates = st.sampled_from(["sent", "sent", "sent", "queue", "processing", "unsubscribed", "dropped"])
steps = st.lists(
    st.one_of(st.tuples(st.just("acquire"), st.integers(0, 3)), st.tuples(st.just("process"), fates)), max_size=120
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(VARIANTS), steps)
def test_explanation_equals_the_truth(variant: Variant, todo: list[tuple[str, int | str]]) -> None:
    path, account = Path(variant), LossAccount()
    received: list[int] = []
    explained = MissedFrames()
    for header in run(path, todo):
        assert header.message is not None
        assert header.frame == header.message + header.losses.total, "every number up to here has one cause"
        missed = account.take(header, variant.text)
        if received:
            gap = [path.truth[number] for number in range(received[-1] + 1, header.frame)]
            causes = Counter(gap)
            assert {name: getattr(missed, name) for name in vars(missed)} == {
                name: causes.get(name, 0) for name in vars(missed)
            }
            explained += missed
        received.append(header.frame)
    assert account.totals == ({"bmode": explained} if received else {})


def run(path: Path, todo: list[tuple[str, int | str]]) -> Iterator[FrameHeader]:
    for verb, argument in todo:
        if verb == "acquire":
            path.acquire(int(argument))
        else:
            header = path.process(str(argument))
            if header is not None:
                yield header


def test_rate_holds_on_the_mean_and_every_nth_by_number() -> None:
    for variant, expected in ((Variant(rate_hz=10), 100), (Variant(every=3), 100)):
        path = Path(variant)
        sent = 0
        for _ in range(300 if variant.every > 1 else 333):
            path.acquire(0)
            sent += path.process("sent") is not None
        assert abs(sent - expected) <= 1
