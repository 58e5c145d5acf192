"""The connections of a socket that listens: how many, and which must be cut so that the others are not harmed.

libzmq names a connection by its descriptor, in the monitor's events and on every message that comes upstream. Each is
duplicated here when it is accepted, so that no number can come to mean another connection, and a cut is a `shutdown`.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
from dataclasses import dataclass

import structlog
import zmq
from zmq.utils.monitor import recv_monitor_message

# One client needs a few prefixes for each product; each costs memory for every byte.
SUBSCRIPTION_LIMIT = 128
# Subscriptions and cancellations: so many at once, and so many a second after that.
UPSTREAM_BURST = 512
UPSTREAM_PER_S = 50
# How often the connections' queues are looked at; a stall is many looks without any change.
LOOK_NS = 100_000_000


@dataclass
class _Connection:
    descriptor: int
    subscriptions: int = 0
    budget: float = UPSTREAM_BURST
    budget_ns: int = 0
    waiting: int = 0
    moved_ns: int = 0
    cut: bool = False


@dataclass
class ConnectionCounts:
    """Since the session began: `accepted`, and those cut, by why."""

    accepted: int = 0
    refused: int = 0
    stalled: int = 0
    flooding: int = 0


class Connections:
    """On the socket's own thread. `limit` connections at most; one that takes nothing for `stalled_ns` although
    something waits for it is cut (0 = never), and so is one that sends more upstream than any true client."""

    def __init__(self, watched: zmq.Socket[bytes], name: str, limit: int, stalled_ns: int) -> None:
        self.counts = ConnectionCounts()
        self._watched = watched
        self._limit = limit
        self._stalled_ns = stalled_ns
        self._open: dict[int, _Connection] = {}
        self._looked_ns = 0
        self._log = structlog.get_logger().bind(socket=name)
        self.monitor = watched.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)

    def __len__(self) -> int:
        return len(self._open)

    def hear(self, now_ns: int) -> None:
        """Take note of connections that came and went."""
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)
            number = int(event["value"])
            gone = self._open.pop(number, None)
            if gone is not None:
                os.close(gone.descriptor)
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._accept(number, now_ns)

    def upstream(self, number: int, message: bytes, now_ns: int) -> None:
        """A message came from a connection; cut it when it sends too many."""
        connection = self._open.get(number)
        if connection is None or connection.cut:
            return
        connection.subscriptions += {b"\x01": 1, b"\x00": -1}.get(message[:1], 0)
        regained = (now_ns - connection.budget_ns) / 1e9 * UPSTREAM_PER_S
        connection.budget = min(UPSTREAM_BURST, connection.budget + regained) - 1
        connection.budget_ns = now_ns
        if connection.subscriptions > SUBSCRIPTION_LIMIT or connection.budget < 0:
            self.counts.flooding += 1
            self._cut(connection, "it subscribes to too much or too often")

    def look(self, now_ns: int) -> None:
        """Cut the connections whose queue has not moved for too long."""
        if not self._stalled_ns or now_ns - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = now_ns
        for connection in self._open.values():
            waiting = _waiting_bytes(connection.descriptor)
            if waiting == 0 or waiting != connection.waiting:
                connection.waiting, connection.moved_ns = waiting, now_ns
            elif now_ns - connection.moved_ns > self._stalled_ns and not connection.cut:
                self.counts.stalled += 1
                self._cut(connection, f"it took nothing for {self._stalled_ns / 1e9:g} s")

    def close(self) -> None:
        """Let go of everything; the socket itself is its owner's."""
        if self._watched.closed:
            return
        self._watched.disable_monitor()
        for connection in self._open.values():
            os.close(connection.descriptor)
        self._open.clear()

    def _accept(self, number: int, now_ns: int) -> None:
        try:
            descriptor = os.dup(number)
        except OSError:
            # It went away before we heard of it.
            return
        connection = _Connection(descriptor, budget_ns=now_ns, moved_ns=now_ns)
        self._open[number] = connection
        self.counts.accepted += 1
        if len(self._open) > self._limit:
            self.counts.refused += 1
            self._cut(connection, f"there are {self._limit} connections already")

    def _cut(self, connection: _Connection, reason: str) -> None:
        connection.cut = True
        # One line for a hundred: a client that is cut comes back, and does it again.
        total = self.counts.refused + self.counts.stalled + self.counts.flooding
        if total <= 10 or total % 100 == 0:
            self._log.warning("connection_cut", reason=reason, cut_so_far=total)
        try:
            with socket.socket(fileno=os.dup(connection.descriptor)) as view:
                if view.family != socket.AF_UNIX:
                    # What still waits for it is of no use to anybody.
                    view.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                view.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It is gone already.
            return


def _waiting_bytes(descriptor: int) -> int:
    """What the kernel still has to deliver to the peer."""
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), "little")
    except OSError:
        return 0
