"""What each subscriber asks for is what it gets: variants, previews, the newest frame, and the last one when frozen."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import zmq
from daemon_bench import PATIENCE_S, Bench

from sonod.client.errors import RequestRefused
from sonod.client.frame import Frame
from sonod.client.latest import LatestFrames
from sonod.client.subscriber import Subscriber
from sonod.client.wire.header import FrameHeader, decode_header
from sonod.client.wire.notices import EventNotice, StateNotice, decode_notice
from sonod.client.wire.variant import Variant
from sonod.daemon.subscriptions import VARIANT_LIMIT


def subscribed(bench: Bench, product: str, variant: Variant) -> Iterator[Frame]:
    """Frames of a variant, the subscription known to the daemon."""
    messages = bench.subscriber.messages(product, "state", timeout_s=PATIENCE_S, variant=variant)
    while not isinstance(next(messages), StateNotice):
        pass
    return (message for message in messages if isinstance(message, Frame))


def test_every_nth_frame_comes_and_the_rest_is_explained(bench: Bench) -> None:
    frames = subscribed(bench, "bmode", Variant(every=3))
    bench.driver.deliver(10)
    received = [next(frames) for _ in range(3)]
    assert [frame.header.frame for frame in received] == [3, 6, 9]
    assert [frame.header.message for frame in received] == [1, 2, 3]
    assert [frame.missing.skipped for frame in received] == [0, 2, 2]
    assert received[2].variant == "every-3"
    assert bench.subscriber.losses["bmode"].total == bench.subscriber.losses["bmode"].skipped == 4


def test_packed_payload_is_the_same_picture(bench: Bench) -> None:
    with Subscriber(bench.daemon.addresses.frames[0]) as other:
        plain = subscribed(bench, "bmode", Variant())
        packed = subscribed(Bench(bench.daemon, bench.driver, bench.control, other), "bmode", Variant(lz4=True))
        bench.driver.deliver()
        one, two = next(plain), next(packed)
    assert (one.header.encoding, two.header.encoding) == ("raw", "lz4")
    np.testing.assert_array_equal(one.data, two.data)


def test_wrong_variant_is_told_to_who_asked_for_it_alone(bench: Bench) -> None:
    """With nothing of sonod's client, as in docs/wire-protocol.md."""
    frames = bench.frames()
    events = bench.subscriber.messages("event", "state", timeout_s=PATIENCE_S)
    next(events)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
    socket.connect(bench.daemon.addresses.frames[0])
    socket.subscribe(b"sonod.1+every3.bmode.")
    topic, header, payload = socket.recv_multipart()
    notice = decode_notice(header)
    assert (topic, payload) == (b"sonod.1+every3.bmode.", b"")
    assert isinstance(notice, EventNotice)
    assert (notice.event, notice.level) == ("subscription_refused", "error")
    assert notice.facts == {"subscription": "sonod.1+every3.bmode."}
    assert notice.message.startswith("sonod.1+every3.bmode.: brings nothing: ")
    assert "got 'every3'" in notice.message
    context.destroy(linger=0)
    bench.driver.deliver()
    assert next(frames).header.frame == 1
    assert isinstance(next(events), StateNotice)


def test_one_variant_too_many_is_an_error_of_the_client(bench: Bench) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.connect(bench.daemon.addresses.frames[0])
    for every in range(2, 2 + VARIANT_LIMIT):
        socket.subscribe(b"sonod.1+every-%d.bmode." % every)
    socket.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
    # All before it have been heard when this one, which is too many, is answered.
    socket.subscribe(b"sonod.1+lz4.bmode.")
    while b"+lz4" not in socket.recv_multipart()[0]:
        pass
    with pytest.raises(RequestRefused, match=r"^sonod\.1\+lz4\.bmode\.: brings nothing: variant: 16 others are in use"):
        next(bench.subscriber.frames("bmode", timeout_s=PATIENCE_S, variant=Variant(lz4=True)))
    context.destroy(linger=0)


def test_variants_do_not_disturb_plain_subscribers(bench: Bench) -> None:
    frames = bench.frames()
    with Subscriber(bench.daemon.addresses.frames[0]) as other:
        variant = subscribed(Bench(bench.daemon, bench.driver, bench.control, other), "bmode", Variant(every=2))
        bench.driver.deliver(4)
        assert [next(frames).header.frame for _ in range(4)] == [1, 2, 3, 4]
        assert next(variant).header.frame == 2
    assert bench.control.status().values["subscribers"]["streams"]["bmode+every-2"]["skipped"] == 2


def test_preview_is_a_small_picture_of_the_same_region(bench: Bench) -> None:
    frames = subscribed(bench, "preview", Variant())
    bench.driver.deliver()
    frame = next(frames)
    assert frame.data.dtype == np.uint8
    assert max(frame.data.shape) <= 256
    assert frame.header.geometry.shape == frame.data.shape


def test_frames_before_a_subscription_are_explained(bench: Bench) -> None:
    with Subscriber(bench.daemon.addresses.frames[0]) as other:
        watcher = Bench(bench.daemon, bench.driver, bench.control, other).frames()
        bench.driver.deliver(2)
        assert [next(watcher).header.frame for _ in range(2)] == [1, 2]
    bench.driver.deliver(3)
    frames = bench.frames()
    bench.until(lambda status: status.frame >= 5)
    bench.driver.deliver()
    header = next(frames).header
    while header.frame < 6:
        header = next(frames).header
    assert header.message is not None
    assert header.frame == header.message + header.losses.total


def ask(bench: Bench, **request: object) -> tuple[bytes, FrameHeader, bytes]:
    """A REQ socket and nothing of sonod's client, as in docs/wire-protocol.md."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        socket = context.socket(zmq.REQ)
        socket.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
        latest = bench.control.describe().latest
        assert latest is not None
        socket.connect(latest)
        socket.send(json.dumps(request).encode())
        topic, header, payload = socket.recv_multipart()
        return topic, decode_header(header), payload
    finally:
        context.destroy(linger=0)


def test_newcomer_while_frozen_gets_the_last_picture_marked_as_such(bench: Bench) -> None:
    bench.driver.deliver(3)
    bench.until(lambda status: status.frame >= 3)
    bench.control.freeze()
    topic, header, payload = ask(bench, product="bmode")
    assert topic == b"sonod.1.bmode.test-picture"
    assert (header.frame, header.repeated, header.message) == (3, True, None)
    assert len(payload) == np.prod(header.shape)


def test_subscribing_to_last_repeats_the_last_picture_to_those_who_asked_only(bench: Bench) -> None:
    frames = bench.frames()
    bench.driver.deliver(2)
    assert [next(frames).header.frame for _ in range(2)] == [1, 2]
    bench.control.freeze()
    with Subscriber(bench.daemon.addresses.frames[0]) as newcomer:
        again = next(iter(newcomer.frames("bmode", last=True, timeout_s=PATIENCE_S)))
    assert (again.header.frame, again.header.repeated, again.variant) == (2, True, "last")
    bench.control.unfreeze()
    bench.driver.deliver()
    after = next(frames)
    assert (after.header.frame, after.header.repeated, after.missing.total) == (3, False, 0)


def test_latest_frame_is_never_an_old_one(bench: Bench) -> None:
    latest = bench.control.describe().latest
    assert latest is not None
    with LatestFrames(latest, timeout_s=PATIENCE_S) as frames:
        bench.driver.deliver(1)
        first = frames.next()
        bench.until(lambda status: status.frame >= 1)
        bench.driver.deliver(5)
        bench.until(lambda status: status.frame >= 6)
        bench.driver.deliver(1)
        second = frames.next()
        assert first.header.frame >= 1
        assert second.header.frame > first.header.frame
        assert second.missing.queue == 0
        assert second.missing.total == second.header.frame - first.header.frame - 1


@pytest.mark.parametrize("request_", [b"{", b'{"product": "wings"}', b'{"after": "x"}'])
def test_wrong_request_for_the_latest_frame_is_refused_with_one_line(bench: Bench, request_: bytes) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.REQ)
    socket.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
    latest = bench.control.describe().latest
    assert latest is not None
    socket.connect(latest)
    socket.send(request_)
    reply = json.loads(socket.recv())
    assert reply["error"]["code"] == "malformed"
    assert "\n" not in reply["error"]["message"]
    context.destroy(linger=0)


def one_by_one(bench: Bench, frames: Iterator[Frame], count: int) -> list[Frame]:
    """Each frame received before the next is made, so that none is dropped."""
    received = []
    for _ in range(count):
        bench.driver.deliver()
        received.append(next(frames))
    return received


def test_sent_buffers_are_never_written_again(bench: Bench) -> None:
    """Every picture holds its own frame number, however long it waited."""
    frames = bench.frames()
    waiting = one_by_one(bench, frames, 12)
    sums = [zlib.crc32(frame.data.tobytes()) for frame in waiting]
    one_by_one(bench, frames, 30)
    assert [zlib.crc32(frame.data.tobytes()) for frame in waiting] == sums
    assert [int(frame.data.max()) for frame in waiting] == list(range(1, 13))


def test_more_connections_than_allowed_are_cut(start: Callable[..., Bench]) -> None:
    bench = start(publish={"max_connections": 3})
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    frames = bench.frames()
    many = [context.socket(zmq.SUB) for _ in range(6)]
    for socket in many:
        socket.connect(bench.daemon.addresses.frames[0])
    bench.until(lambda status: status.values["subscribers"]["refused"])
    bench.driver.deliver()
    assert next(frames).header.frame == 1
    context.destroy(linger=0)
