"""Settings agree with each other, beside each knob's own range."""

from __future__ import annotations

import pytest

from sonod.drivers.errors import SettingsRefused
from sonod.drivers.rules import rules_for
from sonod.drivers.settings import KNOBS, Settings, change_settings

SETTINGS = Settings()  # 50 mm deep, focus at 30 mm, 3 transmissions at 30 Hz


def test_focus_that_is_asked_for_lies_within_the_depth() -> None:
    with pytest.raises(SettingsRefused, match=r"focus_depth_m: must be at most depth_m, 0.05 m; got 0.06"):
        change_settings(SETTINGS, {"focus_depth_m": 0.06}, KNOBS)
    assert change_settings(SETTINGS, {"focus_depth_m": 0.06, "depth_m": 0.06}, KNOBS).focus_depth_m == 0.06
    # Less depth under a focus that stays, and a saved state that came about so, are no slips.
    shallow = change_settings(SETTINGS, {"depth_m": 0.02}, KNOBS)
    assert shallow.focus_depth_m == 0.03
    assert change_settings(Settings(), shallow.as_mapping(), KNOBS, whole=True).focus_depth_m == 0.03


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"frame_rate_hz": 1000, "angle_count": 16},
            r"frame_rate_hz: must be at most 962.5 Hz, because 16 trans.*got 1000",
        ),
        (
            {"angle_count": 128, "depth_m": 0.3},
            r"angle_count: must be at most 85, because 128 trans.* 49.9 ms.*got 128",
        ),
    ],
)
def test_sound_has_time_to_come_back(changes: dict[str, float], line: str) -> None:
    with pytest.raises(SettingsRefused, match=line):
        change_settings(SETTINGS, changes, KNOBS)
    with pytest.raises(SettingsRefused):
        change_settings(SETTINGS, changes, KNOBS, whole=True)
    assert change_settings(SETTINGS, {**changes, "frame_rate_hz": 10}, KNOBS).revision == 1


def test_the_limit_that_a_refusal_names_is_accepted() -> None:
    crowded = change_settings(SETTINGS, {"angle_count": 128}, KNOBS)
    with pytest.raises(SettingsRefused, match=r"frame_rate_hz: must be at most 120.3 Hz"):
        change_settings(crowded, {"frame_rate_hz": 121}, KNOBS)
    assert change_settings(crowded, {"frame_rate_hz": 120.3}, KNOBS).frame_rate_hz == 120.3


def test_rules_are_for_probes_that_have_the_knobs() -> None:
    assert rules_for({"depth_m", "gain_db"}) == ()
    few = {name: KNOBS[name] for name in ("frame_rate_hz", "angle_count")}
    assert change_settings(SETTINGS, {"frame_rate_hz": 1000, "angle_count": 128}, few).angle_count == 128


def test_rules_about_other_knobs_are_left_alone() -> None:
    already = Settings(angle_count=128, frame_rate_hz=1000.0)
    assert change_settings(already, {"gain_db": 1.0}, KNOBS).gain_db == 1.0
