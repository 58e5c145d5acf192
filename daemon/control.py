"""The thread that owns the control socket: one JSON request, one JSON reply."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog
import zmq

from sonod.client.wire.control import REQUEST_LIMIT_BYTES, Problem, Reply, Request, decode_request, encode_reply
from sonod.client.wire.errors import WireError
from sonod.daemon.access import Caller, Role
from sonod.daemon.commands import Commands
from sonod.daemon.connections import CONNECTIONS, Connections
from sonod.daemon.errors import CommandError, EndpointError
from sonod.daemon.keyring import Gate, Permit
from sonod.daemon.sockets import LINGER_MS, Listener
from sonod.daemon.waker import Waker

# How often the lease is looked at when nobody sends anything.
TICK_MS = 100
# How often the list of those who are admitted is looked at.
KEYS_PERIOD_S = 0.5
# A peer that answers no heartbeat is cut.
HEARTBEAT_PERIOD_MS = 1000
HEARTBEAT_TIMEOUT_MS = 3000
# Requests of one peer that may wait for their answers; more would wait in front of everybody else's.
OUTSTANDING_LIMIT = 32
# Answers that wait for a peer that does not read.
ANSWERS_LIMIT = 200


@dataclass(frozen=True)
class _Answer:
    """A reply on its way; `waited` when its request was counted as waiting."""

    address: list[bytes]
    body: bytes
    waited: bool


class Control:
    """Answers every request with exactly one reply; whatever is wrong with one costs its sender only."""

    def __init__(
        self,
        endpoints: Sequence[str],
        commands: Commands,
        gate: Gate | None = None,
        keys_everywhere: bool = False,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._commands = commands
        self._alive = alive
        self._gate = gate
        self._looked_s = 0.0
        self._outstanding: Counter[bytes] = Counter()
        self._answers: deque[_Answer] = deque()
        self._leaving = False
        self._log = structlog.get_logger()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, REQUEST_LIMIT_BYTES)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, ANSWERS_LIMIT)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_PERIOD_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self._connections = Connections(self._socket, most=CONNECTIONS)
        self._listener = Listener(self._socket, "control", self._connections, gate, keys_everywhere)
        try:
            self.endpoints = self._listener.bind(endpoints, "control.endpoint")
        except EndpointError:
            self._listener.leave()
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
        poller.register(self._connections.monitor, zmq.POLLIN)
        while not self._leaving:
            self._alive()
            ready = dict(poller.poll(TICK_MS))
            if self._waker.fd in ready:
                self._waker.calm()
            self._attend()
            if self._socket in ready:
                self._serve(self._socket.recv_multipart(copy=False))
            self._send_answers()
            self._commands.leases.tick()
        self._send_answers()
        self._close()

    def _attend(self) -> None:
        """Keys that are revoked take their connections with them, and connections that end their lease."""
        now_s = time.monotonic()
        if self._gate is not None and now_s - self._looked_s >= KEYS_PERIOD_S:
            self._looked_s = now_s
            self._look_at_keys(self._gate)
        self._listener.cut_revoked()
        for number in self._connections.attend():
            self._commands.leases.connection_ended(number)

    def _look_at_keys(self, gate: Gate) -> None:
        if not gate.refresh():
            return
        if gate.problem:
            self._log.error("keys_unusable", problems=gate.problem.splitlines(), remedy="the former list holds")
            return
        self._log.info("keys_changed", admitted=gate.admitted)
        self._commands.leases.keys_changed(lambda key: _may_control(gate.permit(key)))

    def _serve(self, frames: list[zmq.Frame]) -> None:
        """One message: address, for REQ sockets an empty part, and the request."""
        caller = self._caller(frames[-1])
        parts = [frame.bytes for frame in frames]
        address, body = parts[:1], parts[1:]
        if len(body) > 1 and body[0] == b"":
            address, body = parts[:2], body[1:]
        request: Request | None = None
        try:
            if len(body) != 1:
                raise WireError(f"request: must be one part of JSON; got {len(body)} parts")
            request = decode_request(body[0])
            if self._outstanding[parts[0]] >= OUTSTANDING_LIMIT:
                raise CommandError("busy", f"{OUTSTANDING_LIMIT} requests wait for answers; wait for them first")
            result = self._commands.execute(request, caller)
        except WireError as error:
            self._answer(address, Reply(None, error=Problem("malformed", str(error))))
        except Exception as error:  # noqa: BLE001  a bug in one command must not end control for good
            self._answer(address, self._refusal(request, error))
        else:
            if isinstance(result, Future):
                self._outstanding[parts[0]] += 1
                result.add_done_callback(self._finisher(address, request))
            else:
                self._answer(address, Reply(request.id, result))

    def _caller(self, message: zmq.Frame) -> Caller:
        """Who sent the message."""
        connection, key = self._listener.sender(message)
        number = None if connection is None else connection.number
        if not key:
            return Caller(connection=number)
        permit = None if self._gate is None else self._gate.permit(key)
        return Caller(
            None if permit is None else permit.role, "" if permit is None else permit.name, key, connection=number
        )

    def _finisher(self, address: list[bytes], request: Request) -> Callable[[Future[dict[str, Any]]], None]:
        def finish(future: Future[dict[str, Any]]) -> None:
            error = future.exception()
            if isinstance(error, Exception):
                self._answer(address, self._refusal(request, error), waited=True)
            else:
                self._answer(address, Reply(request.id, future.result()), waited=True)
            self._waker.wake()

        return finish

    def _refusal(self, request: Request | None, error: Exception) -> Reply:
        identity = None if request is None else request.id
        if isinstance(error, CommandError):
            return Reply(identity, error=Problem(error.code, str(error), error.problems))
        self._log.error("command_failed", command=None if request is None else request.command, exc_info=error)
        return Reply(identity, error=Problem("internal", f"the daemon failed: {type(error).__name__}: {error}"))

    def _answer(self, address: list[bytes], reply: Reply, waited: bool = False) -> None:
        self._answers.append(_Answer(address, encode_reply(reply), waited))

    def _send_answers(self) -> None:
        while self._answers:
            answer = self._answers.popleft()
            if answer.waited:
                self._outstanding -= Counter({answer.address[0]: 1})
            try:
                self._socket.send_multipart([*answer.address, answer.body], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                # Its queue is full because it does not read; it must ask again.
                self._log.warning("reply_dropped", reason=str(error))

    def _close(self) -> None:
        self._listener.leave()
        self._context.destroy(linger=LINGER_MS)
        self._waker.close()


def _may_control(permit: Permit | None) -> bool:
    return permit is not None and Caller(permit.role).may(Role.CONTROL)
