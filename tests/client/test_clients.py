"""Subscriber and Control against sockets that the test plays itself."""

from __future__ import annotations

import asyncio
import json
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import wire_messages as messages
import zmq
import zmq.asyncio

from sonod.client import AsyncControl, AsyncSubscriber, Control, NoAnswer, RequestRefused, Subscriber
from sonod.client import subscriber as subscriber_module
from sonod.client.address import MISSED_PROBES, PROBE_PERIOD_S, connect
from sonod.client.frame import Frame
from sonod.client.losses import MissedFrames
from sonod.client.wire.errors import WireError
from sonod.client.wire.header import Losses, encode_header
from sonod.client.wire.topic import Topic
from sonod.daemon.sockets import LINGER_MS

PATIENCE_S = 10.0
TOPIC = Topic("bmode", "linear-128").encode()


class Publisher:
    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.socket = context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.SNDHWM, 1000)
        self.socket.bind("tcp://127.0.0.1:*")
        self.endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def await_subscriber(self) -> None:
        assert self.socket.poll(int(PATIENCE_S * 1000))
        self.socket.recv()

    def publish(self, *frames: int) -> None:
        for frame in frames:
            header = encode_header(replace(messages.HEADER, frame=frame))
            self.socket.send_multipart([TOPIC, header, bytes([frame % 256] * 6)])


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(linger=LINGER_MS)


@pytest.fixture
def publisher(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[Publisher]:
    made = Publisher(context)
    yield made
    made.socket.close(linger=LINGER_MS)


def publish_when_subscribed(publisher: Publisher, *frames: int) -> threading.Thread:
    def run() -> None:
        publisher.await_subscriber()
        publisher.publish(*frames)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_frame_is_let_go_before_the_next_is_waited_for(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[Frame]] = []
    alive: list[bool] = []
    receive = subscriber_module._received

    def received(*arguments: Any) -> Any:
        alive.extend(frame() is not None for frame in held)
        return receive(*arguments)

    monkeypatch.setattr(subscriber_module, "_received", received)
    thread = publish_when_subscribed(publisher, 1, 2, 3)
    with Subscriber(publisher.endpoint) as subscriber:
        frames = subscriber.frames("bmode", timeout_s=PATIENCE_S)
        for _ in range(3):
            held.append(weakref.ref(next(frames)))
    thread.join()
    assert alive == [False] * 3


def test_frames_come_typed_with_a_view_of_the_pixels(publisher: Publisher) -> None:
    thread = publish_when_subscribed(publisher, 1, 2, 3)
    with Subscriber(publisher.endpoint) as subscriber:
        frames = list(islice(subscriber.frames("bmode", timeout_s=PATIENCE_S), 3))
    thread.join()
    assert [frame.header.frame for frame in frames] == [1, 2, 3]
    assert frames[1].data.tolist() == [[2, 2], [2, 2], [2, 2]]
    assert frames[1].received_ns > 0


def publish_in_encodings(publisher: Publisher, encodings: dict[int, str]) -> threading.Thread:
    """Once subscribed to, frames in the encodings that their headers say."""

    def run() -> None:
        publisher.await_subscriber()
        for frame, encoding in encodings.items():
            header = encode_header(
                replace(messages.HEADER, frame=frame, message=frame, losses=Losses(), encoding=encoding)
            )
            publisher.socket.send_multipart([TOPIC, header, bytes(6)])

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_frame_in_a_later_encoding_is_passed_over_and_counted(publisher: Publisher) -> None:
    thread = publish_in_encodings(publisher, {1: "raw", 2: "zstd", 3: "zstd", 5: "raw", 6: "raw"})
    with Subscriber(publisher.endpoint) as subscriber:
        frames = list(islice(subscriber.frames("bmode", timeout_s=PATIENCE_S), 3))
        assert subscriber.losses["bmode"] == MissedFrames(queue=1, unreadable=2)
    thread.join()
    assert [(frame.header.frame, frame.missing.unreadable) for frame in frames] == [(1, 0), (5, 2), (6, 0)]
    assert frames[1].missed == 1, "that one was sent, and did not come"


def test_stream_that_is_never_readable_says_why(publisher: Publisher) -> None:
    thread = publish_in_encodings(publisher, {1: "zstd", 2: "zstd"})
    with (
        Subscriber(publisher.endpoint) as subscriber,
        pytest.raises(WireError, match=r"encoding 'zstd' is not known to this client; it reads raw and lz4"),
    ):
        next(subscriber.frames("bmode", timeout_s=PATIENCE_S))
    thread.join()


def test_stream_that_is_readable_no_longer_says_why(publisher: Publisher) -> None:
    thread = publish_in_encodings(publisher, {1: "raw", **dict.fromkeys(range(2, 40), "zstd")})
    with Subscriber(publisher.endpoint) as subscriber:
        frames = subscriber.frames("bmode", timeout_s=PATIENCE_S)
        assert next(frames).header.frame == 1
        with pytest.raises(WireError, match="encoding 'zstd' is not known"):
            next(frames)
    thread.join()


def test_machines_that_vanish_are_noticed_by_the_kernel_and_not_by_heartbeats(
    context: zmq.Context[zmq.Socket[bytes]], publisher: Publisher
) -> None:
    """Heartbeats end a process that does not read for a while (decision 0079)."""
    with context.socket(zmq.SUB) as subscriber:
        connect(subscriber, publisher.endpoint)
        assert subscriber.getsockopt(zmq.TCP_KEEPALIVE) == 1
        assert subscriber.getsockopt(zmq.TCP_KEEPALIVE_IDLE) == PROBE_PERIOD_S
        assert subscriber.getsockopt(zmq.TCP_KEEPALIVE_INTVL) == PROBE_PERIOD_S
        assert subscriber.getsockopt(zmq.TCP_KEEPALIVE_CNT) == MISSED_PROBES
        assert subscriber.getsockopt(zmq.HEARTBEAT_IVL) == 0


def test_latest_passes_over_what_came_while_busy(publisher: Publisher) -> None:
    thread = publish_when_subscribed(publisher, 1)
    with Subscriber(publisher.endpoint) as subscriber:
        frames = subscriber.frames("bmode", latest=True, timeout_s=PATIENCE_S)
        assert next(frames).header.frame == 1
        thread.join()
        publisher.publish(2, 3, 4, 5)
        numbers = [next(frames).header.frame]
        while numbers[-1] < 5:
            numbers.append(next(frames).header.frame)
    assert numbers == sorted(numbers)


def test_silence_is_one_clear_line(publisher: Publisher) -> None:
    with (
        Subscriber(publisher.endpoint) as subscriber,
        pytest.raises(NoAnswer, match=r"no bmode within 0.01 s; is the daemon running"),
    ):
        next(subscriber.frames("bmode", timeout_s=0.01))


def test_asyncio_subscriber_gives_the_same(publisher: Publisher) -> None:
    async def receive() -> list[int]:
        async with AsyncSubscriber(publisher.endpoint) as subscriber:
            numbers = []
            async for frame in subscriber.frames("bmode", latest=False, timeout_s=PATIENCE_S):
                numbers.append(frame.header.frame)
                if len(numbers) == 3:
                    return numbers
        return []

    thread = publish_when_subscribed(publisher, 7, 8, 9)
    assert asyncio.run(receive()) == [7, 8, 9]
    thread.join()


@pytest.fixture
def router(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[zmq.Socket[bytes]]:
    made = context.socket(zmq.ROUTER)
    made.bind("tcp://127.0.0.1:*")
    yield made
    made.close(linger=LINGER_MS)


def answer(router: zmq.Socket[bytes], *replies: dict[str, object]) -> threading.Thread:
    """For each request, a stale reply and then this one with the request's id."""

    def run() -> None:
        for reply in replies:
            address, body = router.recv_multipart()
            router.send_multipart([address, b'{"id": 999999, "ok": true, "state": "stale"}'])
            router.send_multipart([address, json.dumps({"id": json.loads(body)["id"], **reply}).encode()])

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def endpoint_of(socket: zmq.Socket[bytes]) -> str:
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def test_replies_are_typed_and_matched_by_id(router: zmq.Socket[bytes]) -> None:
    thread = answer(
        router,
        {"ok": True, "revision": 3, "first_frame": None, "applied": {"tgc_db": [1, 2]}},
        {"ok": False, "error": {"code": "refused", "message": "no", "problems": ["a", "b"]}},
    )
    with Control(endpoint_of(router), PATIENCE_S) as control:
        applied = control.set({"tgc_db": [1, 2]})
        assert (applied.revision, applied.first_frame, applied.applied) == (3, None, {"tgc_db": (1.0, 2.0)})
        with pytest.raises(RequestRefused, match="no") as caught:
            control.freeze()
    thread.join()
    assert (caught.value.code, caught.value.problems) == ("refused", ("a", "b"))


def test_daemon_that_was_silent_is_found_by_the_next_request(router: zmq.Socket[bytes]) -> None:
    with Control(endpoint_of(router), 0.05) as control:
        with pytest.raises(NoAnswer, match=r"no answer within 0.05 s; is the daemon running\?"):
            control.freeze()
        assert router.recv_multipart()[1]
        control.timeout_s = PATIENCE_S
        thread = answer(router, {"ok": True, "state": "running"})
        assert control.unfreeze() == "running"
        thread.join()


def test_asyncio_control_has_many_requests_under_way(router: zmq.Socket[bytes]) -> None:
    def reverse() -> None:
        waiting = [router.recv_multipart() for _ in range(3)]
        for address, body in reversed(waiting):
            request = json.loads(body)
            router.send_multipart(
                [address, json.dumps({"id": request["id"], "ok": True, "state": request["command"]}).encode()]
            )

    async def ask() -> list[str]:
        async with AsyncControl(endpoint_of(router), PATIENCE_S) as control:
            return list(await asyncio.gather(control.freeze(), control.stop(), control.unfreeze()))

    thread = threading.Thread(target=reverse)
    thread.start()
    assert asyncio.run(ask()) == ["freeze", "stop", "unfreeze"]
    thread.join()


def test_asyncio_control_gives_up_in_time() -> None:
    async def ask() -> None:
        async with AsyncControl("tcp://127.0.0.1:9", 0.05) as control:
            await control.status()

    with pytest.raises(NoAnswer):
        asyncio.run(ask())
