"""The thread that owns the publishing socket."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

import structlog
import zmq

from sonod.client.wire.header import encode_header
from sonod.client.wire.notices import Notice, encode_notice, product_of
from sonod.client.wire.topic import UNKNOWN_PROBE, Topic
from sonod.daemon.errors import EndpointError
from sonod.daemon.keyring import Gate
from sonod.daemon.runner import Outgoing
from sonod.daemon.session import Session
from sonod.daemon.sockets import LINGER_MS, Listener
from sonod.daemon.subscriptions import Subscriptions
from sonod.daemon.waker import Waker

# Messages that wait for this thread; the socket never blocks, so more than a few means the machine is stuck.
QUEUE_LIMIT = 16
# A subscriber sends nothing but subscriptions, and topics are short.
UPSTREAM_LIMIT_BYTES = 1024
REPEAT_NS = 1_000_000_000
# Many subscribers that come together are told once.
WELCOME_PAUSE_NS = 50_000_000


class Publisher:
    """Sends frames and notices to every subscriber; one that is slow loses its own frames and nobody else's.

    `standing` gives the notices that are repeated every second and to every new subscriber.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        high_water_messages: int,
        session: Session,
        standing: Callable[[], Sequence[Notice]],
        gate: Gate | None = None,
        keys_everywhere: bool = False,
    ) -> None:
        self._session = session
        self._standing = standing
        self._subscriptions = Subscriptions()
        self._probe = UNKNOWN_PROBE
        self._wanted: frozenset[str] = frozenset()
        self._frames: deque[Outgoing] = deque(maxlen=QUEUE_LIMIT)
        self._notices: deque[Notice] = deque(maxlen=256)
        self._leaving = False
        self._log = structlog.get_logger()
        # A context of its own, so that nothing on the control socket takes time from this one.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._socket.setsockopt(zmq.SNDHWM, high_water_messages)
        self._socket.setsockopt(zmq.RCVHWM, 1000)
        self._socket.setsockopt(zmq.MAXMSGSIZE, UPSTREAM_LIMIT_BYTES)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._listener = Listener(self._socket, "publisher", gate, keys_everywhere)
        try:
            self.endpoints = self._listener.bind(endpoints, "publish.endpoint")
        except EndpointError:
            self._listener.leave()
            self._context.destroy(linger=0)
            raise
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name="sonod-publisher")

    # -- any thread ------------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> frozenset[str]:
        """The products that somebody subscribes to."""
        return self._wanted

    @property
    def probe(self) -> str:
        """The probe's name in topics."""
        return self._probe

    def start(self) -> None:
        self._thread.start()

    def leave(self, timeout_s: float) -> bool:
        """Send what waits, close the socket and end the thread; False when that took longer than allowed."""
        self._leaving = True
        if self._thread.ident is None:
            self._close()
            return True
        self._waker.wake()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def set_probe(self, probe: str) -> None:
        """The probe whose frames come next."""
        self._probe = probe
        self._wanted = self._subscriptions.wanted(probe)

    def put(self, message: Outgoing) -> bool:
        """Send a frame; False when an older one had to be dropped for it."""
        if self._leaving:
            return True
        kept = len(self._frames) < QUEUE_LIMIT
        self._frames.append(message)
        self._waker.wake()
        return kept

    def notify(self, *notices: Notice) -> None:
        """Send notices."""
        if self._leaving:
            return
        self._notices.extend(notices)
        self._waker.wake()

    # -- the publisher's thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._waker.fd, zmq.POLLIN)
        poller.register(self._listener.monitor, zmq.POLLIN)
        next_repeat_ns = 0
        last_standing_ns = 0
        while True:
            now_ns = self._session.monotonic_ns()
            ready = dict(poller.poll(max(0, (next_repeat_ns - now_ns) // 1_000_000 + 1)))
            if self._waker.fd in ready:
                self._waker.calm()
            self._listener.attend()
            if self._socket in ready and self._hear():
                next_repeat_ns = min(next_repeat_ns, max(last_standing_ns + WELCOME_PAUSE_NS, now_ns))
            while self._frames:
                self._send_frame(self._frames.popleft())
            while self._notices:
                self._send_notice(self._notices.popleft())
            now_ns = self._session.monotonic_ns()
            if now_ns >= next_repeat_ns:
                for notice in self._standing():
                    self._send_notice(notice)
                self._session.refresh()
                last_standing_ns = now_ns
                next_repeat_ns = now_ns + REPEAT_NS
            if self._leaving and not self._frames and not self._notices:
                break
        self._close()

    def _hear(self) -> bool:
        """Read what subscribers want; True when somebody is new."""
        news = False
        try:
            while True:
                message = self._socket.recv(zmq.NOBLOCK, copy=False)
                self._listener.sender(message)
                news |= self._subscriptions.heard(message.bytes)
        except zmq.Again:
            pass
        wanted = self._subscriptions.wanted(self._probe)
        if wanted != self._wanted:
            self._log.info("wanted", products=sorted(wanted))
        self._wanted = wanted
        return news

    def _send_frame(self, message: Outgoing) -> None:
        try:
            header = encode_header(message.published_at(self._session.monotonic_ns()))
        except ValueError as error:
            # Something that JSON cannot say, such as NaN in a geometry: the frame is lost, the others are not.
            self._log.error("encoding_failed", topic=message.topic.decode(), reason=str(error))
            return
        self._send([message.topic, header, message.payload])

    def _send_notice(self, notice: Notice) -> None:
        self._send([Topic(product_of(notice), notice.probe).encode(), encode_notice(notice), b""])

    def _send(self, parts: Sequence[bytes]) -> None:
        try:
            # XPUB drops for a subscriber whose queue is full and never waits.
            self._socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            self._log.error("publish_failed", reason=str(error))

    def _close(self) -> None:
        self._listener.leave()
        self._context.destroy(linger=LINGER_MS)
        self._waker.close()
