"""The web server: the page, its live socket, and its requests."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files

import zmq.asyncio
from aiohttp import WSCloseCode, WSMsgType, web

from sonod.client.keys import keys_from
from sonod.client.viewer.bundle import NoBundle
from sonod.client.viewer.devices import Devices, DevicesUnknown
from sonod.client.viewer.downloads import Downloads
from sonod.client.viewer.feed import PRODUCTS, Feed
from sonod.client.viewer.guard import SECURITY_HEADERS, host_refusal, origin_refusal
from sonod.client.viewer.mailbox import Mailbox
from sonod.client.viewer.options import Options
from sonod.client.viewer.raw import MIDDLE
from sonod.client.viewer.relay import COMMANDS, Relay
from sonod.client.wire.control import REQUEST_LIMIT_BYTES, Problem, Reply, encode_reply
from sonod.client.wire.errors import WireError
from sonod.client.wire.fields import Fields

# A page's own messages are a few dozen bytes.
LIVE_LIMIT_BYTES = 4096
BROWSER_LIMIT = 32
# Where only the page itself may ask.
ASKING = ("/live", "/control", "/devices", "/download")
# A browser that answers no ping for half of this is gone.
HEARTBEAT_S = 20.0
# The daemon waits a second for the viewer to end.
SHUTDOWN_TIMEOUT_S = 0.3
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)


class PortInUse(Exception):
    """Nothing can be served at the address; one line says why and what to do."""


class Gateway:
    """Serves one daemon to browsers of this machine."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._context = zmq.asyncio.Context()
        keys = keys_from(options.keys)
        self._feed = Feed(self._context, options.frames, keys)
        self._relay = Relay(self._context, options.control, keys=keys)
        self._devices = Devices(options.daemon_here)
        self._downloads = Downloads(self._relay, options.daemon_here)
        self._sockets: dict[web.WebSocketResponse, Mailbox] = {}
        self._said: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        application = web.Application(middlewares=[self._guarded], client_max_size=REQUEST_LIMIT_BYTES)
        application.on_response_prepare.append(_harden)
        for name, (content_type, content) in read_page().items():
            path = "/" if name == "index.html" else f"/{name}"
            application.router.add_get(path, _serve(content_type, content))
        application.router.add_get("/live", self._live)
        application.router.add_post("/control", self._control)
        application.router.add_post("/devices", self._look_for_devices)
        application.router.add_post("/download", self._promise_download)
        application.router.add_get("/download/{ticket}/{name}", self._downloads.send)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)

    async def start(self) -> str:
        """Listen, and say at which address; PortInUse when that is not possible."""
        # The name may mean two addresses, each with a port of its own.
        host = "127.0.0.1" if self._options.host.lower() == "localhost" else self._options.host
        port = self._options.port
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise PortInUse(
                f"cannot listen on {host} port {port}: {reason}; stop the program that uses it, "
                "or choose another with --port"
            ) from error
        self._task = asyncio.create_task(self._feed.run())
        return f"http://{f'[{host}]' if ':' in host else host}:{self._runner.addresses[0][1]}/"

    async def stop(self) -> None:
        """Say good-bye to the browsers and let go of everything."""
        goodbyes = [socket.close(code=WSCloseCode.GOING_AWAY, message=b"viewer ends") for socket in self._sockets]
        # One that does not read does not hear it either.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*goodbyes, return_exceptions=True), SHUTDOWN_TIMEOUT_S)
        await self._runner.cleanup()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._feed.close()
        await self._relay.close()
        self._context.term()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host")
        reason = host_refusal(host)
        if reason is None and request.path in ASKING:
            reason = origin_refusal(request.headers.get("Origin"), host)
        if reason is not None:
            self._say_once(reason)
            raise web.HTTPForbidden(text=f"viewer: {reason}\n")
        return await handler(request)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if len(self._sockets) >= BROWSER_LIMIT:
            self._say_once(f"{BROWSER_LIMIT} browsers look already; another one was refused")
            raise web.HTTPServiceUnavailable(text=f"viewer: {BROWSER_LIMIT} browsers look already; close one\n")
        # Pictures do not shrink enough to be worth the time.
        socket = web.WebSocketResponse(compress=False, max_msg_size=LIVE_LIMIT_BYTES, heartbeat=HEARTBEAT_S)
        mailbox = Mailbox()
        self._sockets[socket] = mailbox
        try:
            await socket.prepare(request)
            hello = {"kind": "hello", "frames": self._options.frames, "control": self._options.control}
            mailbox.put_text("hello", json.dumps(hello))
            self._feed.join(mailbox)
            sender = asyncio.create_task(_send(socket, mailbox))
            try:
                await self._hear(socket, mailbox)
            finally:
                self._feed.leave(mailbox)
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
        finally:
            del self._sockets[socket]
        return socket

    async def _hear(self, socket: web.WebSocketResponse, mailbox: Mailbox) -> None:
        async for message in socket:
            try:
                if message.type is not WSMsgType.TEXT:
                    raise WireError("message: must be text")
                self._obey(Fields.parse(message.data.encode("utf-8", "replace"), "message"), mailbox)
            except WireError as error:
                self._say_once(str(error))
                await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=str(error).encode()[:120])
                return

    def _obey(self, fields: Fields, mailbox: Mailbox) -> None:
        """`want`: the products to show, of `rf` one `trace`; `ack`: a frame has arrived; `ping`: tell the time."""
        if "want" in fields.values:
            wanted = frozenset(fields.texts("want"))
            if not wanted <= set(PRODUCTS):
                raise WireError(f"message: want: must be of {', '.join(PRODUCTS)}")
            trace = fields.integers("trace") if "trace" in fields.values else (0, MIDDLE)
            if len(trace) != 2:
                raise WireError("message: trace: must be transmission and channel")
            self._feed.look(mailbox, wanted, (trace[0], trace[1]))
        elif "ack" in fields.values:
            mailbox.acknowledge(fields.text("ack"))
        elif "ping" in fields.values:
            clocks = {"monotonic_ns": time.monotonic_ns(), "utc_ns": time.time_ns()}
            pong = {"kind": "pong", "ping": fields.number("ping"), **clocks}
            mailbox.put_text("pong", json.dumps(pong))
        else:
            raise WireError("message: must be want, ack or ping")

    async def _control(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            return _reply(415, _problem("malformed", "request: must be application/json"))
        try:
            fields = Fields.parse(await request.read(), "request")
            command = fields.text("command")
            _require_finite(fields.values)
        except WireError as error:
            return _reply(400, _problem("malformed", str(error)))
        if command not in COMMANDS:
            line = f"the viewer does not relay {command[:40]!r}; it relays {', '.join(COMMANDS)}"
            return _reply(400, _problem("unknown_command", line))
        arguments = {name: value for name, value in fields.values.items() if name not in ("id", "command")}
        if command == "clip" and "path" in arguments:
            return _reply(400, _problem("forbidden", "clip: path: the page saves into record.folder only"))
        if command == "switch" and not self._devices.offers(arguments.get("driver")):
            line = "switch: driver: only one that a look for devices has found, or sim:SCENE"
            return _reply(400, _problem("forbidden", line))
        reply = await self._relay.ask(command, arguments)
        unavailable = reply.error is not None and reply.error.code == "unavailable"
        return _reply(503 if unavailable else 200, reply)

    async def _look_for_devices(self, request: web.Request) -> web.StreamResponse:
        try:
            return _reply(200, Reply(None, {"devices": await self._devices.look()}))
        except DevicesUnknown as error:
            return _reply(503, _problem("unavailable", str(error)))

    async def _promise_download(self, request: web.Request) -> web.StreamResponse:
        try:
            path = Fields.parse(await request.read(), "request").text("path")
            return _reply(200, Reply(None, await self._downloads.promise(path)))
        except WireError as error:
            return _reply(400, _problem("malformed", str(error)))
        except NoBundle as error:
            return _reply(404, _problem("refused", str(error)))

    def _say_once(self, reason: str) -> None:
        if reason not in self._said and len(self._said) < 100:
            self._said.add(reason)
            _log.warning("refused: %s (said once)", reason)


def read_page() -> dict[str, tuple[str, bytes]]:
    """Name to content type and content of every file of the page."""
    folder = files("sonod.client.viewer") / "page"
    page = {}
    for file in folder.iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in TYPES:
            page[file.name] = (TYPES[suffix], file.read_bytes())
    return page


async def _send(socket: web.WebSocketResponse, mailbox: Mailbox) -> None:
    """Send what waits; a browser that does not read holds this task, and its mailbox keeps the newest."""
    try:
        while True:
            message = await mailbox.take()
            if isinstance(message, str):
                await socket.send_str(message)
            else:
                await socket.send_bytes(message)
    except ConnectionError:
        # It went; the receiving side of the socket hears of it too, and ends.
        return


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)
    response.headers.pop("Server", None)


def _serve(content_type: str, content: bytes) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        return web.Response(body=content, content_type=content_type, charset="utf-8")

    return serve


def _require_finite(value: object) -> None:
    """WireError for NaN and infinities, which Python reads from JSON and the protocol does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        raise WireError("request: numbers must be finite")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _require_finite(item)


def _problem(code: str, line: str) -> Reply:
    return Reply(None, error=Problem(code, line))


def _reply(status: int, reply: Reply) -> web.Response:
    return web.Response(status=status, body=encode_reply(reply), content_type="application/json", charset="utf-8")
