"""Scene files as a user writes them: what is wrong with them is said at once, and nothing starts half-loaded."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from sonod_command import sonod

WRONG = """# A scene somebody typed.
[scene]
title = "my phantom"
tissue = "jelly"
depth_m = -1
probe = "foot"

[tissues.tissue]
echo_db = "loud"

[[layers]]
tissue = "tissue"
to_m = 4e-3

[[layers]]
tissue = "fat"
to_m = 2e-3

[[shapes]]
name = "vessel"
tissue = "tissue"
center_m = [0, 0]
flow = { peak_m_s = 9 }

[needle]
end_m = [0]
colour = "red"
"""
FAULTS = (
    "scene.depth_m: input should be greater than 0, got -1",
    "scene.tissue: no tissue 'jelly'; there are tissue",
    "scene.probe: probe 'foot': not known; there are curvilinear, linear, phased, or name a .toml file",
    "tissues.tissue.echo_db: input should be a valid number, got 'loud'",
    "layers.1.tissue: no tissue 'fat'; there are tissue",
    "layers.1.to_m: must lie below the layer before, got 0.002",
    "shapes.0.flow.peak_m_s: input should be less than or equal to 3, got 9",
    "needle.end_m.1: field required",
    "needle.colour: extra inputs are not permitted, got 'red'",
)
LEAST = '[scene]\ntitle = "least"\ntissue = "water"\n[tissues.water]\n'


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "my-phantom.toml"
    path.write_text(WRONG)
    return path


def test_check_config_says_every_fault_of_a_scene_with_its_path(wrong: Path) -> None:
    result = sonod("check-config", str(wrong))
    assert (result.returncode, result.stdout) == (2, "")
    assert sorted(result.stderr.splitlines()) == sorted(f"sonod: {wrong}: {fault}" for fault in FAULTS)


def test_a_daemon_does_not_start_on_a_wrong_scene(wrong: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    result = sonod("run", "--driver", f"sim:{wrong}", "--port", str(port), "--no-viewer")
    assert (result.returncode, result.stdout) == (2, "")
    assert sorted(result.stderr.splitlines()) == sorted(f"sonod: driver.uri: {wrong}: {fault}" for fault in FAULTS)
    # Nobody has listened on its port.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


def test_a_configuration_names_the_faults_of_its_scene(wrong: Path, tmp_path: Path) -> None:
    config = tmp_path / "sonod.toml"
    config.write_text(f'[driver]\nuri = "sim:{wrong}"\n[settings]\ndepth_m = 9\n')
    lines = sonod("check-config", str(config)).stderr.splitlines()
    assert "settings.depth_m" in lines[0]
    config.write_text(f'[driver]\nuri = "sim:{wrong}"\n')
    lines = sonod("check-config", str(config)).stderr.splitlines()
    assert sorted(lines) == sorted(f"sonod: {config}: driver.uri: {wrong}: {fault}" for fault in FAULTS)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[scene\n", "not TOML: Expected"),
        ('[scene]\ntitle = "no tissue"\n', "scene.tissue: field required"),
        (LEAST + "[injectate]\n", "injectate: needs a \\[needle\\] to come from"),
        (LEAST + '[[shapes]]\nname = "a"\ntissue = "water"\n', "shapes.0: needs center_m and radii_m, or points_m"),
        (
            LEAST + '[[shapes]]\nname = "a"\ntissue = "water"\nfrom_m = [0, 1]\nto_m = [0, 1]\nradius_m = 1\n',
            "shapes.0: from_m and to_m are the same place",
        ),
        (
            LEAST + "[tissues.bone]\nfibres = { length_m = 0 }\n",
            "tissues.bone.fibres.length_m: input should be greater",
        ),
        (LEAST + "[[points]]\nat_m = [0, inf]\n", "points.0.at_m.1: input should be a"),
        (LEAST.replace('"water"\n', '"water"\nprobe = "none.toml"\n'), "scene.probe: none.toml: cannot be read"),
    ],
)
def test_each_fault_is_one_line(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.toml"
    path.write_text(text)
    result = sonod("check-config", str(path))
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if re.search(fault, line)]
    assert line.startswith(f"sonod: {path}: ")
    assert "Traceback" not in result.stderr


def test_a_good_scene_is_said_to_be_good(tmp_path: Path) -> None:
    path = tmp_path / "scene.toml"
    path.write_text(LEAST)
    result = sonod("check-config", str(path))
    assert (result.returncode, result.stdout) == (0, f"{path}: good\n")
