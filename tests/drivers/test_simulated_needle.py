"""The needle of the simulated probe in the picture: where its tip is, and how bright its shaft."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from simulated_physics import brightest_m, even_scene, picture, shaft_over_tissue_db, steered

from sonod.daemon.pipeline.options import ImageOptions

# Fine enough to find the tip to a tenth of what is allowed.
FINE = ImageOptions(columns=512, rows=1024)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("degrees", [15, 20, 30, 40, 50])
def test_the_true_tip_lies_on_the_bright_tip_in_tissue(degrees: float, seed: int, tmp_path: Path) -> None:
    tip = (2e-3, 0.0, 20e-3)
    shown = picture(f"{even_scene(tmp_path, 'linear', 0.03)}&seed={seed}", FINE, **steered(tip, degrees))
    assert shown.truth is not None
    assert shown.truth.needle is not None
    assert shown.truth.needle.tip_m == tip
    assert math.dist(brightest_m(shown, tip[0], tip[2], 2e-3), (tip[0], tip[2])) < 0.3e-3


@pytest.mark.parametrize("degrees", [30, 50, 70])
def test_the_tip_of_a_needle_through_the_plane_is_the_bright_spot(degrees: float, tmp_path: Path) -> None:
    tip = (-3e-3, 0.0, 18e-3)
    uri = even_scene(tmp_path, "linear", 0.03)
    shown = picture(uri, FINE, **steered(tip, degrees, through=True))
    assert math.dist(brightest_m(shown, tip[0], tip[2], 2e-3), (tip[0], tip[2])) < 0.3e-3
    # A millimetre and a half short of the plane it is out of the beam.
    short = picture(uri, FINE, **steered((tip[0], -4e-3, tip[2]), degrees, through=True))
    here = np.hypot(shown.x_m - tip[0], shown.z_m - tip[2]) < 0.5e-3
    assert shown.level_db(here) > short.level_db(here) + 15


def test_the_shaft_fades_evenly_with_its_angle_as_published(tmp_path: Path) -> None:
    """Visibility falls linearly from 0 to 65 degrees to the surface (I. Schafhalter-Zoppoth, C. E. McCulloch, A. T.
    Gray, Reg. Anesth. Pain Med. 29(5), 2004, 15 MHz linear probe); all smooth needles are easily seen along the face,
    and one of them next to nothing at 75 degrees (K. Nichols et al., J. Vasc. Interv. Radiol. 14(12), 2003)."""
    uri = even_scene(tmp_path, "linear", 0.04)
    degrees = np.arange(0, 70, 10)
    level = np.array([shaft_over_tissue_db(uri, (2e-3, 26e-3), float(angle)) for angle in degrees])
    assert np.corrcoef(degrees, level)[0, 1] < -0.93
    assert (np.diff(level) < 1.5).all(), f"{np.round(level, 1)} dB"
    assert level[0] > 25
    assert level[-1] < 4


def test_the_shaft_rings_behind_itself(tmp_path: Path) -> None:
    """The comet tail: echoes one, two and three diameters behind a shaft along the face, each weaker."""
    path = tmp_path / "water.toml"
    path.write_text(
        "[scene]\ntitle = 'water'\ntissue = 'water'\ndepth_m = 0.03\n[tissues.water]\n[needle]\nend_m = [6e-3, 15e-3]\n"
        "diameter_m = 0.8e-3\n"
    )
    shown = picture(f"sim:{path}?noise_db=-200&paced=0", FINE, **steered((6e-3, 0.0, 15e-3), 0))
    middle = (shown.x_m > -3e-3) & (shown.x_m < 1e-3)
    level = [shown.level_db(middle & (np.abs(shown.z_m - 15e-3 - turn * 0.8e-3) < 0.1e-3)) for turn in range(4)]
    between = shown.level_db(middle & (np.abs(shown.z_m - 15e-3 - 1.2e-3) < 0.1e-3))
    # 8 dB and a little more, for what comes later is no longer focused where it is shown.
    assert np.diff(level)[:2] == pytest.approx([20 * math.log10(0.4)] * 2, abs=2)
    assert -12 < level[3] - level[2] < -8
    assert between < level[2] - 10
