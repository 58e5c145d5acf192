"""A headless Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-port=0",
    "--hide-scrollbars",
)
START_TIMEOUT_S = 60.0
POLL_S = 0.02
DEFAULT_TIMEOUT_S = 20.0


def chromium_path() -> str | None:
    """The browser of this machine, if it has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One page in a browser of its own, with an empty profile; `async with`."""

    def __init__(self, width: int = 1280, height: int = 720) -> None:
        self._size = (width, height)
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        # Console errors, exceptions and refused loads: a good page has none.
        self.complaints: list[str] = []
        self.requested: list[str] = []

    async def __aenter__(self) -> Chromium:
        path = chromium_path()
        assert path is not None
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = await asyncio.create_subprocess_exec(
            path,
            *FLAGS,
            f"--user-data-dir={self._profile.name}",
            f"--window-size={self._size[0]},{self._size[1]}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._session = aiohttp.ClientSession()
        port = await self._port()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as response:
            page = next(target for target in await response.json() if target["type"] == "page")
        self._socket = await self._session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
        self._reader = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.resize(*self._size)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()
        await self._session.close()
        self._process.terminate()
        await self._process.wait()
        self._profile.cleanup()

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def resize(self, width: int, height: int, ratio: float = 1.0) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **metrics)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        reply = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in reply:
            raise AssertionError(f"{expression}: {reply['exceptionDetails']}")
        return reply["result"].get("value")

    async def until(self, expression: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """The expression's value once it is true."""
        deadline = time.monotonic() + timeout_s
        while not (value := await self.evaluate(expression)):
            if time.monotonic() > deadline:
                text = await self.evaluate("document.body.innerText")
                raise AssertionError(f"not true in {timeout_s:g} s: {expression}\n{self.complaints}\n{text}")
            await asyncio.sleep(POLL_S)
        return value

    async def press(self, key: str, code: str | None = None) -> None:
        """Press and let go of a key."""
        text = {"text": key} if len(key) == 1 else {}
        virtual = {" ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Tab": 9}
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=code or ("Space" if key == " " else key),
                windowsVirtualKeyCode=virtual.get(key, 0),
                **(text if kind == "keyDown" else {}),
            )

    async def click(self, x: float, y: float) -> None:
        """Click at a place of the page, in CSS pixels."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    async def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one place, move to another and let go, in CSS pixels."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    async def keep_downloads(self, folder: Path) -> None:
        """Save what the page has the browser save in a folder."""
        await self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    async def screenshot(self, path: Path) -> None:
        reply = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(reply["data"]))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One DevTools command."""
        identity = next(self._ids)
        future = self._replies[identity] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": identity, "method": method, "params": parameters})
        reply = await asyncio.wait_for(future, DEFAULT_TIMEOUT_S)
        if "error" in reply:
            raise AssertionError(f"{method}: {reply['error']}")
        result: dict[str, Any] = reply["result"]
        return result

    async def _port(self) -> int:
        file = Path(self._profile.name) / "DevToolsActivePort"
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            # The file is there before its text is.
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) >= 2:
                return int(lines[0])
            assert time.monotonic() < deadline, "chromium did not start"
            assert self._process.returncode is None, f"chromium ended with {self._process.returncode}"
            await asyncio.sleep(POLL_S)

    async def _read(self) -> None:
        async for message in self._socket:
            data = json.loads(message.data)
            if "id" in data:
                future = self._replies.pop(data["id"])
                if not future.done():
                    future.set_result(data)
            elif data["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(data["params"]["exceptionDetails"]))
            elif data["method"] == "Log.entryAdded" and data["params"]["entry"]["level"] == "error":
                self.complaints.append(data["params"]["entry"]["text"])
            elif data["method"] == "Network.requestWillBeSent":
                self.requested.append(data["params"]["request"]["url"])
