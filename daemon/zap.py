"""The thread that decides which keys are admitted to one ZeroMQ context (ZAP, ZeroMQ RFC 27).

A CURVE socket without one admits every key.
"""

from __future__ import annotations

import threading

import structlog
import zmq
from zmq.utils import z85

from sonod.daemon.keyring import Gate
from sonod.daemon.waker import Waker

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
# Only sockets of this domain are asked about; it must not be empty.
DOMAIN = b"sonod"
ADMITTED, REFUSED, MALFORMED = b"200", b"400", b"500"
# version, request, domain, address, routing, mechanism, key
CURVE_PARTS = 7


class ZapHandler:
    """Admits those whom the gate knows; their public key is what messages say about who sent them (`User-Id`)."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], gate: Gate, name: str) -> None:
        self._gate = gate
        self._leaving = False
        self._log = structlog.get_logger().bind(socket=name)
        self._socket = context.socket(zmq.REP)
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
            if self._socket in dict(poller.poll()):
                self._socket.send_multipart(self.answer(self._socket.recv_multipart()))
        self._socket.close()
        self._waker.close()

    def answer(self, parts: list[bytes]) -> list[bytes]:
        """The reply to one request of libzmq."""
        request = parts[1] if len(parts) > 1 else b""
        if len(parts) != CURVE_PARTS or parts[0] != b"1.0" or parts[2] != DOMAIN or parts[5] != b"CURVE":
            return [b"1.0", request, MALFORMED, b"not a CURVE request", b"", b""]
        public = z85.encode(parts[6]).decode()
        permit = self._gate.permit(public)
        if permit is None:
            self._log.warning("key_refused", key=public, address=parts[3].decode("ascii", "replace"))
            return [b"1.0", request, REFUSED, b"unknown or revoked key", b"", b""]
        self._log.info("key_admitted", name=permit.name, role=permit.role, address=parts[3].decode("ascii", "replace"))
        return [b"1.0", request, ADMITTED, b"", public.encode(), b""]
