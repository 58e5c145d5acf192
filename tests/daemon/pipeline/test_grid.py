"""Where beamformed points and pixels lie."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sonod.daemon.pipeline.converters import pixel_map
from sonod.daemon.pipeline.grid import channel_grid, line_sector, lines_grid
from sonod.daemon.pipeline.options import ImageOptions
from sonod.drivers.frame import Acquisition, DataKind, LineGeometry, SampleFormat
from sonod.drivers.probe import Probe
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind

C = 1540.0


def acquisition(probe: Probe, t0_s: float = 0.0, samples: int = 2048) -> Acquisition:
    elements = probe.element_count
    event = TransmitEvent(
        TransmitKind.PLANE, np.zeros(elements), np.zeros(3), np.arange(elements, dtype=np.int32), t0_s=t0_s
    )
    shape = (1, elements, samples)
    return Acquisition(probe, Sequence((event,)), DataKind.CHANNEL, SampleFormat.RF, shape, np.dtype(np.int16), 20e6, C)


def test_linear_array_is_covered_from_edge_to_edge_and_mirror_symmetric() -> None:
    grid = channel_grid(acquisition(Probe.linear("p", 64, 0.3e-3, 5e6)), 0.04, C, ImageOptions())
    assert grid.pixels.spacing_x_m == grid.pixels.spacing_z_m
    np.testing.assert_allclose(grid.pixels.x_m, -grid.pixels.x_m[::-1], atol=1e-12)
    assert abs(grid.pixels.x_m[-1] + grid.pixels.spacing_x_m / 2 - 32 * 0.3e-3) < grid.pixels.spacing_x_m
    assert grid.pixels.z_m[0] == 0
    assert grid.pixels.z_m[-1] == pytest.approx(0.04, abs=grid.pixels.spacing_z_m)
    # Columns lie on half pitches of the elements, where delays repeat.
    steps = (grid.lines.origins_m[:, 0] - grid.lines.origins_m[0, 0]) / 0.15e-3
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)


def test_rows_and_columns_together_are_taken_at_their_word() -> None:
    options = ImageOptions(columns=256, rows=512)
    grid = channel_grid(acquisition(Probe.linear("p", 64, 0.3e-3, 5e6)), 0.04, C, options)
    assert grid.direct
    assert grid.lines.shape == (256, 512)
    assert (grid.pixels.columns, grid.pixels.rows) == (256, 512)


def test_picture_begins_where_the_record_does_and_ends_with_it() -> None:
    late = acquisition(Probe.linear("p", 64, 0.3e-3, 5e6), t0_s=20e-6, samples=400)
    grid = channel_grid(late, 0.2, C, ImageOptions())
    assert grid.pixels.z_m[0] == pytest.approx(20e-6 * C / 2)
    assert grid.pixels.z_m[-1] == pytest.approx(40e-6 * C / 2, abs=2 * grid.pixels.spacing_z_m)


def test_curvilinear_lines_leave_the_face_through_the_apex() -> None:
    probe = Probe.curvilinear("p", 64, 0.5e-3, 60e-3, 3.5e6)
    grid = channel_grid(acquisition(probe, samples=4096), 0.1, C, ImageOptions())
    assert grid.sector is not None
    np.testing.assert_allclose(grid.sector.apex_m, (0, 0, -60e-3), atol=1e-9)
    assert grid.sector.last_radius_m == pytest.approx(0.16, abs=1e-3)
    np.testing.assert_allclose(np.hypot(grid.lines.origins_m[:, 0], grid.lines.origins_m[:, 2] + 60e-3), 60e-3)
    # The face bulges: its edges lie behind the centre, and the picture shows them.
    assert grid.pixels.z_m[0] < 0


def test_phased_array_opens_a_sector() -> None:
    grid = channel_grid(acquisition(Probe.linear("p", 64, 0.25e-3, 3e6, phased=True)), 0.1, C, ImageOptions())
    assert grid.sector is not None
    assert grid.sector.last_angle_rad == pytest.approx(math.radians(45))
    assert grid.pixels.columns > grid.pixels.rows


@pytest.mark.parametrize("steer", [0.0, math.radians(15), math.radians(-20)])
@pytest.mark.parametrize("radius", [0.0, 40e-3])
def test_each_line_point_maps_back_to_its_line_and_sample(steer: float, radius: float) -> None:
    if radius:
        angles = np.linspace(-0.5, 0.5, 31) + steer
        directions = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], axis=1)
        origins = directions * radius - [0, 0, radius]
    else:
        origins = np.zeros((31, 3))
        origins[:, 0] = np.linspace(-10e-3, 10e-3, 31)
        directions = np.tile([math.sin(steer), 0, math.cos(steer)], (31, 1))
    lines = LineGeometry(origins, directions, 2e-3, 0.1e-3, 301, radius)
    pixels, sector = lines_grid(lines, 1.0, ImageOptions(pixel_m=0.25e-3))
    assert (sector is not None) == bool(radius)
    line_index, sample_index = pixel_map(lines, pixels)
    x, z = np.meshgrid(pixels.x_m, pixels.z_m)
    inside = (line_index > 0) & (line_index < 30) & (sample_index >= 0) & (sample_index <= 300)
    assert inside.mean() > 0.3
    numbers = np.arange(31)
    at = [np.interp(line_index[inside], numbers, origins[:, axis]) for axis in (0, 2)]
    angle = np.interp(line_index[inside], numbers, lines.angles_rad)
    distance = 2e-3 + sample_index[inside] * 0.1e-3
    # Between lines a curvilinear face is an arc, not its chord: some micrometres at this spacing.
    np.testing.assert_allclose(at[0] + np.sin(angle) * distance, x[inside], atol=10e-6)
    np.testing.assert_allclose(at[1] + np.cos(angle) * distance, z[inside], atol=10e-6)


def test_lines_in_descending_order_are_not_mirrored() -> None:
    origins = np.zeros((5, 3))
    origins[:, 0] = [4e-3, 3e-3, 2e-3, 1e-3, 0]
    lines = LineGeometry(origins, np.tile([0.0, 0, 1], (5, 1)), 0.0, 1e-3, 10)
    pixels, _ = lines_grid(lines, 1.0, ImageOptions(pixel_m=1e-3))
    line_index, _ = pixel_map(lines, pixels)
    np.testing.assert_allclose(line_index[0], [4, 3, 2, 1, 0], atol=1e-9)


def test_lines_without_a_common_apex_have_no_sector() -> None:
    angles = np.linspace(-0.3, 0.3, 11)
    origins = np.zeros((11, 3))
    origins[:, 0] = np.linspace(-20e-3, 20e-3, 11) + 3e-3 * np.linspace(-1, 1, 11) ** 3
    directions = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], axis=1)
    assert line_sector(LineGeometry(origins, directions, 0.0, 0.1e-3, 50)) is None
