"""Requests of the page to the daemon's control socket."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import zmq
import zmq.asyncio

from sonod.client.address import connect
from sonod.client.control import DEFAULT_TIMEOUT_S
from sonod.client.keys import ClientKeys
from sonod.client.wire.control import Problem, Reply, Request, decode_reply, encode_request
from sonod.client.wire.errors import WireError

# What the page may ask of the daemon.
COMMANDS = (
    *("describe", "get", "set", "preset", "freeze", "unfreeze", "start", "status", "lease", "clip", "mark", "switch"),
)
SEND_TIMEOUT_S = 1.0
PENDING_LIMIT = 32
REPLY_LIMIT_BYTES = 4 * 1024 * 1024
LARGEST_RECONNECT_MS = 1000


class Relay:
    """Asks the daemon and waits for the answer; when there is none, the reply says so with the code `unavailable`.

    Unlike AsyncControl it passes replies on as they are, and no request waits for a daemon that is not there: none
    is carried out long after somebody asked.
    """

    def __init__(
        self,
        context: zmq.asyncio.Context,
        endpoint: str,
        reply_timeout_s: float = DEFAULT_TIMEOUT_S,
        keys: ClientKeys | None = None,
    ) -> None:
        self._keys = keys
        self._context = context
        self._endpoint = endpoint
        self._reply_timeout_s = reply_timeout_s
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Reply]] = {}
        self._socket = self._connect()
        self._reader: asyncio.Task[None] | None = None

    async def close(self) -> None:
        await self._stop_reading()
        self._socket.close()

    async def ask(self, command: str, arguments: Mapping[str, Any]) -> Reply:
        """The daemon's reply to one request."""
        if len(self._pending) >= PENDING_LIMIT:
            return self._unavailable(f"{PENDING_LIMIT} requests already wait for an answer")
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        identity = next(self._ids)
        answer = self._pending[identity] = asyncio.get_running_loop().create_future()
        try:
            try:
                data = encode_request(Request(identity, command, arguments))
            except ValueError as error:
                return Reply(None, error=Problem("malformed", f"request: {error}"))
            try:
                await asyncio.wait_for(self._send(data), SEND_TIMEOUT_S)
            except TimeoutError:
                return self._unavailable("is it running?")
            try:
                return await asyncio.wait_for(answer, self._reply_timeout_s)
            except TimeoutError:
                await self._reconnect()
                return self._unavailable(f"no answer in {self._reply_timeout_s:g} s")
        finally:
            self._pending.pop(identity, None)

    async def _send(self, data: bytes) -> None:
        await self._socket.send(data)

    async def _read(self) -> None:
        while True:
            parts = await self._socket.recv_multipart()
            try:
                reply = decode_reply(parts[-1])
            except WireError:
                continue
            future = self._pending.get(reply.id) if isinstance(reply.id, int) else None
            if future is not None and not future.done():
                future.set_result(reply)

    def _connect(self) -> zmq.asyncio.Socket:
        socket: zmq.asyncio.Socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        # Only a connection that stands takes a message.
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, REPLY_LIMIT_BYTES)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, LARGEST_RECONNECT_MS)
        if self._keys is not None:
            self._keys.apply(socket)
        connect(socket, self._endpoint)
        return socket

    async def _reconnect(self) -> None:
        """Drop what may still lie in the old socket; only when nobody else waits for it."""
        if len(self._pending) > 1:
            return
        await self._stop_reading()
        self._socket.close()
        self._socket = self._connect()

    async def _stop_reading(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def _unavailable(self, reason: str) -> Reply:
        return Reply(None, error=Problem("unavailable", f"no daemon at {self._endpoint}: {reason}"))
