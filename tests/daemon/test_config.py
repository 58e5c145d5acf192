from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from sonod.daemon.config import Config, load_config, parse_config
from sonod.daemon.errors import ConfigError

SHIPPED = files("sonod") / "config" / "sonod.toml"


def problems_of(values: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    for problem in caught.value.problems:
        assert "\n" not in problem
    return caught.value.problems


def test_shipped_file_is_every_key_with_its_default() -> None:
    values = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    assert parse_config(values) == Config()
    assert set(values) == set(Config.model_fields)
    for section, field in Config.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            assert set(values[section]) == set(model.model_fields), section


def test_every_key_of_the_shipped_file_is_explained() -> None:
    explained = False
    for line in SHIPPED.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            explained = True
        elif "=" in line:
            assert explained, f"no comment in front of {line!r}"
        else:
            explained = False


def test_everything_wrong_is_told_at_once_with_its_path() -> None:
    problems = problems_of(
        {
            "driver": {"uri": 5},
            "acquire": {"waiting_frames": 0, "read_timeout_s": 9, "colour": 1},
            "publish": {"endpoint": "tcp://192.168.1.7:5555"},
            "viewer": {"host": "0.0.0.0"},
            "settings": {"depth_m": 9, "gain": 1},
            "image": [],
            "wings": {},
        }
    )
    for path in (
        "driver.uri: must be a string; got 5",
        "acquire.waiting_frames: must be greater than or equal to 1; got 0",
        "acquire.read_timeout_s: must be less than or equal to 1; got 9",
        "acquire.colour: unknown key; there are",
        "publish.endpoint: tcp://192.168.1.7:5555 can be reached from other machines, which needs keys",
        "viewer.host: must be an address of this machine",
        "settings.depth_m: must be in 0.005..0.3 m; got 9",
        "settings.gain: no such setting; did you mean gain_db",
        "image: must be a table; got []",
        "wings: unknown key",
    ):
        assert any(problem.startswith(path) for problem in problems), (path, problems)
    assert len(problems) == 10


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:5555", "tcp://127.0.0.1:*", "tcp://[::1]:1", "tcp://localhost:9", "ipc:///run/x"]
)
def test_endpoints_of_this_machine_are_taken(endpoint: str) -> None:
    assert parse_config({"publish": {"endpoint": endpoint}}).publish.endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://*:5555", "tcp://0.0.0.0:1", "tcp://eth0:1", "udp://127.0.0.1:1", "5555", "tcp://127.0.0.1:70000"],
)
def test_other_endpoints_are_refused(endpoint: str) -> None:
    (problem,) = problems_of({"control": {"endpoint": endpoint}})
    assert problem.startswith("control.endpoint: ")
    assert endpoint in problem


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[driver]\nuri = "sim:wires"\n[settings]\ngain_db = 1\ndepth_m = 0.03\n')
    config = load_config(path, {"settings": {"gain_db": 2}, "viewer": {"enabled": False}})
    assert config.driver.uri == "sim:wires"
    assert dict(config.settings) == {"gain_db": 2.0, "depth_m": 0.03}
    assert not config.viewer.enabled


def test_problems_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[log]\nlevel = 'loud'\n")
    with pytest.raises(ConfigError, match=r"a.toml: log.level: must be 'debug', .* or 'error'; got 'loud'"):
        load_config(path)


def test_absent_and_unreadable_files_are_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "b.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, line in ((tmp_path / "no.toml", "cannot be read"), (tmp_path, "cannot be read"), (binary, "not TOML")):
        with pytest.raises(ConfigError, match=line):
            load_config(path)


def test_curves_may_be_lists() -> None:
    curve = [0, 1, 2, 3, 4, 5, 6, 7]
    assert parse_config({"settings": {"tgc_db": curve}}).settings["tgc_db"] == tuple(map(float, curve))


def test_presets_are_good() -> None:
    from sonod.daemon.presets import load_presets

    presets = load_presets()
    assert set(presets) == {"tendon", "small-joint", "hip", "spine", "needle"}
    assert all(preset.description and (preset.settings or preset.probes) for preset in presets.values())


def test_own_presets_win_and_bad_ones_are_told(tmp_path: Path) -> None:
    from sonod.daemon.presets import load_presets

    (tmp_path / "hip.toml").write_text('description = "mine"\n[settings]\ngain_db = 1\n')
    assert load_presets(str(tmp_path))["hip"].description == "mine"
    (tmp_path / "bad.toml").write_text("[settings]\ngain = 1\n")
    (tmp_path / "worse.toml").write_text("settings = 3\ncolour = 1\n")
    with pytest.raises(ConfigError) as caught:
        load_presets(str(tmp_path))
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match=r"presets.folder: no such folder"):
        load_presets(str(tmp_path / "nowhere"))
