"""The test daemon's sockets: publishes what it is given and answers control requests, all from one thread."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import zmq

from sonod.client.conformance.script import DEPTH_M, NEW_DEPTH_M, PROBE, Parts
from sonod.client.wire.control import Problem, Reply, Request, decode_request, encode_reply
from sonod.client.wire.errors import WireError

TICK_S = 0.01
# Not 0: a connection may break in the middle of a message while its socket is closed (decision 0079).
LINGER_MS = 200
SESSION = "c0ffee00c0ffee00c0ffee00c0ffee01"
# What a set is answered with.
REVISION, FIRST_FRAME = 2, 1049
_DEPTH = {
    "name": "depth_m", "kind": "float", "unit": "m", "value": DEPTH_M, "default": DEPTH_M, "minimum": 0.01,
    "maximum": 0.06, "step": 0.001, "choices": [], "points": 0, "description": "Depth of the deepest image row",
    "acoustic_output": False, "applied_by": "device", "later": {"than": "this client"},
}  # fmt: skip


class Stage:
    """Free ports on loopback. `requests` are those that came and could be read, `problems` says what others were."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._publisher = self._context.socket(zmq.XPUB)
        self._publisher.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._router = self._context.socket(zmq.ROUTER)
        for socket in (self._publisher, self._router):
            socket.setsockopt(zmq.LINGER, LINGER_MS)
            socket.bind("tcp://127.0.0.1:*")
        self.frames = self._publisher.getsockopt_string(zmq.LAST_ENDPOINT)
        self.control = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        self.prefixes: set[bytes] = set()
        self.requests: list[Request] = []
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=LINGER_MS)

    def subscribed(self, topic: bytes) -> bool:
        """Whether the client has asked for this topic."""
        return topic.startswith(tuple(self.prefixes))

    def publish(self, parts: Parts) -> None:
        self._publisher.send_multipart(parts)

    def until(self, condition: Callable[[], bool], patience_s: float) -> bool:
        """Serve both sockets until the condition holds; False when that took too long."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() >= deadline:
                return False
            if self._router.poll(round(TICK_S * 1000)):
                self._answer()
            with contextlib.suppress(zmq.Again):
                while True:
                    message = self._publisher.recv(zmq.NOBLOCK)
                    (self.prefixes.add if message[:1] == b"\1" else self.prefixes.discard)(message[1:])
        return True

    def _answer(self) -> None:
        address, *body = self._router.recv_multipart()
        # A REQ socket sends an empty part first, and wants it back.
        front = [address]
        if len(body) > 1 and body[0] == b"":
            front, body = [address, b""], body[1:]
        try:
            if len(body) != 1:
                raise WireError(f"request: must be one part of JSON; got {len(body)} parts")
            request = decode_request(body[0])
        except WireError as error:
            self.problems.append(str(error))
            self._router.send_multipart([*front, encode_reply(Reply(None, error=Problem("malformed", str(error))))])
            return
        self.requests.append(request)
        if len(front) == 1:
            # The late answer to a question that nobody remembers: only the id tells.
            self._router.send_multipart([*front, b'{"id":"of-nobody","ok":true,"state":"running"}'])
        self._router.send_multipart([*front, encode_reply(_reply(request))])


def _reply(request: Request) -> Reply:
    later = {"later": {"keys": [1, 2]}}
    if request.command == "describe":
        return Reply(request.id, {**_description(), **later})
    if request.command == "get":
        return Reply(request.id, {"revision": 1, "settings": {"depth_m": DEPTH_M}, **later})
    if request.command == "set":
        changes: Any = request.arguments.get("changes")
        if not isinstance(changes, dict) or set(changes) != {"depth_m"}:
            line = f"set: changes: must be depth_m alone; got {json.dumps(changes)[:60]}"
            return Reply(request.id, error=Problem("invalid", line, (line,)))
        if changes["depth_m"] != NEW_DEPTH_M:
            line = f"depth_m: must be {NEW_DEPTH_M} in this test; got {json.dumps(changes['depth_m'])[:60]}"
            return Reply(request.id, error=Problem("refused", line, (line,)))
        return Reply(request.id, {"revision": REVISION, "first_frame": FIRST_FRAME, "applied": changes, **later})
    if request.command == "status":
        return Reply(request.id, {"state": "running", "session": SESSION, **later})
    return Reply(request.id, error=Problem("unknown_command", f"{request.command!r}: no such command in this test"))


def _description() -> dict[str, Any]:
    return {
        "sonod": 1,
        "version": "0",
        "session": SESSION,
        "driver": "conformance:",
        "serial": "",
        "probe": {"name": PROBE, "kind": "linear", "elements": 128, "center_frequency_hz": None, "radius_m": 0.0},
        "state": "running",
        "revision": 1,
        "knobs": [_DEPTH],
        "products": ["bmode", "envelope"],
        "presets": [],
        "commands": ["describe", "get", "set", "status"],
        "frames": [],
        "control": "",
        "viewer": None,
    }
