"""systemd is told that all is well by the thread that reads, and only while all is well."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from daemon_bench import BASE, PATIENCE_S
from picture_driver import PictureDriver

from sonod import drivers
from sonod.daemon import reader
from sonod.daemon.app import Daemon
from sonod.daemon.config import parse_config
from sonod.daemon.environment import Environment
from sonod.daemon.notify import Notifier
from sonod.daemon.reader import Wish
from sonod.daemon.watchdog import Watchdog

PERIOD_S = 4.0
SECOND = 1_000_000_000


class Systemd:
    """The socket that NOTIFY_SOCKET names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(PATIENCE_S)

    def heard(self) -> list[str]:
        """Everything that has come so far."""
        lines: list[str] = []
        self.socket.setblocking(False)
        try:
            while True:
                lines += self.socket.recv(4096).decode().splitlines()
        except BlockingIOError:
            return lines
        finally:
            self.socket.settimeout(PATIENCE_S)

    def wait_for(self, line: str) -> None:
        while line not in self.socket.recv(4096).decode().splitlines():
            pass


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    manager = Systemd(tmp_path / "notify")
    yield manager
    manager.socket.close()


@pytest.fixture
def daemon(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """Watched with so short a period that its threads feed often."""
    monkeypatch.setattr(reader, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setitem(drivers.TABLE, "picture", "picture_driver:PictureDriver")
    environment = replace(Environment.read({}), notify_socket=str(systemd.path), watchdog_s=1.0)
    made = Daemon(parse_config(BASE), environment=environment)
    yield made
    made.stop()


def test_notifications_are_what_systemd_reads(systemd: Systemd) -> None:
    notifier = Notifier(str(systemd.path))
    notifier.ready("running\nwell")
    notifier.status("recovering")
    notifier.status("recovering")
    notifier.well()
    notifier.reloading()
    notifier.stopping()
    heard = systemd.heard()
    assert heard[:5] == ["READY=1", "STATUS=running well", "STATUS=recovering", "WATCHDOG=1", "RELOADING=1"]
    assert heard[5].startswith("MONOTONIC_USEC=")
    assert heard[6:] == ["STOPPING=1"]


def test_notifying_nobody_or_somebody_gone_is_harmless(tmp_path: Path) -> None:
    for address in ("", str(tmp_path / "nobody"), "@nobody-listens-here"):
        notifier = Notifier(address)
        notifier.ready("well")


def test_watchdog_is_fed_at_a_part_of_its_period_and_never_more_often(systemd: Systemd) -> None:
    now = [0]
    watchdog = Watchdog(Notifier(str(systemd.path)), PERIOD_S, lambda: now[0])
    for step in range(81):
        now[0] = step * SECOND // 10
        watchdog.feed()
    assert systemd.heard() == ["WATCHDOG=1"] * 9


def test_silent_thread_ends_the_feeding_and_is_named_once(systemd: Systemd, log: io.StringIO) -> None:
    now = [0]
    watchdog = Watchdog(Notifier(str(systemd.path)), PERIOD_S, lambda: now[0])
    runner, control = watchdog.watch("runner"), watchdog.watch("control")
    for step in range(1, 10):
        now[0] = step * SECOND
        control.beat()
        if step < 3:
            runner.beat()
        watchdog.feed()
    assert len(systemd.heard()) == 4
    assert [json.loads(line)["thread"] for line in log.getvalue().splitlines()] == ["runner"]
    runner.beat()
    watchdog.feed()
    assert systemd.heard() == ["WATCHDOG=1"]


def test_nobody_watching_nothing_is_sent(systemd: Systemd) -> None:
    Watchdog(Notifier(str(systemd.path)), 0.0).feed()
    assert systemd.heard() == []


def test_ready_comes_when_the_device_has_been_tried_and_stopping_when_it_ends(daemon: Daemon, systemd: Systemd) -> None:
    daemon.start()
    systemd.wait_for("READY=1")
    daemon.stop()
    systemd.wait_for("STOPPING=1")


@pytest.mark.parametrize("wish", list(Wish))
def test_healthy_waiting_feeds_the_watchdog(daemon: Daemon, systemd: Systemd, wish: Wish) -> None:
    daemon.start()
    daemon.reader.ask(wish).result(PATIENCE_S)
    systemd.heard()
    for _ in range(3):
        systemd.wait_for("WATCHDOG=1")


def test_waiting_for_a_lost_device_feeds_the_watchdog(daemon: Daemon, systemd: Systemd) -> None:
    driver = cast(PictureDriver, daemon.driver)
    driver.open_errors = [OSError("gone") for _ in range(10_000)]
    daemon.start()
    for _ in range(3):
        systemd.wait_for("WATCHDOG=1")


@pytest.mark.parametrize("place", ["reader", "runner"])
def test_wedged_thread_ends_the_feeding(
    daemon: Daemon, systemd: Systemd, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    driver = cast(PictureDriver, daemon.driver)
    entered, hold = threading.Event(), threading.Event()

    def wedge(*arguments: Any) -> None:
        entered.set()
        hold.wait(PATIENCE_S)

    daemon.start()
    systemd.wait_for("WATCHDOG=1")
    if place == "reader":
        monkeypatch.setattr(driver, "_read_into", wedge)
    else:
        monkeypatch.setattr(daemon._runner, "_process", wedge)
        driver.deliver()
    assert entered.wait(PATIENCE_S)
    if place == "runner":
        # Until its silence is noticed.
        _until(lambda: time.monotonic_ns() - daemon._watchdog.pulses[1].last_ns > SECOND // 2)
    time.sleep(0.05)
    systemd.heard()
    time.sleep(0.6)
    assert "WATCHDOG=1" not in systemd.heard()
    hold.set()
    systemd.wait_for("WATCHDOG=1")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
