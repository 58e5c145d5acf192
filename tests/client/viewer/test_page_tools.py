"""Freeze and scroll, calipers, notes, saved files and control, in a real browser."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Chromium, chromium_path
from fake_daemon import FakeDaemon, knob, linear_knobs, linear_scene
from numpy.typing import NDArray
from PIL import Image
from watched_page import BANNER, FRAME, FRESHNESS, LIVE, canvas, layout, text, watch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium_path() is None, reason="chromium is not installed (apt-get install chromium)"),
]

MEASURES = "[...document.querySelectorAll('#measures-list li')].map((one) => one.firstChild.textContent)"


async def place(browser: Chromium, x_m: float, z_m: float) -> tuple[float, float]:
    """Where a point of the picture's plane is on the page, in CSS pixels."""
    (left, top, width, height), (x_0, z_0, x_1, z_1) = await layout(browser)
    box = await browser.evaluate(
        "(() => { const { left, top } = document.getElementById('picture').getBoundingClientRect();"
        "return [left, top]; })()"
    )
    ratio = await browser.evaluate("window.devicePixelRatio")
    across, down = (x_m - x_0) / (x_1 - x_0), (z_m - z_0) / (z_1 - z_0)
    return box[0] + (left + across * width) / ratio, box[1] + (top + down * height) / ratio


async def use(browser: Chromium, tool: str, *points: tuple[float, float]) -> None:
    """Take a tool and click at points of the plane."""
    await browser.evaluate(f"document.querySelector('[data-tool={tool}]').click()")
    for x_m, z_m in points:
        await browser.click(*await place(browser, x_m, z_m))


async def file_in(folder: Path, ending: str) -> Path:
    """The one finished file with an ending, once it is there."""
    for _ in range(600):
        found = [path for path in folder.iterdir() if path.suffix == ending]
        if found and found[0].stat().st_size:
            await asyncio.sleep(1)
            return found[0]
        await asyncio.sleep(0.05)
    raise AssertionError(f"no {ending} in {folder}: {list(folder.iterdir())}")


async def settled(browser: Chromium) -> int:
    """The frame on the screen, once the last one on its way has come."""
    before = -1
    while (frame := int(await browser.evaluate(FRAME))) != before:
        before = frame
        await asyncio.sleep(0.5)
    return frame


async def painted(browser: Chromium) -> NDArray[np.uint8]:
    """The picture, once the page has drawn what it was told to."""
    await browser.until(
        "new Promise(requestAnimationFrame).then(() => new Promise(requestAnimationFrame)).then(() => true)"
    )
    return await canvas(browser, "picture")


def numbers(words: str) -> list[float]:
    """The numbers in a text."""
    kept = "".join(letter if letter.isdecimal() or letter == "." else " " for letter in words)
    return [float(one) for one in kept.split() if one != "."]


def test_calipers_measure_what_the_geometry_says() -> None:
    async def scenario(browser: Chromium) -> None:
        left, _, right, _ = (await layout(browser))[1]
        width = (await layout(browser))[0][2]
        pixel_mm = (right - left) / width * 1e3
        await use(browser, "distance", (0.0, 0.01), (-0.01, 0.02))
        await use(browser, "ellipse", (-0.005, 0.02), (0.005, 0.02), (0.0, 0.022))
        await use(browser, "angle", (0.0, 0.01), (0.0, 0.02), (0.01, 0.02))
        distance, ellipse, angle = await browser.evaluate(MEASURES)
        assert numbers(distance)[0] == pytest.approx(np.hypot(10, 10), abs=1.5 * pixel_mm)
        long, short, area, around = [*numbers(ellipse)[:3], numbers(ellipse)[-1]]
        assert (long, short) == pytest.approx((10, 4), abs=2 * pixel_mm)
        assert area == pytest.approx(np.pi * 5 * 2, rel=0.05)
        # Perimeter of an ellipse of half axes 5 and 2, by numerical integration.
        turn = np.linspace(0, 2 * np.pi, 100_001)
        assert around == pytest.approx(np.trapezoid(np.hypot(5 * np.sin(turn), 2 * np.cos(turn)), turn), rel=0.03)
        assert numbers(angle)[0] == pytest.approx(90, abs=1)
        # The layer is drawn, and the picture below it is not touched.
        assert (await canvas(browser, "marks"))[..., 3].any()
        picture = await canvas(browser, "picture")
        assert (picture[..., 0] == picture[..., 1]).all()
        assert (picture[..., 0] == picture[..., 2]).all()

    watch(FakeDaemon(linear_scene), scenario)


def test_marks_stay_at_their_millimetres_when_the_depth_changes_and_can_be_moved() -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        await use(browser, "distance", (0.0, 0.01), (0.0, 0.02))
        [before] = await browser.evaluate(MEASURES)
        daemon.change({"depth_m": 0.03})
        await browser.until("JSON.parse(document.getElementById('picture').dataset.plane)[3] < 0.031")
        assert await browser.evaluate(MEASURES) == [before]
        await browser.drag(await place(browser, 0.0, 0.02), await place(browser, 0.0, 0.025))
        await browser.until(f"{MEASURES}[0] !== {json.dumps(before)}")
        [after] = await browser.evaluate(MEASURES)
        assert numbers(after)[0] == pytest.approx(15, abs=0.2)
        await browser.evaluate("document.querySelector('#measures-list button').click()")
        assert await browser.evaluate("document.getElementById('measures').hidden")

    watch(daemon, scenario)


def test_calipers_and_notes_work_from_the_keyboard() -> None:
    async def scenario(browser: Chromium) -> None:
        await browser.press("d", "KeyD")
        await browser.press("Enter")
        for _ in range(25):
            await browser.press("ArrowDown")
        await browser.press("Enter")
        [words] = await browser.evaluate(MEASURES)
        # 25 pixels of 0.1 mm.
        assert numbers(words)[0] == pytest.approx(2.5, abs=0.02)
        await browser.press("n", "KeyN")
        await browser.press("Enter")
        await browser.until("document.getElementById('ask').open")
        await browser.call("Input.insertText", text="tendon")
        await browser.evaluate("document.querySelector('#ask [value=yes]').click()")
        await browser.until(f"{MEASURES}.length === 2")
        assert (await browser.evaluate(MEASURES))[1] == "Note tendon"

    watch(FakeDaemon(linear_scene), scenario)


def test_frozen_pictures_can_be_scrolled_and_live_ones_return() -> None:
    async def scenario(browser: Chromium) -> None:
        # The daemon counts from before the page was there.
        first = await browser.evaluate(FRAME)
        await browser.until(f"{FRAME} > {first} + 10")
        assert await browser.evaluate("document.getElementById('cine').hidden")
        await browser.press(" ")
        await browser.until("!document.getElementById('cine').hidden")
        last = await settled(browser)
        count = numbers(await browser.evaluate(text("cine-label")))[1]
        for _ in range(3):
            await browser.press("ArrowLeft")
        await browser.until(f"{text('cine-label')}.startsWith('{count - 3:.0f} of {count:.0f}')")
        # A busy browser is spared frames, so that they need not follow one another.
        earlier = await browser.evaluate(FRAME)
        assert earlier <= last - 3
        await browser.until(f"{text('frame')} === '{earlier}'")
        assert f"FROZEN · frame {earlier}" in await browser.evaluate(BANNER)
        assert "before the last" in await browser.evaluate(BANNER)
        then = await painted(browser)
        await browser.evaluate("document.getElementById('cine-on').click()")
        await browser.until(f"{earlier} < {FRAME} && {FRAME} <= {last - 2}")
        # The layout is at rest by now; what differs is the picture, of which one wire moves. It may be painted late.
        async with asyncio.timeout(20):
            while np.array_equal(then, later := await painted(browser)):
                pass
        assert then.shape == later.shape
        await browser.press(" ")
        await browser.until(LIVE)
        await browser.until("document.getElementById('cine').hidden")
        await browser.until(f"{FRAME} > {last}")
        assert await browser.evaluate(FRESHNESS) == "live"

    watch(FakeDaemon(linear_scene), scenario)


def test_a_saved_png_is_the_published_picture_and_knows_its_frame(tmp_path: Path) -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        await browser.keep_downloads(tmp_path)
        await browser.press(" ")
        await browser.until(f"{FRESHNESS} === 'frozen'")
        frame = await settled(browser)
        await browser.press("p", "KeyP")
        path = await file_in(tmp_path, ".png")
        image = Image.open(path)
        header = json.loads(image.info["sonod"])
        assert header["frame"] == frame
        [(_, picture, geometry)] = linear_scene(frame, daemon.values)
        assert (np.asarray(image.convert("L")) == picture).all()
        # Pixels per metre, across and down; Pillow tells dots per inch.
        per_metre = np.array(image.info["dpi"]) / 0.0254
        assert per_metre == pytest.approx((1 / geometry.spacing_m[1], 1 / geometry.spacing_m[0]), rel=1e-3)
        assert str(frame) in path.name

    watch(daemon, scenario)


def test_a_saved_clip_holds_the_last_pictures_in_true_proportion(tmp_path: Path) -> None:
    async def scenario(browser: Chromium) -> None:
        await browser.keep_downloads(tmp_path)
        # The daemon counts from before the page was there, and a busy browser is spared frames: it has at least five.
        first = await browser.evaluate(FRAME)
        await browser.until(f"{FRAME} > {first} + 30")
        await browser.press(" ")
        await browser.until(f"{FRESHNESS} === 'frozen'")
        await browser.evaluate(
            "(() => { const list = document.getElementById('save'); list.value = 'clip';"
            "list.dispatchEvent(new Event('change')); })()"
        )
        image: Any
        with Image.open(await file_in(tmp_path, ".webp")) as image:
            assert image.n_frames >= 5
            # 192 columns of 0.2 mm, 400 rows of 0.1 mm.
            assert image.size == (384, 400)
            assert image.info["loop"] == 0
            first = np.asarray(image.convert("L"))
            image.seek(image.n_frames - 1)
            assert (np.asarray(image.convert("L")) != first).any()

    watch(FakeDaemon(linear_scene), scenario)


def test_a_saved_screen_has_the_layers(tmp_path: Path) -> None:
    async def scenario(browser: Chromium) -> None:
        await browser.keep_downloads(tmp_path)
        await use(browser, "distance", (0.0, 0.01), (-0.01, 0.02))
        await browser.evaluate(
            "(() => { const list = document.getElementById('save'); list.value = 'screen';"
            "list.dispatchEvent(new Event('change')); })()"
        )
        image = Image.open(await file_in(tmp_path, ".png"))
        colours = np.asarray(image.convert("RGB")).astype(int)
        assert (abs(colours[..., 0] - colours[..., 2]) > 60).any()
        assert "frame" in json.loads(image.info["sonod"])

    watch(FakeDaemon(linear_scene), scenario)


def test_control_is_taken_seen_by_others_and_taken_over() -> None:
    knobs = [*linear_knobs(), knob("output_level", "float", "", 0.5, 0.0, 1.0, 0.1, needs_lease=True)]
    daemon = FakeDaemon(linear_scene, knobs=knobs)

    async def scenario(browser: Chromium) -> None:
        button, holder = text("lease"), text("lease-holder")
        output = "document.getElementById('knob-output_level')"
        await browser.until("!document.getElementById('lease').hidden")
        assert await browser.evaluate(button) == "Take control"
        assert not await browser.evaluate(f"{output}.disabled")
        await browser.evaluate("document.getElementById('lease').click()")
        await browser.until(f"{holder} === 'you have control'")
        await browser.evaluate(
            f"(() => {{ {output}.value = 7; {output}.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        )
        await browser.until("!document.querySelector('.pending')")
        assert daemon.values["output_level"] == pytest.approx(0.7)
        daemon.holder, daemon.token = "tracker", "another"
        await browser.until(f"{button} === 'Take over'")
        assert "view only: tracker has control" in await browser.evaluate(holder)
        assert await browser.evaluate(f"{output}.disabled")
        await browser.evaluate("document.getElementById('lease').click()")
        await browser.until(f"{holder} === 'you have control'")
        assert not await browser.evaluate(f"{output}.disabled")
        assert daemon.holder != "tracker"

    watch(daemon, scenario)
