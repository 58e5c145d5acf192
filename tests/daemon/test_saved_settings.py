"""Presets, saved settings, and settings that are changed while the device is away."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_bench import PATIENCE_S, Bench
from hypothesis import given, settings
from hypothesis import strategies as st

from sonod.client.control import Control
from sonod.client.errors import RequestRefused
from sonod.daemon.app import Daemon
from sonod.daemon.config import load_config, parse_config
from sonod.daemon.presets import load_presets
from sonod.daemon.settings_file import dump_settings, parse_settings
from sonod.drivers import open_uri
from sonod.drivers.errors import DeviceNotFound, Disconnected
from sonod.drivers.settings import KNOBS, Knob, change_settings, default_settings

Start = Callable[..., Bench]


def value_of(knob: Knob) -> st.SearchStrategy[object]:
    if knob.kind == "choice":
        return st.sampled_from(knob.choices)
    if knob.kind == "int":
        return st.integers(int(knob.minimum), int(knob.maximum))
    numbers = st.floats(knob.minimum, knob.maximum)
    return st.tuples(*[numbers] * knob.points) if knob.kind == "curve" else numbers


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries({name: value_of(knob) for name, knob in KNOBS.items()}))
def test_saved_settings_read_back_bit_for_bit(values: dict[str, object]) -> None:
    accepted = {name: KNOBS[name].accept(value) for name, value in values.items()}
    text = dump_settings(accepted, ["a remark\nof two lines"])
    assert parse_settings(text) == accepted
    # The same file is a configuration.
    assert parse_config(tomllib.loads(text)).settings == accepted


@pytest.mark.parametrize("probe", ["linear", "curvilinear", "phased"])
def test_every_preset_says_truly_which_probe_it_fits(probe: str) -> None:
    driver = open_uri(f"sim:?probe={probe}")
    driver.open()
    knobs = driver.knobs()
    for preset in load_presets().values():
        assert preset.description
        if not preset.probes or probe in preset.probes:
            change_settings(default_settings(knobs), {**preset.settings, **preset.probes.get(probe, {})}, knobs)
    fitting = {name for name, preset in load_presets().items() if not preset.probes or probe in preset.probes}
    expected = {"linear": {"tendon", "small-joint"}, "curvilinear": {"hip", "spine"}, "phased": {"hip"}}
    assert fitting == expected[probe] | {"needle"}


def test_presets_are_listed_with_what_they_fit(start: Start, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'description = "my own"\n[settings]\ngain_db = 7\n[probes.linear]\ndepth_m = 0.03\n'
    )
    bench = start(presets={"folder": str(tmp_path)})
    bench.control.freeze()
    presets = {preset.name: preset for preset in bench.control.describe().presets}
    assert presets["mine"].misfit == ""
    assert presets["mine"].settings == {"gain_db": 7, "depth_m": 0.03}
    assert presets["hip"].misfit == "preset 'hip': is for curvilinear or phased probes; this one is linear"
    with pytest.raises(RequestRefused, match="preset 'hip': is for curvilinear or phased probes") as caught:
        bench.control.preset("hip")
    assert caught.value.code == "refused"
    with pytest.raises(RequestRefused, match="preset 'tendon': dynamic_range_db: no such setting"):
        bench.control.preset("tendon")
    assert bench.control.preset("mine").applied == {"gain_db": 7.0, "depth_m": 0.03}


def test_saved_state_gives_another_daemon_the_same_settings(start: Start, tmp_path: Path) -> None:
    first, second = start(), start()
    # Frozen, so that no reply waits for a frame.
    for bench in (first, second):
        bench.control.freeze()
    curve = [0, 1.1, 2, 3, 4, 5, 6, 7.7]
    first.control.set({"depth_m": 0.0731, "gain_db": 1 / 3, "tgc_db": curve, "grey_map": "gamma", "output_level": 0.1})
    text = first.control.save()
    second.control.set({"frame_rate_hz": 3})
    second.control.load(text)
    assert second.control.get().settings == first.control.get().settings
    # And as the configuration of a third.
    file = tmp_path / "saved.toml"
    file.write_text(text)
    third = start(settings=dict(load_config(file).settings))
    assert third.control.get().settings == first.control.get().settings


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("", r"file: needs a table \[settings\] that is not empty"),
        ("[settings", "file: not TOML"),
        ("[settings]\ndepht_m = 1", "file: settings.depht_m: no such setting; did you mean depth_m"),
        ("[settings]\ndepth_m = 0.09\noutput_level = 0.2\nangle_count = 4", "angle_count: no such setting"),
        ("[settings]\ndepth_m = 9", r"file: settings.depth_m: must be in 0.02..0.1 m; got 9"),
        (
            "[settings]\nwings = 9",
            r"file: settings.wings: no such setting; there are depth_m, frame_rate_hz, gain_db, ",
        ),
        ("[settings]\ndepth_m = 0.15", r"depth_m: must be in 0.02..0.1 m; got 0.15"),
        ("[driver]\nuri = 'sim:'", r"file: unknown key driver; a file of settings has a table \[settings\] alone"),
    ],
)
def test_file_that_cannot_be_loaded_changes_nothing(bench: Bench, file: str, line: str) -> None:
    before = bench.control.get()
    with pytest.raises(RequestRefused, match=line) as caught:
        bench.control.load(file)
    assert caught.value.code == "refused"
    assert bench.control.get() == before


def test_loading_needs_the_lease(bench: Bench) -> None:
    bench.control.freeze()
    text = bench.control.save()
    token = bench.control.acquire_lease("needle").token
    with pytest.raises(RequestRefused, match="held by 'needle'"):
        bench.control.load(text)
    assert bench.control.load(text, lease=token).revision == 1


def test_settings_changed_while_the_device_is_away_hold_when_it_returns(bench: Bench) -> None:
    frames = bench.frames()
    bench.driver.deliver()
    assert next(frames).header.revision == 0
    bench.driver.open_errors += [DeviceNotFound("unplugged")] * 3
    absent = bench.driver.open_errors
    bench.driver.tokens.put(Disconnected("pulled"))
    while not absent or len(absent) == 3:
        bench.until_state("recovering")
    absent += [DeviceNotFound("still unplugged")] * 100
    applied = bench.control.set({"depth_m": 0.1, "gain_db": 4})
    assert (applied.revision, applied.first_frame, applied.pending) == (1, None, True)
    with pytest.raises(RequestRefused, match=r"depth_m: must be in 0.02..0.1 m; got 0.2"):
        bench.control.set({"depth_m": 0.2})
    with pytest.raises(RequestRefused, match="expected revision 0"):
        bench.control.set({"depth_m": 0.05}, expected_revision=0)
    assert bench.control.get(["depth_m"]).settings == {"depth_m": 0.1}
    absent.clear()
    bench.until_state("running")
    bench.driver.deliver()
    frame = next(frames)
    assert (frame.header.revision, frame.header.settings["gain_db"]) == (1, 4.0)
    assert bench.control.get().revision == 1


def test_settings_that_the_returning_device_refuses_are_told_and_the_former_hold(bench: Bench) -> None:
    bench.control.freeze()
    bench.control.set({"depth_m": 0.06})
    bench.control.stop()
    assert bench.control.set({"depth_m": 0.1}).pending
    bench.driver.deepest_m = 0.08
    event = bench.event("settings_reset", bench.control.start)
    assert "depth_m: must be in 0.02..0.08 m; got 0.1" in event.message
    bench.until_state("running")
    current = bench.control.get()
    assert current.settings["depth_m"] == 0.06
    # A revision names one set of values only.
    assert current.revision == 3


def test_change_races_with_the_return_of_the_device_and_is_never_lost(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.start()
    with Control(daemon.addresses.control, PATIENCE_S) as control:
        for number in range(20):
            daemon.driver.tokens.put(Disconnected("pulled"))  # type: ignore[attr-defined]
            applied = control.set({"gain_db": number + 1})
            assert control.get(["gain_db"]).settings == {"gain_db": number + 1}
            assert applied.revision == number + 1
        # The device that is open at last has what was set last.
        deadline = time.monotonic() + PATIENCE_S
        while not daemon.driver.tokens.empty() or not daemon.reader.configured:  # type: ignore[attr-defined]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        taken = daemon.driver.configuration
        assert taken is not None
        assert taken.settings.gain_db == 20
