"""The thread that owns the control socket: one JSON request, one JSON reply."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import structlog
import zmq

from sonod.client.wire.control import REQUEST_LIMIT_BYTES, Problem, Reply, Request, decode_request, encode_reply
from sonod.client.wire.errors import WireError
from sonod.daemon.commands import Commands
from sonod.daemon.errors import CommandError, EndpointError
from sonod.daemon.sockets import LINGER_MS, bind
from sonod.daemon.waker import Waker

# How often the lease is looked at when nobody sends anything.
TICK_MS = 100


class Control:
    """Answers every request with exactly one reply; whatever is wrong with one costs its sender only."""

    def __init__(
        self,
        endpoint: str,
        commands: Commands,
        lease_expired: Callable[[str], None],
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._commands = commands
        self._lease_expired = lease_expired
        self._alive = alive
        self._answers: deque[tuple[list[bytes], bytes]] = deque()
        self._leaving = False
        self._log = structlog.get_logger()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, REQUEST_LIMIT_BYTES)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self.endpoint = bind(self._socket, endpoint, "control.endpoint")
        except EndpointError:
            self._context.destroy(linger=0)
            raise
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name="sonod-control")

    # -- any thread ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def leave(self, timeout_s: float) -> bool:
        """Send what is answered, close the socket and end the thread; False when that took longer than allowed."""
        self._leaving = True
        if self._thread.ident is None:
            self._close()
            return True
        self._waker.wake()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # -- the control thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._waker.fd, zmq.POLLIN)
        while not self._leaving:
            self._alive()
            ready = dict(poller.poll(TICK_MS))
            if self._waker.fd in ready:
                self._waker.calm()
            if self._socket in ready:
                self._serve(self._socket.recv_multipart())
            self._send_answers()
            holder = self._commands.expire_lease()
            if holder is not None:
                self._lease_expired(holder)
        self._send_answers()
        self._close()

    def _serve(self, parts: list[bytes]) -> None:
        """One message: address, for REQ sockets an empty part, and the request."""
        address, body = parts[:1], parts[1:]
        if len(body) > 1 and body[0] == b"":
            address, body = parts[:2], body[1:]
        request: Request | None = None
        try:
            if len(body) != 1:
                raise WireError(f"request: must be one part of JSON; got {len(body)} parts")
            request = decode_request(body[0])
            result = self._commands.execute(request)
        except WireError as error:
            self._answer(address, Reply(None, error=Problem("malformed", str(error))))
        except Exception as error:  # noqa: BLE001  a bug in one command must not end control for good
            self._answer(address, self._refusal(request, error))
        else:
            if isinstance(result, Future):
                result.add_done_callback(self._finisher(address, request))
            else:
                self._answer(address, Reply(request.id, result))

    def _finisher(self, address: list[bytes], request: Request) -> Callable[[Future[dict[str, Any]]], None]:
        def finish(future: Future[dict[str, Any]]) -> None:
            error = future.exception()
            if isinstance(error, Exception):
                self._answer(address, self._refusal(request, error))
            else:
                self._answer(address, Reply(request.id, future.result()))
            self._waker.wake()

        return finish

    def _refusal(self, request: Request | None, error: Exception) -> Reply:
        identity = None if request is None else request.id
        if isinstance(error, CommandError):
            return Reply(identity, error=Problem(error.code, str(error), error.problems))
        self._log.error("command_failed", command=None if request is None else request.command, exc_info=error)
        return Reply(identity, error=Problem("internal", f"the daemon failed: {type(error).__name__}: {error}"))

    def _answer(self, address: list[bytes], reply: Reply) -> None:
        self._answers.append((address, encode_reply(reply)))

    def _send_answers(self) -> None:
        while self._answers:
            address, body = self._answers.popleft()
            try:
                self._socket.send_multipart([*address, body], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                # Its queue is full because it does not read; it must ask again.
                self._log.warning("reply_dropped", reason=str(error))

    def _close(self) -> None:
        self._context.destroy(linger=LINGER_MS)
        self._waker.close()
