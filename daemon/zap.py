"""The thread that decides who is admitted to one ZeroMQ context (ZAP, ZeroMQ RFC 27): those with keys that are known,
and programs of this machine that have no penalty.

A CURVE socket without one admits every key.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

import structlog
import zmq
from zmq.utils import z85

from sonod.daemon.keyring import Gate
from sonod.daemon.penalties import Penalties
from sonod.daemon.waker import Waker

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
# Only sockets of these domains are asked about: those that need keys, and ipc sockets that have penalties. Neither may
# be empty.
DOMAIN, IPC_DOMAIN = b"sonod", b"sonod-ipc"
ADMITTED, REFUSED, MALFORMED = b"200", b"400", b"500"
# version, request, domain, address, routing, mechanism, and with keys: key
CURVE_PARTS, NULL_PARTS = 7, 6
# What libzmq says of the peer of an ipc connection: host:user:group:process.
_IPC_PEER = re.compile(rb".*:\d+:\d+:(\d+)")
# Requests that are held back; beyond it the oldest, whose connections have ended meanwhile, are forgotten.
HELD_LIMIT = 256


@dataclass(frozen=True)
class _Held:
    """A request whose answer waits until its process has no penalty any more; `lead` is the way back."""

    lead: list[bytes]
    request: bytes
    process: int


class ZapHandler:
    """Admits those whom the gate knows; their public key is what messages say about who sent them (`User-Id`).

    A process with a penalty is not answered until it ends: a peer that is refused comes back at once, one that waits in
    its handshake costs nobody anything. libzmq ends a handshake that takes too long.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        gate: Gate | None,
        name: str,
        penalties: Penalties | None = None,
    ) -> None:
        self._gate = gate
        self._penalties = penalties or Penalties()
        self._held: list[_Held] = []
        self._leaving = False
        self._log = structlog.get_logger().bind(socket=name)
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ZAP_ENDPOINT)
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name=f"sonod-zap-{name}")
        self._thread.start()

    def leave(self) -> None:
        """End the thread, and close its socket."""
        self._leaving = True
        self._waker.wake()
        self._thread.join()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._waker.fd, zmq.POLLIN)
        while not self._leaving:
            if self._socket in dict(poller.poll(self._patience_ms())):
                parts = self._socket.recv_multipart()
                # The way back, and an empty part.
                lead, parts = parts[:2], parts[2:]
                answer = self.answer(parts)
                if answer is None:
                    self._held = [*self._held[-HELD_LIMIT:], _Held(lead, parts[1], _process(parts))]
                else:
                    self._socket.send_multipart([*lead, *answer])
            self._release()
        self._socket.close()
        self._waker.close()

    def answer(self, parts: list[bytes]) -> list[bytes] | None:
        """The reply to one request of libzmq; None when it has to wait."""
        request = parts[1] if len(parts) > 1 else b""
        if len(parts) == NULL_PARTS and parts[0] == b"1.0" and parts[2] == IPC_DOMAIN and parts[5] == b"NULL":
            return None if self._penalties.left_s(_process(parts)) else _admitted(request)
        if len(parts) != CURVE_PARTS or parts[0] != b"1.0" or parts[2] != DOMAIN or parts[5] != b"CURVE":
            return [b"1.0", request, MALFORMED, b"not a CURVE request", b"", b""]
        public = z85.encode(parts[6]).decode()
        permit = None if self._gate is None else self._gate.permit(public)
        if permit is None:
            self._log.warning("key_refused", key=public, address=parts[3].decode("ascii", "replace"))
            return [b"1.0", request, REFUSED, b"unknown or revoked key", b"", b""]
        self._log.info("key_admitted", name=permit.name, role=permit.role, address=parts[3].decode("ascii", "replace"))
        return _admitted(request, public)

    def _patience_ms(self) -> int | None:
        """Until the first penalty of those who wait ends; None = nobody waits."""
        if not self._held:
            return None
        return int(1000 * min(self._penalties.left_s(held.process) for held in self._held)) + 1

    def _release(self) -> None:
        waiting: list[_Held] = []
        for held in self._held:
            if self._penalties.left_s(held.process):
                waiting.append(held)
            else:
                # A connection that has ended meanwhile has no way back, and the answer goes nowhere.
                self._socket.send_multipart([*held.lead, *_admitted(held.request)])
        self._held = waiting


def _admitted(request: bytes, user: str = "") -> list[bytes]:
    return [b"1.0", request, ADMITTED, b"", user.encode(), b""]


def _process(parts: list[bytes]) -> int:
    """The process at the other end of an ipc connection, 0 when libzmq does not say."""
    found = _IPC_PEER.fullmatch(parts[3])
    return 0 if found is None else int(found[1])
