"""What the log says, where, and how much of it."""

from __future__ import annotations

import io
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from daemon_bench import PATIENCE_S, Bench
from picture_driver import PictureDriver

from sonod.daemon import journal
from sonod.daemon.journal import JournalLogger, encode_entry, entry_of, leads_to_journal
from sonod.daemon.log import configure_level, configure_logging, say_always
from sonod.daemon.log_limit import BURST, EVENTS_LIMIT, PERIOD_S, LogLimit
from sonod.drivers.errors import Disconnected

# A minute of any one event, at most.
MOST_A_MINUTE = BURST + int(60 / PERIOD_S)


def passes(limit: LogLimit, event: str, level: str = "info") -> dict[str, Any] | None:
    try:
        return dict(limit(None, level, {"event": event}))
    except structlog.DropEvent:
        return None


def test_repeated_event_is_bounded_and_its_number_is_not_lost() -> None:
    now = [0.0]
    limit = LogLimit(lambda: now[0])
    written: list[dict[str, Any]] = []
    for step in range(6000):
        now[0] = step / 100
        line = passes(limit, "device_lost")
        if line is not None:
            written.append(line)
    assert BURST < len(written) <= MOST_A_MINUTE
    now[0] += PERIOD_S
    last = passes(limit, "device_lost")
    assert last is not None
    told = sum(line.get("suppressed", 0) for line in [*written, last])
    assert len(written) + told == 6000


def test_other_events_are_not_held_up_and_debug_is_not_limited() -> None:
    limit = LogLimit(lambda: 0.0)
    for _ in range(100):
        passes(limit, "noise")
    assert passes(limit, "noise") is None
    assert passes(limit, "ready") == {"event": "ready"}
    assert passes(limit, "noise", "debug") == {"event": "noise"}


def test_endless_new_events_share_one_budget() -> None:
    limit = LogLimit(lambda: 0.0)
    written = [passes(limit, f"event {number}") for number in range(10_000)]
    assert len([line for line in written if line is not None]) <= EVENTS_LIMIT + BURST


def test_flapping_device_does_not_flood_the_log(start: Callable[..., Bench], log: io.StringIO) -> None:
    def flap(driver: PictureDriver) -> None:
        # Every second attempt fails, each time with words of its own, and the device goes away at once.
        driver.open_errors = cast(list[Exception], [OSError(f"failure {number}") for number in range(80)])
        for _ in range(80):
            driver.tokens.put(Disconnected("unplugged"))

    bench = start(flap, acquire={"retry_first_s": 0.001, "retry_longest_s": 0.002})
    driver = bench.driver
    while driver.tokens.qsize() or driver.open_errors:
        bench.control.status()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    lines = [line for line in lines if line["level"] != "debug"]
    assert bench.daemon.reader.recoveries >= 160
    for event in {line["event"] for line in lines}:
        count = sum(line["event"] == event for line in lines)
        assert count <= 2 * MOST_A_MINUTE, event


def test_every_line_says_driver_serial_and_revision(bench: Bench, log: io.StringIO) -> None:
    bench.control.freeze()
    revision = bench.control.set({"depth_m": 0.1}).revision
    structlog.get_logger().warning("something", extra=1)
    line = json.loads(log.getvalue().splitlines()[-1])
    assert line["driver"] == "picture:"
    assert line["revision"] == revision
    say_always(driver=None, revision=None)


def test_level_can_be_changed_while_running(log: io.StringIO) -> None:
    early = structlog.get_logger()
    configure_level("error")
    early.info("not_written")
    early.error("written")
    assert [json.loads(line)["event"] for line in log.getvalue().splitlines()] == ["written"]


def test_journal_entry_has_every_fact_as_a_field() -> None:
    entry = entry_of({"event": "device_lost", "level": "warning", "reason": "cable pulled", "retry_s": 0.5})
    assert entry["MESSAGE"] == 'device_lost reason="cable pulled" retry_s=0.5'
    assert entry["PRIORITY"] == "4"
    assert entry["SONOD_EVENT"] == "device_lost"
    assert entry["SONOD_REASON"] == "cable pulled"
    assert entry["SONOD_RETRY_S"] == "0.5"


def test_entry_with_a_traceback_is_one_entry() -> None:
    entry = entry_of({"event": "fault", "level": "error", "exception": "Traceback:\n  line"})
    assert encode_entry({"MESSAGE": entry["MESSAGE"]}) == (
        b"MESSAGE\n" + (23).to_bytes(8, "little") + b"fault\nTraceback:\n  line\n"
    )
    assert encode_entry({"A": "b"}) == b"A=b\n"


def test_log_goes_to_the_journal_where_systemd_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald, (tmp_path / "stderr").open("w") as stream:
        journald.bind(path)
        journald.settimeout(PATIENCE_S)
        monkeypatch.setattr(journal.JournalLoggerFactory, "__init__", _at(path))
        status = os.fstat(stream.fileno())
        configure_logging("info", "auto", stream, f"{status.st_dev}:{status.st_ino}")
        structlog.get_logger().error("it_happened", value=3)
        fields = journald.recv(4096).decode().splitlines()
    assert "SONOD_EVENT=it_happened" in fields
    assert "PRIORITY=3" in fields
    assert "SONOD_VALUE=3" in fields


def _at(path: str) -> Callable[..., None]:
    def init(self: Any, stream: Any) -> None:
        self._logger = JournalLogger(stream, path)

    return init


def test_without_a_journal_lines_carry_their_priority(tmp_path: Path) -> None:
    stream = io.StringIO()
    JournalLogger(stream, str(tmp_path / "nobody")).error(event="it_happened", level="error")
    assert stream.getvalue() == "<3>it_happened\n"


@pytest.mark.parametrize("told", ["", "1:2", "nonsense"])
def test_another_stream_is_not_the_journal(tmp_path: Path, told: str) -> None:
    with (tmp_path / "file").open("w") as stream:
        assert not leads_to_journal(stream, told)
    assert not leads_to_journal(io.StringIO(), told)
