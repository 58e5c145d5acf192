"""Scenes of the simulated probe: what they make, and what of their files is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from simulation import Running, brightest, focused_sum

from sonod.drivers import open_uri
from sonod.drivers.errors import DeviceNotFound
from sonod.drivers.simulated.scene_file import SceneFileError, load_scene, scene_names


@pytest.mark.parametrize("name", scene_names())
def test_every_scene_makes_frames_with_truth(name: str) -> None:
    running = Running(f"sim:{name}", angle_count=1, **{"scene.quality": 0.2})
    assert running.read().any()
    truth = running.slot.truth
    assert truth is not None
    assert truth.tissues is not None
    assert (truth.needle is not None) == (load_scene(name).needle is not None)


def test_the_probe_moves_over_the_scene() -> None:
    running = Running("sim:wires?noise_db=-200", angle_count=1)
    running.change(**{"scene.probe_x_m": 3e-3})
    data, acquisition = running.read(), running.acquisition
    found = brightest(acquisition, data, -3e-3, 15e-3, 0.4e-3)
    assert math.dist(found, (-3e-3, 15e-3)) < 0.05e-3


@pytest.mark.parametrize("degrees", [15, 25, 35, 50])
def test_the_tip_of_a_steered_needle_is_where_it_was_put(degrees: float) -> None:
    steered = {
        "scene.needle": "steered",
        "scene.needle_x_m": 1e-3,
        "scene.needle_z_m": 18e-3,
        "scene.needle_angle_rad": math.radians(degrees),
    }
    running = Running("sim:wires?noise_db=-200", **{**steered, "scene.needle": "none"})
    without = running.read().astype(np.int32)
    running.change(**steered)
    moved = (running.read() - without).astype(np.int16)
    found = brightest(running.acquisition, moved, 1e-3, 18e-3, 0.6e-3)
    assert math.dist(found, (1e-3, 18e-3)) < 0.3e-3
    assert running.slot.truth is not None
    assert running.slot.truth.needle is not None
    assert running.slot.truth.needle.tip_m == (1e-3, 0.0, 18e-3)


def test_a_needle_fades_with_its_angle_and_beside_the_plane() -> None:
    running = Running("sim:wires?noise_db=-200", angle_count=1, **{"scene.needle": "none"})
    without = running.read().astype(float)
    elements = running.driver.probe.element_positions_m[:, 0]
    size = {}
    for degrees, beside in ((0, 0.0), (10, 0.0), (20, 0.0), (50, 0.0), (20, 4e-3)):
        running.change(
            **{
                "scene.needle": "steered",
                "scene.needle_x_m": 2e-3,
                "scene.needle_y_m": beside,
                "scene.needle_z_m": 20e-3,
                "scene.needle_angle_rad": math.radians(degrees),
            }
        )
        moved = (running.read() - without).astype(np.int16)
        # Along the shaft above the tip, with an aperture half as wide as the depth.
        up = np.linspace(3e-3, 9e-3, 60)
        angle = math.radians(degrees)
        x, z = 2e-3 - up * math.cos(angle), 20e-3 - up * math.sin(angle)
        moved[:, np.abs(elements - x.mean()) > 4.5e-3] = 0
        size[degrees, beside] = float(focused_sum(running.acquisition, moved, x, z).mean())
    # A mirror within the aperture's angle; beyond it the facets of the shaft, which mirror over wider angles.
    assert size[0, 0.0] > 2 * size[10, 0.0]
    assert size[10, 0.0] > 1.4 * size[20, 0.0]
    assert size[20, 0.0] > 2 * size[50, 0.0]
    assert size[50, 0.0] < 0.2 * size[0, 0.0]
    assert size[20, 4e-3] < 0.2 * size[20, 0.0]


def tissue_level(uri: str, x: float, z: float, **changes: object) -> float:
    """Mean beamformed level of a 2.4 mm square."""
    running = Running(uri, angle_count=1, **changes)
    step = np.linspace(-1.2e-3, 1.2e-3, 25)
    grid_x, grid_z = np.meshgrid(x + step, z + step)
    return float(np.sqrt((focused_sum(running.acquisition, running.read(), grid_x, grid_z) ** 2).mean()))


def scene_with(tmp_path: Path, *extra: str) -> str:
    """A scene of even tissue and whatever else, as a URI without noise."""
    path = tmp_path / f"scene-{len(list(tmp_path.iterdir()))}.toml"
    head = """[scene]
title = "test"
tissue = "tissue"
depth_m = 0.04
[tissues.tissue]
echo_db = 0
"""
    path.write_text(head + "\n".join(extra))
    return f"sim:{path}?noise_db=-200"


DISC = """[[shapes]]
name = "disc"
tissue = "other"
center_m = [0.0, 12e-3]
radii_m = [4e-3, 3e-3]
"""


SHEET = """[[shapes]]
name = "sheet"
tissue = "other"
from_m = [-40e-3, 12e-3]
to_m = [40e-3, 12e-3]
radius_m = 3e-3
"""


def test_shadow_and_enhancement_are_what_the_tissue_takes(tmp_path: Path) -> None:
    plain = tissue_level(scene_with(tmp_path), 0.0, 22e-3)
    for attenuation in (0.0, 1.5):
        uri = scene_with(tmp_path, f"[tissues.other]\nattenuation_db_cm_mhz = {attenuation}", SHEET)
        level = 20 * math.log10(tissue_level(uri, 0.0, 22e-3) / plain)
        # 6 mm of it, there and back, at about 7.8 MHz; more on the slanting ways to the aperture's edges.
        expected = -2 * (attenuation - 0.5) * 0.6 * 7.8
        assert level == pytest.approx(expected, abs=1.5)


def test_fibres_through_the_plane_darken_as_the_probe_tilts(tmp_path: Path) -> None:
    tendon = "[tissues.other]\nfibres = { length_m = 0.9e-3, spacing_m = 0.24e-3, echo_db = 14, across = true }"
    uri = scene_with(tmp_path, tendon, DISC)
    straight = tissue_level(uri, 0.0, 12e-3)
    tilted = tissue_level(uri, 0.0, 12e-3, **{"scene.probe_tilt_rad": math.radians(10)})
    assert 20 * math.log10(tilted / straight) < -10


def test_a_strong_edge_reverberates(tmp_path: Path) -> None:
    wall = """[tissues.other]
[[shapes]]
name = "wall"
tissue = "other"
from_m = [-30e-3, 10e-3]
to_m = [30e-3, 10e-3]
radius_m = 0.5e-3
edge_db = 35
edge = "top"
"""
    quiet = tissue_level(scene_with(tmp_path, wall), 0.0, 19e-3)
    ringing = tissue_level(scene_with(tmp_path, wall, "reverberation = 0.2"), 0.0, 19e-3)
    assert ringing > 3 * quiet


def test_injected_fluid_pushes_tissue_away(tmp_path: Path) -> None:
    uri = scene_with(tmp_path, "[needle]", "end_m = [0.0, 16e-3]", "[injectate]", "radius_m = [5e-3, 3e-3]")
    level = [
        tissue_level(
            uri,
            0.0,
            16e-3,
            **{"scene.needle": "steered", "scene.needle_y_m": 19e-3, "scene.injectate": share},
        )
        for share in (0.0, 1.0)
    ]
    assert level[1] < 0.6 * level[0]


def test_blood_moves_between_frames_and_tissue_does_not() -> None:
    running = Running("sim:vessel?noise_db=-200", angle_count=1, **{"scene.needle": "none"})
    first, second = running.read().astype(float), running.read().astype(float)
    moved = np.abs(second - first)
    depth = np.arange(first.shape[2]) / running.acquisition.sampling_hz * 770
    # Right above the middle, the vessel spans 12 to 18 mm.
    row = moved[0, 64]
    assert row[(depth > 13.5e-3) & (depth < 17e-3)].mean() > 4 * row[depth < 10e-3].mean()


def test_every_fault_of_a_scene_file_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        """[scene]
title = "bad"
tissue = "jelly"
depth_m = -1
probe = "foot"
[tissues.tissue]
echo_db = "loud"
[[layers]]
tissue = "skin"
to_m = 1e-3
[[layers]]
tissue = "tissue"
to_m = 0.5e-3
[[shapes]]
name = "half"
tissue = "tissue"
center_m = [0, 0]
[injectate]
radius_m = [1e-3]
"""
    )
    with pytest.raises(SceneFileError) as caught:
        open_uri(f"sim:{path}")
    text = str(caught.value)
    for part in (
        "scene.depth_m",
        "tissues.tissue.echo_db",
        "scene.tissue: no tissue 'jelly'; there are tissue",
        "layers.0.tissue: no tissue 'skin'",
        "shapes.0: needs center_m and radii_m",
        "scene.probe: probe 'foot': not known; there are curvilinear, linear, phased",
        "layers.1.to_m: must lie below the layer before, got 0.0005",
        "injectate.radius_m",
        "injectate: needs a [needle] to come from",
    ):
        assert part in text, f"{part} is missing in {text}"
    assert all(line.startswith(str(path)) for line in text.splitlines())


def test_a_scene_file_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceNotFound, match=r"nowhere.toml: cannot be read"):
        open_uri("sim:/nowhere.toml")
