"""Every frame says truly which settings made it: random transactions under load against the device's own log."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from daemon_bench import PATIENCE_S
from logged_driver import LoggedDriver
from picture_driver import COLUMNS, ROWS

from sonod import drivers
from sonod.client.control import Control
from sonod.client.frame import Frame
from sonod.client.replies import AppliedSettings
from sonod.client.subscriber import Subscriber
from sonod.daemon.app import Daemon

TRANSACTIONS = 50
CLIENTS = 3
SEED = 20


def random_changes(chance: random.Random) -> dict[str, Any]:
    """Two to five knobs at once."""
    possible = {
        "depth_m": round(chance.uniform(0.02, 0.1), 4),
        "gain_db": round(chance.uniform(-20, 20), 2),
        "tgc_db": tuple(round(chance.uniform(-10, 10), 1) for _ in range(8)),
        "output_level": round(chance.uniform(0, 1), 3),
        "frame_rate_hz": round(chance.uniform(20, 200), 1),
    }
    names = chance.sample(sorted(possible), chance.randint(2, len(possible)))
    return {name: possible[name] for name in names}


class Observer:
    """Everything that one subscriber gets, from its own thread."""

    def __init__(self, endpoint: str) -> None:
        self.frames: list[Frame] = []
        self.listening = threading.Event()
        self.leaving = threading.Event()
        self._endpoint = endpoint

    def run(self) -> None:
        with Subscriber(self._endpoint) as subscriber:
            for frame in subscriber.frames("bmode", timeout_s=PATIENCE_S):
                self.frames.append(frame)
                self.listening.set()
                if self.leaving.is_set():
                    return


def test_fifty_transactions_under_load_agree_with_the_log_of_the_device(
    make_daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(drivers.TABLE, "logged", "logged_driver:LoggedDriver")
    daemon = make_daemon(driver={"uri": "logged:"}, acquire={"waiting_frames": 4, "read_timeout_s": 0.5})
    daemon.start()
    driver = cast(LoggedDriver, daemon.driver)
    frames, control = daemon.addresses.frames[0], daemon.addresses.control
    observers = [Observer(frames) for _ in range(3)]
    replies: list[AppliedSettings] = []

    def change(seed: int) -> None:
        chance = random.Random(seed)
        with Control(control, 60) as client:
            for _ in range(TRANSACTIONS // CLIENTS + 1):
                replies.append(client.set(random_changes(chance)))
                client.status()

    with Control(control, 60) as client, ThreadPoolExecutor(len(observers) + CLIENTS) as threads:
        first = client.get()
        watching = [threads.submit(observer.run) for observer in observers]
        assert all(observer.listening.wait(PATIENCE_S) for observer in observers)
        for done in [threads.submit(change, SEED + index) for index in range(CLIENTS)]:
            done.result()
        last = client.get()
        for observer in observers:
            observer.leaving.set()
        for done in watching:
            done.result()

    # What each revision means, from the replies alone.
    replies.sort(key=lambda reply: reply.revision)
    assert [reply.revision for reply in replies] == list(range(1, len(replies) + 1))
    assert len(replies) >= TRANSACTIONS
    meaning = {first.revision: dict(first.settings)}
    for reply in replies:
        meaning[reply.revision] = {**meaning[reply.revision - 1], **reply.applied}
    assert meaning[last.revision] == last.settings

    seen: set[int] = set()
    for observer in observers:
        for frame in observer.frames:
            header, logged = frame.header, driver.log[frame.header.frame]
            assert dict(header.settings) == logged.registers == meaning[header.revision]
            # No row was made under other registers, and the shape is that of this depth.
            np.testing.assert_array_equal(frame.data, logged.code)
            assert frame.data.shape == (round(cast(float, logged.registers["depth_m"]) / 0.05 * ROWS), COLUMNS)
            assert frame.header.geometry.shape == frame.data.shape
            seen.add(header.revision)
        order = [(frame.header.frame, frame.header.revision) for frame in observer.frames]
        assert all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(order))
    assert len(seen) > TRANSACTIONS / 3

    # The reply's first frame is the first indeed.
    for reply in replies:
        if reply.first_frame is not None:
            assert driver.log[reply.first_frame].registers == meaning[reply.revision]
            assert driver.log[reply.first_frame - 1].code != driver.log[reply.first_frame].code
