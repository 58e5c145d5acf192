"""Whether a daemon lets us in: what libzmq alone keeps to itself, trying for ever."""

from __future__ import annotations

from typing import Any

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from sonod.client.errors import AccessRefused
from sonod.client.keys import ClientKeys

# A connection that broke while it was set up may have been an accident once; the daemon is tried ten times a second.
BREAKS = 3
_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Handshake:
    """Watches one connecting socket, which gets the keys; made before `connect`, used on the socket's thread."""

    def __init__(self, socket: Any, endpoint: str, keys: ClientKeys | None) -> None:
        self._socket = socket
        self._endpoint = endpoint
        self._keys = keys
        self._breaks = 0
        if keys is not None:
            keys.apply(socket)
        self._monitor = socket.get_monitor_socket(_EVENTS)

    def poll(self, timeout_ms: int | None, flag: int = zmq.POLLIN) -> bool:
        """Whether a message came, or could be sent (`zmq.POLLOUT`), in time; AccessRefused as soon as the daemon lets
        us not in."""
        poller = zmq.Poller()
        poller.register(self._socket, flag)
        poller.register(self._monitor, zmq.POLLIN)
        while True:
            ready = dict(poller.poll(timeout_ms))
            if self._socket in ready:
                return True
            if self._monitor not in ready:
                return False
            self._take(self._monitor.recv_multipart())

    async def poll_async(self, timeout_ms: int | None) -> bool:
        """As `poll`, for a socket of asyncio."""
        poller = zmq.asyncio.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        while True:
            ready = dict(await poller.poll(-1 if timeout_ms is None else timeout_ms))
            if self._socket in ready:
                return True
            if self._monitor not in ready:
                return False
            self._take(await self._monitor.recv_multipart())

    async def refusal_async(self) -> AccessRefused:
        """Wait until the daemon refuses us, and say so; for ever when it does not."""
        while True:
            try:
                self._take(await self._monitor.recv_multipart())
            except AccessRefused as error:
                return error

    def close(self) -> None:
        """Watch no longer, and close the socket."""
        if not self._socket.closed:
            self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()

    def _take(self, parts: list[bytes]) -> None:
        event = parse_monitor_message(parts)
        kind, value = event["event"], event["value"]
        if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._breaks = 0
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise AccessRefused(self._refused())
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            raise AccessRefused(self._mismatch())
        else:
            self._breaks += 1
            if self._breaks >= BREAKS:
                raise AccessRefused(self._mismatch() if self._keys is None else self._broken())

    def _refused(self) -> str:
        name = "" if self._keys is None else f" of {self._keys.name!r} ({self._keys.source})"
        return (
            f"{self._endpoint}: the daemon does not admit the key{name}; it is unknown or revoked. `sonod keys list` "
            "on the daemon's machine shows who is admitted"
        )

    def _mismatch(self) -> str:
        if self._keys is None:
            return (
                f"{self._endpoint}: the daemon wants a key here; `sonod keys new NAME` on its machine makes one, and "
                "--keys FILE uses it"
            )
        return f"{self._endpoint}: the daemon takes no keys here; leave {self._keys.source} out"

    def _broken(self) -> str:
        source = "" if self._keys is None else self._keys.source
        return (
            f"{self._endpoint}: the connection breaks as it is set up: the daemon's key is not the one in {source}, or "
            "it takes no keys here"
        )
