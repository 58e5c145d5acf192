"""Who can use the page: contrast, names of controls, fingers, and a thousand connections at once."""

from __future__ import annotations

import asyncio
import json
import resource
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from chromium import Chromium, chromium_path
from fake_daemon import FakeDaemon, linear_scene, raw_scene
from viewer_client import serving, viewer_process
from watched_page import BANNER, FRESHNESS, LIVE, layout, text, watch

from sonod.client.viewer.gateway import BROWSER_LIMIT

browser_there = pytest.mark.skipif(
    chromium_path() is None, reason="chromium is not installed (apt-get install chromium)"
)
CONNECTIONS = 1000
# WCAG 2.1, 1.4.3: text; large or bold text may have 3.
CONTRAST = 4.5
# Each element that has text of its own and can be seen: its contrast against what lies under it. Opacity is that of an
# element and all around it. Text of disabled controls is exempt (1.4.3), and the picture is none.
CONTRASTS = """(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (top, alpha, under) => top.map((value, index) => value * alpha + under[index] * (1 - alpha));
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      layers.unshift(channels(getComputedStyle(one).backgroundColor));
    }
    return layers.reduce((under, [r, g, b, a = 1]) => over([r, g, b], a, under), [0, 0, 0]);
  };
  const found = [];
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const box = element.getBoundingClientRect();
    if (!own && !element.matches('input[type=text]')) continue;
    if (!box.width || !box.height || element.matches(':disabled, :disabled *') || !element.checkVisibility()) continue;
    if (element.closest('.check:has(:disabled)') || element.closest('.unseen')) continue;
    const under = ground(element);
    let opacity = 1;
    for (let one = element; one; one = one.parentElement) opacity *= Number(getComputedStyle(one).opacity);
    const [r, g, b, a = 1] = channels(getComputedStyle(element).color);
    const [first, second] = [luminance(over([r, g, b], a * opacity, under)), luminance(under)].sort((p, q) => q - p);
    const name = `${element.tagName}#${element.id}.${element.className} ${element.textContent.trim().slice(0, 30)}`;
    found.push([(first + 0.05) / (second + 0.05), name]);
  }
  return JSON.stringify(found);
})()"""
# Controls that a screen reader could not name: neither label nor aria-label nor words.
NAMELESS = """JSON.stringify([...document.querySelectorAll('button, input, select, canvas[tabindex]')].filter((one) => {
  if (one.closest('dialog:not([open])')) return false;
  const words = one.getAttribute('aria-label') || [...(one.labels ?? [])].map((label) => label.textContent).join('')
    || (one.matches('button') ? one.textContent : '');
  return !words.trim();
}).map((one) => one.outerHTML.slice(0, 80)))"""


async def check_access(browser: Chromium, where: str) -> None:
    found = json.loads(await browser.evaluate(CONTRASTS))
    assert len(found) > 10
    assert [f"{ratio:.2f} {element}" for ratio, element in found if ratio < CONTRAST] == [], where
    assert json.loads(await browser.evaluate(NAMELESS)) == [], where


@pytest.mark.browser
@browser_there
def test_text_has_the_contrast_of_wcag_aa_and_controls_have_names_in_every_state() -> None:
    daemon = FakeDaemon(raw_scene)

    async def scenario(browser: Chromium) -> None:
        await check_access(browser, "live")
        await browser.press(" ")
        await browser.until(f"{FRESHNESS} === 'frozen'")
        await check_access(browser, "frozen")
        await browser.press(" ")
        await browser.until(LIVE)
        await browser.evaluate(
            "(() => { const view = document.getElementById('view'); view.value = 'rf';"
            "view.dispatchEvent(new Event('change')); })()"
        )
        await browser.until("!document.getElementById('raw').hidden")
        await check_access(browser, "raw")
        daemon.holder = "robot"
        daemon.token = "secret"
        await browser.until(f"{text('lease-holder')}.includes('robot')")
        await check_access(browser, "view only")
        daemon.stalled.set()
        await browser.until(f"{FRESHNESS} === 'stale'")
        await check_access(browser, "stale")

    watch(daemon, scenario)


@pytest.mark.browser
@browser_there
def test_the_status_page_has_contrast_and_names() -> None:
    async def scenario() -> None:
        async with serving(None) as client, Chromium() as browser:
            await browser.open(client.url + "status.html")
            await browser.until("document.body?.dataset.there === 'false'")
            # Without a daemon what is shown is old, and dimmed; the rest must be read all the same.
            await browser.evaluate("document.body.dataset.there = 'true'")
            await check_access(browser, "status")
            await browser.open("about:blank")

    asyncio.run(scenario())


@pytest.mark.browser
@browser_there
def test_a_finger_measures_and_moves_what_it_has_set() -> None:
    async def scenario(browser: Chromium) -> None:
        await browser.call("Emulation.setTouchEmulationEnabled", enabled=True)
        rect, plane = await layout(browser)
        corner = json.loads(
            await browser.evaluate(
                "(() => { const box = document.getElementById('picture').getBoundingClientRect();"
                "return JSON.stringify([box.x, box.y]); })()"
            )
        )

        def at(x_m: float, z_m: float) -> dict[str, float]:
            left, top, right, bottom = plane
            return {
                "x": corner[0] + rect[0] + (x_m - left) / (right - left) * rect[2],
                "y": corner[1] + rect[1] + (z_m - top) / (bottom - top) * rect[3],
            }

        async def touch(*points: dict[str, float]) -> None:
            for kind, where in (("touchStart", points[0]), *(("touchMove", point) for point in points[1:])):
                await browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=[where])
            await browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

        await browser.evaluate("document.querySelector('[data-tool=distance]').click()")
        await touch(at(0.0, 0.010))
        await touch(at(0.0, 0.020))
        listed = await browser.until("document.querySelector('#measures-list li')?.textContent")
        pixel_mm = 1e3 * (plane[3] - plane[1]) / rect[3]
        assert float(listed.split()[1]) == pytest.approx(10.0, abs=2 * pixel_mm)
        await touch(at(0.0, 0.020), at(0.0, 0.025), at(0.0, 0.030))
        moved = "Number(document.querySelector('#measures-list li').textContent.split(' ')[1])"
        await browser.until(f"Math.abs({moved} - 20) < {3 * pixel_mm}")

    watch(FakeDaemon(linear_scene), scenario)


@pytest.mark.browser
@browser_there
def test_unplugged_and_plugged_in_again_is_shown() -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        daemon.state, daemon.reason = "recovering", "USB device 1209:0001: none is attached"
        await browser.until(f"{FRESHNESS} === 'lost' && {BANNER}.startsWith('NO PROBE')")
        assert "none is attached" in await browser.evaluate(BANNER)
        daemon.state, daemon.reason = "running", ""
        await browser.until(LIVE)

    watch(daemon, scenario)


def test_a_thousand_connections_are_refused_bounded_and_said_once(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))

    async def scenario(url: str) -> None:
        origin = {"Origin": url.rstrip("/")}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def look() -> Any:
                try:
                    return await session.ws_connect(url + "live", headers=origin)
                except aiohttp.WSServerHandshakeError as error:
                    return error.status

            got = await asyncio.gather(*(look() for _ in range(CONNECTIONS)))
            sockets = [one for one in got if isinstance(one, aiohttp.ClientWebSocketResponse)]
            assert len(sockets) == BROWSER_LIMIT
            assert {one for one in got if isinstance(one, int)} == {503}
            # Who looks goes on, and the page is still served.
            await sockets[0].send_json({"want": ["bmode"]})
            while (await sockets[0].receive(20)).type is not aiohttp.WSMsgType.BINARY:
                pass
            async with session.get(url) as response:
                assert response.status == 200
            await asyncio.gather(*(socket.close() for socket in sockets))
            while isinstance(await look(), int):
                await asyncio.sleep(0.05)

    try:
        with FakeDaemon(linear_scene) as daemon, viewer_process(daemon) as (process, url):
            asyncio.run(scenario(url))
            process.terminate()
            assert process.stderr is not None
            lines = [line for line in process.stderr.read().splitlines() if "refused" in line]
            assert len(lines) == 1, lines
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
