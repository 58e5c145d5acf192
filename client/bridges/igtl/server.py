"""Connections of OpenIGTLink clients: many, each with its own queue and its own pace."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from sonod.client.bridges.igtl.messages import (
    HEADER,
    VERSION_1,
    VERSION_2,
    Message,
    MessageError,
    decode,
    decode_head,
    encode,
)
from sonod.client.bridges.igtl.outbox import Outbox, Parcel

# Commands and transforms are small; a client that announces more is not one of ours.
LARGEST_BODY_BYTES = 1024 * 1024
CLIENTS = 32
# A connection may have so much in its buffer before it waits; then the newest picture replaces the waiting one.
BUFFER_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class PortInUse(Exception):
    """The address cannot be had; one line says why."""


@dataclass(eq=False)
class Client:
    """One connection. `version` is the newest header version that it has spoken, and so what it is sent."""

    name: str
    local: bool
    outbox: Outbox = field(default_factory=Outbox)
    version: int = VERSION_1
    transforms: set[str] = field(default_factory=set)

    def answer(self, message: Message) -> bool:
        """Queue an answer; False when the client reads none of them."""
        return self.outbox.answer(parcel(message))


Receiver = Callable[[Client, Message], Awaitable[None]]


class Server:
    """Listens, and gives every message that a client sends to `receive`."""

    def __init__(self, receive: Receiver, welcome: Callable[[Client], None]) -> None:
        self._receive = receive
        self._welcome = welcome
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.clients: set[Client] = set()

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """The address; PortInUse when it cannot be had."""
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=BUFFER_BYTES)
        except OSError as error:
            # What asyncio says repeats the address.
            reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise PortInUse(f"{host}:{port}: {reason}; choose another with --port") from error
        name, number = self._server.sockets[0].getsockname()[:2]
        return str(name), int(number)

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def publish(self, stream: str, message: Message, besides: Client | None = None) -> None:
        """Queue the newest of a stream for every client; each version's bytes are made once, when first needed."""
        made = parcel(message)
        for client in self.clients:
            if client is not besides:
                client.outbox.newest(stream, made)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = writer.get_extra_info("peername")
        client = Client(f"{peer[0]}:{peer[1]}", ipaddress.ip_address(peer[0]).is_loopback)
        try:
            if len(self.clients) >= CLIENTS:
                log.warning("%s: refused, %d clients are connected", client.name, CLIENTS)
                return
            writer.transport.set_write_buffer_limits(BUFFER_BYTES)
            self.clients.add(client)
            log.info("%s: connected", client.name)
            self._welcome(client)
            await self._both(client, reader, writer)
        except MessageError as error:
            log.warning("%s: closed: %s", client.name, error)
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            # The server stops.
            pass
        finally:
            self.clients.discard(client)
            self._tasks.discard(task)
            writer.transport.abort()
            log.info("%s: gone, %d pictures and others passed over", client.name, client.outbox.passed_over)

    async def _both(self, client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read and write until either ends."""
        sides = {asyncio.ensure_future(self._read(client, reader)), asyncio.ensure_future(_write(client, writer))}
        try:
            done, _ = await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            for side in done:
                side.result()
        finally:
            for side in sides:
                side.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*sides, return_exceptions=True)

    async def _read(self, client: Client, reader: asyncio.StreamReader) -> None:
        while True:
            head = decode_head(await reader.readexactly(HEADER.size))
            if head.body_bytes > LARGEST_BODY_BYTES:
                raise MessageError(
                    f"{head.type}: body of {head.body_bytes} bytes; at most {LARGEST_BODY_BYTES} are read"
                )
            message = decode(head, await reader.readexactly(head.body_bytes))
            client.version = max(client.version, min(head.version, VERSION_2))
            await self._receive(client, message)


async def _write(client: Client, writer: asyncio.StreamWriter) -> None:
    while True:
        made = await client.outbox.take()
        writer.write(made(client.version))
        await writer.drain()


def parcel(message: Message) -> Parcel:
    """The message's bytes by header version, each made once."""

    @lru_cache(maxsize=2)
    def made(version: int) -> bytes:
        return encode(replace(message, version=version))

    return made
