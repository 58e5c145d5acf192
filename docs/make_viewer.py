"""Makes the pictures of docs/viewer.md: `python docs/make_viewer.py FOLDER [NAME ...]`, with Chromium.

Every page, kind of probe and state is started for real, `sonod run` and the page it serves, and kept as
FOLDER/NAME.png; 1024 x 768 are a tablet's pixels. Those that docs/viewer.md shows lie in docs/pictures.
Recordings of other people are read from the folder in $SONOD_DATA; without it, their pictures are left out.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from chromium import Chromium

LIVE = "document.getElementById('stage')?.dataset.freshness === 'live'"
KNOBS = "document.querySelector('.knob') !== null"
# Curves and medians settle.
SETTLE_S = 2.5
READY_S = 40.0
Act = Callable[["Scene"], Awaitable[None]]


@dataclass
class Scene:
    """One daemon and one browser."""

    browser: Chromium
    daemon: subprocess.Popen[str]

    async def js(self, script: str) -> None:
        await self.browser.evaluate(script)

    async def click(self, identity: str) -> None:
        await self.browser.evaluate(f"document.getElementById('{identity}').click()")


@dataclass(frozen=True)
class Shot:
    """A picture to make: driver, what is done before, page and size."""

    uri: str
    act: Act | None = None
    page: str = ""
    size: tuple[int, int] = (1280, 720)
    arguments: tuple[str, ...] = ()
    # What must be true before anything is done.
    ready: str = f"{LIVE} && {KNOBS}"
    settle_s: float = SETTLE_S


async def frozen_and_scrolled(scene: Scene) -> None:
    await scene.browser.press(" ")
    await scene.browser.until("document.getElementById('stage').dataset.freshness === 'frozen'")
    for _ in range(12):
        await scene.browser.press("ArrowLeft")


async def stale(scene: Scene) -> None:
    scene.daemon.send_signal(signal.SIGSTOP)
    await scene.browser.until("document.getElementById('stage').dataset.freshness === 'stale'")
    await asyncio.sleep(0.6)


async def no_daemon(scene: Scene) -> None:
    scene.daemon.send_signal(signal.SIGSTOP)
    await scene.browser.until("document.getElementById('banner').textContent.startsWith('NO DAEMON')")


async def held_by_another(scene: Scene) -> None:
    request = {"command": "lease", "action": "acquire", "holder": "robot arm, lab 2", "ttl_s": 60}
    headers = "{'Content-Type': 'application/json'}"
    await scene.js(f"fetch('/control', {{method: 'POST', headers: {headers}, body: '{json.dumps(request)}'}})")
    await scene.browser.until("!document.getElementById('lease-holder').hidden")


async def refused(scene: Scene) -> None:
    # As a page would that has not heard of the lease yet.
    await held_by_another(scene)
    await scene.js("document.querySelectorAll('#knobs :disabled').forEach((one) => (one.disabled = false))")
    await scene.js(
        "(() => { const knob = document.getElementById('knob-depth_m'); knob.value = Number(knob.value) - 4;"
        "knob.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    await scene.browser.until("!document.getElementById('refusal').hidden")


async def measured(scene: Scene) -> None:
    await frozen_and_scrolled(scene)
    box = json.loads(await scene.browser.evaluate("document.getElementById('picture').dataset.rect"))
    corner = json.loads(
        await scene.browser.evaluate(
            "(() => { const box = document.getElementById('picture').getBoundingClientRect();"
            "return JSON.stringify([box.x, box.y]); })()"
        )
    )

    async def at(x: float, y: float) -> None:
        await scene.browser.click(corner[0] + box[0] + x * box[2], corner[1] + box[1] + y * box[3])

    for tool, points in (
        ("d", ((0.2, 0.3), (0.45, 0.32))),
        ("e", ((0.55, 0.5), (0.8, 0.52), (0.68, 0.6))),
        ("a", ((0.15, 0.6), (0.3, 0.75), (0.45, 0.62))),
    ):
        await scene.browser.press(tool)
        for x, y in points:
            await at(x, y)
    await scene.browser.press("n")
    await at(0.6, 0.2)
    await scene.js("document.getElementById('ask-answer').value = 'tip here'")
    await scene.js("document.querySelector('#ask button[value=yes]').click()")
    await scene.browser.until("document.querySelectorAll('#measures-list li').length === 4")


async def clip_saved(scene: Scene) -> None:
    await asyncio.sleep(3)
    await scene.js("document.getElementById('clip-phase').value = 'guidance'")
    await scene.js("document.getElementById('clip-phase').dispatchEvent(new Event('change'))")
    await scene.js(
        "document.getElementById('clip-site').value = 'wrist'; document.getElementById('clip-side').value = 'left'"
    )
    await scene.click("clip-save")
    await scene.browser.until("document.getElementById('clip-result').dataset.state === 'saved'", 60)


async def needle(scene: Scene) -> None:
    await scene.js("document.getElementById('layer-truth').click()")


async def rf(scene: Scene) -> None:
    await scene.js(
        "(() => { const view = document.getElementById('view'); view.value = 'rf';"
        "view.dispatchEvent(new Event('change')); })()"
    )


async def watched(scene: Scene) -> None:
    """Somebody looks at pictures, so that there is a way to measure."""
    await scene.js(
        "window.look = new WebSocket(`ws://${location.host}/live`);"
        "window.look.onopen = () => window.look.send(JSON.stringify({want: ['bmode']}));"
        "window.look.onmessage = (event) => typeof event.data === 'string' ||"
        " window.look.send(JSON.stringify({ack: 'bmode'})); null"
    )


async def devices(scene: Scene) -> None:
    await scene.click("devices-look")
    await scene.browser.until("document.querySelectorAll('#devices tr').length > 2", 60)
    await scene.js("document.getElementById('devices').scrollIntoView()")


TABLET = (1024, 768)
STATUS = "document.getElementById('state')?.textContent === 'running'"
DATA = os.environ.get("SONOD_DATA", "")

SHOTS: dict[str, Shot] = {
    "viewer": Shot("sim:hip"),
    "viewer-tablet": Shot("sim:hip", size=TABLET),
    "viewer-linear": Shot("sim:needle", needle),
    "viewer-linear-tablet": Shot("sim:needle", size=TABLET),
    "viewer-phased": Shot("sim:contrast?probe=phased"),
    "viewer-single": Shot("pic0rick:?emulated=1", settle_s=6),
    "viewer-single-tablet": Shot("pic0rick:?emulated=1", size=TABLET, settle_s=6),
    "viewer-sonar": Shot("open-echo:?emulated=1", settle_s=6),
    "viewer-replay": Shot("replay:disk_pw_linear128_doppler.h5"),
    "viewer-replay-curvilinear": Shot("replay:bpc_curvilinear_lines8bit_ref.h5"),
    "viewer-frozen": Shot("sim:carpal-tunnel", frozen_and_scrolled),
    "viewer-frozen-tablet": Shot("sim:carpal-tunnel", frozen_and_scrolled, size=TABLET),
    "viewer-stale": Shot("sim:vessel", stale, settle_s=0),
    "viewer-no-daemon": Shot("sim:vessel", no_daemon, settle_s=0),
    "viewer-no-probe": Shot(
        "bulk:1209:0001", ready="document.getElementById('banner')?.textContent.startsWith('NO PROBE')"
    ),
    "viewer-view-only": Shot("sim:knee", held_by_another),
    "viewer-refused": Shot("sim:knee", refused),
    "viewer-measures": Shot("sim:wires", measured),
    "viewer-measures-tablet": Shot("sim:wires", measured, size=TABLET),
    "viewer-clip": Shot("sim:carpal-tunnel", clip_saved),
    "viewer-rf": Shot("sim:wires", rf, settle_s=4),
    "viewer-rf-tablet": Shot("sim:wires", rf, size=TABLET, settle_s=4),
    "viewer-rf-single": Shot("pic0rick:?emulated=1", rf, settle_s=4),
    "viewer-rf-iq": Shot("replay:carotid_doppler_linear_iq.h5", rf, settle_s=4),
    "viewer-rf-levels": Shot("replay:bpc_curvilinear_lines8bit_ref.h5", rf, settle_s=4),
    "viewer-status": Shot("sim:needle", watched, page="status.html", ready=STATUS, settle_s=20),
    "viewer-status-tablet": Shot("sim:needle", watched, page="status.html", ready=STATUS, settle_s=20, size=TABLET),
    "viewer-devices": Shot("sim:needle", devices, page="status.html", ready=STATUS),
    "viewer-devices-tablet": Shot("sim:needle", devices, page="status.html", ready=STATUS, size=TABLET),
}


@contextmanager
def running(shot: Shot, folder: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`sonod run` on free ports; the process and the page's address."""
    configuration = Path(folder) / "sonod.toml"
    configuration.write_text('[viewer]\nport = 0\n[log]\nform = "json"\n')
    command = [sys.executable, "-m", "sonod", "run", "--config", str(configuration), "--port", "0"]
    command += ["--driver", shot.uri, "--record-folder", str(Path(folder) / "clips"), *shot.arguments]
    # Recordings by name: the page shows the driver's URI.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=DATA or None) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                facts = json.loads(line) if line.startswith("{") else {"event": line}
                if facts.get("event") == "viewer_ready":
                    yield process, facts["url"]
                    break
            else:
                raise SystemExit(f"{shot.uri}: the daemon ended without a page")
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()


async def take(shot: Shot, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, running(shot, folder) as (process, url):
        async with Chromium(*shot.size) as browser:
            await browser.open(url.rstrip("/") + "/" + shot.page)
            await browser.until(shot.ready, READY_S)
            scene = Scene(browser, process)
            if shot.act is not None:
                await shot.act(scene)
            await asyncio.sleep(shot.settle_s)
            await browser.screenshot(path)
    picture = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    # A page of greys and a few colours: a palette is a third of the size.
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or SHOTS:
        shot = SHOTS[name]
        if shot.uri.startswith("replay:") and not DATA:
            sys.stdout.write(f"{name}: left out, SONOD_DATA is not set\n")
            continue
        asyncio.run(take(shot, folder / f"{name}.png"))
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
