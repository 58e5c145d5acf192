"""Cuts the subscribers that would harm the others: those that have stopped reading, and those that flood."""

from __future__ import annotations

import fcntl
import termios
from dataclasses import dataclass

import structlog
import zmq

from sonod.daemon.connections import Connection, Connections, silence
from sonod.daemon.penalties import Penalties

# One client needs a few prefixes for each product; each costs memory for every byte.
SUBSCRIPTION_LIMIT = 128
# Subscriptions and cancellations: so many at once, and so many a second after that.
UPSTREAM_BURST = 512
UPSTREAM_PER_S = 50
# First byte of what comes from upstream.
SUBSCRIBE, CANCEL = b"\x01", b"\x00"
# How often the connections' queues are looked at; a stall is many looks in which nothing was taken.
LOOK_NS = 100_000_000
# So many cuts are told one by one, and then each hundredth: a client that is cut comes back, and does it again.
TOLD_CUTS = 10
# Connections that are left open and not heard. One that has flooded and is cut comes back at once and does it again;
# one that is not heard waits until its heartbeats are missed. More than these would take the room of others.
SILENCED_LIMIT = 4


@dataclass
class _Conduct:
    """What one connection has done so far."""

    subscriptions: int = 0
    budget: float = UPSTREAM_BURST
    budget_ns: int = 0
    waiting: int = 0
    moved_ns: int = 0
    cut: bool = False


class SubscriberGuard:
    """On the socket's own thread. `limit` connections at most; one that takes nothing for `stalled_ns` although
    something waits for it is cut (0 = never). One that sends more upstream than any true client is not heard any more
    where the system can do that (TCP), and cut where not; then its process has a penalty."""

    def __init__(self, listening: zmq.Socket[bytes], name: str, limit: int, stalled_ns: int) -> None:
        self.connections = Connections(listening, most=limit)
        self.penalties = Penalties()
        self.stalled = 0
        self.flooding = 0
        # By their numbers, the oldest first.
        self._silenced: dict[int, Connection] = {}
        self._listening = listening
        self._stalled_ns = stalled_ns
        self._conduct: dict[int, _Conduct] = {}
        self._looked_ns = 0
        self._log = structlog.get_logger().bind(socket=name)

    @property
    def silenced(self) -> int:
        """Connections that are open and not heard."""
        return len(self._silenced)

    @property
    def monitor(self) -> zmq.Socket[bytes]:
        """Readable when connections have come or gone: then call `attend`."""
        return self.connections.monitor

    def attend(self) -> None:
        """Take note of connections that came and went."""
        for number in self.connections.attend():
            self._conduct.pop(number, None)
            self._silenced.pop(number, None)

    def heeds(self, message: bytes, connection: Connection | None, now_ns: int) -> bool:
        """A message came from a connection (None = it has ended); cut it when it sends too many. Whether to do what
        the message says: what one that was cut had still asked for shall cost nobody anything."""
        kind = message[:1]
        if connection is None:
            return True
        conduct = self._conduct_of(connection, now_ns)
        if conduct.cut:
            return kind != SUBSCRIBE
        conduct.subscriptions += {SUBSCRIBE: 1, CANCEL: -1}.get(kind, 0)
        regained = (now_ns - conduct.budget_ns) / 1e9 * UPSTREAM_PER_S
        conduct.budget = min(UPSTREAM_BURST, conduct.budget + regained) - 1
        conduct.budget_ns = now_ns
        if conduct.subscriptions > SUBSCRIPTION_LIMIT or conduct.budget < 0:
            self.flooding += 1
            self._stop_flood(connection, conduct)
        return True

    def look(self, now_ns: int) -> None:
        """Cut the connections whose queue has not moved for too long."""
        if not self._stalled_ns or now_ns - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = now_ns
        for connection in self.connections.present():
            conduct = self._conduct_of(connection, now_ns)
            waiting = _waiting_bytes(connection.descriptor)
            # More waiting is our doing; only less shows that the peer takes anything.
            moved = waiting == 0 or waiting < conduct.waiting
            conduct.waiting = waiting
            if moved:
                conduct.moved_ns = now_ns
            elif now_ns - conduct.moved_ns > self._stalled_ns and not conduct.cut:
                self.stalled += 1
                conduct.cut = True
                self._tell("subscriber_cut", connection, f"it took nothing for {self._stalled_ns / 1e9:g} s")
                self._end(connection)

    def close(self) -> None:
        """Let go of the monitor; the socket itself is its owner's."""
        if not self._listening.closed:
            self._listening.disable_monitor()

    def _conduct_of(self, connection: Connection, now_ns: int) -> _Conduct:
        conduct = self._conduct.get(connection.number)
        if conduct is None:
            conduct = self._conduct[connection.number] = _Conduct(budget_ns=now_ns, moved_ns=now_ns)
        return conduct

    def _stop_flood(self, connection: Connection, conduct: _Conduct) -> None:
        conduct.cut = True
        reason = "it subscribes to too much or too often"
        if silence(connection):
            self._tell("subscriber_silenced", connection, reason)
            self._silenced[connection.number] = connection
            while len(self._silenced) > SILENCED_LIMIT:
                self._end(self._silenced.pop(next(iter(self._silenced))))
            return
        self.penalties.add(connection.process)
        self._tell("subscriber_cut", connection, reason)
        self._end(connection)

    def _tell(self, event: str, connection: Connection, reason: str) -> None:
        total = self.stalled + self.flooding
        if total <= TOLD_CUTS or total % 100 == 0:
            process = {"process": connection.process} if connection.process else {}
            self._log.warning(event, reason=reason, peer=connection.peer, cut_so_far=total, **process)

    def _end(self, connection: Connection) -> None:
        self.connections.cut(lambda other: other.number == connection.number)


def _waiting_bytes(descriptor: int) -> int:
    """What the kernel still has to deliver to the peer."""
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), "little")
    except OSError:
        return 0
