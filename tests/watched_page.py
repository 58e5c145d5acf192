"""The viewer page in a real browser, on a daemon of the test's making."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable

import numpy as np
from chromium import Chromium
from fake_daemon import FakeDaemon
from numpy.typing import NDArray
from PIL import Image
from viewer_client import serving

LIVE = "document.getElementById('stage')?.dataset.freshness === 'live'"
FRESHNESS = "document.getElementById('stage').dataset.freshness"
BANNER = "document.getElementById('banner').textContent"
# -1 before the first is drawn.
FRAME = "Number(document.getElementById('stage').dataset.frame ?? -1)"
Scenario = Callable[[Chromium], Awaitable[None]]


def text(identity: str) -> str:
    """JavaScript for the text of an element."""
    return f"document.getElementById('{identity}').textContent"


def move_slider(identity: str, value: int) -> str:
    """JavaScript that moves a slider as a hand does."""
    return (
        f"(() => {{ const slider = document.getElementById('{identity}'); slider.value = {value};"
        "slider.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


async def canvas(browser: Chromium, identity: str) -> NDArray[np.uint8]:
    """What a canvas shows, (rows, columns, 4)."""
    data = await browser.evaluate(f"document.getElementById('{identity}').toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGBA"))


async def layout(browser: Chromium) -> tuple[list[int], list[float]]:
    """x, y, width, height of the picture on its canvas, and left, top, right, bottom in metres."""
    found = await browser.evaluate("JSON.stringify(document.getElementById('picture').dataset)")
    values = json.loads(found)
    return json.loads(values["rect"]), json.loads(values["plane"])


def watch(daemon: FakeDaemon, scenario: Scenario, width: int = 1280, height: int = 720) -> None:
    """Run a scenario on the live page; afterwards the browser must have nothing to complain about."""

    async def run() -> None:
        async with serving(daemon) as client, Chromium(width, height) as browser:
            await browser.open(client.url)
            await browser.until(LIVE)
            await browser.until("document.querySelector('.knob') !== null")
            await scenario(browser)
            assert browser.complaints == []
            assert {url for url in browser.requested if not url.startswith((client.url, "about:"))} == set()
            await browser.open("about:blank")

    with daemon:
        asyncio.run(run())
