"""The driver of docs/writing-a-driver.md, found through its entry point like that of any other package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sonod.drivers import driver_class, driver_names, open_uri
from sonod.drivers.base import Driver
from sonod.drivers.conformance import DriverConformance
from sonod.drivers.errors import DeviceNotFound, ProtocolError
from sonod.drivers.frame import Slot
from sonod.drivers.settings import AppliedBy, default_settings

FOLDER = Path(__file__).parent / "example_driver"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def emulator(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package as if it were installed, and one board plugged in."""
    monkeypatch.syspath_prepend(str(FOLDER))
    from example_board import emulator

    monkeypatch.setitem(emulator.BOARDS, "17", emulator.Board())
    return emulator


class TestExampleBoard(DriverConformance):
    @pytest.fixture(autouse=True)
    def _board(self, emulator: Any) -> None:
        self.board = emulator.BOARDS["17"]

    def make_driver(self) -> Driver:
        return open_uri("example-board:17")

    def unplug(self, driver: Driver) -> bool:
        self.board.unplugged = True
        return True

    def silence(self, driver: Driver) -> bool:
        self.board.silent = True
        return True


def running() -> tuple[Driver, Slot]:
    driver = open_uri("example-board:17")
    driver.open()
    driver.apply(driver.prepare(default_settings(driver.knobs())))
    driver.start()
    return driver, Slot(0)


def test_the_entry_point_makes_it_a_driver_like_any_other() -> None:
    assert "example-board" in driver_names()
    assert driver_class("example-board").__name__ == "ExampleBoard"


def test_its_file_gives_probe_and_ranges() -> None:
    driver, _ = running()
    assert driver.probe.element_count == 16
    knobs = driver.knobs()
    assert set(knobs) == {"depth_m", "gain_db"}
    assert all(knob.applied_by is AppliedBy.DEVICE for knob in knobs.values())
    assert driver.serial == "17"
    driver.close()


def test_frames_that_the_board_dropped_are_counted(emulator: Any) -> None:
    driver, slot = running()
    driver.read_into(slot, 1.0)
    assert slot.lost == 0
    emulator.BOARDS["17"].skip = 3
    driver.read_into(slot, 1.0)
    assert slot.lost == 3
    assert driver.counters.lost == 3
    driver.close()


def test_garbage_is_a_protocol_error(emulator: Any) -> None:
    driver, slot = running()
    emulator.BOARDS["17"].garbage = True
    with pytest.raises(ProtocolError, match="begins with 0x00000000"):
        driver.read_into(slot, 1.0)
    driver.close()


def test_close_leaves_the_board_silent(emulator: Any) -> None:
    driver, slot = running()
    driver.read_into(slot, 1.0)
    assert emulator.BOARDS["17"].transmitting
    driver.close()
    assert not emulator.BOARDS["17"].transmitting


def test_a_board_that_is_not_there_is_not_found() -> None:
    with pytest.raises(DeviceNotFound, match="no example board '99'; is the board plugged in"):
        open_uri("example-board:99").open()


def test_a_package_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[sonod.drivers]\nbroken = no_such_module:Driver\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DeviceNotFound, match=r"'broken' from 'no_such_module:Driver' cannot be loaded"):
        driver_class("broken")


def blocks() -> dict[str, str]:
    """What the page shows of each file, one part below the other."""
    text = (REPOSITORY / "docs" / "writing-a-driver.md").read_text()
    shown: dict[str, str] = {}
    for name, block in re.findall(r"^`([\w./]+)`\n+```\w*\n(.*?)```", text, re.DOTALL | re.MULTILINE):
        shown[name] = shown.get(name, "") + block
    return shown


def test_the_page_shows_these_very_files() -> None:
    shown = blocks()
    own = {f"example_board/{path.name}" for path in (FOLDER / "example_board").iterdir() if path.is_file()}
    assert set(shown) == {"pyproject.toml", "test_example_board.py", *own}
    for name in own:
        assert lines_of(shown[name]) == lines_of((FOLDER / name).read_text()), f"{name} differs"
    entry = (FOLDER / "example_board-1.0.dist-info" / "entry_points.txt").read_text()
    points = tomllib.loads(shown["pyproject.toml"])["project"]["entry-points"]["sonod.drivers"]
    assert entry.split() == ["[sonod.drivers]", *" = ".join(*points.items()).split()]


def test_the_page_followed_literally_passes_the_suite(tmp_path: Path) -> None:
    for name, text in blocks().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example_board.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


def test_the_driver_has_fewer_than_150_lines() -> None:
    files = ("protocol.py", "driver.py")
    assert sum(len(lines_of((FOLDER / "example_board" / name).read_text())) for name in files) < 150


def lines_of(text: str) -> list[str]:
    """The lines with something on them."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]
