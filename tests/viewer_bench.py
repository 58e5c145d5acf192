"""How late pictures are on the page, and what the gateway costs: `python tests/viewer_bench.py [--seconds 20]`.

A daemon of the wire functions alone publishes 512 x 512 pixels 60 times a second; the gateway and Chromium are programs
of their own. Published to painted: from the header's `published_ns` until the animation frame that has drawn it ends,
on one clock. Then the same while nine more viewers look, one of which never reads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import fake_daemon
import numpy as np
from chromium import Chromium
from fake_daemon import FakeDaemon, Product
from viewer_client import viewer_process

from sonod.client.wire.geometry import ImageGeometry

RATE_HZ = 60.0
SIDE = 512
OTHERS = 9
SETTLE_S = 3.0
PICTURES = np.random.default_rng(1).integers(0, 255, (8, SIDE, SIDE), np.uint8)
GEOMETRY = ImageGeometry((SIDE, SIDE), (1e-4, 1e-4), (-0.0256, 0.0, 0.0))
LIVE = "document.getElementById('stage')?.dataset.freshness === 'live'"
# What the page has painted, and when; the observer is told in the same animation frame.
WATCH = """
window.painted = [];
document.addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
  window.painted.push([Number(document.getElementById('stage').dataset.frame), performance.now()]);
}).observe(document.getElementById('stage'), {attributes: true, attributeFilter: ['data-frame']}));
"""


def scene(frame: int, settings: Mapping[str, Any]) -> list[Product]:
    return [("bmode", PICTURES[frame % len(PICTURES)], GEOMETRY)]


class TimedDaemon(FakeDaemon):
    """Keeps when each frame was published, and how long that took."""

    def __init__(self) -> None:
        super().__init__(scene, frame_rate_hz=RATE_HZ)
        self.published_ns: dict[int, int] = {}
        self.took_ns: dict[int, int] = {}

    def _publish(self) -> None:
        begun_ns = time.monotonic_ns()
        super()._publish()
        self.published_ns[self.frame] = begun_ns
        self.took_ns[self.frame] = time.monotonic_ns() - begun_ns


@dataclass(frozen=True)
class Result:
    """Of one run; milliseconds, and shares of one core."""

    published_hz: float
    publish_p99_ms: float
    painted_hz: float
    p50_ms: float
    p99_ms: float
    gateway_cpu: float

    def line(self, words: str) -> str:
        return (
            f"{words:<28} published {self.published_hz:5.1f}/s (p99 of a send {self.publish_p99_ms:.2f} ms)   "
            f"painted {self.painted_hz:5.1f}/s   published to painted p50 {self.p50_ms:5.1f} ms, "
            f"p99 {self.p99_ms:5.1f} ms   gateway {100 * self.gateway_cpu:4.1f} % of a core\n"
        )


async def clock_offset_ms(browser: Chromium) -> float:
    """performance.now() + this = monotonic milliseconds; the quickest of many questions."""
    best = (float("inf"), 0.0)
    for _ in range(60):
        before_ns = time.monotonic_ns()
        page_ms = await browser.evaluate("performance.now()")
        after_ns = time.monotonic_ns()
        best = min(best, (after_ns - before_ns, (before_ns + after_ns) / 2e6 - page_ms))
    return best[1]


def cpu_s(process: int) -> float:
    """Processor time of a process so far."""
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def look(url: str, count: int) -> None:
    """More viewers, until the input ends: each takes what comes, but for the last, which never reads."""
    origin = {"Origin": url.rstrip("/")}

    async def one(session: aiohttp.ClientSession, reads: bool) -> None:
        async with session.ws_connect(url + "live", headers=origin, max_msg_size=0) as socket:
            await socket.send_json({"want": ["bmode"]})
            while not reads:
                await asyncio.sleep(1)
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    await socket.send_json({"ack": "bmode"})

    async with aiohttp.ClientSession() as session:
        tasks = [asyncio.create_task(one(session, index < count - 1)) for index in range(count)]
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def others(url: str) -> Iterator[None]:
    """More viewers in a process of their own, of no higher priority than usual: they stand for other machines, and get
    what processor time is left."""

    def usual() -> None:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    command = [sys.executable, __file__, "--look", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, preexec_fn=usual) as process:
        yield
        process.kill()


async def measure(daemon: TimedDaemon, browser: Chromium, gateway: int, seconds: float) -> Result:
    await asyncio.sleep(SETTLE_S)
    offset_ms = await clock_offset_ms(browser)
    await browser.evaluate("window.painted.length = 0")
    first, before_s, begun_s = daemon.frame, cpu_s(gateway), time.monotonic()
    await asyncio.sleep(seconds)
    painted = json.loads(await browser.evaluate("JSON.stringify(window.painted)"))
    taken_s = time.monotonic() - begun_s
    cpu = (cpu_s(gateway) - before_s) / taken_s
    late_ms = [at + offset_ms - daemon.published_ns[frame] / 1e6 for frame, at in painted]
    frames = range(first + 1, daemon.frame)
    p50, p99 = np.percentile(late_ms, [50, 99])
    return Result(
        len(frames) / taken_s,
        float(np.percentile([daemon.took_ns[frame] for frame in frames], 99)) / 1e6,
        len(painted) / taken_s,
        float(p50),
        float(p99),
        cpu,
    )


async def run(seconds: float) -> None:
    with TimedDaemon() as daemon, viewer_process(daemon) as (process, url):
        idle_s = cpu_s(process.pid)
        await asyncio.sleep(SETTLE_S)
        sys.stdout.write(f"gateway, nobody looks: {100 * (cpu_s(process.pid) - idle_s) / SETTLE_S:.1f} % of a core\n")
        async with Chromium() as browser:
            await browser.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
            for words in ("first", "second"):
                await browser.open(url)
                await browser.until(f"window.painted?.length && {LIVE}")
                first_ms = await browser.evaluate("window.painted[0][1]")
                sys.stdout.write(f"{words} load: first picture {first_ms:.0f} ms after the page was asked for\n")
            sys.stdout.write((await measure(daemon, browser, process.pid, seconds)).line("one viewer"))
            sys.stdout.flush()
            with others(url):
                sys.stdout.write(
                    (await measure(daemon, browser, process.pid, seconds)).line(f"and {OTHERS} more, one stuck")
                )
            await browser.open("about:blank")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (default %(default)s)")
    parser.add_argument("--look", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look:
        asyncio.run(look(options.look, OTHERS))
        return
    # Its loop is as fine as the time between two pictures asks for.
    fake_daemon.TICK_MS = 1
    asyncio.run(run(options.seconds))


if __name__ == "__main__":
    main()
