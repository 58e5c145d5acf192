"""Speckle, contrast, attenuation and resolution of the simulated probe, against theory."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from simulated_physics import (
    attenuation_db_cm_mhz,
    disc_contrasts_db,
    even_scene,
    even_speckle,
    flow_m_s,
    picture,
    point_size_m,
    speckle_ratio,
)

# Mean over standard deviation of the magnitude of a Gaussian field: sqrt(pi / (4 - pi)).
RAYLEIGH = 1.913


@pytest.mark.parametrize(("probe", "depth_m"), [("linear", 0.04), ("curvilinear", 0.12), ("phased", 0.12)])
def test_speckle_is_fully_developed(probe: str, depth_m: float, tmp_path: Path) -> None:
    uri = even_scene(tmp_path, probe, depth_m)
    pictures = [picture(f"{uri}&seed={seed}") for seed in (1, 2)]
    assert speckle_ratio(pictures) == pytest.approx(RAYLEIGH, abs=0.05)
    values = np.concatenate([even_speckle(shown).ravel() for shown in pictures])
    values /= math.sqrt(float((values**2).mean()))
    for share in (0.1, 0.5, 0.9, 0.99):
        rayleigh = math.sqrt(-math.log(1 - share))
        assert np.quantile(values, share) == pytest.approx(rayleigh, rel=0.04), f"at {share}"


@pytest.mark.parametrize("quality", [0.5, 2.0])
def test_quality_changes_neither_level_nor_statistics_much(quality: float, tmp_path: Path) -> None:
    uri = even_scene(tmp_path, "linear", 0.04)
    usual, other = picture(uri), picture(uri, **{"scene.quality": quality})
    assert speckle_ratio([other]) == pytest.approx(RAYLEIGH, abs=0.12)
    everywhere = np.ones(usual.size.shape, bool)
    assert other.level_db(everywhere) == pytest.approx(usual.level_db(everywhere), abs=0.3)


def test_discs_have_the_contrast_that_was_asked_for(tmp_path: Path) -> None:
    for asked, found in disc_contrasts_db(tmp_path, (1, 2)).items():
        assert found == pytest.approx(asked, abs=0.3)


@pytest.mark.parametrize(
    ("probe", "depth_m", "near_m", "far_m"), [("linear", 0.04, 10e-3, 32e-3), ("curvilinear", 0.12, 30e-3, 95e-3)]
)
def test_attenuation_is_that_of_the_tissue(
    probe: str, depth_m: float, near_m: float, far_m: float, tmp_path: Path
) -> None:
    uri = f"{even_scene(tmp_path, probe, depth_m)}&attenuation=0.6"
    assert attenuation_db_cm_mhz(uri, near_m, far_m, (1, 2, 3)) == pytest.approx(0.6, rel=0.05)


@pytest.mark.parametrize(("depth_m", "f_number"), [(10e-3, 2.0), (20e-3, 2.0), (20e-3, 3.0), (30e-3, 3.0)])
def test_resolution_is_that_of_aperture_and_bandwidth(depth_m: float, f_number: float, tmp_path: Path) -> None:
    path = tmp_path / "wire.toml"
    path.write_text(
        "[scene]\ntitle = 'wire'\ntissue = 'water'\ndepth_m = 0.04\n[tissues.water]\n"
        f"[[points]]\nat_m = [0.0, {depth_m}]\n"
    )
    uri = f"sim:{path}?noise_db=-200&paced=0&attenuation=0"
    lateral, axial = point_size_m(uri, 0.0, depth_m, f_number)
    own = picture(uri).acquisition
    wavelength = own.sound_speed_m_s / own.pulse_frequency_hz
    # A rectangular aperture, receiving only: the sinc has fallen to half at 1.207 / 2 wavelengths times f-number.
    assert lateral == pytest.approx(1.207 * wavelength * f_number, rel=0.06)
    # The drive's band and the probe's as Gaussians in the same place; the echo's -6 dB width is 0.44 c over the band's.
    drive, probe = 0.7 * 7.5e6, 10e6
    band = drive * probe / math.hypot(drive, probe)
    assert axial == pytest.approx(0.4413 * own.sound_speed_m_s / band, rel=0.05)


def test_blood_flows_as_fast_as_it_does_and_in_a_parabola(tmp_path: Path) -> None:
    """By Doppler, on the axis, half way to the wall and near it; the tube falls by 26.6 degrees."""
    path = tmp_path / "tube.toml"
    path.write_text(
        "[scene]\ntitle = 'tube'\ntissue = 'water'\ndepth_m = 0.03\n[tissues.water]\n[tissues.blood]\necho_db = 0\n"
        "[[shapes]]\nname = 'tube'\ntissue = 'blood'\nfrom_m = [-12e-3, 9e-3]\nto_m = [12e-3, 21e-3]\nradius_m = 3e-3\n"
        "flow = { peak_m_s = 0.3, rest_m_s = 0.3 }\n"
    )
    along, across = np.array([2.0, 1.0]) / math.sqrt(5), np.array([-1.0, 2.0]) / math.sqrt(5)
    steps = np.linspace(-2.5e-3, 2.5e-3, 26)[:, None] * along
    shares = (0.0, 0.5, -0.5, 0.75)
    places = np.stack([np.array([0.0, 15e-3]) + 3e-3 * share * across + steps for share in shares])
    found = flow_m_s(f"sim:{path}?noise_db=-200&paced=0&attenuation=0", places, (1, 2, 3, 4))
    expected = [0.3 * (1 - share**2) * along[1] for share in shares]
    assert found == pytest.approx(expected, abs=0.1 * 0.3 * along[1])
