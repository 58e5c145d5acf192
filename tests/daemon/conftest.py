"""Daemons at addresses of their own, stopped at the end of the test."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from daemon_bench import BASE, LONG_PATIENCE_S, PATIENCE_S, Bench, threads
from picture_driver import PictureDriver

from sonod import drivers
from sonod.client.control import Control
from sonod.client.subscriber import Subscriber
from sonod.daemon.app import Daemon
from sonod.daemon.config import parse_config
from sonod.daemon.log import configure_logging


@pytest.fixture(autouse=True)
def _quiet_log() -> io.StringIO:
    stream = io.StringIO()
    configure_logging("debug", "json", stream)
    return stream


@pytest.fixture
def log(_quiet_log: io.StringIO) -> io.StringIO:
    return _quiet_log


@pytest.fixture
def make_daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Daemon]]:
    """Makes daemons on the picture driver that are stopped at the end; sections override BASE."""
    monkeypatch.setitem(drivers.TABLE, "picture", "picture_driver:PictureDriver")
    made: list[Daemon] = []

    def make(**sections: dict[str, Any]) -> Daemon:
        values = {name: {**BASE.get(name, {}), **sections.get(name, {})} for name in {*BASE, *sections}}
        daemon = Daemon(parse_config(values))
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        deadline_s = time.monotonic() + LONG_PATIENCE_S
        # On a machine with little time threads may need longer than `stop` gives them; they must end all the same.
        while stuck := daemon.stop():
            assert time.monotonic() < deadline_s, f"threads that do not end: {stuck}"
    assert not threads()


@pytest.fixture
def start(make_daemon: Callable[..., Daemon]) -> Iterator[Callable[..., Bench]]:
    """Starts daemons; `prepare` may load the driver with faults before it is opened."""
    benches: list[Bench] = []

    def launch(prepare: Callable[[PictureDriver], None] | None = None, **sections: dict[str, Any]) -> Bench:
        daemon = make_daemon(**sections)
        driver = cast(PictureDriver, daemon.driver)
        if prepare is not None:
            prepare(driver)
        daemon.start()
        addresses = daemon.addresses
        bench = Bench(daemon, driver, Control(addresses.control, PATIENCE_S), Subscriber(addresses.frames[0]))
        benches.append(bench)
        return bench

    yield launch
    for bench in benches:
        bench.control.close()
        bench.subscriber.close()


@pytest.fixture
def bench(start: Callable[..., Bench]) -> Bench:
    return start()
