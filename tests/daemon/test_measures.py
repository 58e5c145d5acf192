"""Small counters: stage durations, frame rate, the session's clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from wire_messages import HEADER

from sonod.daemon.bench.delivery import measure_delivery
from sonod.daemon.ledger import Ledger
from sonod.daemon.rate import FrameRate
from sonod.daemon.stages import StageTable

MS = 1_000_000


def test_stage_table_keeps_last_mean_and_greatest() -> None:
    table = StageTable()
    for duration in (3, 9, 6):
        table.add("beamform", duration)
    table.add("detect", 1)
    assert table.block()["beamform"] == {"last_ns": 6, "mean_ns": 6, "max_ns": 9, "count": 3}
    assert list(table.block()) == ["beamform", "detect"]


def test_frame_rate_is_that_of_the_last_frames() -> None:
    rate = FrameRate()
    assert rate.hertz(0) == 0.0
    for index in range(100):
        rate.add(index * 20 * MS)
    assert rate.hertz(99 * 20 * MS) == 50.0


def test_frame_rate_falls_to_zero_when_frames_stop() -> None:
    rate = FrameRate()
    for index in range(3):
        rate.add(index * 1000 * MS)
    assert rate.hertz(4000 * MS) == 1.0
    assert rate.hertz(6000 * MS) == 0.0


def test_ledger_tells_percentiles_of_each_leg() -> None:
    ledger = Ledger()
    for index in range(1, 101):
        begun = 1000 * index
        times = replace(HEADER.times, first_byte_ns=begun, last_byte_ns=begun + index, transmit_ns=None)
        ledger.add(times, begun + 500)
    block = ledger.block()
    assert block["first_to_last_byte"] == {"p50_ns": 50, "p99_ns": 99, "max_ns": 100, "count": 100}
    assert "transmit_to_published" not in block
    assert next(iter(block)) == "first_to_last_byte"


def test_delivery_is_measured_without_a_word_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    """Where `--json` writes."""
    result = measure_delivery(0.1)
    assert result.frames > 0
    assert min(result.sonod_p50_ms, result.bare_p50_ms) > 0
    assert capfd.readouterr().out == ""
