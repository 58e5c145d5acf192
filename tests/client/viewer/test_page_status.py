"""The status page in a real browser: plots, tables, and what it says without a daemon."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from importlib.resources import files
from typing import Any

import pytest
from chromium import Chromium, chromium_path
from fake_daemon import FakeDaemon, linear_scene
from viewer_client import serving
from watched_page import text

from sonod.client.viewer import devices
from sonod.client.viewer.options import Options

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium_path() is None, reason="chromium is not installed (apt-get install chromium)"),
]


def told(second: int, lost: int, rate_hz: float) -> dict[str, Any]:
    """What a daemon says of itself."""
    leg = {"p50_ns": 12_300_000, "p99_ns": 45_600_000, "max_ns": 78_900_000, "count": 9}
    return {
        "session": "session-1",
        "version": "0.1.0",
        "driver": "fake:",
        "serial": "F-7",
        "probe": "fake-linear",
        "state": "running",
        "reason": "",
        "health": "good",
        "health_reason": "",
        "now_ns": second * 10**9,
        "frame_rate_hz": rate_hz,
        "recoveries": 2,
        "losses": {"device": 0, "ring": lost, "processing": 0},
        "last_failure": "",
        "device": {"frames": 40, "bytes": 3_000_000, "timeouts": 1, "errors": 0, "link": {"device_drops": 4}},
        "ledger": {"transmit_to_published": leg},
    }


def cell(table: str, row: str) -> str:
    """JavaScript for the first value of a table's row."""
    rows = f"[...document.querySelectorAll('#{table} tr')]"
    return f"{rows}.find((one) => one.cells[0].textContent === '{row}')?.cells[1].textContent"


def test_the_status_page_plots_rate_latency_and_losses() -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client, Chromium() as browser:
            await browser.open(client.url + "status.html")
            await browser.until("document.body?.dataset.there !== undefined")
            await browser.until(f"{text('plot-rate')}.includes('acquired 30.0 Hz')")
            assert "50 % 12.3 ms" in await browser.evaluate(text("plot-latency"))
            assert "99 % 45.6 ms" in await browser.evaluate(text("plot-latency"))
            assert await browser.evaluate(cell("device", "serial")) == "F-7"
            assert await browser.evaluate(cell("device", "opened again")) == "2"
            assert await browser.evaluate(cell("link", "device drops")) == "4"
            assert await browser.evaluate(cell("ledger", "all")) == "12.30"
            daemon.status = told(2, lost=6, rate_hz=20.0)
            await browser.until(f"{text('plot-losses')}.includes('too slow 6.0 /s')")
            # From 30 to 20 Hz on a scale that ends at 30: the line falls by a third of the height.
            outline = await browser.evaluate("document.querySelector('#plot-rate path').getAttribute('d')")
            heights = [float(point.split(" ")[1]) for point in outline.removeprefix("M").split("L")]
            assert heights[-1] - heights[0] == pytest.approx(96 / 3, abs=0.2)
            assert await browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert browser.complaints == []
            assert {url for url in browser.requested if not url.startswith((client.url, "about:"))} == set()
            await browser.open("about:blank")

    with FakeDaemon(linear_scene, status=told(1, lost=0, rate_hz=30.0)) as daemon:
        asyncio.run(scenario(daemon))


def test_the_status_page_without_a_daemon_says_so() -> None:
    async def scenario() -> None:
        async with serving(None) as client, Chromium() as browser:
            await browser.open(client.url + "status.html")
            await browser.until("document.body?.dataset.there !== undefined")
            await browser.until(f"{text('state')} === 'no daemon'")
            assert await browser.evaluate("document.body.dataset.there") == "false"
            assert "no daemon at tcp://127.0.0.1:1" in await browser.evaluate(text("reason"))
            await browser.open("about:blank")

    asyncio.run(scenario())


ROWS = [
    {
        "driver": "bulk",
        "uri": "bulk:S1",
        "product": "<b>board</b>",
        "state": "permission missing",
        "permission": "RULE 1",
        "cure": "put RULE 1 into a file",
    },
    {"driver": "wulpus", "uri": "wulpus:2", "product": "board", "state": "no memory left", "cure": "raise the budget"},
    {"driver": "wulpus", "uri": "wulpus:?emulated=1", "product": "emulated", "state": "ready", "emulated": True},
]


def test_devices_are_looked_for_with_state_driver_and_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serving(None) as client, Chromium() as browser:
            await browser.open(client.url + "status.html")
            await browser.until("document.body?.dataset.there !== undefined")
            look = "document.getElementById('devices-look').click()"
            monkeypatch.setattr(devices, "COMMAND", (sys.executable, "-c", f"print({json.dumps(ROWS)!r})"))
            await browser.evaluate(look)
            await browser.until("document.querySelectorAll('#devices tr').length === 4")
            shown = await browser.evaluate(text("devices"))
            assert "<b>board</b>" in shown
            assert "permission missing" in shown
            assert await browser.evaluate(text("devices-cures")) == "put RULE 1 into a file\nraise the budget"
            # Nothing can be used that is not ready, and nothing at all without a daemon.
            assert await browser.evaluate(
                "[...document.querySelectorAll('#devices button')].map((one) => one.disabled)"
            ) == [True]
            monkeypatch.setattr(devices, "COMMAND", (sys.executable, "-c", "import sys; sys.exit('sonod: no libusb')"))
            await browser.evaluate(look)
            await browser.until(f"{text('devices-words')} === 'Not known: sonod: no libusb'")
            await browser.open("about:blank")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("problems", "words"),
    [
        ([], "Now uses wulpus:?emulated=1."),
        (["not plugged in"], "wulpus:?emulated=1 cannot be used; fake: is back: not plugged in"),
    ],
)
def test_another_probe_is_used_after_a_question(
    monkeypatch: pytest.MonkeyPatch, problems: list[str], words: str
) -> None:
    daemon = FakeDaemon(linear_scene, status=told(1, 0, 30.0) | {"switch": None})
    monkeypatch.setattr(devices, "COMMAND", (sys.executable, "-c", f"print({json.dumps(ROWS)!r})"))
    use = "[...document.querySelectorAll('#devices button')].find((one) => one.ariaLabel === 'Use emulated')"

    async def scenario() -> None:
        async with serving(daemon) as client, Chromium() as browser:
            await browser.open(client.url + "status.html")
            await browser.until("document.body?.dataset.there === 'true'")
            await browser.evaluate("document.getElementById('devices-look').click()")
            await browser.until(f"{use}?.disabled === false")
            # The first answer is no: nothing happens.
            for answer in ("no", "yes"):
                await browser.evaluate(f"{use}.click()")
                assert "in place of fake:" in await browser.evaluate(text("ask-question"))
                assert not [one for one in daemon.requests if one.command == "switch"]
                await browser.evaluate(f"document.querySelector('#ask button[value={answer}]').click()")
                # The dialog tells that it closed in a task of its own.
                await browser.evaluate("new Promise((done) => setTimeout(done, 50))")
            await browser.until(f"{text('devices-words')}.startsWith('Switching to')")
            [request] = [one for one in daemon.requests if one.command == "switch"]
            assert request.arguments == {"driver": "wulpus:?emulated=1"}
            outcome = {"from": "fake:", "to": "wulpus:?emulated=1", "problems": problems}
            driver = "fake:" if problems else "wulpus:?emulated=1"
            daemon.status = told(2, 0, 30.0) | {"session": "session-2", "driver": driver, "switch": outcome}
            await browser.until(f"{text('devices-words')} === {words!r}")
            await browser.until(f"{use}.textContent === {'Use' if problems else 'In use'!r}")
            assert browser.complaints == []
            await browser.open("about:blank")

    with daemon:
        asyncio.run(scenario())


def test_no_page_has_the_daemon_open_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "COMMAND", (sys.executable, "-c", f"print({json.dumps(ROWS)!r})"))

    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client:
            for uri in ("replay:/etc/passwd", "sim:/etc/passwd", "sim:x.toml", "sim:?probe=/x", "bulk:S1", 3, None):
                status, reply = await client.ask("switch", driver=uri)
                assert (status, reply["error"]["code"]) == (400, "forbidden"), uri
            async with client.session.post(client.url + "devices", json={}, headers=client.origin) as response:
                assert response.status == 200
            for uri in ("bulk:S1", "sim:", "sim:hip"):
                assert (await client.ask("switch", driver=uri))[1]["ok"], uri

    with FakeDaemon(linear_scene) as daemon:
        asyncio.run(scenario(daemon))


def test_the_scenes_that_the_page_offers_are_those_there_are() -> None:
    script = (files("sonod.client.viewer") / "page" / "devices.js").read_text()
    scenes = files("sonod.drivers.simulated") / "scenes"
    [offered] = re.findall(r"SCENES = (\[.*\]);", script)
    assert json.loads(offered) == sorted(file.name[: -len(".toml")] for file in scenes.iterdir())


def test_devices_of_another_machine_and_pages_of_others_are_refused() -> None:
    async def scenario() -> None:
        with pytest.raises(devices.DevicesUnknown, match="on another machine"):
            await devices.Devices(Options(control="tcp://scanner:5556").daemon_here).look()
        async with serving(None) as client:
            evil = {"Origin": "http://evil.example"}
            async with client.session.post(client.url + "devices", json={}, headers=evil) as response:
                assert response.status == 403

    asyncio.run(scenario())
