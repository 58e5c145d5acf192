"""Configuration files of probes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sonod.drivers.errors import ProbeFileError
from sonod.drivers.probe import ArrayKind
from sonod.drivers.probe_file import load_board, load_probe, probe_names

SMALL = """
[probe]
name = "small"
kind = "linear"
elements = 16
pitch_m = 0.3e-3
band_hz = [3e6, 7e6]
sampling_hz = 20e6

[settings.depth_m]
default = 0.03
maximum = 0.06
"""


def test_the_shipped_probes_are_those_of_the_issue() -> None:
    assert probe_names() == ("curvilinear", "linear", "phased")
    linear, curved, phased = (load_probe(name).probe for name in ("linear", "curvilinear", "phased"))
    assert (linear.kind, linear.element_count) == (ArrayKind.LINEAR, 128)
    assert linear.aperture_m == pytest.approx(25.6e-3)
    assert (curved.kind, curved.element_count, curved.radius_m) == (ArrayKind.CURVILINEAR, 128, 0.06)
    assert (phased.kind, phased.element_count) == (ArrayKind.PHASED, 64)
    for probe, low, high in ((linear, 5e6, 15e6), (curved, 2e6, 6e6), (phased, 2e6, 4e6)):
        half = probe.fractional_bandwidth * probe.center_frequency_hz / 2
        assert probe.center_frequency_hz - half == pytest.approx(low)
        assert probe.center_frequency_hz + half == pytest.approx(high)


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    file = load_probe(str(path))
    assert file.probe.name == "small"
    assert file.sampling_hz == 20e6
    assert file.sequence == "plane"
    assert file.ranges["depth_m"].default == 0.03
    assert file.ranges["depth_m"].maximum == 0.06
    assert math.isinf(file.probe.elevation_focus_m)


def test_everything_wrong_is_said_at_once_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        SMALL.replace("elements = 16", "elements = 0")
        .replace("pitch_m = 0.3e-3", "pitch_m = -0.3e-3\ncolour = 'red'")
        .replace("[settings.depth_m]", "[settings.volume]\ndefault = 1\n[settings.depth_m]\nunit = 'mm'")
    )
    with pytest.raises(ProbeFileError) as caught:
        load_probe(str(path))
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    for place in ("probe.elements:", "probe.pitch_m:", "probe.colour:", "settings.volume:", "settings.depth_m.unit:"):
        assert f"{path}: {place}" in text
    assert "got -0.0003" in text


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[3e6, 7e6]", "[7e6, 3e6]", "band_hz must rise"),
        ("[3e6, 7e6]", "[3e6]", "probe.band_hz"),
        ("sampling_hz = 20e6", "sampling_hz = 10e6", "sampling_hz must be at least twice"),
        ('"linear"', '"curvilinear"', "radius_m belongs to a curvilinear probe"),
        ('"linear"', '"matrix"', "probe.kind"),
        ("elements = 16", "elements = 16.5", "probe.elements"),
        ("elements = 16", "elements = 16\nelement_width_m = 0.4e-3", "element_width_m must not exceed pitch_m"),
        ("default = 0.03", "default = 0.07", "settings.depth_m.default: depth_m: must be in 0.005..0.06"),
        ("maximum = 0.06", "maximum = 0.001", "settings.depth_m"),
        ("[probe]", "[sonde]", "probe: field required"),
        ("[probe]", "[probe", "is not TOML"),
        ("elements = 16", "elements = nan", "probe.elements"),
    ],
)
def test_what_does_not_fit_together_is_refused(old: str, new: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(ProbeFileError) as caught:
        load_probe(str(path))
    assert says in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProbeFileError, match="cannot be read"):
        load_probe(str(tmp_path / "none.toml"))


def test_a_single_element_needs_neither_count_nor_pitch(tmp_path: Path) -> None:
    path = tmp_path / "element.toml"
    path.write_text(
        '[probe]\nname = "x"\nkind = "single"\nelement_width_m = 6e-3\nband_hz = [3e6, 7e6]\nsampling_hz = 60e6\n'
    )
    file = load_probe(str(path))
    assert file.probe.kind is ArrayKind.SINGLE
    assert file.probe.element_width_m == 6e-3
    path.write_text(path.read_text() + "pitch_m = 1e-3\n")
    with pytest.raises(ProbeFileError, match="not to a single element"):
        load_probe(str(path))


@pytest.mark.parametrize("name", ["pic0rick", "ultr4rick", "wulpus", "wulpus-pro", "open-echo"])
def test_shipped_boards_are_found_by_name_and_are_no_simulated_probes(name: str) -> None:
    assert load_board(name).probe.name
    assert name not in probe_names()
