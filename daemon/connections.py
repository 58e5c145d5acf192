"""The connections of one listening socket: which there are, whose they are, and how to end one.

libzmq tells when a connection comes and goes through its monitor, and with each message over which file descriptor it
came. What it cannot do is end one connection; shutting its descriptor down does, as if the peer had gone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog
import zmq
from zmq.utils.monitor import parse_monitor_message

from sonod.daemon.packet_filter import drop_data

# One machine's programs, and all of them together; beyond it someone opens connections and forgets them.
CONNECTIONS_PER_PEER = 64
CONNECTIONS = 256
# Programs that use one key at the same time.
CONNECTIONS_PER_KEY = 16
# Bytes that a cut connection has sent already are thrown away: so many at a time, so often; no kernel holds more.
DISCARDED_BYTES, DISCARDS = 1 << 18, 16
# How often the table is compared with the truth: the monitor drops events when they come too fast.
CHECK_PERIOD_S = 1.0
_LOCAL = "this machine"
# struct ucred: process, user, group.
_CREDENTIALS = struct.Struct("iII")


@dataclass(frozen=True)
class Connection:
    """One accepted connection; `number` is never used again, `inode` tells whether the descriptor still is it.
    `process`: the peer's, 0 when it is not known (TCP, or another container's)."""

    number: int
    descriptor: int
    inode: int
    peer: str
    key: str = ""
    process: int = 0


class Connections:
    """Follows a socket's connections, on the socket's own thread; those beyond the limits are ended at once."""

    def __init__(
        self, listening: zmq.Socket[bytes], clock: Callable[[], float] = time.monotonic, most: int = CONNECTIONS
    ) -> None:
        self.accepted = 0
        self.refused = 0
        self.monitor = listening.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._clock = clock
        self._most = most
        self._known: dict[int, Connection] = {}
        self._next = 1
        self._ended: list[int] = []
        self._checked_s = clock()
        self._refused = 0
        self._log = structlog.get_logger()

    def __len__(self) -> int:
        return len(self._known)

    def attend(self) -> list[int]:
        """Take in what happened; the numbers of the connections that have ended since the last call."""
        self.attend_later()
        if self._clock() - self._checked_s >= CHECK_PERIOD_S:
            self._check()
        ended, self._ended = self._ended, []
        return ended

    def attend_later(self) -> None:
        """Take in what happened; `attend` will tell."""
        # Asked before each message, because finding out by an exception costs ten times as much.
        while int(self.monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            event = parse_monitor_message(self.monitor.recv_multipart(zmq.NOBLOCK))
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._accepted(event["value"])
            else:
                self._gone(event["value"])

    def of(self, message: zmq.Frame, key: str = "") -> Connection | None:
        """The connection over which a message came; from now on known to be of this key. None when it has ended."""
        try:
            descriptor = message.get(zmq.SRCFD)
        except zmq.ZMQError:
            return None
        known = self._known.get(int(descriptor))
        if known is not None and key and known.key != key:
            known = self._known[known.descriptor] = replace(known, key=key)
        return known

    def is_too_many(self, connection: Connection) -> bool:
        """Whether enough older connections use the same key."""
        older = sum(other.key == connection.key and other.number < connection.number for other in self._known.values())
        return older >= CONNECTIONS_PER_KEY

    def present(self) -> tuple[Connection, ...]:
        """Those that are open now."""
        return tuple(self._known.values())

    def cut(self, ends: Callable[[Connection], bool]) -> int:
        """End every connection that `ends` picks; how many there were."""
        picked = [connection for connection in self._known.values() if ends(connection)]
        for connection in picked:
            _shut_down(connection)
        return len(picked)

    def _accepted(self, descriptor: int) -> None:
        self._gone(descriptor)
        found = _identify(descriptor)
        if found is None:
            return
        inode, peer, process = found
        connection = Connection(self._next, descriptor, inode, peer, process=process)
        self._next += 1
        peers = Counter(known.peer for known in self._known.values())
        limit = self._most if peer == _LOCAL else CONNECTIONS_PER_PEER
        self.accepted += 1
        if len(self._known) >= self._most or peers[peer] >= limit:
            _shut_down(connection)
            self._refused += 1
            self.refused += 1
            return
        self._known[descriptor] = connection

    def _gone(self, descriptor: int) -> None:
        known = self._known.pop(descriptor, None)
        if known is not None:
            self._ended.append(known.number)

    def _check(self) -> None:
        """Forget connections whose end was not told, and say how many were refused."""
        self._checked_s = self._clock()
        for connection in list(self._known.values()):
            if _inode(connection.descriptor) != connection.inode:
                self._gone(connection.descriptor)
        if self._refused:
            self._log.warning("connections_refused", count=self._refused, open=len(self._known))
            self._refused = 0


def key_of(message: zmq.Frame) -> str:
    """The public key of the connection over which a message came, '' when it needed none."""
    try:
        user = message.get("User-Id")
    except zmq.ZMQError:
        return ""
    return user if isinstance(user, str) else ""


def silence(connection: Connection) -> bool:
    """Hear nothing more from the connection, and leave it open; False when that cannot be done to this one."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.descriptor)) as same:
        return os.fstat(same.fileno()).st_ino == connection.inode and drop_data(same)
    return False


def _identify(descriptor: int) -> tuple[int, str, int] | None:
    """The descriptor's inode, the peer's address and its process; None when it is no connection any more."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as same:
            peer = same.getpeername()
            return os.fstat(descriptor).st_ino, _peer_name(peer), _peer_process(same)
    except OSError:
        return None


def _peer_process(connection: socket.socket) -> int:
    if connection.family != socket.AF_UNIX:
        return 0
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[0])


def _peer_name(peer: object) -> str:
    if not isinstance(peer, tuple):
        return _LOCAL
    host = str(peer[0])
    return _LOCAL if host == "::1" or host.startswith(("127.", "::ffff:127.")) else host


def _inode(descriptor: int) -> int | None:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return None


def _shut_down(connection: Connection) -> None:
    """Shut the connection down; the descriptor stays libzmq's, which closes it."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.descriptor)) as same:
        # Another one by now? Then this one has ended already.
        if os.fstat(same.fileno()).st_ino != connection.inode:
            return
        same.shutdown(socket.SHUT_RDWR)
        # What a flood has sent already would still be read.
        for _ in range(DISCARDS):
            if not same.recv(DISCARDED_BYTES, socket.MSG_DONTWAIT):
                break
