"""What the daemon's listening sockets share: addresses, keys, limits, and knowing who is connected."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import zmq

from sonod.daemon.connections import Connection, Connections, key_of
from sonod.daemon.endpoint import is_exposed, is_ipc
from sonod.daemon.errors import EndpointError
from sonod.daemon.keyring import Gate
from sonod.daemon.penalties import Penalties
from sonod.daemon.zap import DOMAIN, IPC_DOMAIN, ZapHandler

# Long enough for the last messages on this machine, short enough for a stop within two seconds. Never 0 where messages
# have parts: libzmq 4.3.5 ends the process when a connection breaks in the middle of one while its socket is closed so
# (decision 0079).
LINGER_MS = 200
# A peer that does not say who it is for so long is cut.
HANDSHAKE_TIMEOUT_MS = 5000
# The longest command of a CURVE handshake has 257 bytes and the properties of the peer.
CURVE_HANDSHAKE_BYTES = 1024
# What others may not do in the folder of an ipc socket.
IPC_FOLDER_MODE = 0o750


class Listener:
    """A listening socket, its connections, and the keys that those from other machines need.

    Made and bound before the socket's thread starts; then used on that thread alone, which has `connections` attend to
    their monitor and calls `cut_revoked` now and then.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        name: str,
        connections: Connections,
        gate: Gate | None = None,
        keys_everywhere: bool = False,
        sharing: Listener | None = None,
        penalties: Penalties | None = None,
    ) -> None:
        """`sharing`: another one of the same context, which asks the gate for both; it must outlive this one.
        `penalties` are for programs that come over ipc."""
        self._socket = socket
        self._name = name
        self._gate = gate
        self._keys_everywhere = keys_everywhere
        self._seen_version = 0 if gate is None else gate.version
        self._zap: ZapHandler | None = None
        self._sharing = sharing
        self._penalties = penalties
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_TIMEOUT_MS)
        self._connections = connections

    def bind(self, endpoints: Sequence[str], key: str) -> tuple[str, ...]:
        """Bind them all, and return them with the ports that were found for `*`; EndpointError names the remedy. `key`
        is where the configuration has the first of them, `endpoint`; the others are in `also`."""
        keys = {name: key.replace(".endpoint", ".also") if number else key for number, name in enumerate(endpoints)}
        # In this order: what is bound keeps the options that it was bound with, and none can be taken back.
        found = {
            endpoint: bind(self._socket, endpoint, keys[endpoint])
            for endpoint in endpoints
            if not self._needs_keys(endpoint) and not is_ipc(endpoint)
        }
        local = [endpoint for endpoint in endpoints if is_ipc(endpoint)]
        if local:
            if self._penalties is not None:
                self._ask_before_admission(IPC_DOMAIN)
            found |= {endpoint: bind(self._socket, endpoint, keys[endpoint]) for endpoint in local}
        guarded = [endpoint for endpoint in endpoints if self._needs_keys(endpoint)]
        if guarded:
            # The configuration has seen to it that there is one.
            assert self._gate is not None
            self._ask_before_admission(DOMAIN)
            if 0 < int(self._socket.getsockopt(zmq.MAXMSGSIZE)) < CURVE_HANDSHAKE_BYTES:
                self._socket.setsockopt(zmq.MAXMSGSIZE, CURVE_HANDSHAKE_BYTES)
            self._socket.setsockopt(zmq.CURVE_SERVER, 1)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, self._gate.server.secret.encode())
            found |= {endpoint: bind(self._socket, endpoint, keys[endpoint]) for endpoint in guarded}
        return tuple(found[endpoint] for endpoint in endpoints)

    def cut_revoked(self) -> None:
        """Cut the connections whose keys are admitted no longer."""
        gate = self._gate
        if gate is not None and gate.version != self._seen_version:
            self._seen_version = gate.version
            self._connections.cut(self._unwanted)

    def sender(self, message: zmq.Frame) -> tuple[Connection | None, str]:
        """The connection over which a message came, and its public key, '' when it needs none. A connection whose key
        is not admitted any more, or has too many, is cut."""
        # Without a gate nobody has a key, and looking for one costs as much as all the rest.
        key = "" if self._gate is None else key_of(message)
        connection = self._connections.of(message, key)
        if connection is None:
            # It may have come after we last looked.
            self._connections.attend_later()
            connection = self._connections.of(message, key)
        if connection is not None and self._unwanted(connection):
            self._connections.cut(lambda other: other.number == connection.number)
        return connection, key

    def leave(self) -> None:
        """Before the socket's context is destroyed."""
        if self._zap is not None:
            self._zap.leave()

    def _ask_before_admission(self, domain: bytes) -> None:
        """Whoever comes to what is bound from here on is asked about."""
        if self._zap is None and (self._sharing is None or self._sharing._zap is None):
            self._zap = ZapHandler(self._socket.context, self._gate, self._name, self._penalties)
        self._socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._socket.setsockopt(zmq.ZAP_DOMAIN, domain)

    def _unwanted(self, connection: Connection) -> bool:
        return bool(connection.key) and (
            self._gate is None or self._gate.permit(connection.key) is None or self._connections.is_too_many(connection)
        )

    def _needs_keys(self, endpoint: str) -> bool:
        return is_exposed(endpoint) or (self._keys_everywhere and not is_ipc(endpoint))


def bind(socket: zmq.Socket[bytes], endpoint: str, key: str) -> str:
    """Bind, and return the address with the port that was found for `*`; EndpointError names the remedy."""
    if is_ipc(endpoint):
        make_ipc_folder(Path(endpoint.removeprefix("ipc://")).parent, key)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        reason, other = zmq.strerror(error.errno or 0), "path" if is_ipc(endpoint) else "port"
        raise EndpointError(
            f"{key}: cannot listen on {endpoint} ({reason}); stop the program that does, or choose another {other}"
        ) from error
    found = socket.getsockopt(zmq.LAST_ENDPOINT)
    return found.rstrip(b"\0").decode() if isinstance(found, bytes) else endpoint


def make_ipc_folder(folder: Path, key: str) -> None:
    """A folder that only its owner and group can enter; EndpointError when it is open to others."""
    try:
        folder.mkdir(mode=IPC_FOLDER_MODE, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise EndpointError(f"{key}: the folder {folder} cannot be made ({error.strerror}); choose another") from error
    mode = stat.S_IMODE(found.st_mode)
    if mode & ~IPC_FOLDER_MODE & 0o777:
        raise EndpointError(
            f"{key}: the folder {folder} is open to others (mode {mode:04o}), and so would the socket be; use a folder "
            f"of its own, or run: chmod 0750 {folder}"
        )
    if found.st_uid not in (0, os.geteuid()):
        raise EndpointError(f"{key}: the folder {folder} belongs to another user, who could replace the socket")
