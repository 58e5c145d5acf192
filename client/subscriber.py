"""Receiving frames and notices."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio

from sonod.client.address import connect
from sonod.client.errors import NoAnswer
from sonod.client.frame import Frame, Message, MessageReader
from sonod.client.handshake import Handshake
from sonod.client.keys import Keys, keys_from
from sonod.client.losses import MissedFrames
from sonod.client.wire.notices import NOTICES
from sonod.client.wire.topic import subscription
from sonod.client.wire.variant import LAST, Variant

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5555"
# Messages that wait here while the program is busy; the daemon drops for us beyond that.
QUEUE_MESSAGES = 8
# How often it is looked whether the daemon lets us in, when nothing comes.
LOOK_MS = 200
EVERY_FRAME = Variant()


class Subscriber:
    """Frames from a daemon, for programs of one thread: `for frame in Subscriber().frames("bmode")`."""

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, *, keys: Keys = None) -> None:
        self.endpoint = endpoint
        self._keys = keys_from(keys)
        self._reader = MessageReader()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    @property
    def losses(self) -> dict[str, MissedFrames]:
        """For each product, the frame numbers that did not come since its first frame, by cause."""
        return self._reader.account.totals

    def frames(
        self,
        product: str = "bmode",
        *,
        probe: str | None = None,
        latest: bool = False,
        timeout_s: float | None = None,
        variant: Variant = EVERY_FRAME,
        last: bool = False,
    ) -> Iterator[Frame]:
        """Frames of one product as they come, for ever.

        With `latest`, those that came while the program was busy are passed over but for the newest;
        `Frame.missing.skipped` counts them. A `variant` has the daemon send only some of the frames, or packed. With
        `last`, the last frame is sent again should none be coming, as when frozen; its `header.repeated` is set.
        NoAnswer when none comes within `timeout_s`; another call may follow. AccessRefused when the daemon wants
        another key, RequestRefused when it does not serve the variant.
        """
        for message in self.messages(
            product, probe=probe, latest=latest, timeout_s=timeout_s, variant=variant, last=last
        ):
            if isinstance(message, Frame):
                yield message
            # Not held while the next is waited for: giving back a large message takes time.
            del message

    def messages(
        self,
        *products: str,
        probe: str | None = None,
        latest: bool = False,
        timeout_s: float | None = None,
        variant: Variant = EVERY_FRAME,
        last: bool = False,
    ) -> Iterator[Message]:
        """Frames and notices of the products (none = all) as they come; `latest` holds for each product. The variant is
        that of the frames; notices have none.

        A message of which this client can make nothing, such as one of a later version's encoding, is passed over,
        and the next frame counts it in `missing.unreadable`. When it is the first of its topic, or the eighth in a row,
        the WireError that says why is raised: nothing better would follow.
        """
        socket = self._context.socket(zmq.SUB)
        handshake = Handshake(socket, self.endpoint, self._keys)
        try:
            _set_up(socket, self.endpoint, products, probe, variant, last)
            look_ms = LOOK_MS if timeout_s is None else min(LOOK_MS, round(timeout_s * 1000))
            socket.setsockopt(zmq.RCVTIMEO, look_ms)
            while True:
                parts = _received(socket, handshake, timeout_s)
                if parts is None:
                    raise _nothing(self.endpoint, products, timeout_s)
                batch = [parts]
                while latest and (parts := _waiting(socket)) is not None:
                    batch.append(parts)
                received_ns = time.monotonic_ns()
                for parts, passed_over in _newest(batch):
                    message = self._reader.take([part.buffer for part in parts], received_ns, passed_over)
                    if message is not None:
                        yield message
                    del message
                # Not held while the next is waited for: giving back a large message takes time.
                del batch, parts
        finally:
            handshake.close()

    def close(self) -> None:
        """End every iteration that is not running and let go of the sockets."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncSubscriber:
    """Frames from a daemon for asyncio: `async for frame in AsyncSubscriber().frames("bmode")`."""

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, *, keys: Keys = None) -> None:
        self.endpoint = endpoint
        self._keys = keys_from(keys)
        self._reader = MessageReader()
        self._context = zmq.asyncio.Context()

    @property
    def losses(self) -> dict[str, MissedFrames]:
        """As `Subscriber.losses`."""
        return self._reader.account.totals

    async def frames(
        self,
        product: str = "bmode",
        *,
        probe: str | None = None,
        latest: bool = False,
        timeout_s: float | None = None,
        variant: Variant = EVERY_FRAME,
        last: bool = False,
    ) -> AsyncIterator[Frame]:
        """As `Subscriber.frames`."""
        async for message in self.messages(
            product, probe=probe, latest=latest, timeout_s=timeout_s, variant=variant, last=last
        ):
            if isinstance(message, Frame):
                yield message
            # Not held while the next is waited for: giving back a large message takes time.
            del message

    async def messages(
        self,
        *products: str,
        probe: str | None = None,
        latest: bool = False,
        timeout_s: float | None = None,
        variant: Variant = EVERY_FRAME,
        last: bool = False,
    ) -> AsyncIterator[Message]:
        """As `Subscriber.messages`."""
        socket = self._context.socket(zmq.SUB)
        handshake = Handshake(socket, self.endpoint, self._keys)
        try:
            _set_up(socket, self.endpoint, products, probe, variant, last)
            while True:
                if not await handshake.poll_async(None if timeout_s is None else round(timeout_s * 1000)):
                    raise _nothing(self.endpoint, products, timeout_s)
                batch = [await socket.recv_multipart(copy=False)]
                while latest and await socket.poll(0):
                    batch.append(await socket.recv_multipart(copy=False))
                received_ns = time.monotonic_ns()
                for parts, passed_over in _newest(batch):
                    message = self._reader.take([part.buffer for part in parts], received_ns, passed_over)
                    if message is not None:
                        yield message
                    del message
                # Not held while the next is waited for: giving back a large message takes time.
                del batch, parts
        finally:
            handshake.close()

    def close(self) -> None:
        """Let go of the sockets."""
        self._context.destroy(linger=0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _set_up(
    socket: Any, endpoint: str, products: Sequence[str], probe: str | None, variant: Variant, last: bool
) -> None:
    # Not ZMQ_CONFLATE for `latest`: it takes the parts of a message for messages.
    socket.setsockopt(zmq.RCVHWM, QUEUE_MESSAGES)
    socket.setsockopt(zmq.LINGER, 0)
    for product in products or (None,):
        socket.subscribe(subscription(product, probe, "" if product in NOTICES else variant.text))
        if last and product not in NOTICES:
            socket.subscribe(subscription(product, probe, LAST))
    if variant.text and not products:
        for notice in NOTICES:
            socket.subscribe(subscription(notice, probe))
    connect(socket, endpoint)


def _received(socket: zmq.Socket[bytes], handshake: Handshake, timeout_s: float | None) -> list[zmq.Frame] | None:
    """The next message, or None when none comes in time; AccessRefused when the daemon lets us not in."""
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        try:
            return socket.recv_multipart(copy=False)
        except zmq.Again:
            if not handshake.poll(0) and deadline_s is not None and time.monotonic() >= deadline_s:
                return None


def _waiting(socket: zmq.Socket[bytes]) -> list[zmq.Frame] | None:
    """A message that is there already."""
    return socket.recv_multipart(copy=False) if socket.poll(0) else None


def _newest(batch: list[list[zmq.Frame]]) -> list[tuple[list[zmq.Frame], int]]:
    """The last message of each topic, in the order they came, and how many older ones of it are left out."""
    if len(batch) == 1:
        return [(batch[0], 0)]
    topics = [bytes(parts[0].buffer) for parts in batch]
    last = {topic: index for index, topic in enumerate(topics)}
    return [(batch[index], topics.count(topics[index]) - 1) for index in sorted(last.values())]


def _nothing(endpoint: str, products: Sequence[str], timeout_s: float | None) -> NoAnswer:
    return NoAnswer(
        f"{endpoint}: no {' or '.join(products) or 'message'} within {timeout_s:g} s; is the daemon running and not "
        "frozen? `sonod status` tells"
    )
