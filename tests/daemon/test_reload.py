"""A changed configuration file: used as a whole, or not at all with the reason."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from daemon_bench import BASE, PATIENCE_S, Bench, threads
from picture_driver import PictureDriver

from sonod import drivers
from sonod.client.control import Control
from sonod.client.subscriber import Subscriber
from sonod.daemon.app import Daemon
from sonod.daemon.reload import Source

Edit = Callable[[str], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sonod.toml"
    path.write_text("[settings]\ndepth_m = 0.04\n")
    return path


@pytest.fixture
def bench(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A daemon with a configuration file."""
    monkeypatch.setitem(drivers.TABLE, "picture", "picture_driver:PictureDriver")
    source = Source(file, BASE)
    daemon = Daemon(source.read(), source)
    daemon.start()
    addresses = daemon.addresses
    made = Bench(
        daemon,
        cast(PictureDriver, daemon.driver),
        Control(addresses.control, PATIENCE_S),
        Subscriber(addresses.frames[0]),
    )
    # No frames flow, so that no change waits for its first one.
    made.control.freeze()
    yield made
    made.control.close()
    made.subscriber.close()
    daemon.stop()
    assert not threads()


def settings(bench: Bench) -> dict[str, Any]:
    return dict(bench.control.get().settings)


def refusals(log: io.StringIO) -> list[str]:
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [problem for line in lines if line["event"] == "reload_refused" for problem in line["problems"]]


def test_changed_setting_is_used(bench: Bench, file: Path) -> None:
    file.write_text("[settings]\ndepth_m = 0.06\ngain_db = 3.0\n")
    assert bench.daemon.reload()
    assert (settings(bench)["depth_m"], settings(bench)["gain_db"]) == (0.06, 3.0)
    file.write_text("[settings]\ngain_db = 3.0\n")
    assert bench.daemon.reload()
    assert settings(bench)["depth_m"] == 0.05


def test_what_the_file_did_not_change_stays_as_people_have_set_it(bench: Bench, file: Path) -> None:
    bench.control.set({"depth_m": 0.08})
    file.write_text("[settings]\ndepth_m = 0.04\ngain_db = 1.0\n")
    assert bench.daemon.reload()
    assert (settings(bench)["depth_m"], settings(bench)["gain_db"]) == (0.08, 1.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[settings]\ndepth_m = 9\n", "settings.depth_m: must be in"),
        ("[settings]\ndepth_m = 0.01\n", "settings.depth_m: must be in 0.02..0.1"),
        ("[driver]\nur = 1\n", "driver.ur: unknown key"),
        ("[acquire]\nwaiting_frames = 2\n[image]\nrows = 99\n", "image: this change needs a restart"),
        ("nonsense", "not TOML"),
    ],
)
def test_bad_file_changes_nothing_and_says_why(
    bench: Bench, file: Path, log: io.StringIO, text: str, problem: str
) -> None:
    before = settings(bench)
    file.write_text(text)
    assert not bench.daemon.reload()
    assert settings(bench) == before
    assert bench.control.status().state == "frozen"
    assert any(problem in line for line in refusals(log)), refusals(log)
    file.write_text("[settings]\ndepth_m = 0.06\n")
    assert bench.daemon.reload()
    assert settings(bench)["depth_m"] == 0.06


def test_refusal_is_an_event_for_clients(bench: Bench, file: Path) -> None:
    file.write_text("nonsense")
    notice = bench.event("reload_refused", bench.daemon.reload)
    assert notice.level == "error"
    assert "not TOML" in notice.message


def test_missing_file_changes_nothing(bench: Bench, file: Path, log: io.StringIO) -> None:
    file.unlink()
    assert not bench.daemon.reload()
    assert "cannot be read" in refusals(log)[0]


def test_without_a_probe_settings_wait(file: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> None:
    monkeypatch.setitem(drivers.TABLE, "picture", "picture_driver:PictureDriver")
    source = Source(file, BASE)
    daemon = Daemon(source.read(), source)
    cast(PictureDriver, daemon.driver).open_errors = [OSError("not there") for _ in range(10_000)]
    daemon.start()
    file.write_text("[settings]\ndepth_m = 0.06\n")
    assert not daemon.reload()
    daemon.stop()
    assert refusals(log) == ["settings: no probe has been opened yet; reload again when one is"]
