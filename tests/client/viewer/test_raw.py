"""Raw echoes: one trace of many for each browser, and the pane that shows it."""

from __future__ import annotations

import asyncio
import json
import re
import struct
from typing import Any

import aiohttp
import numpy as np
import pytest
import zmq
import zmq.asyncio
from chromium import Chromium, chromium_path
from fake_daemon import FakeDaemon, linear_scene, raw_geometry, raw_scene
from numpy.typing import NDArray
from viewer_client import serving
from watched_page import BANNER, LIVE, move_slider, text, watch

from sonod.client.viewer.feed import Feed
from sonod.client.viewer.mailbox import Mailbox
from sonod.client.viewer.raw import RawFrame
from sonod.client.wire.errors import WireError
from sonod.client.wire.header import FrameHeader, encode_header
from sonod.client.wire.notices import EventNotice, encode_notice
from sonod.client.wire.times import Times, UtcMapping
from sonod.daemon.sockets import LINGER_MS

TIMEOUT_S = 20
NO_BROWSER = "chromium is not installed (apt-get install chromium)"
LABEL = "document.getElementById('picture').getAttribute('aria-label')"
OPEN = (
    "(() => { const view = document.getElementById('view'); view.value = 'rf';"
    "view.dispatchEvent(new Event('change')); })()"
)


def raw_frame(samples: NDArray[Any], demodulation_hz: float = 0.0) -> RawFrame:
    header = FrameHeader(
        product="rf",
        frame=7,
        session="s",
        revision=1,
        probe="p",
        shape=samples.shape,
        dtype=samples.dtype.name,
        geometry=raw_geometry(samples.shape, 20e6, demodulation_hz),
        times=Times(1, 2, 3, 4, 5, UtcMapping(1, 2)),
    )
    return RawFrame(encode_header(header), samples.tobytes())


async def trace(socket: aiohttp.ClientWebSocketResponse, transmit: int, channel: int) -> tuple[Any, NDArray[np.int16]]:
    """Header and samples of the next frame that is of this trace."""
    while True:
        message = await socket.receive(TIMEOUT_S)
        if message.type is not aiohttp.WSMsgType.BINARY:
            assert message.type is aiohttp.WSMsgType.TEXT, message
            continue
        (length,) = struct.unpack_from("<I", message.data)
        header = json.loads(message.data[4 : 4 + length])
        await socket.send_json({"ack": "rf"})
        if (header["geometry"]["transmit"], header["geometry"]["channel"]) == (transmit, channel):
            return header, np.frombuffer(message.data[4 + length :], "<i2")


def test_refused_subscription_is_an_event_for_those_who_look() -> None:
    """Should all variants be in use, the pane stays empty, and the page shows the error."""

    async def scenario() -> dict[str, Any]:
        context = zmq.asyncio.Context()
        feed = None
        try:
            publisher = context.socket(zmq.XPUB)
            publisher.bind("tcp://127.0.0.1:*")
            feed = Feed(context, publisher.getsockopt_string(zmq.LAST_ENDPOINT))
            mailbox = Mailbox()
            feed.join(mailbox)
            feed.look(mailbox, frozenset({"rf"}))
            running = asyncio.create_task(feed.run())
            while b"+rate-" not in (wish := await publisher.recv()):
                pass
            notice = EventNotice("s", "p", "subscription_refused", "16 others are in use", "error")
            await publisher.send_multipart([wish[1:], encode_notice(notice), b""])
            heard: dict[str, Any] = json.loads(await asyncio.wait_for(mailbox.take(), TIMEOUT_S))
            running.cancel()
            return heard
        finally:
            if feed is not None:
                feed.close()
            context.destroy(linger=LINGER_MS)

    heard = asyncio.run(scenario())
    assert (heard["kind"], heard["notice"]["event"]) == ("notice", "subscription_refused")
    assert heard["notice"]["message"] == "16 others are in use"


def test_each_browser_gets_the_one_trace_that_it_looks_at() -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        [raw] = [data for product, data, _ in raw_scene(1, daemon.values) if product == "rf"]
        async with serving(daemon) as client, client.live() as first, client.live() as second:
            await first.send_json({"want": ["rf"]})
            header, samples = await trace(first, 0, 2)
            np.testing.assert_array_equal(samples, raw[0, 2])
            assert header["shape"] == [2000]
            assert header["geometry"]["channels"] == 4
            await second.send_json({"want": ["bmode", "rf"], "trace": [1, 3]})
            np.testing.assert_array_equal((await trace(second, 1, 3))[1], raw[1, 3])
            # While nothing new comes, another choice is answered all the same.
            daemon.stalled.set()
            await first.send_json({"want": ["rf"], "trace": [1, 0]})
            np.testing.assert_array_equal((await trace(first, 1, 0))[1], raw[1, 0])

    with FakeDaemon(raw_scene) as daemon:
        asyncio.run(scenario(daemon))


def test_raw_frames_are_asked_for_a_few_a_second_and_only_while_somebody_looks() -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client, client.live() as socket:
            await socket.send_json({"want": ["rf"]})
            while {prefix for prefix in daemon.subscribed if b"rf" in prefix} != {b"sonod.1+rate-5.rf."}:
                await trace(socket, 0, 2)
            await socket.send_json({"want": ["bmode"]})
            while any(b"rf" in prefix for prefix in daemon.subscribed):
                await socket.receive(TIMEOUT_S)
                await socket.send_json({"ack": "bmode"})

    with FakeDaemon(raw_scene) as daemon:
        asyncio.run(scenario(daemon))


@pytest.mark.parametrize(("asked", "got"), [((9, 9), (1, 2)), ((-5, -7), (0, 0)), ((0, -1), (0, 1))])
def test_a_trace_that_is_not_there_becomes_the_nearest(asked: tuple[int, int], got: tuple[int, int]) -> None:
    header, _ = raw_frame(np.zeros((2, 3, 10), np.int16)).cut(asked)
    geometry = json.loads(header)["geometry"]
    assert (geometry["transmit"], geometry["channel"]) == got


def test_iq_keeps_both_parts_and_the_bytes_become_little_endian() -> None:
    samples = np.arange(2 * 3 * 5 * 2, dtype=np.float32).reshape(2, 3, 5, 2)
    header, payload = raw_frame(samples, 5e6).cut((1, 2))
    assert json.loads(header)["shape"] == [5, 2]
    assert json.loads(header)["geometry"]["demodulation_hz"] == 5e6
    np.testing.assert_array_equal(np.frombuffer(payload, "<f4").reshape(5, 2), samples[1, 2])


def test_what_is_no_raw_frame_is_refused() -> None:
    header, _ = raw_frame(np.zeros((1, 1, 8), np.int16)).cut((0, 0))
    with pytest.raises(WireError, match=r"geometry\.kind"):
        RawFrame(header, b"")


def test_a_malformed_choice_ends_the_connection_and_nothing_else() -> None:
    async def scenario(daemon: FakeDaemon) -> None:
        async with serving(daemon) as client:
            for wrong in ([1], [1, 2, 3], "first", [0.5, 1]):
                async with client.live() as socket:
                    await socket.send_json({"want": ["rf"], "trace": wrong})
                    while (message := await socket.receive(TIMEOUT_S)).type != aiohttp.WSMsgType.CLOSE:
                        assert message.type is aiohttp.WSMsgType.TEXT
                    assert message.data == aiohttp.WSCloseCode.POLICY_VIOLATION
            async with client.live() as socket:
                await socket.send_json({"want": ["rf"], "trace": [0, 1]})
                await trace(socket, 0, 1)

    with FakeDaemon(raw_scene) as daemon:
        asyncio.run(scenario(daemon))


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason=NO_BROWSER)
def test_the_pane_shows_a_trace_its_clipping_and_its_spectrum() -> None:
    async def scenario(browser: Chromium) -> None:
        await browser.evaluate(OPEN)
        await browser.until(f"{LIVE} && {LABEL}.startsWith('Raw echoes')")
        assert await browser.evaluate(text("raw-channel-shown")) == "3 of 4"
        words = await browser.evaluate(text("raw-words"))
        assert "plane wave at 0.0°" in words
        assert "2000 samples at 40.00 MHz" in words
        assert "none clipped" in words
        await browser.evaluate(move_slider("raw-transmit", 1))
        await browser.evaluate(move_slider("raw-channel", 3))
        await browser.until(f"/[1-9]\\d* clipped/.test({text('raw-words')})")
        # The sine of 8 MHz: cut off, and still strongest there.
        found = re.search(r"centre (\d+\.\d+)", await browser.evaluate(LABEL))
        assert found is not None
        assert float(found[1]) == pytest.approx(8, abs=0.1)
        # Calipers measure pictures, and losses are not those of a stream of which a part was asked for.
        assert await browser.evaluate("document.querySelector('[data-tool=distance]').disabled")
        await browser.until(f"{text('lost-page')} === '–'")

    watch(FakeDaemon(raw_scene), scenario)


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason=NO_BROWSER)
def test_while_frozen_the_arrows_never_turn_the_depth() -> None:
    daemon = FakeDaemon(raw_scene)

    async def scenario(browser: Chromium) -> None:
        # Of raw echoes no pictures are kept, so that there is nothing to scroll through.
        await browser.evaluate(OPEN)
        await browser.until(f"{LIVE} && {LABEL}.startsWith('Raw echoes')")
        await browser.press(" ")
        await browser.until("document.getElementById('stage').dataset.freshness === 'frozen'")
        for key in ("ArrowLeft", "ArrowRight", "ArrowRight"):
            await browser.press(key)
        await browser.press(" ")
        await browser.until(LIVE)
        assert not [request for request in daemon.requests if request.command == "set"]

    watch(daemon, scenario)


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason=NO_BROWSER)
def test_what_delivers_pictures_only_is_said_to_have_no_raw_data() -> None:
    async def scenario(browser: Chromium) -> None:
        await browser.evaluate(OPEN)
        await browser.until(f"{BANNER}.startsWith('NO RAW DATA')")

    watch(FakeDaemon(linear_scene), scenario)


@pytest.mark.browser
@pytest.mark.skipif(chromium_path() is None, reason=NO_BROWSER)
def test_a_sine_as_large_as_the_converter_is_at_0_db_and_iq_lies_around_its_carrier() -> None:
    async def scenario(browser: Chromium) -> None:
        levels = """(async () => {
            const { spectrum, band, converterBits, clipped } = await import('/spectrum.js');
            const sine = (hertz, turn) => Float64Array.from({length: 4096},
                (_, n) => 2048 * Math.cos(2 * Math.PI * hertz * n / 40e6 - turn));
            const rf = band(spectrum(sine(5e6, 0), null, 40e6, 0, 2048));
            const iq = band(spectrum(sine(2.5e6, 0), sine(2.5e6, Math.PI / 2), 40e6, 6e6, 2048));
            const silence = band(spectrum(new Float64Array(100), null, 40e6, 0, 1));
            const short = spectrum(new Float64Array([1]), null, 40e6, 0, 1).decibels.every(Number.isFinite);
            return [rf.peakHz, rf.levelDb, iq.peakHz, iq.levelDb, silence, short,
                converterBits('int16', 512), converterBits('int16', 513), converterBits('float32', 1),
                clipped([-512, 0, 511, 510], [-512, 511])];
        })()"""
        *found, silence, short, bits, more, none, places = await browser.evaluate(levels)
        assert found == pytest.approx([5e6, 0, 8.5e6, 0], abs=0.01)
        assert (silence, short, bits, more, none, places) == (None, True, 10, 12, None, [0, 2])

    watch(FakeDaemon(linear_scene), scenario)
