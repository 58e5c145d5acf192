"""Measured recordings become correct pictures: every named point, and what else is known of each."""

from __future__ import annotations

from collections.abc import Callable

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from .conftest import Processed

pytestmark = pytest.mark.data

Process = Callable[[str], Processed]

# Recordings whose points are bright spots or surfaces in the picture, as `expected` names them.
WITH_POINTS = (
    "concrete_pairs_array12",
    "copper_fmc_linear32_water",
    "interson_curvilinear_rf",
    "linescan_pins_plexi_aluminium",
    "notch_dw7_derived",
    "notch_focused31_derived",
    "notch_hmc_linear64_aluminium",
    "notch_pw11_derived",
    "raster3d_plexi_aluminium",
    "sim_pw3_linear192",
)
OTHERS = (
    "bpc_curvilinear_lines8bit_ref",
    "carotid_doppler_linear_iq",
    "disk_pw_linear128_doppler",
    "mouse_liver_linear_rf",
    "pic0rick_steel_steps",
    "wulpus_mmode",
)
# Points that a single speed of sound cannot place; their names say so.
NEEDS_LAYERS = "two layers"
SURFACES = ("surface", "wall", "reflector")


@pytest.mark.parametrize("name", WITH_POINTS)
def test_named_points_are_where_they_should_be(processed: Process, name: str) -> None:
    result = processed(name)
    with h5py.File(result.source) as file:
        expected = file["expected"]
        tolerance = float(expected.attrs["tolerance_m"])
        points = dict(zip(expected.attrs["point_names"], expected["points_m"][()], strict=True))
    wrong = []
    for point_name, (x, y, z) in points.items():
        if NEEDS_LAYERS in point_name:
            continue
        surface = any(word in point_name for word in SURFACES)
        found = result.brightest(x, z, 2 * tolerance, y_m=y, along_z=surface)
        if max(abs(found[0] - x) * (not surface), abs(found[1] - z)) > tolerance:
            wrong.append(f"{point_name}: expected {x * 1e3:.2f}, {z * 1e3:.2f} mm, found {np.round(found, 5) * 1e3}")
    assert not wrong, f"tolerance {tolerance * 1e3:g} mm: " + "; ".join(wrong)


@pytest.mark.parametrize("name", WITH_POINTS + OTHERS)
def test_pictures_are_written_and_agree_with_the_file(processed: Process, name: str) -> None:
    result = processed(name)
    assert result.envelope.dtype == np.float32
    assert result.image.dtype == np.uint8
    assert result.image.shape == result.envelope.shape == (len(result.y_m), len(result.z_m), len(result.x_m))
    assert np.isfinite(result.envelope).all()
    assert (result.envelope >= 0).all()
    assert result.image.max() > 200
    if len(result.x_m) > 1:
        picture = np.asarray(Image.open(result.pictures / "frame_0000.png"))
        np.testing.assert_array_equal(picture, result.image[0])
    else:
        assert (result.pictures / "mmode.png").is_file()


def test_disk_has_its_centre_radius_and_contrast(processed: Process) -> None:
    result = processed("disk_pw_linear128_doppler")
    with h5py.File(result.source) as file:
        x, _, z = file["expected/points_m"][0]
        facts = dict(file["expected"].attrs)
    power = (result.envelope.astype(np.float64) ** 2).mean(axis=0)
    distance = np.hypot(*np.meshgrid(result.x_m - x, result.z_m - z))
    inside, outside = power[distance < 9e-3].mean(), power[distance > 12e-3].mean()
    assert 10 * np.log10(inside / outside) == pytest.approx(facts["contrast_inside_outside_db"], abs=1.5)
    smooth = 10 * np.log10(ndimage.gaussian_filter(power, 8))
    blobs, _ = ndimage.label(smooth > 10 * np.log10(np.sqrt(inside * outside)))
    disk = blobs == np.bincount(blobs[blobs > 0]).argmax()
    rows, columns = np.nonzero(disk)
    assert result.x_m[columns].mean() == pytest.approx(x, abs=1e-3)
    assert result.z_m[rows].mean() == pytest.approx(z, abs=1e-3)
    pixel = (result.x_m[1] - result.x_m[0]) * (result.z_m[1] - result.z_m[0])
    assert np.sqrt(disk.sum() * pixel / np.pi) == pytest.approx(facts["disk_radius_m"], abs=0.8e-3)


def test_disk_turns_at_its_speed(processed: Process) -> None:
    """The beamformed IQ keeps its phase from frame to frame: lag-one Doppler sees a rigid rotation."""
    result = processed("disk_pw_linear128_doppler")
    with h5py.File(result.out) as file, h5py.File(result.source) as source:
        parts = file["iq/samples"][()]
        x = file["iq/origins_m"][:, 0]
        z = file["iq"].attrs["first_sample_m"] + np.arange(parts.shape[2]) * file["iq"].attrs["sample_spacing_m"]
        facts = dict(source["expected"].attrs)
        frequency = source.attrs["center_frequency_hz"]
        c = source.attrs["speed_of_sound_m_s"]
        rate = source.attrs["pulse_repetition_frequency_hz"]
        centre = source["expected/points_m"][0]
    iq = parts[..., 0] + 1j * parts[..., 1]
    lag_one = (iq[1:] * iq[:-1].conj()).sum(axis=0)
    lag_one = ndimage.uniform_filter(lag_one.real, 9) + 1j * ndimage.uniform_filter(lag_one.imag, 9)
    velocity = -c * rate / (4 * np.pi * frequency) * np.angle(lag_one)
    across, down = np.meshgrid(x - centre[0], z - centre[2], indexing="ij")
    inside = np.hypot(across, down) < 8e-3
    slope, offset = np.polyfit(across[inside], velocity[inside], 1)
    assert slope == pytest.approx(
        facts["axial_velocity_slope_per_s"], abs=facts["axial_velocity_slope_tolerance_per_s"]
    )
    assert offset == pytest.approx(0, abs=0.02)


def test_copper_surface_is_straight_and_level(processed: Process) -> None:
    result = processed("copper_fmc_linear32_water")
    with h5py.File(result.source) as file:
        slope, depth = float(file["expected"].attrs["surface_slope"]), float(file["expected/points_m"][0, 2])
    x, z = _surface(result, depth, 1.5e-3, 12e-3)
    fit = np.polyfit(x, z, 1)
    assert fit[0] == pytest.approx(slope, abs=0.002)
    assert np.std(z - np.polyval(fit, x)) < 0.1e-3


def test_back_wall_is_flat_and_the_notch_as_wide_as_it_is(processed: Process) -> None:
    result = processed("notch_hmc_linear64_aluminium")
    with h5py.File(result.source) as file:
        notch, wall = file["expected/points_m"][()]
        width = float(file["expected"].attrs["notch_lateral_width_6db_m"])
    _, z = _surface(result, wall[2], 1e-3, 6e-3)
    assert z.std() < 0.05e-3
    assert _width(result, notch[0], notch[2], 0.7e-3) == pytest.approx(width, rel=0.25)


def test_simulated_points_are_as_wide_as_theory_has_them(processed: Process) -> None:
    result = processed("sim_pw3_linear192")
    with h5py.File(result.source) as file:
        points, widths = file["expected/points_m"][()], file["expected"].attrs["lateral_width_6db_m"]
    for (x, _, z), width in zip(points, widths, strict=True):
        assert _width(result, x, z, 0.25e-3) == pytest.approx(width, rel=0.3)


def test_scanned_element_is_focused_in_water(processed: Process) -> None:
    result = processed("linescan_pins_plexi_aluminium")
    with h5py.File(result.source) as file:
        points, widths = file["expected/points_m"][()], file["expected"].attrs["lateral_width_6db_m"]
    for (x, _, z), width in zip(points, widths, strict=False):
        assert _width(result, x, z, 0.6e-3) == pytest.approx(width, rel=0.25)


def test_scan_conversion_agrees_with_another_program(processed: Process) -> None:
    result = processed("bpc_curvilinear_lines8bit_ref")
    with h5py.File(result.source) as file:
        reference = file["reference/image_u8"][()].astype(np.float64)
        pixel = float(file["reference"].attrs["pixel_spacing_m"])
        column, row = file["reference"].attrs["face_centre_pixel_col_row"]
        least = float(file["expected"].attrs["reference_correlation_minimum"])
    x, z = (np.arange(reference.shape[2]) - column) * pixel, (np.arange(reference.shape[1]) - row) * pixel
    spacing_x, spacing_z = result.x_m[1] - result.x_m[0], result.z_m[1] - result.z_m[0]
    place = np.meshgrid((z - result.z_m[0]) / spacing_z, (x - result.x_m[0]) / spacing_x, indexing="ij")
    for ours, theirs in zip(result.image, reference, strict=True):
        resampled = ndimage.map_coordinates(ours.astype(np.float64), place, order=1)
        counted = (theirs > 0) & (theirs < 255)
        assert np.corrcoef(resampled[counted], theirs[counted])[0, 1] >= least
        assert np.corrcoef(resampled[:, ::-1][counted], theirs[counted])[0, 1] < 0.5


def test_speckle_of_tissue_has_its_statistics(processed: Process) -> None:
    result = processed("mouse_liver_linear_rf")
    with h5py.File(result.out) as file, h5py.File(result.source) as source:
        lines = file["lines/envelope"][()]
        facts = dict(source["expected"].attrs)
    window = lines[0, 30:100, 300:900]
    assert window.mean() / window.std() == pytest.approx(facts["envelope_snr"], rel=0.03)
    correlation = np.corrcoef(lines[0].ravel(), lines[1].ravel())[0, 1]
    assert correlation == pytest.approx(facts["frame01_envelope_correlation"], abs=0.03)
    # The picture shows the same speckle: its statistics survive scan conversion.
    spacing = result.x_m[1] - result.x_m[0]
    assert spacing < 0.1e-3
    shown = result.envelope[0][
        np.ix_((result.z_m > 300 * 12.8417e-6) & (result.z_m < 900 * 12.8417e-6), np.abs(result.x_m) < 3.4e-3)
    ]
    assert shown.mean() / shown.std() == pytest.approx(facts["envelope_snr"], rel=0.1)


def test_vessel_is_dark_and_its_flow_has_its_speed(processed: Process) -> None:
    result = processed("carotid_doppler_linear_iq")
    with h5py.File(result.out) as file, h5py.File(result.source) as source:
        parts = file["iq/samples"][()]
        walls = source["expected/points_m"][()]
        facts = dict(source["expected"].attrs)
        origins, directions = file["iq/origins_m"][()], file["iq/directions"][()]
        first, step = file["iq"].attrs["first_sample_m"], file["iq"].attrs["sample_spacing_m"]
        wavelength = source.attrs["speed_of_sound_m_s"] / source.attrs["center_frequency_hz"]
        rate = source.attrs["pulse_repetition_frequency_hz"]
    iq = parts[..., 0] + 1j * parts[..., 1]
    pulses = np.arange(len(iq))
    trend = np.polynomial.polynomial.polyvander(pulses / len(iq), 2)
    projection = trend @ np.linalg.pinv(trend)
    flow = iq - np.tensordot(projection, iq, axes=1)
    power = ndimage.gaussian_filter(10 * np.log10((np.abs(flow) ** 2).mean(axis=0) + 1e-9), 2)
    blobs, _ = ndimage.label(power > np.median(power) + 8)
    vessel = blobs == np.bincount(blobs[blobs > 0]).argmax()
    depth = origins[:, None, 2] + directions[:, None, 2] * (first + np.arange(iq.shape[2]) * step)
    for index, line in enumerate((10, 52, 93)):
        inside = depth[line][vessel[line]]
        assert inside.min() == pytest.approx(walls[2 * index, 2], abs=facts["tolerance_m"])
        assert inside.max() == pytest.approx(walls[2 * index + 1, 2], abs=facts["tolerance_m"])
    lag_one = (flow[1:] * flow[:-1].conj()).sum(axis=0)
    velocity = wavelength * rate / (4 * np.pi) * np.angle(lag_one[vessel].sum())
    assert velocity == pytest.approx(facts["mean_velocity_in_vessel_m_s"], abs=facts["velocity_tolerance_m_s"])


def test_steel_steps_are_as_thick_as_they_are(processed: Process) -> None:
    result = processed("pic0rick_steel_steps")
    with h5py.File(result.source) as file:
        facts = dict(file["expected"].attrs)
    for frame, thickness in zip(facts["frame"], facts["thickness_m"], strict=True):
        trace = result.envelope[frame, :, 0].astype(np.float64)
        # The step begins at the strong echo behind the delay path; its far side is the next one.
        interface = result.z_m[2000:2400][trace[2000:2400].argmax()]
        behind = (result.z_m > interface + 6e-3) & (result.z_m < interface + 30e-3)
        found = result.z_m[behind][trace[behind].argmax()] - interface
        assert found == pytest.approx(thickness, abs=facts["thickness_tolerance_m"])


def test_moving_reflector_is_followed(processed: Process) -> None:
    result = processed("wulpus_mmode")
    with h5py.File(result.source) as file, h5py.File(result.out) as out:
        facts = dict(file["expected"].attrs)
        motion = out["mmode/envelope"][()]
    assert motion.shape == (len(result.z_m), 100)
    smooth = ndimage.uniform_filter1d(motion, 9, axis=0)[180:300, 10:]
    depth = result.z_m[180:300][smooth.argmax(axis=0)]
    assert np.median(depth) == pytest.approx(facts["reflector_depth_median_m"], abs=0.3e-3)
    low, high = facts["reflector_depth_range_m"]
    assert depth.min() == pytest.approx(low, abs=0.4e-3)
    assert depth.max() == pytest.approx(high, abs=0.4e-3)


def _surface(
    result: Processed, depth_m: float, reach_m: float, half_width_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(x, z) of the brightest row near a depth in each column, between rows by a parabola."""
    columns = np.flatnonzero(np.abs(result.x_m) < half_width_m)
    rows = np.flatnonzero(np.abs(result.z_m - depth_m) < reach_m)
    part = result.plane(0.0)[np.ix_(rows, columns)]
    peak = np.clip(part.argmax(axis=0), 1, len(rows) - 2)
    index = np.arange(len(columns))
    before, at, behind = part[peak - 1, index], part[peak, index], part[peak + 1, index]
    shift = 0.5 * (before - behind) / (before - 2 * at + behind)
    return result.x_m[columns], result.z_m[rows][peak] + shift * (result.z_m[1] - result.z_m[0])


def _width(result: Processed, x_m: float, z_m: float, reach_m: float) -> float:
    """-6 dB lateral width of the spot near a place, in the row of its peak."""
    x, z = result.brightest(x_m, z_m, reach_m)
    row = result.plane(0.0)[np.abs(result.z_m - z).argmin()]
    middle = int(np.abs(result.x_m - x).argmin())
    half = row[middle] / 2
    left = middle - int(np.argmax(row[middle::-1] < half))
    right = middle + int(np.argmax(row[middle:] < half))
    spacing = result.x_m[1] - result.x_m[0]
    left_edge = left + (half - row[left]) / (row[left + 1] - row[left])
    right_edge = right - (half - row[right]) / (row[right - 1] - row[right])
    return float((right_edge - left_edge) * spacing)
