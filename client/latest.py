"""Asking for the newest frame when one is ready for it: nothing waits anywhere, so nothing is old."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import zmq

from sonod.client.address import connect
from sonod.client.errors import NoAnswer, RequestRefused
from sonod.client.frame import Frame, MessageReader
from sonod.client.handshake import Handshake
from sonod.client.keys import Keys, keys_from
from sonod.client.losses import MissedFrames
from sonod.client.wire.control import Problem, decode_reply
from sonod.client.wire.errors import WireError
from sonod.client.wire.fields import compact

# Everything between two answers was left out because the newest was asked for.
ALL = 1 << 62


class LatestFrames:
    """One product's newest frames from `describe().latest` (with keys, one of `latests`), for programs of one thread.

    While the probe is frozen the first request is answered with the last frame, `header.repeated` set.
    """

    def __init__(self, endpoint: str, product: str = "bmode", timeout_s: float = 10.0, *, keys: Keys = None) -> None:
        self.endpoint = endpoint
        self.product = product
        self.timeout_s = timeout_s
        self._reader = MessageReader()
        self._after = 0
        self._session = ""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._keys = keys_from(keys)
        self._socket: zmq.Socket[bytes] | None = None
        self._handshake: Handshake | None = None

    @property
    def losses(self) -> MissedFrames:
        """The frame numbers that were not asked for or did not come, by cause."""
        return self._reader.account.totals.get(self.product, MissedFrames())

    def next(self) -> Frame:
        """A frame newer than the last one, made after the call unless frozen; NoAnswer when none comes in time,
        AccessRefused when the daemon wants another key."""
        if self._socket is None or self._handshake is None:
            socket = self._context.socket(zmq.REQ)
            socket.setsockopt(zmq.LINGER, 0)
            handshake = Handshake(socket, self.endpoint, self._keys)
            connect(socket, self.endpoint)
            self._socket, self._handshake = socket, handshake
        request = {"product": self.product, "after": self._after}
        if self._session:
            request["session"] = self._session
        self._socket.send(compact(request).encode())
        if not self._answered(self._handshake):
            raise NoAnswer(f"{self.endpoint}: no {self.product} within {self.timeout_s:g} s; `sonod status` tells why")
        parts = self._socket.recv_multipart(copy=False)
        received_ns = time.monotonic_ns()
        if len(parts) == 1:
            problem = decode_reply(parts[0].buffer).error or Problem("malformed", "an answer without a frame")
            if problem.code == "timeout":
                raise NoAnswer(f"{self.endpoint}: {problem.message}")
            raise RequestRefused(problem)
        message = self._reader.read([part.buffer for part in parts], received_ns, ALL)
        if not isinstance(message, Frame):
            raise WireError(f"{self.endpoint}: answered with a notice")
        self._after, self._session = message.header.frame, message.header.session
        return message

    def _answered(self, handshake: Handshake) -> bool:
        """Whether an answer comes in time; a socket without one cannot be used again."""
        came = False
        try:
            came = handshake.poll(round(self.timeout_s * 1000))
        finally:
            if not came:
                handshake.close()
                self._socket = self._handshake = None
        return came

    def close(self) -> None:
        """Let go of the socket."""
        if self._handshake is not None:
            self._handshake.close()
            self._socket = self._handshake = None
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
