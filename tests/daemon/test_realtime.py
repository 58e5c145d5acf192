"""Real-time rights: taken where they are given, and one line where they are not."""

from __future__ import annotations

import ctypes
import io
import json
import os
import resource
from collections.abc import Callable
from typing import Any

import pytest
from daemon_bench import Bench

from sonod.daemon.realtime import lock_memory, privilege_thread


def refuse(*arguments: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_refused_priority_is_one_line_with_its_remedy(monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> None:
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    privilege_thread("reader", 50, ())
    (line,) = lines(log)
    assert (line["event"], line["thread"], line["wanted"]) == ("realtime_refused", "reader", "SCHED_FIFO 50")
    assert "LimitRTPRIO" in line["remedy"]


def test_processor_that_is_not_there_is_named(log: io.StringIO) -> None:
    privilege_thread("runner", 0, (4095,))
    (line,) = lines(log)
    assert (line["event"], line["wanted"]) == ("affinity_refused", [4095])
    assert "realtime.runner_cpus" in line["remedy"]


def test_nothing_is_asked_for_by_default(monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> None:
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    privilege_thread("reader", 0, ())
    assert lines(log) == []


def test_daemon_runs_on_when_everything_is_refused(
    start: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (65536, 65536))
    wishes = {"reader_priority": 50, "runner_priority": 40, "reader_cpus": [4095], "lock_memory": True}
    bench = start(realtime=wishes)
    frames = bench.frames()
    bench.driver.deliver()
    next(frames)
    refused = [line["event"] for line in lines(log) if line["event"].endswith("_refused")]
    assert sorted(refused) == ["affinity_refused", "memory_lock_refused", "realtime_refused", "realtime_refused"]


def test_memory_is_not_locked_below_a_limit(monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (8 << 20, 8 << 20))
    assert not lock_memory()
    assert lines(log)[0]["reason"] == "the limit is 8192 KiB"


@pytest.mark.parametrize("answer", [0, -1])
def test_memory_lock_tells_what_came_of_it(monkeypatch: pytest.MonkeyPatch, log: io.StringIO, answer: int) -> None:
    class Library:
        def mlockall(self, flags: int) -> int:
            ctypes.set_errno(1)
            return answer

    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert lock_memory(Library) is (answer == 0)  # type: ignore[arg-type]
    assert lines(log)[0]["event"] == ("memory_locked" if answer == 0 else "memory_lock_refused")
