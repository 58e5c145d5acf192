"""The whole way: `sonod run` on the simulated probe, its gateway, and the page in a browser."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chromium import Chromium, chromium_path

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium_path() is None, reason="chromium is not installed (apt-get install chromium)"),
]

# A small picture: the test is about the way, not the speed.
CONFIG = """
[driver]
uri = "sim:"
[image]
columns = 64
rows = 128
[publish]
endpoint = "tcp://127.0.0.1:*"
[control]
endpoint = "tcp://127.0.0.1:*"
[viewer]
port = 0
[log]
form = "json"
"""
STAGE = "document.getElementById('stage').dataset"
WAIT_S = 60


@contextmanager
def running_daemon(folder: Path) -> Iterator[str]:
    """`sonod run`, and the address of its page."""
    config = folder / "sonod.toml"
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "sonod", "run", "--config", str(config), "--record-folder", str(folder / "clips")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                event = json.loads(line)
                if event["event"] == "viewer_ready":
                    yield event["url"]
                    break
            else:
                raise AssertionError("no viewer: " + "".join(lines))
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()


async def verify_download(path: Path, saved: Path) -> None:
    """The downloaded clip, unpacked, is the one on the daemon's machine, and makes the same pictures."""
    deadline_s = time.monotonic() + WAIT_S
    while not path.exists():
        assert time.monotonic() < deadline_s, list(path.parent.iterdir())
        await asyncio.sleep(0.05)
    with tarfile.open(path) as tar:
        # Python 3.11 knows the filter from 3.11.4 on; later ones want to be told.
        tar.extractall(path.parent, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    unpacked = path.parent / saved.name
    for file in saved.iterdir():
        assert (unpacked / file.name).read_bytes() == file.read_bytes()
    verify = (sys.executable, "-m", "sonod", "verify", str(unpacked))
    process = await asyncio.create_subprocess_exec(*verify, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = await process.communicate()
    assert process.returncode == 0, output


def test_a_simulated_probe_is_seen_turned_and_frozen(tmp_path: Path) -> None:
    async def scenario(url: str) -> None:
        async with Chromium() as browser:
            await browser.open(url)
            await browser.until("document.getElementById('stage')?.dataset.freshness === 'live'", WAIT_S)
            await browser.until("document.querySelector('.knob') !== null", WAIT_S)
            assert "simulated" in await browser.evaluate("document.getElementById('probe').textContent")
            assert await browser.evaluate("document.getElementById('layer-truth').disabled") is False
            # The page is live before its first picture is drawn.
            await browser.until(f"{STAGE}.frame !== undefined", WAIT_S)
            frame = await browser.evaluate(f"Number({STAGE}.frame)")
            await browser.until(f"Number({STAGE}.frame) > {frame} + 3", WAIT_S)
            revision = await browser.evaluate(f"Number({STAGE}.revision)")
            await browser.evaluate(
                "(() => { const slider = document.getElementById('knob-depth_m'); slider.value = 30;"
                "slider.dispatchEvent(new Event('input', {bubbles: true})); })()"
            )
            await browser.until(f"Number({STAGE}.revision) > {revision}", WAIT_S)
            bottom = await browser.evaluate("JSON.parse(document.getElementById('picture').dataset.plane)[3]")
            assert bottom == pytest.approx(0.03, rel=0.02)
            await browser.until("!document.querySelector('.pending')", WAIT_S)
            await browser.press(" ")
            await browser.until(f"{STAGE}.freshness === 'frozen'", WAIT_S)
            await browser.evaluate("document.getElementById('clip-phase').value = 'pre'")
            await browser.press("k")
            await browser.until("document.getElementById('clip-result').dataset.state === 'saved'", WAIT_S)
            [saved] = (tmp_path / "clips").iterdir()
            assert f"Saved as {saved.name}" in await browser.evaluate(
                "document.getElementById('clip-result').textContent"
            )
            manifest = json.loads((saved / "manifest.json").read_text())
            assert [mark["phase"] for mark in manifest["marks"]] == ["pre"]
            assert manifest["complete"]
            assert manifest["pictures"]["count"] > 3
            await browser.keep_downloads(tmp_path / "downloads")
            await browser.evaluate("document.getElementById('clip-download').click()")
            await verify_download(tmp_path / "downloads" / f"{saved.name}.tar", saved)
            await browser.press(" ")
            await browser.until(f"{STAGE}.freshness === 'live'", WAIT_S)
            assert browser.complaints == []
            await browser.open("about:blank")

    with running_daemon(tmp_path) as url:
        asyncio.run(scenario(url))


def test_a_live_page_goes_on_with_another_probe(tmp_path: Path) -> None:
    probe = "document.getElementById('probe').textContent"

    async def scenario(url: str) -> None:
        async with Chromium() as browser:
            await browser.open(url)
            await browser.until("document.getElementById('stage')?.dataset.freshness === 'live'", WAIT_S)
            await browser.until(f"{probe}.includes('linear')", WAIT_S)
            request = "{method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(%s)}"
            wanted = request % "{command: 'switch', driver: 'sim:hip'}"
            reply = await browser.evaluate(f"fetch('/control', {wanted}).then((answer) => answer.json())")
            assert reply["ok"], reply
            # The same page, from the same gateway: it was not loaded again.
            await browser.evaluate("window.mark = true")
            await browser.until(f"{probe}.includes('curvilinear') && {STAGE}.freshness === 'live'", WAIT_S)
            assert await browser.evaluate("window.mark")
            await browser.open("about:blank")

    with running_daemon(tmp_path) as url:
        asyncio.run(scenario(url))
