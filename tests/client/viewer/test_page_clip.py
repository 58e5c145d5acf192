"""Saving a clip from the page, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from chromium import Chromium, chromium_path
from fake_daemon import FakeDaemon, linear_scene
from watched_page import FRESHNESS, text, watch

from sonod.client.wire.control import Problem

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium_path() is None, reason="chromium is not installed (apt-get install chromium)"),
]

RESULT = text("clip-result")
BUTTON = "document.getElementById('clip-save')"
OUTCOME = {"path": "/data/clip-1", "frames": 360, "pictures": 359, "complete": True, "reason": "", "failed": False}


def ended(**facts: Any) -> dict[str, Any]:
    """A clip that is over, as `status` has it."""
    return {"active": False, "path": None, "last": OUTCOME | facts}


def sent(daemon: FakeDaemon, command: str) -> list[Any]:
    """The arguments of the requests of one kind."""
    return [request.arguments for request in daemon.requests if request.command == command]


def fill(identity: str, value: str) -> str:
    """JavaScript that fills in a field as a hand does."""
    return (
        f"(() => {{ const field = document.getElementById('{identity}'); field.value = {value!r};"
        "field.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def test_a_clip_is_saved_with_its_mark_while_frozen() -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        assert await browser.evaluate("document.getElementById('clip-site').disabled")
        for identity, value in (
            ("clip-phase", "guidance"),
            ("clip-site", "Carpal tunnel"),
            ("clip-side", "left"),
            ("clip-note", "tip at the nerve"),
        ):
            await browser.evaluate(fill(identity, value))
        await browser.press(" ")
        await browser.until(f"{FRESHNESS} === 'frozen'")
        await browser.press("k")
        await browser.until(f"{RESULT} === 'Saving clip-1 …'")
        await browser.until("document.getElementById('clip-note').value === ''")
        assert await browser.evaluate(f"{BUTTON}.disabled")
        await browser.press("k")
        daemon.clip = ended()
        await browser.until(f"{RESULT} === 'Saved as clip-1: 359 pictures, 360 raw frames'")
        assert not await browser.evaluate(f"{BUTTON}.disabled")
        assert sent(daemon, "clip") == [{"before_s": 10, "after_s": 2}]
        mark = {"phase": "guidance", "site": "carpal-tunnel", "side": "left", "text": "tip at the nerve"}
        assert sent(daemon, "mark") == [mark]

    watch(daemon, scenario)


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"failed": True, "reason": "disk full"}, "Not saved: disk full"),
        ({"complete": False, "reason": "3 overwritten"}, "Saved as clip-1, but incomplete: 3 overwritten"),
        ({"path": "/data/another"}, "Not saved: the daemon ended while it saved clip-1"),
    ],
)
def test_a_clip_that_fails_says_why(facts: dict[str, Any], line: str) -> None:
    daemon = FakeDaemon(linear_scene)

    async def scenario(browser: Chromium) -> None:
        await browser.evaluate(f"{BUTTON}.click()")
        await browser.until(f"{RESULT}.startsWith('Saving')")
        daemon.clip = ended(**facts)
        await browser.until(f"{RESULT} === {line!r}")
        assert await browser.evaluate("document.getElementById('clip-result').dataset.state") == "failed"
        assert sent(daemon, "mark") == []

    watch(daemon, scenario)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (Problem("busy", "the clip /data/knee is being saved; wait for it"), "wait for it"),
        (Problem("refused", "clip: path: give one, or configure record.folder"), "sonod run --record-folder clips"),
    ],
)
def test_a_clip_that_is_refused_says_what_to_do(problem: Problem, words: str) -> None:
    async def scenario(browser: Chromium) -> None:
        await browser.press("k")
        await browser.until(f"{RESULT}.startsWith('Not saved: ') && {RESULT}.includes({words!r})")
        assert not await browser.evaluate(f"{BUTTON}.disabled")

    watch(FakeDaemon(linear_scene, clip_refusal=problem), scenario)
