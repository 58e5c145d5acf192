"""The thread that owns the publishing sockets."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lz4.block
import structlog
import zmq

from sonod.client.wire.header import ENCODING_LZ4, FrameHeader, encode_header, stamp_published
from sonod.client.wire.notices import EventNotice, Notice, encode_notice, product_of
from sonod.client.wire.topic import UNKNOWN_PROBE, Topic
from sonod.client.wire.variant import LAST
from sonod.daemon.errors import EndpointError
from sonod.daemon.keyring import Gate
from sonod.daemon.latest import LatestServer
from sonod.daemon.ledger import Ledger
from sonod.daemon.runner import Outgoing
from sonod.daemon.session import Session
from sonod.daemon.sockets import LINGER_MS, Listener
from sonod.daemon.streams import Streams
from sonod.daemon.subscriber_guard import SubscriberGuard
from sonod.daemon.subscriptions import Subscriptions
from sonod.daemon.waker import Waker

# Messages that wait for this thread; the socket never blocks, so more than a few means the machine is stuck.
QUEUE_LIMIT = 16
# A subscriber sends nothing but subscriptions, and topics are short.
UPSTREAM_LIMIT_BYTES = 256
# Subscriptions that wait from one connection. libzmq takes into its tables all that it can get in one go, on this
# thread: with 64 here a client that sends 100 000 keeps it for half a second and 400 MiB, with 4 it is cut before.
UPSTREAM_HIGH_WATER = 4
# And bytes of them that the kernel holds.
UPSTREAM_BUFFER_BYTES = 16 * 1024
# Subscriptions are read for so long, and then frames come first again; a usual one takes 15 microseconds.
HEARING_NS = 500_000
REPEAT_NS = 1_000_000_000
# Many subscribers that come together are told once.
WELCOME_PAUSE_NS = 50_000_000
# A machine that vanished does not close its connections; a program that has stopped is found by its queue instead.
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 5000, 20000
HANDSHAKE_MS = 5000
# What the kernel may hold for one connection: a picture in few pieces, and no more than that.
SEND_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What a subscriber may cost: messages kept for one that is slow, connections in all, and how long one may take
    nothing before it is cut (0 = for ever)."""

    high_water_messages: int = 16
    connections: int = 64
    stalled_s: float = 10.0


class Publisher:
    """Sends frames and notices to every subscriber; one that is slow loses its own frames and nobody else's.

    `standing` gives the notices that are repeated every second and to every new subscriber. `latest` is where single
    newest frames are asked for, () = nowhere. `alive` is called at every turn of the loop, at least once a second.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        limits: Limits,
        session: Session,
        standing: Callable[[], Sequence[Notice]],
        latest: Sequence[str] = (),
        gate: Gate | None = None,
        keys_everywhere: bool = False,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self.streams = Streams()
        self.ledger = Ledger()
        self._session = session
        self._standing = standing
        self._alive = alive
        self._subscriptions = Subscriptions()
        self._probe = UNKNOWN_PROBE
        self._wanted: frozenset[str] = frozenset()
        self._again: frozenset[str] = frozenset()
        self._frames: deque[Outgoing] = deque()
        self._frames_lock = threading.Lock()
        self._notices: deque[Notice] = deque(maxlen=256)
        self._leaving = False
        self._log = structlog.get_logger()
        # A context of its own, so that nothing on the control socket takes time from this one.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._socket.setsockopt(zmq.SNDHWM, limits.high_water_messages)
        self._socket.setsockopt(zmq.RCVHWM, UPSTREAM_HIGH_WATER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, UPSTREAM_LIMIT_BYTES)
        self._socket.setsockopt(zmq.RCVBUF, UPSTREAM_BUFFER_BYTES)
        self._socket.setsockopt(zmq.SNDBUF, SEND_BUFFER_BYTES)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        self._socket.setsockopt(zmq.LINGER, 0)
        stalled_ns = int(limits.stalled_s * 1e9)
        self._guard = SubscriberGuard(self._socket, "frames", limits.connections, stalled_ns)
        self._listener = Listener(
            self._socket,
            "publisher",
            self._guard.connections,
            gate,
            keys_everywhere,
            penalties=self._guard.penalties,
        )
        self._latest: LatestServer | None = None
        try:
            self.endpoints = self._listener.bind(endpoints, "publish.endpoint")
            if latest:
                self._latest = LatestServer(
                    self._context,
                    latest,
                    session.id,
                    limits.connections,
                    stalled_ns,
                    gate,
                    keys_everywhere,
                    self._listener,
                )
        except EndpointError:
            self._listener.leave()
            self._guard.close()
            self._context.destroy(linger=0)
            raise
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name="sonod-publisher")

    # -- any thread ------------------------------------------------------------------------------------------------

    @property
    def latest(self) -> tuple[str, ...]:
        """Where single newest frames are asked for."""
        return () if self._latest is None else self._latest.endpoints

    @property
    def wanted(self) -> frozenset[str]:
        """The products that somebody subscribes to or has asked for."""
        return self._wanted

    @property
    def again(self) -> frozenset[str]:
        """The products of the last frame that a newcomer has asked for and no frame has answered yet."""
        return self._again

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
        # The publisher's thread looks what is wanted of it.
        self._waker.wake()

    def put(self, message: Outgoing) -> bool:
        """Send a frame; False when an older one had to be dropped for it."""
        if self._leaving:
            return True
        with self._frames_lock:
            kept = len(self._frames) < QUEUE_LIMIT
            if not kept:
                dropped = self._frames.popleft()
                if not dropped.header.repeated:
                    self.streams.lost(dropped.header.product)
            self._frames.append(message)
        self._waker.wake()
        return kept

    def notify(self, *notices: Notice) -> None:
        """Send notices."""
        if self._leaving:
            return
        self._notices.extend(notices)
        self._waker.wake()

    def block(self) -> dict[str, Any]:
        """As `status` shows it."""
        guard = self._guard
        return {
            "connections": len(guard.connections),
            "accepted": guard.connections.accepted,
            "refused": guard.connections.refused,
            "cut_stalled": guard.stalled,
            "cut_flooding": guard.flooding,
            "silenced": guard.silenced,
            "streams": self.streams.block(),
        }

    # -- the publisher's thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        latest = self._latest
        poller = zmq.Poller()
        for readable in (self._socket, self._guard.monitor, self._waker.fd):
            poller.register(readable, zmq.POLLIN)
        if latest is not None:
            poller.register(latest.socket, zmq.POLLIN)
            poller.register(latest.guard.monitor, zmq.POLLIN)
        next_repeat_ns = 0
        last_standing_ns = 0
        while True:
            self._alive()
            now_ns = self._session.monotonic_ns()
            ready = dict(poller.poll(max(0, (next_repeat_ns - now_ns) // 1_000_000 + 1)))
            if self._waker.fd in ready:
                self._waker.calm()
            # Frames first: whatever anybody sends upstream costs them no time.
            self._send_frames()
            now_ns = self._session.monotonic_ns()
            self._listener.cut_revoked()
            self._guard.attend()
            if latest is not None:
                latest.attend(now_ns)
                if latest.socket in ready:
                    latest.hear(now_ns)
            if self._socket in ready and self._hear(now_ns):
                next_repeat_ns = min(next_repeat_ns, max(last_standing_ns + WELCOME_PAUSE_NS, now_ns))
            self._guard.look(now_ns)
            self._count_wants(now_ns)
            self._send_frames()
            while self._notices:
                self._send_notice(self._notices.popleft())
            now_ns = self._session.monotonic_ns()
            if now_ns >= next_repeat_ns:
                self._session.refresh()
                for notice in self._standing():
                    self._send_notice(notice)
                last_standing_ns = now_ns
                next_repeat_ns = now_ns + REPEAT_NS
            if self._leaving and not self._frames and not self._notices:
                break
        self._close()

    def _hear(self, now_ns: int) -> bool:
        """Read what subscribers want; True when somebody is new."""
        news = False
        until_ns = self._session.monotonic_ns() + HEARING_NS
        try:
            # A flood is read in portions, frames in between.
            while self._session.monotonic_ns() < until_ns:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
                connection, _ = self._listener.sender(frame)
                message = frame.bytes
                if self._guard.heeds(message, connection, now_ns):
                    news |= self._subscriptions.heard(message)
                    for subscription, reason in self._subscriptions.refused():
                        self._refuse(subscription, reason)
        except zmq.Again:
            pass
        return news

    def _refuse(self, subscription: bytes, reason: str) -> None:
        """Say so under the subscription itself, which reaches those who have it and nobody else."""
        text = subscription.decode("ascii", "replace")
        notice = EventNotice(
            self._session.id,
            self._probe,
            "subscription_refused",
            f"{text}: brings nothing: {reason}",
            "error",
            {"subscription": text},
            self._session.monotonic_ns(),
        )
        self._send([subscription, encode_notice(notice), b""])

    def _count_wants(self, now_ns: int) -> None:
        wanted = self._subscriptions.wanted(self._probe)
        again = self._subscriptions.asked_again(self._probe)
        if self._latest is not None:
            wanted |= self._latest.wanted(now_ns)
            again |= self._latest.waiting()
        if wanted != self._wanted:
            self._log.info("wanted", products=sorted(wanted))
        self._wanted = wanted
        self._again = again

    def _send_frames(self) -> None:
        while True:
            with self._frames_lock:
                if not self._frames:
                    return
                message = self._frames.popleft()
            self._send_frame(message)

    def _send_frame(self, message: Outgoing) -> None:
        header, product = message.header, message.header.product
        packed: bytes | None = None
        if header.repeated:
            self._send_as(message, header, LAST)
        else:
            for variant in self._subscriptions.streams(header.probe).get(product, ()):
                stream = self.streams.of(product, variant)
                if not stream.takes(header):
                    continue
                own = stream.completed(header)
                payload = message.payload
                if variant.lz4:
                    packed = packed or lz4.block.compress(payload, store_size=False)
                    own, payload = replace(own, encoding=ENCODING_LZ4), packed
                if self._send_as(replace(message, payload=payload), own, variant.text):
                    stream.messages += 1
                else:
                    stream.dropped += 1
            self.ledger.add(header.times, self._session.monotonic_ns())
        self._subscriptions.answered()
        if self._latest is not None:
            for lead in self._latest.answers(product, header.frame):
                parts = self._parts(message, header, "")
                if parts is not None:
                    self._latest.send(lead, parts)

    def _send_as(self, message: Outgoing, header: FrameHeader, variant: str) -> bool:
        parts = self._parts(message, header, variant)
        return parts is not None and self._send(parts)

    def _parts(self, message: Outgoing, header: FrameHeader, variant: str) -> list[bytes] | None:
        """The message's parts as of now, or None when they cannot be made."""
        topic = Topic(header.product, header.probe, variant).encode()
        times = replace(header.times, published_ns=0, utc=self._session.check())
        try:
            data = encode_header(replace(header, times=times))
            return [topic, stamp_published(data, self._session.monotonic_ns()), message.payload]
        except ValueError as error:
            # Something that JSON cannot say, such as NaN in a geometry: the frame is lost, the others are not.
            self._log.error("encoding_failed", topic=topic.decode(), reason=str(error))
            return None

    def _send_notice(self, notice: Notice) -> None:
        self._send([Topic(product_of(notice), notice.probe).encode(), encode_notice(notice), b""])

    def _send(self, parts: Sequence[bytes]) -> bool:
        try:
            # XPUB drops for a subscriber whose queue is full and never waits. Not a copy: no payload is written again.
            self._socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            self._log.error("publish_failed", reason=str(error))
            return False
        return True

    def _close(self) -> None:
        if self._latest is not None:
            self._latest.close()
        self._listener.leave()
        self._guard.close()
        self._context.destroy(linger=LINGER_MS)
        self._waker.close()
