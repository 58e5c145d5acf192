"""A viewer gateway for tests: in this process or one of its own, and what a browser says to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import aiohttp
from fake_daemon import FakeDaemon

from sonod.client.viewer.gateway import Gateway
from sonod.client.viewer.options import Options

# Port 1 is nobody's.
NOWHERE = "tcp://127.0.0.1:1"


class Client:
    """What a browser does, without one: requests with the right Origin unless told otherwise."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session
        self.origin = {"Origin": url.rstrip("/")}

    def live(self, **headers: str) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        return self.session.ws_connect(self.url + "live", headers=self.origin | headers, max_msg_size=0)

    async def ask(self, command: str, **values: Any) -> tuple[int, dict[str, Any]]:
        return await self.post({"command": command, **values})

    async def post(self, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        request = self.session.post(self.url + "control", json=body, headers=self.origin | headers)
        async with request as response:
            return response.status, await response.json()


@asynccontextmanager
async def serving(daemon: FakeDaemon | None) -> AsyncIterator[Client]:
    """A gateway in this process at the daemon's ports; None = where no daemon is."""
    frames, control = (NOWHERE, NOWHERE) if daemon is None else (daemon.frames, daemon.control)
    gateway = Gateway(Options(frames=frames, control=control, port=0))
    try:
        url = await gateway.start()
        async with aiohttp.ClientSession() as session:
            yield Client(url, session)
    finally:
        await gateway.stop()


@contextmanager
def viewer_process(daemon: FakeDaemon, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`python -m sonod.client.viewer` on a free port, and its address."""
    command = [sys.executable, "-m", "sonod.client.viewer", "--port", "0"]
    command += ["--frames", daemon.frames, "--control", daemon.control, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("viewer http://127.0.0.1:"), line
            yield process, line.removeprefix("viewer ").strip()
        finally:
            process.kill()
