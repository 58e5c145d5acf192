"""The page in a real browser, end to end: moving image, scales, knobs, freeze, and what it says when frames stop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from chromium import Chromium, chromium_path
from fake_daemon import FakeDaemon, linear_scene, motion_scene, needle, sector_scene
from viewer_client import serving
from watched_page import BANNER, FRAME, FRESHNESS, LIVE, canvas, layout, move_slider, text, watch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium_path() is None, reason="chromium is not installed (apt-get install chromium)"),
]


def test_the_image_moves_and_the_numbers_tell_its_truth() -> None:
    async def scenario(browser: Chromium) -> None:
        first, frame = await canvas(browser, "picture"), await browser.evaluate(FRAME)
        await browser.until(f"{FRAME} > {frame} + 5")
        assert (await canvas(browser, "picture") != first).any()
        await browser.until(f"{text('rate-shown')}.endsWith('Hz') && parseFloat({text('rate-shown')}) > 5")
        assert await browser.evaluate(text("lost-ring")) == "2"
        assert await browser.evaluate(text("probe")) == "fake-linear"
        assert await browser.evaluate(text("latency-processed")) == "9.0 ms"
        assert await browser.evaluate(text("mechanical-index")) == "unknown"
        assert await browser.until(f"parseFloat({text('latency-shown')}) >= 9")

    watch(FakeDaemon(linear_scene), scenario)


@pytest.mark.parametrize("ratio", [1.0, 1.5])
def test_a_wire_is_on_the_screen_where_the_scales_say(ratio: float) -> None:
    async def scenario(browser: Chromium) -> None:
        before = await layout(browser)
        await browser.resize(1280, 720, ratio)
        await browser.until(
            f"JSON.stringify({json.dumps(before[0])}) !== document.getElementById('picture').dataset.rect"
        )
        await browser.until("document.getElementById('picture').width > 0 && " + LIVE)
        (x, y, width, height), (left, top, right, bottom) = await layout(browser)
        # Pixels are twice as wide as high, and yet a millimetre is as long down as across.
        assert width / (right - left) == pytest.approx(height / (bottom - top), rel=2e-3)
        assert (right - left, top, bottom - top) == pytest.approx((0.0384, 0.0, 0.04))
        picture = (await canvas(browser, "picture"))[..., 0].astype(float)
        for wire_x, wire_z in ((0.0, 0.01), (-0.01, 0.02), (0.015, 0.01)):
            column = x + (wire_x - left) / (right - left) * width
            row = y + (wire_z - top) / (bottom - top) * height
            half = round(1e-3 / (right - left) * width)
            rows = slice(round(row) - half, round(row) + half)
            columns = slice(round(column) - half, round(column) + half)
            bright = picture[rows, columns].clip(120, None) - 120
            at_rows, at_columns = np.indices(bright.shape) + 0.5
            assert (bright * at_rows).sum() / bright.sum() + rows.start == pytest.approx(row, abs=1)
            assert (bright * at_columns).sum() / bright.sum() + columns.start == pytest.approx(column, abs=1)

    watch(FakeDaemon(linear_scene), scenario, height=700)


def test_sliders_come_from_describe_and_show_display_units() -> None:
    async def scenario(browser: Chromium) -> None:
        labels = await browser.evaluate("[...document.querySelectorAll('.knob label')].map((one) => one.textContent)")
        assert labels[:3] == ["Depth", "Gain", "Dynamic range"]
        shown = await browser.evaluate("[...document.querySelectorAll('.knob output')].map((one) => one.textContent)")
        values = dict(zip(labels, shown, strict=True))
        assert values["Depth"] == "40 mm"
        assert values["Transmit frequency"] == "9.0 MHz"
        assert values["Frame rate"] == "20 Hz"
        assert values["Angle span"] == "20°"
        assert values["F-number"] == "1.5"
        assert await browser.evaluate("document.querySelectorAll('.curve input').length") == 8
        unlabelled = "[...document.querySelectorAll('input, select, button')].filter((one) => "
        unlabelled += "!one.labels?.length && !one.textContent.trim() && !one.ariaLabel).length"
        assert await browser.evaluate(unlabelled) == 0

    watch(FakeDaemon(linear_scene), scenario)


def test_the_depth_slider_changes_the_depth_of_the_picture() -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        await browser.evaluate(move_slider("knob-depth_m", 60))
        await browser.until("JSON.parse(document.getElementById('picture').dataset.plane)[3] > 0.0599")
        assert daemon.values["depth_m"] == 0.06
        await browser.until("Number(document.getElementById('stage').dataset.revision) === 2")
        await browser.until(f"{text('revision')} === '2'")
        await browser.until("!document.querySelector('.pending')")

    watch(daemon, scenario)


def test_a_preset_is_chosen_and_named_while_it_holds() -> None:
    daemon = FakeDaemon(linear_scene)
    choose = "(() => { const list = document.getElementById('preset'); list.value = 'shallow';"
    choose += "list.dispatchEvent(new Event('change')); })()"

    async def scenario(browser: Chromium) -> None:
        assert await browser.evaluate("document.getElementById('preset').value") == ""
        await browser.evaluate(choose)
        await browser.until("document.getElementById('knob-depth_m').value === '30'")
        assert await browser.evaluate("document.getElementById('preset').value") == "shallow"
        assert (daemon.values["depth_m"], daemon.values["dynamic_range_db"]) == (0.03, 55.0)
        await browser.evaluate(move_slider("knob-depth_m", 31))
        await browser.until("document.getElementById('preset').value === ''")

    watch(daemon, scenario)


def test_a_dragged_slider_sends_the_last_value_last_and_no_crowd_of_requests() -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        await browser.evaluate("; ".join(move_slider("knob-gain_db", value) for value in range(1, 31)))
        await browser.until("!document.querySelector('.pending')")
        sets = [request.arguments["changes"] for request in daemon.requests if request.command == "set"]
        assert sets[-1] == {"gain_db": 30}
        assert len(sets) == 2

    watch(daemon, scenario)


def test_the_time_gain_curve_is_set_as_a_whole() -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        await browser.evaluate(move_slider("knob-tgc_db-7", 12))
        await browser.until("!document.querySelector('.pending')")
        assert daemon.values["tgc_db"] == [0, 0, 0, 0, 0, 0, 0, 12]

    watch(daemon, scenario)


def test_a_refusal_shows_its_reason_and_the_slider_goes_back() -> None:
    async def scenario(browser: Chromium) -> None:
        await browser.evaluate(move_slider("knob-angle_count", 30))
        await browser.until("!document.getElementById('refusal').hidden")
        assert await browser.evaluate(text("refusal-text")) == "angle_count: must be in 1..20; got 30"
        await browser.until("document.getElementById('knob-angle_count').value === '3'")

    watch(FakeDaemon(linear_scene), scenario)


def test_a_change_by_somebody_else_moves_the_slider() -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        daemon.change({"gain_db": 17.0})
        await browser.until("document.getElementById('knob-gain_db').value === '17'")
        assert await browser.evaluate("document.querySelector('output[for=knob-gain_db]').textContent") == "17 dB"

    watch(daemon, scenario)


def test_the_space_bar_freezes_and_unfreezes() -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        await browser.press(" ")
        await browser.until(f"{FRESHNESS} === 'frozen'")
        assert await browser.evaluate(BANNER) == "FROZEN"
        assert daemon.state == "frozen"
        assert "Unfreeze" in await browser.evaluate(text("freeze"))
        await browser.evaluate("document.getElementById('freeze').focus()")
        await browser.press(" ")
        await browser.until(LIVE)
        assert [request.command for request in daemon.requests].count("freeze") == 1

    watch(daemon, scenario)


def test_arrow_keys_change_gain_and_depth() -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        for key in ("ArrowUp", "ArrowUp", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft"):
            await browser.press(key)
        await browser.until("!document.querySelector('.pending')")
        assert (daemon.values["gain_db"], daemon.values["depth_m"]) == (1, 0.041)

    watch(daemon, scenario)


def test_a_probe_that_goes_silent_is_called_stale_within_a_second() -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        daemon.stalled.set()
        await browser.until(f"{FRESHNESS} === 'stale'")
        # The page's own clock says how old the picture is; a slow machine may be called stale before it was stalled.
        words = await browser.until(f"{BANNER}.startsWith('NO NEW FRAME') && {BANNER}")
        assert float(words.split()[3]) >= 0.5
        opacity = await browser.evaluate("getComputedStyle(document.getElementById('picture')).opacity")
        assert float(opacity) < 0.5
        # The old picture stays, and nothing else is tried.
        await browser.until(f"{BANNER}.startsWith('NO NEW FRAME 3')")
        assert (await canvas(browser, "picture"))[..., 0].max() == 255
        daemon.stalled.clear()
        await browser.until(LIVE)

    watch(daemon, scenario)


def test_a_daemon_that_goes_is_missed_and_one_that_comes_is_shown() -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client, Chromium() as browser:
            await browser.open(client.url)
            await browser.until(LIVE)
            await asyncio.to_thread(daemon.__exit__)
            await browser.until(f"{FRESHNESS} === 'lost'")
            assert await browser.evaluate(BANNER) == f"NO DAEMON at {daemon.frames}"
            successor = FakeDaemon(
                sector_scene, daemon.frames, daemon.control, probe="other-probe", session="session-2"
            )
            await asyncio.to_thread(successor.__enter__)
            try:
                await browser.until(LIVE)
                await browser.until(f"{text('probe')} === 'other-probe'")
                await browser.open("about:blank")
            finally:
                await asyncio.to_thread(successor.__exit__)

    asyncio.run(scenario(FakeDaemon(linear_scene).__enter__()))


def test_a_sector_is_shown_in_proportion() -> None:
    async def scenario(browser: Chromium) -> None:
        (x, y, width, height), (left, top, right, bottom) = await layout(browser)
        assert width / height == pytest.approx((right - left) / (bottom - top), rel=5e-3)
        assert top < 0
        picture = await canvas(browser, "picture")
        # Outside the sector it is black, on its axis it is not.
        assert picture[y + height - 3, x + 3, 0] == 0
        assert picture[y + height // 2, x + width // 2 - 20 : x + width // 2 + 20, 0].max() > 0

    watch(FakeDaemon(sector_scene, probe="fake-curved"), scenario, 1024, 768)


def test_a_single_element_board_is_shown_as_m_mode_and_a_mode() -> None:
    daemon = FakeDaemon(motion_scene, probe="fake-single")

    async def scenario(browser: Chromium) -> None:
        await browser.until("document.getElementById('picture').ariaLabel.startsWith('M-mode')")
        await browser.until(LIVE)
        assert not any(b"bmode" in prefix for prefix in daemon.subscribed)
        (x, y, width, height), (left, top, right, bottom) = await layout(browser)
        assert (left, right) == pytest.approx((-255.5 * 0.05, 0.5 * 0.05))
        picture = await canvas(browser, "picture")
        wall = round(y + (0.02 - top) / (bottom - top) * height)
        assert picture[wall, x + 10 : x + width - 10, 0].min() > 40
        # The trace's peaks lie on the same depths: green on the overlay, right of the picture.
        overlay = await canvas(browser, "overlay")
        green = (overlay[..., 1] > 150) & (overlay[..., 0] < 160) & (overlay[..., 2] < 180)
        green[:, : x + width] = False
        rows, columns = np.nonzero(green)
        moving = rows[columns == columns.max()].mean()
        assert 0.0255 < top + (moving - y) / height * (bottom - top) < 0.0345

    watch(daemon, scenario)


def test_the_true_needle_is_a_layer_that_is_off_until_asked_for() -> None:
    async def count(browser: Chromium) -> int:
        overlay = (await canvas(browser, "overlay")).astype(int)
        return int(((overlay[..., 0] > 240) & (abs(overlay[..., 1] - 209) < 12) & (overlay[..., 2] < 130)).sum())

    async def scenario(browser: Chromium) -> None:
        await browser.until("!document.getElementById('layer-truth').disabled")
        assert await count(browser) == 0
        plain = await canvas(browser, "picture")
        await browser.evaluate("document.getElementById('layer-truth').click()")
        frame = await browser.evaluate(FRAME)
        await browser.until(f"{FRAME} > {frame}")
        assert await count(browser) > 100
        # Never burned in.
        assert (await canvas(browser, "picture")).shape == plain.shape
        assert (np.ptp((await canvas(browser, "picture"))[..., :3], axis=2) == 0).all()

    watch(FakeDaemon(linear_scene, truth=needle((0.004, 0.0, 0.03), (-0.015, 0.0, 0.01))), scenario)


@pytest.mark.parametrize(("probe", "holder"), [("fake-linear", None), ("linear-" + "long-name-" * 8, "tracker " * 6)])
def test_everything_needed_fits_the_small_screens(probe: str, holder: str | None) -> None:
    async def scenario(browser: Chromium) -> None:
        for width, height in ((1280, 720), (1024, 768)):
            await browser.resize(width, height)
            inside = (
                "[...document.querySelectorAll('#freeze, #knob-depth_m, #knob-gain_db, #knob-dynamic_range_db, "
                "#lost-page, #save, .warning')].every((one) => { const box = one.getBoundingClientRect(); "
                "return box.width > 0 && box.right <= innerWidth && box.bottom <= innerHeight; })"
            )
            await browser.until(inside)
            assert await browser.evaluate("document.documentElement.scrollWidth <= innerWidth")

    token = None if holder is None else "another's"
    watch(FakeDaemon(linear_scene, probe=probe, holder=holder, token=token), scenario)


def test_ticks_and_numbers_are_what_people_expect() -> None:
    async def call(browser: Chromium, module: str, function: str, *arguments: Any) -> Any:
        values = ", ".join(json.dumps(argument) for argument in arguments)
        return await browser.evaluate(f"import('/{module}.js').then((module) => module.{function}({values}))")

    async def scenario(browser: Chromium) -> None:
        for first, last, most, step, count, digits in (
            (0, 40, 8, 5, 9, 0),
            (-19.2, 19.2, 8, 5, 7, 0),
            (0, 3, 10, 0.5, 7, 1),
            (-0.05, 0.449, 5, 0.1, 5, 1),
            (0, 395, 9, 50, 8, 0),
            (5, 5.0001, 4, 0.00005, 3, 5),
        ):
            found = await call(browser, "plane", "ticks", first, last, most)
            assert found["step"] == pytest.approx(step), (first, last)
            assert len(found["values"]) == count, found
            assert found["digits"] == digits
        for value, step, shown in (
            (40.0, 1, "40"),
            (38.4, 1, "38.4"),
            (51.25, 1, "51.25"),
            (1 / 3, 1, "0.33"),
            (9.0, 0.1, "9.0"),
            (0.30000000000000004, 0.05, "0.30"),
            (-0.5, 1, "-0.5"),
            (394.6666, 1, "394.67"),
        ):
            assert await call(browser, "units", "formatNumber", value, step) == shown
        for maximum, value, shown in ((0.08, 0.04, "40.0 mm"), (17.5824, 17.5824, "17.5824 m")):
            sonar = {"unit": "m", "maximum": maximum, "default": value, "step": maximum / 100}
            assert await call(browser, "units", "formatValue", sonar, value) == shown
        for name, label in (("sound_speed_m_s", "Sound speed"), ("tgc_db", "Time gain (TGC)"), ("odd", "Odd")):
            assert await call(browser, "units", "knobLabel", name) == label

    watch(FakeDaemon(linear_scene), scenario)


def test_a_latency_that_the_clocks_cannot_give_is_not_shown() -> None:
    published_ms, script = (
        1000.0,
        """import('/numbers.js').then(({ Numbers }) => {
        const times = {last_byte_ns: 9.9e8, processed_ns: 9.95e8, published_ns: 1e9};
        const header = {frame: 1, revision: 1, times, losses: {}, settings: {},
            geometry: {kind: 'image', shape: [1, 1], spacing_m: [1, 1]}};
        const numbers = new Numbers();
        numbers.frame(header, 0);
        return [AT].map((daemonMs) => {
            numbers.painted(header, 0, daemonMs);
            numbers.show(0, true);
            return document.getElementById('latency-shown').textContent;
        });
    })""",
    )

    async def scenario(browser: Chromium) -> None:
        # 2 ms after it was published; 1 ms before; before its last byte; good again.
        at = ", ".join(str(published_ms + later_ms) for later_ms in (2, -1, -30, 4))
        assert await browser.evaluate(script.replace("AT", at)) == ["12 ms", "–", "–", "14 ms"]

    watch(FakeDaemon(linear_scene), scenario)


def test_the_policy_stops_a_script_that_somebody_slipped_in() -> None:
    async def run(daemon: FakeDaemon) -> Any:
        async with serving(daemon) as client, Chromium() as browser:
            await browser.open(client.url)
            await browser.until(LIVE)
            await browser.evaluate(
                "(() => { const script = document.createElement('script'); script.textContent = 'window.owned = 1';"
                "document.body.append(script); })()"
            )
            owned = await browser.evaluate("window.owned === undefined")
            await browser.open("about:blank")
            return owned, browser.complaints

    with FakeDaemon(linear_scene) as daemon:
        stopped, complaints = asyncio.run(run(daemon))
    assert stopped
    assert any("Content Security Policy" in complaint for complaint in complaints)
