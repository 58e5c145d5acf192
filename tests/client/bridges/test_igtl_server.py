"""Many clients: one that does not read holds back nobody, and costs no memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sonod.client.bridges.igtl.messages import HEADER, Message, decode, decode_head, encode
from sonod.client.bridges.igtl.options import Options, UsageError
from sonod.client.bridges.igtl.outbox import ANSWERS, STREAMS, Outbox
from sonod.client.bridges.igtl.server import CLIENTS, Client, PortInUse, Server

PATIENCE_S = 60
PICTURE = bytes(400_000)
Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def receive(reader: asyncio.StreamReader) -> Message:
    head = decode_head(await reader.readexactly(HEADER.size))
    return decode(head, await reader.readexactly(head.body_bytes))


def serve(story: Callable[[Server, Callable[[], Awaitable[Peer]], list[Message]], Awaitable[None]]) -> None:
    """Run a story with a server, a way to connect to it, and a list of what it hears."""

    async def run() -> None:
        heard: list[Message] = []

        async def hear(client: Client, message: Message) -> None:
            heard.append(message)
            if message.type == "GET_STATUS":
                client.answer(Message("STATUS", "x", b"fine"))

        server = Server(hear, lambda client: None)
        host, port = await server.start("127.0.0.1", 0)
        peers: list[asyncio.StreamWriter] = []

        async def connect() -> Peer:
            before = len(server.clients)
            reader, writer = await asyncio.open_connection(host, port, limit=2**16)
            peers.append(writer)
            while len(server.clients) == before and before < CLIENTS:
                await asyncio.sleep(0)
            return reader, writer

        try:
            async with asyncio.timeout(PATIENCE_S):
                await story(server, connect, heard)
        finally:
            for writer in peers:
                writer.transport.abort()
            await server.stop()

    asyncio.run(run())


def test_client_that_does_not_read_holds_back_nobody() -> None:
    async def story(server: Server, connect: Callable[[], Awaitable[Peer]], heard: list[Message]) -> None:
        await connect()
        [stalled] = server.clients
        reader, _ = await connect()
        for number in range(60):
            server.publish("IMAGE", Message("IMAGE", str(number), PICTURE))
            assert (await receive(reader)).device == str(number)
        # What the kernel and the transport took, and the newest one that waits.
        assert stalled.outbox.passed_over > 30

    serve(story)


def test_header_version_is_1_until_the_client_speaks_2() -> None:
    async def story(server: Server, connect: Callable[[], Awaitable[Peer]], heard: list[Message]) -> None:
        old_reader, _ = await connect()
        reader, writer = await connect()
        message = Message("IMAGE", "x", b"pixels", metadata={"Frame": "7"})
        server.publish("IMAGE", message)
        assert [(await receive(each)).version for each in (reader, old_reader)] == [1, 1]
        writer.write(encode(Message("GET_STATUS", "", version=2)))
        assert (await receive(reader)).version == 2
        server.publish("IMAGE", message)
        new, old = await receive(reader), await receive(old_reader)
        assert (new.version, dict(new.metadata), new.content) == (2, {"Frame": "7"}, b"pixels")
        assert (old.version, dict(old.metadata), old.content) == (1, {}, b"pixels")

    serve(story)


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n".ljust(58), HEADER.pack(1, b"STRING", b"", 0, 0, 2**40, 0)]
)
def test_garbage_costs_its_sender_the_connection_only(garbage: bytes) -> None:
    async def story(server: Server, connect: Callable[[], Awaitable[Peer]], heard: list[Message]) -> None:
        good, _ = await connect()
        bad, writer = await connect()
        writer.write(garbage)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await receive(bad)
        server.publish("IMAGE", Message("IMAGE", "x"))
        assert (await receive(good)).type == "IMAGE"
        assert heard == []

    serve(story)


def test_clients_are_counted() -> None:
    async def story(server: Server, connect: Callable[[], Awaitable[Peer]], heard: list[Message]) -> None:
        for _ in range(CLIENTS):
            await connect()
        reader, _ = await connect()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await receive(reader)
        assert len(server.clients) == CLIENTS

    serve(story)


def test_taken_port_is_one_line() -> None:
    async def story(server: Server, connect: Callable[[], Awaitable[Peer]], heard: list[Message]) -> None:
        async def ignore(client: Client, message: Message) -> None:
            pass

        assert server._server is not None
        port = server._server.sockets[0].getsockname()[1]
        with pytest.raises(PortInUse, match=rf"127.0.0.1:{port}: it is in use; choose another with --port"):
            await Server(ignore, lambda client: None).start("127.0.0.1", port)

    serve(story)


def test_outbox_is_bounded() -> None:
    async def story() -> None:
        outbox = Outbox()
        for number in range(STREAMS + 50):
            outbox.newest(str(number), lambda version: b"stream")
        assert [outbox.answer(lambda version: b"answer") for _ in range(ANSWERS + 1)] == [True] * ANSWERS + [False]
        taken = [(await outbox.take())(1) for _ in range(ANSWERS + STREAMS)]
        assert taken == [b"answer"] * ANSWERS + [b"stream"] * STREAMS
        assert outbox.passed_over == 50

    asyncio.run(story())


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ({"port": 70000}, "--port: must be in 0..65535; got 70000"),
        ({"device": "a name that is much too long"}, "--device: must be 1 to 20 ASCII characters"),
        ({"coordinates": "XYZ"}, "--coordinates: must be RAS or LPS; got 'XYZ'"),
        ({"host": "nowhere"}, "--host: must be an IP address or localhost; got 'nowhere'"),
        ({"host": "0.0.0.0"}, "add --allow-network"),
    ],
)
def test_wrong_option_is_one_line(option: dict[str, object], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        Options(**option)  # type: ignore[arg-type]
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_network_is_allowed_when_asked_for() -> None:
    assert Options(host="0.0.0.0", allow_network=True).allow_network
