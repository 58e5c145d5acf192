"""Sweeps: where lines lie, and how shots become passes when some are missing."""

from __future__ import annotations

import numpy as np
import pytest

from sonod.drivers.base import Uri
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.errors import DeviceNotFound
from sonod.drivers.frame import DataKind
from sonod.drivers.pic0rick.driver import Pic0rickDriver
from sonod.drivers.settings import default_settings
from sonod.drivers.sweep import PassCollector, Sweep


def sweep_of(text: str) -> Sweep:
    sweep = Sweep.from_uri(Uri.parse(f"pic0rick:?sweep={text}"))
    assert sweep is not None
    return sweep


def test_a_linear_sweep_looks_down_along_x() -> None:
    sweep = sweep_of("linear:30:61")
    np.testing.assert_allclose(sweep.origins_m[[0, 30, 60], 0], [-0.015, 0, 0.015], atol=1e-12)
    assert (sweep.directions == [0, 0, 1]).all()


def test_a_sector_sweep_turns_about_an_apex_behind_the_element() -> None:
    sweep = sweep_of("sector:90:3:10:back")
    np.testing.assert_allclose(sweep.directions[:, 0], [-(0.5**0.5), 0, 0.5**0.5])
    np.testing.assert_allclose(sweep.origins_m[1], 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(sweep.origins_m - np.array([0, 0, -0.01]), axis=1), 0.01)
    assert sweep.there_and_back


def test_lines_of_successive_shots() -> None:
    assert [sweep_of("linear:1:3").line_of(shot) for shot in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert [sweep_of("linear:1:3:back").line_of(shot) for shot in range(7)] == [0, 1, 2, 2, 1, 0, 0]


@pytest.mark.parametrize(
    "text", ["", "linear", "linear:30", "linear:30:1", "linear:30:8:4", "sector:270:8", "sector:x:8", "circle:1:8"]
)
def test_other_sweeps_are_refused_and_named(text: str) -> None:
    with pytest.raises(DeviceNotFound, match="sweep must be linear:"):
        Pic0rickDriver(f"pic0rick:?emulated=1&sweep={text}")


def collector(lines: int) -> tuple[PassCollector, np.ndarray]:
    driver = Pic0rickDriver("pic0rick:?emulated=1", ManualClock())
    driver.open()
    single = driver.prepare(default_settings(driver.knobs())).acquisition
    driver.close()
    sweep = Sweep.linear(0.01, lines)
    made = sweep.acquisition(single)
    assert made.kind is DataKind.LINES
    return PassCollector(sweep, single), np.full(made.shape[1:], -1, made.dtype)


def run(losses: list[int], lines: int = 4) -> list[tuple[int, list[int]]]:
    """(lost passes, first sample of each line) of every pass delivered, when shot k carries k + 1."""
    taken, out = collector(lines)
    delivered, shot = [], 0
    for lost in losses:
        shot += lost + 1
        line = np.full(out.shape[1:], shot, out.dtype)
        done = taken.add(line, lost, 1000 + shot, out)
        if done >= 0:
            delivered.append((done, out[:, 0].tolist()))
    return delivered


def test_passes_without_loss() -> None:
    assert run([0] * 9) == [(0, [1, 2, 3, 4]), (0, [5, 6, 7, 8])]


def test_a_lost_line_is_zero_and_the_others_stay_in_place() -> None:
    assert run([0, 1, 0]) == [(0, [1, 0, 3, 4])]


def test_a_pass_whose_end_is_lost_is_delivered_when_the_next_begins() -> None:
    assert run([0, 0, 2, 0, 0, 0]) == [(0, [1, 2, 0, 0]), (0, [5, 6, 7, 8])]


def test_passes_of_which_nothing_came_are_counted() -> None:
    assert run([0, 0, 0, 0, 8, 0, 0, 0]) == [(0, [1, 2, 3, 4]), (2, [13, 14, 15, 16])]
