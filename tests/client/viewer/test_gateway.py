"""The gateway over real sockets: frames to browsers, requests to the daemon, and who is turned away."""

from __future__ import annotations

import asyncio
import json
import re
import struct
from typing import Any

import aiohttp
import numpy as np
import pytest
from fake_daemon import FakeDaemon, linear_scene, motion_scene
from viewer_client import Client, serving

from sonod.client.viewer import gateway as gateway_module
from sonod.client.wire.header import decode_header
from sonod.client.wire.payload import payload_array

TIMEOUT_S = 20


async def receive(socket: aiohttp.ClientWebSocketResponse, binary: bool) -> Any:
    """The next message of a kind."""
    kind = aiohttp.WSMsgType.BINARY if binary else aiohttp.WSMsgType.TEXT
    while True:
        message = await socket.receive(TIMEOUT_S)
        assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
        if message.type is kind:
            return message.data if binary else json.loads(message.data)


async def notice(socket: aiohttp.ClientWebSocketResponse, product: str) -> Any:
    """The next notice of a product."""
    while True:
        message = await receive(socket, binary=False)
        if message["kind"] == "notice" and message["notice"]["product"] == product:
            return message["notice"]


def split(message: bytes) -> tuple[bytes, bytes]:
    """Header and payload of a frame message."""
    (length,) = struct.unpack_from("<I", message)
    return message[4 : 4 + length], message[4 + length :]


def test_a_browser_receives_frames_that_decode_as_the_daemon_published_them() -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client, client.live() as socket:
            await socket.send_json({"want": ["bmode"]})
            message = await receive(socket, binary=True)
            header_bytes, payload = split(message)
            header = decode_header(header_bytes)
            assert (4 + len(header_bytes)) % 8 == 0
            [(_, picture, geometry)] = linear_scene(header.frame, daemon.values)
            assert header.geometry == geometry
            np.testing.assert_array_equal(payload_array(header, payload), picture)

    with FakeDaemon(linear_scene) as daemon:
        asyncio.run(scenario(daemon))


def test_nothing_is_asked_of_the_daemon_that_no_browser_looks_at() -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client, client.live() as socket:
            await notice(socket, "state")
            assert not [prefix for prefix in daemon.subscribed if b"mode" in prefix or b"lines" in prefix]
            await socket.send_json({"want": ["mmode", "lines"]})
            products = {decode_header(split(await receive(socket, binary=True))[0]).product for _ in range(2)}
            assert products == {"mmode", "lines"}
            async with client.live() as other:
                await other.send_json({"want": ["lines"]})
                await receive(other, binary=True)
            await socket.send_json({"want": ["mmode"]})
            while b"sonod.1.lines." in daemon.subscribed:
                await notice(socket, "state")
            assert b"sonod.1.mmode." in daemon.subscribed

    with FakeDaemon(motion_scene) as daemon:
        asyncio.run(scenario(daemon))


def test_the_next_frame_leaves_when_the_last_is_acknowledged_and_it_is_the_newest() -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client, client.live() as slow, client.live() as quick:
            for socket in (slow, quick):
                await socket.send_json({"want": ["bmode"]})
            first = decode_header(split(await receive(slow, binary=True))[0]).frame
            # The quick one goes on while the slow one holds its first frame.
            newest = 0
            while newest < first + 10:
                newest = decode_header(split(await receive(quick, binary=True))[0]).frame
                await quick.send_json({"ack": "bmode"})
            await slow.send_json({"ack": "bmode"})
            assert decode_header(split(await receive(slow, binary=True))[0]).frame >= newest - 1

    with FakeDaemon(linear_scene, frame_rate_hz=100) as daemon:
        asyncio.run(scenario(daemon))


def test_a_late_browser_is_told_the_state_and_settings_at_once() -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client, client.live() as first:
            await notice(first, "settings")
            await notice(first, "state")
            async with client.live() as late:
                texts = [await receive(late, binary=False) for _ in range(3)]
        assert texts[0] == {"kind": "hello", "frames": daemon.frames, "control": daemon.control}
        assert {text["notice"]["product"] for text in texts[1:]} == {"state", "settings"}
        assert all(text["age_s"] >= 0 for text in texts[1:])

    with FakeDaemon(linear_scene) as daemon:
        asyncio.run(scenario(daemon))


def test_frames_come_again_after_the_daemon_was_restarted() -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client, client.live() as socket:
            await socket.send_json({"want": ["bmode"]})
            await receive(socket, binary=True)
            await asyncio.to_thread(daemon.__exit__)
            await socket.send_json({"ack": "bmode"})
            successor = FakeDaemon(linear_scene, daemon.frames, daemon.control, session="session-2")
            await asyncio.to_thread(successor.__enter__)
            try:
                while decode_header(split(await receive(socket, binary=True))[0]).session != "session-2":
                    await socket.send_json({"ack": "bmode"})
                assert (await client.ask("describe"))[1]["session"] == "session-2"
            finally:
                await asyncio.to_thread(successor.__exit__)

    asyncio.run(scenario(FakeDaemon(linear_scene).__enter__()))


def test_requests_reach_the_daemon_and_its_reply_comes_back() -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client:
            status, reply = await client.ask("set", changes={"depth_m": 0.05})
            assert (status, reply["ok"], reply["applied"]) == (200, True, {"depth_m": 0.05})
            status, reply = await client.ask("set", changes={"angle_count": 30})
            assert (status, reply["ok"]) == (200, False)
            assert reply["error"]["problems"] == ["angle_count: must be in 1..20; got 30"]
        assert daemon.values["depth_m"] == 0.05

    with FakeDaemon(linear_scene) as daemon:
        asyncio.run(scenario(daemon))


def test_without_a_daemon_the_reply_says_so() -> None:
    async def scenario() -> None:
        async with serving(None) as client:
            status, reply = await client.ask("freeze")
            assert (status, reply["ok"], reply["error"]["code"]) == (503, False, "unavailable")
            assert "tcp://127.0.0.1:1" in reply["error"]["message"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"command": "stop"}, 400, "unknown_command"),
        ({"command": "record", "action": "start", "path": "/etc/passwd"}, 400, "unknown_command"),
        ({"command": "clip", "path": "/etc/clip"}, 400, "forbidden"),
        ({"command": 3}, 400, "malformed"),
        ({}, 400, "malformed"),
        ([1, 2], 400, "malformed"),
        ({"command": "set", "changes": {"depth_m": float("nan")}}, 400, "malformed"),
    ],
)
def test_a_request_that_is_not_relayed_is_answered_with_the_reason(body: Any, status: int, code: str) -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client:
            answer, reply = await client.post(body)
            assert (answer, reply["error"]["code"]) == (status, code)
        assert daemon.requests == []

    with FakeDaemon(linear_scene) as daemon:
        asyncio.run(scenario(daemon))


def test_a_form_of_another_page_and_a_huge_request_are_refused() -> None:
    async def scenario() -> None:
        async with serving(None) as client:
            url, headers = client.url + "control", client.origin
            async with client.session.post(url, data={"command": "freeze"}, headers=headers) as response:
                assert response.status == 415
            huge = json.dumps({"command": "set", "changes": {"x": "y" * 1_000_000}})
            headers = headers | {"Content-Type": "application/json"}
            async with client.session.post(url, data=huge, headers=headers) as response:
                assert response.status == 413

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost:1"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1.evil.example", "Origin": "http://127.0.0.1.evil.example"},
        {"Host": "user@127.0.0.1", "Origin": "http://user@127.0.0.1"},
        {"Host": "127.0.0.1:x", "Origin": "http://127.0.0.1:x"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_a_page_of_another_origin_gets_neither_images_nor_control(headers: dict[str, str]) -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                async with client.live(**headers):
                    pass
            assert refusal.value.status == 403
            request = client.session.post(client.url + "control", json={"command": "freeze"}, headers=headers)
            async with request as response:
                assert response.status == 403
        assert daemon.requests == []

    with FakeDaemon(linear_scene) as daemon:
        asyncio.run(scenario(daemon))


def test_a_rebound_name_does_not_even_get_the_page() -> None:
    async def scenario() -> None:
        async with serving(None) as client:
            for host, status in (("evil.example", 403), ("localhost:9999", 200), ("[::1]:80", 200)):
                async with client.session.get(client.url, headers={"Host": host}) as response:
                    assert response.status == status, host

    asyncio.run(scenario())


def test_every_answer_carries_the_security_headers() -> None:
    async def scenario() -> None:
        async with serving(None) as client:
            for path in ("", "main.js", "no-such-file", "control", "../gateway.py"):
                async with client.session.get(client.url + path) as response:
                    policy = response.headers["Content-Security-Policy"]
                    assert policy.startswith("default-src 'none'"), path
                    assert "unsafe" not in policy
                    assert response.headers["X-Content-Type-Options"] == "nosniff"
                    assert response.headers["Cache-Control"] == "no-store"

    asyncio.run(scenario())


def test_the_page_has_no_inline_script_or_style_and_asks_nobody_else() -> None:
    for name, (_, content) in gateway_module.read_page().items():
        text = content.decode()
        foreign = text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in foreign, name
        assert "https://" not in foreign, name
        if name.endswith(".html"):
            assert "style=" not in text
            assert not re.search(r"<[^>]* on[a-z]+=", text)
            assert "<script>" not in text


@pytest.mark.parametrize(("page", "script"), [("index.html", "main.js"), ("status.html", "status.js")])
def test_a_page_names_every_module_that_it_will_need(page: str, script: str) -> None:
    # Else the browser learns of the last one only when it has read all the others, one after the other.
    files = {name: content.decode() for name, (_, content) in gateway_module.read_page().items()}
    needed: set[str] = set()
    waiting = [script]
    while waiting:
        found = set(re.findall(r'from "\./(\w+\.js)"', files[waiting.pop()])) - needed
        needed |= found
        waiting += found
    assert set(re.findall(r'<link rel="modulepreload" href="(\w+\.js)">', files[page])) == needed


@pytest.mark.parametrize(
    "message",
    [
        '{"want": ["raw"]}',
        '{"want": 1}',
        "{}",
        "[]",
        "not JSON",
        '{"ack": {}}',
        '{"ping": "soon"}',
        '{"ack": "' + "x" * 5000 + '"}',
    ],
)
def test_a_malformed_message_ends_that_browser_only(message: str) -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client, client.live() as other:
            async with client.live() as socket:
                await socket.send_str(message)
                while (answer := await socket.receive(TIMEOUT_S)).type is aiohttp.WSMsgType.TEXT:
                    pass
                assert answer.type is aiohttp.WSMsgType.CLOSE
                assert answer.data in (aiohttp.WSCloseCode.POLICY_VIOLATION, aiohttp.WSCloseCode.MESSAGE_TOO_BIG)
            await other.send_json({"want": ["bmode"]})
            await receive(other, binary=True)

    with FakeDaemon(linear_scene) as daemon:
        asyncio.run(scenario(daemon))


def test_no_more_browsers_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "BROWSER_LIMIT", 2)

    async def scenario(client: Client) -> None:
        async with client.live(), client.live():
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                async with client.live():
                    pass
            assert refusal.value.status == 503

    async def run() -> None:
        async with serving(None) as client:
            await scenario(client)
            # Those who left made room.
            await scenario(client)

    asyncio.run(run())


def test_a_ping_is_answered_with_the_monotonic_clock() -> None:
    async def scenario() -> None:
        async with serving(None) as client, client.live() as socket:
            await socket.send_json({"ping": 12.5})
            while (answer := await receive(socket, binary=False))["kind"] != "pong":
                pass
            assert answer["ping"] == 12.5
            assert answer["monotonic_ns"] > 0

    asyncio.run(scenario())
