"""The table of faults in docs/hardware.md, to be held against an emulated front-end: what is typed, how reading ends,
and every counter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sonod.drivers import errors
from sonod.drivers.bulk.driver import BulkDriver
from sonod.drivers.emulated.server import short_as
from sonod.drivers.frame import Slot
from sonod.drivers.transports.usb import Stalled

PAGE = Path(__file__).parents[1] / "docs" / "hardware.md"
COUNTERS = ("lost", "device_drops", "crc_errors", "bytes_skipped", "duplicates")
TRANSFER_COUNTERS = ("errors", "halts")
# So many frames after the fault; more than are on their way when it is set.
FRAMES = 12
# Frames that may have come before a fault that ends the stream.
MOST_WAITING = 200


@dataclass(frozen=True)
class Row:
    """One fault: the line that makes it, the error in which it ends ('' = frames go on), the counters."""

    command: str
    ends: str
    says: str
    counters: dict[str, str]


def rows() -> list[Row]:
    text = PAGE.read_text("utf-8").split("<!-- faults -->")[1]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    names = [cell.strip(" `") for cell in lines[0].split("|")[1:-1]]
    table = []
    for line in lines[2:]:
        cells = dict(zip(names, (cell.strip() for cell in line.split("|")[1:-1]), strict=True))
        ends = re.fullmatch(r"frames go on|`(\w+)`(?:, \"(.+)\")?", cells["what the driver does"])
        assert ends, line
        counters = {name: cells[name] for name in (*COUNTERS, *TRANSFER_COUNTERS)}
        table.append(Row(cells["typed"].strip("`"), ends[1] or "", ends[2] or "", counters))
    return table


def hold(row: Row, driver: BulkDriver, slot: Slot, ask: Callable[[dict[str, Any]], object], timeout_s: float) -> None:
    """Make the fault on a driver that streams, and compare what comes of it with the table."""
    for _ in range(2):
        driver.read_into(slot, timeout_s)
    ask(short_as(row.command))
    stream = driver._stream
    assert stream is not None
    if row.ends:
        kind = Stalled if row.ends == "Stalled" else getattr(errors, row.ends)
        with pytest.raises(kind, match=row.says or None):
            read(driver, slot, MOST_WAITING, timeout_s)
    else:
        read(driver, slot, FRAMES, timeout_s)
    plan = driver._plan
    assert plan is not None
    seen = {name: getattr(driver.stream_counters, name) for name in COUNTERS}
    seen |= {name: getattr(stream.counters, name) for name in TRANSFER_COUNTERS}
    message = 64 + plan.payload_bytes
    wanted = {name: eval(text, {"message": message}) for name, text in row.counters.items()}
    assert seen == wanted, json.dumps({"fault": row.command, "seen": seen, "message": message})
    shots = len(plan.table.shots)
    # Frames that lack a shot, none, one or two for losses of up to four shots.
    assert driver.counters.lost == -(-seen["lost"] // shots), "a frame that lacks a shot is one lost frame"


def read(driver: BulkDriver, slot: Slot, frames: int, timeout_s: float) -> None:
    for _ in range(frames):
        driver.read_into(slot, timeout_s)
