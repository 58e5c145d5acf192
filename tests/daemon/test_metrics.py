"""The metrics page: what a scrape says, and that nobody can do harm with it."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from daemon_bench import PATIENCE_S, Bench
from prometheus_client.parser import text_string_to_metric_families

from sonod.daemon import metrics
from sonod.daemon.app import Daemon
from sonod.daemon.errors import ConfigError, EndpointError
from sonod.drivers.link_counters import LinkCounters

REPOSITORY = Path(__file__).resolve().parents[2]
ON = {"enabled": True, "port": 0}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def bench(start: Callable[..., Bench]) -> Bench:
    return start(metrics=ON)


def url_of(bench: Bench) -> str:
    assert bench.daemon._metrics is not None
    return bench.daemon._metrics.url


def scrape(bench: Bench) -> Samples:
    with urlopen(url_of(bench), timeout=PATIENCE_S) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def test_frames_losses_and_durations_are_counted(bench: Bench) -> None:
    frames = bench.frames()
    bench.driver.deliver(5)
    for _ in range(5):
        next(frames)
    # The last one is counted when it is sent, and may be here before that.
    deadline_s = time.monotonic() + PATIENCE_S
    while value(samples := scrape(bench), "sonod_stream_messages_total", stream="bmode") < 5:
        assert time.monotonic() < deadline_s
    assert value(samples, "sonod_frames_total") == 5
    assert value(samples, "sonod_frames_processed_total") == 5
    assert value(samples, "sonod_stream_messages_total", stream="bmode") == 5
    assert value(samples, "sonod_stream_dropped_total", stream="bmode") == 0
    assert value(samples, "sonod_subscriber_connections") >= 1
    for cause in ("device", "ring", "processing"):
        assert value(samples, "sonod_frames_lost_total", cause=cause) == 0
    assert value(samples, "sonod_stage_runs_total", stage="processing") == 5
    for leg in ("first_to_last_byte", "last_byte_to_dequeued", "dequeued_to_processed", "processed_to_published"):
        median = value(samples, "sonod_frame_latency_seconds", leg=leg, quantile="0.5")
        assert 0 <= median <= value(samples, "sonod_frame_latency_seconds", leg=leg, quantile="1")
    assert value(samples, "sonod_product_wanted", product="bmode") == 1
    assert value(samples, "sonod_product_wanted", product="rf") == 0


def test_device_and_process_are_described(bench: Bench) -> None:
    samples = scrape(bench)
    assert value(samples, "sonod_state", state="running") == 1
    assert value(samples, "sonod_state", state="recovering") == 0
    assert value(samples, "sonod_health", health="good") == 1
    assert value(samples, "process_resident_memory_bytes") > 1e6
    assert value(samples, "process_open_fds") > 3
    assert not [name for name, _ in samples if "temperature" in name]
    info = next(dict(labels) for name, labels in samples if name == "sonod_info")
    assert info["driver"] == "picture:"


def test_temperature_is_told_where_the_board_reports_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(bench.driver), "temperature_c", 31.5)
    assert value(scrape(bench), "sonod_device_temperature_celsius") == 31.5
    assert bench.control.status().values["device"]["temperature_c"] == 31.5


def test_what_goes_wrong_at_the_device_is_told_by_its_cause(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(bench.driver), "link_counters", LinkCounters(missing=3, bytes_skipped=777))
    samples = scrape(bench)
    assert value(samples, "sonod_device_link", event="missing") == 3
    assert value(samples, "sonod_device_link", event="bytes_skipped") == 777
    assert bench.control.status().values["device"]["link"] == {
        "missing": 3,
        "device_drops": 0,
        "damaged": 0,
        "duplicates": 0,
        "bytes_skipped": 777,
        "errors": 0,
        "halts": 0,
    }


def test_page_documents_every_metric(bench: Bench) -> None:
    page = (REPOSITORY / "docs/service.md").read_text()
    documented = set(re.findall(r"^\| `((?:sonod|process)_\w+)", page, re.MULTILINE))
    found = {name for name, _ in scrape(bench)} | {"sonod_device_temperature_celsius"}
    bench.driver.deliver()
    assert found <= documented
    assert {
        name
        for name in documented - found
        if not name.startswith(("sonod_frame_latency", "sonod_stage", "sonod_stream"))
    } == set()


def test_dashboard_asks_for_metrics_that_exist() -> None:
    page = (REPOSITORY / "docs/service.md").read_text()
    documented = set(re.findall(r"^\| `((?:sonod|process)_\w+)", page, re.MULTILINE))
    board = json.loads((REPOSITORY / "docs/grafana-dashboard.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert {name for text in asked for name in re.findall(r"(?:sonod|process)_\w+", text)} <= documented


def test_silent_client_holds_up_neither_the_next_nor_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics._Handler, "timeout", 0.1)
    address = urlsplit(url_of(bench))
    with socket.create_connection((address.hostname, address.port)):
        assert scrape(bench)
    # Refused, perhaps before all of it was sent.
    with pytest.raises(OSError, match=r"HTTP Error|Broken pipe|reset"):
        urlopen(Request(url_of(bench), data=b"x" * 1000, method="POST"), timeout=PATIENCE_S)
    assert scrape(bench)


def test_port_in_use_is_named_and_nothing_stays_behind(bench: Bench, make_daemon: Callable[..., Daemon]) -> None:
    port = urlsplit(url_of(bench)).port
    with pytest.raises(EndpointError, match=rf"metrics: cannot listen on 127.0.0.1:{port}"):
        make_daemon(metrics={"enabled": True, "port": port})


def test_other_addresses_are_refused(make_daemon: Callable[..., Daemon]) -> None:
    with pytest.raises(ConfigError, match=r"metrics.host: must be an address of this machine"):
        make_daemon(metrics={"enabled": True, "host": "0.0.0.0"})
