"""The daemon ends on request whatever a driver does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import pytest
from picture_driver import PictureDriver

from sonod.daemon import app
from sonod.daemon.app import Daemon


def test_stop_does_not_wait_for_a_device_that_is_slow_to_open(
    make_daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LEAVE_TIMEOUT_S", 0.05)
    daemon = make_daemon()
    driver = cast(PictureDriver, daemon.driver)
    entered, hold = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        hold.wait(10)

    monkeypatch.setattr(driver, "_open", slow)
    leave = threading.Event()
    starter = threading.Thread(target=daemon.start, args=(leave,))
    starter.start()
    assert entered.wait(10)
    leave.set()
    starter.join(10)
    assert not starter.is_alive()
    assert "reader" in daemon.stop()
    hold.set()
    monkeypatch.undo()
    assert daemon.stop() == ()


def test_stop_twice_is_allowed(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.start()
    assert daemon.stop() == ()
    assert daemon.stop() == ()


def test_daemon_that_never_began_leaves_nothing_behind(make_daemon: Callable[..., Daemon]) -> None:
    assert make_daemon().stop() == ()
