"""The socket that answers "the newest frame, please": one request, one frame, nothing queued for anybody."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
import zmq

from sonod.client.wire.control import Problem, Reply, encode_reply
from sonod.client.wire.errors import WireError
from sonod.client.wire.fields import Fields
from sonod.daemon.errors import EndpointError
from sonod.daemon.keyring import Gate
from sonod.daemon.sockets import LINGER_MS, Listener
from sonod.daemon.subscriber_guard import SubscriberGuard
from sonod.daemon.subscriptions import PRODUCTS

REQUEST_LIMIT_BYTES = 1024
# A request that no frame has answered is answered with an error, so that a REQ socket can ask again.
PATIENCE_NS = 10_000_000_000
# Somebody who has asked will ask again: the product is made for so long after a request.
INTEREST_NS = 2_000_000_000
# Requests are read for so long, and then frames come first again.
HEARING_NS = 500_000
# Replies under way to one peer: it asks for one at a time.
HIGH_WATER_MESSAGES = 2


@dataclass(frozen=True)
class _Request:
    """`parts` lead the way back."""

    parts: list[bytes]
    identity: str | int | None
    product: str
    after: int
    since_ns: int


class LatestServer:
    """On the publisher's thread. A peer has one request; a second one replaces it. `sharing`: the listener of frames in
    the same context."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Sequence[str],
        session: str,
        limit: int,
        stalled_ns: int,
        gate: Gate | None,
        keys_everywhere: bool,
        sharing: Listener,
    ) -> None:
        self._session = session
        self._requests: dict[bytes, _Request] = {}
        self._asked_ns: dict[str, int] = {}
        self._limit = limit
        self._log = structlog.get_logger()
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.MAXMSGSIZE, REQUEST_LIMIT_BYTES)
        self.socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MESSAGES)
        self.socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MESSAGES)
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.socket.setsockopt(zmq.LINGER, LINGER_MS)
        self.guard = SubscriberGuard(self.socket, "latest", limit, stalled_ns)
        self._listener = Listener(self.socket, "latest", self.guard.connections, gate, keys_everywhere, sharing)
        try:
            self.endpoints = self._listener.bind(endpoints, "publish.latest")
        except EndpointError:
            self.close()
            raise

    def wanted(self, now_ns: int) -> frozenset[str]:
        """The products that somebody has asked for lately."""
        return frozenset(product for product, at_ns in self._asked_ns.items() if now_ns - at_ns < INTEREST_NS)

    def waiting(self) -> frozenset[str]:
        """The products that somebody waits for now."""
        return frozenset(request.product for request in self._requests.values())

    def hear(self, now_ns: int) -> None:
        """Read requests; each is answered by the next frame newer than it names."""
        until_ns = time.monotonic_ns() + HEARING_NS
        try:
            while time.monotonic_ns() < until_ns:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
                self._listener.sender(frames[-1])
                parts = [frame.bytes for frame in frames]
                lead, body = parts[:1], parts[1:]
                if len(body) > 1 and body[0] == b"":
                    lead, body = parts[:2], body[1:]
                self._take(lead, body, now_ns)
        except zmq.Again:
            return

    def attend(self, now_ns: int) -> None:
        """Take note of connections that came and went, cut those that take nothing or whose key is worth nothing any
        more, and answer those that have waited too long."""
        self._listener.cut_revoked()
        self.guard.attend()
        self.guard.look(now_ns)
        for address, request in list(self._requests.items()):
            if now_ns - request.since_ns > PATIENCE_NS:
                del self._requests[address]
                line = f"no {request.product} newer than frame {request.after} within {PATIENCE_NS / 1e9:g} s"
                self._refuse(request.parts, request.identity, "timeout", line)

    def answers(self, product: str, frame: int) -> list[list[bytes]]:
        """The ways back of the requests that this frame answers; they are done."""
        found = [
            address
            for address, request in self._requests.items()
            if request.product == product and frame > request.after
        ]
        return [self._requests.pop(address).parts for address in found]

    def send(self, lead: Sequence[bytes], parts: Sequence[bytes]) -> None:
        """Answer with a frame; a peer that is gone or does not read gets nothing."""
        try:
            self.socket.send_multipart([*lead, *parts], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            self._log.debug("latest_dropped", reason=str(error))

    def _take(self, lead: list[bytes], body: list[bytes], now_ns: int) -> None:
        identity = None
        try:
            if len(body) != 1:
                raise WireError(f"request: must be one part of JSON; got {len(body)} parts")
            fields = Fields.parse(body[0], "request")
            value = fields.values.get("id")
            identity = value if isinstance(value, str | int) else None
            product = fields.text("product", "bmode")
            if product not in PRODUCTS:
                raise WireError(f"request: product: must be one of {', '.join(PRODUCTS)}; got {product!r}")
            after = fields.integer("after", 0)
            if fields.text("session", self._session) != self._session:
                after = 0
        except WireError as error:
            self._refuse(lead, identity, "malformed", str(error))
            return
        if lead[0] not in self._requests and len(self._requests) >= self._limit:
            self._refuse(lead, identity, "busy", f"{self._limit} requests are waiting already")
            return
        self._asked_ns[product] = now_ns
        self._requests[lead[0]] = _Request(lead, identity, product, after, now_ns)

    def _refuse(self, lead: Sequence[bytes], identity: str | int | None, code: str, line: str) -> None:
        self.send(lead, [encode_reply(Reply(identity, error=Problem(code, line, (line,))))])

    def close(self) -> None:
        """The socket itself ends with its context."""
        self._listener.leave()
        self.guard.close()
