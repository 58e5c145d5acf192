"""The simulated probe behind the emulated bulk front-end: from a scene over the bytes of the protocol to a picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from simulated_physics import brightest_m, picture

from sonod.drivers import open_uri
from sonod.drivers.errors import DeviceNotFound, DriverError
from sonod.drivers.simulated.scene_file import load_scene


@pytest.mark.parametrize("sequence", ["plane", "diverging"])
def test_wires_of_a_scene_are_where_they_are(sequence: str) -> None:
    shown = picture(f"bulk:?emulated=1&scene=wires&sequence={sequence}")
    assert shown.acquisition.probe.name.startswith("emulated")
    in_the_middle = [
        wire.at_m for wire in load_scene("wires").points if wire.at_m[0] == 0 and 8e-3 < wire.at_m[1] < 30e-3
    ]
    assert len(in_the_middle) > 2
    for x, z in in_the_middle:
        assert math.dist(brightest_m(shown, x, z, 1e-3), (x, z)) < 0.25e-3


def test_an_echo_free_disc_is_dark_over_the_bytes_of_the_protocol() -> None:
    shown = picture("bulk:?emulated=1&scene=contrast&format=packed_14&layout=samples")
    away = np.hypot(shown.x_m, shown.z_m - 20e-3)
    assert shown.level_db(away < 2e-3) < shown.level_db((away > 4e-3) & (away < 6e-3)) - 12


def test_a_scene_brings_its_probe_and_a_file_is_a_scene(tmp_path: Path) -> None:
    driver = open_uri("bulk:?emulated=1&scene=hip")
    driver.open()
    assert "curvilinear" in driver.probe.name
    driver.close()
    path = tmp_path / "own.toml"
    path.write_text("[scene]\ntitle = 'own'\ntissue = 'water'\n[tissues.water]\n[[points]]\nat_m = [2e-3, 15e-3]\n")
    shown = picture(f"bulk:?emulated=1&scene={path}")
    assert math.dist(brightest_m(shown, 2e-3, 15e-3, 5e-3), (2e-3, 15e-3)) < 0.25e-3


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("bulk:?emulated=1&scene=foot", "no scene 'foot'; there are carpal-tunnel, contrast"),
        ("bulk:1209:0001?scene=hip", "scene is for emulated=1"),
        ("bulk:1209:0001?probe=phased", "probe is for emulated=1"),
        ("bulk:?emulated=1&probe=foot", "probe must be one of"),
    ],
)
def test_scenes_that_cannot_be_are_refused_in_one_line(uri: str, says: str) -> None:
    with pytest.raises(DeviceNotFound, match=says) as caught:
        open_uri(uri)
    assert "\n" not in str(caught.value)


def test_a_faulty_scene_file_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[scene]\ntitle = 'bad'\ntissue = 'jelly'\n[tissues.water]\necho_db = 200\n")
    with pytest.raises(DriverError) as caught:
        open_uri(f"bulk:?emulated=1&scene={path}")
    assert len(str(caught.value).splitlines()) == 2
