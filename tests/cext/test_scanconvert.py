"""Lines to pixels."""

from __future__ import annotations

import numpy as np
import pytest
from cext_support.bits import assert_same_bits

from sonod.cext import reference
from sonod.cext.scanconvert import ScanConverter, parallel_map, sector_map


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (31, 57)])
def test_agrees_with_reference(shape: tuple[int, int], each_set: str) -> None:
    rng = np.random.default_rng(6)
    lines = rng.normal(size=shape).astype(np.float32)
    line_index = rng.uniform(-2, shape[0] + 1, (13, 17))
    sample_index = rng.uniform(-2, shape[1] + 1, (13, 17))
    line_index[3, 4] = np.nan
    sample_index[5, 6] = np.nan
    converter = ScanConverter(shape, line_index, sample_index)
    wanted = reference.scan_convert(lines, line_index, sample_index)
    np.testing.assert_allclose(converter.run(lines), wanted, atol=2e-6)
    assert (converter.run(lines)[~converter.inside] == 0).all()


def test_sector_shows_a_point_where_it_is() -> None:
    angles = np.linspace(-0.6, 0.6, 121)
    radius, spacing = 20e-3, 0.1e-3
    lines = np.zeros((121, 400), np.float32)
    lines[90, 250] = 1
    x, z = np.arange(-40e-3, 40e-3, 0.1e-3), np.arange(-5e-3, 45e-3, 0.1e-3)
    converter = ScanConverter(lines.shape, *sector_map(angles, radius, spacing, -radius, x, z))
    picture = converter.run(lines)
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    distance = radius + 250 * spacing
    assert x[column] == pytest.approx(distance * np.sin(angles[90]), abs=0.1e-3)
    assert z[row] == pytest.approx(distance * np.cos(angles[90]) - radius, abs=0.1e-3)


def test_descending_lines_show_the_same_picture() -> None:
    rng = np.random.default_rng(7)
    lines = rng.normal(size=(15, 40)).astype(np.float32)
    x, z = np.linspace(-6e-3, 6e-3, 30), np.linspace(0, 8e-3, 25)
    places = np.linspace(-5e-3, 5e-3, 15)
    up = ScanConverter(lines.shape, *parallel_map(places, 0.2, 0, 0.2e-3, x, z)).run(lines).copy()
    down = ScanConverter(lines.shape, *parallel_map(places[::-1], 0.2, 0, 0.2e-3, x, z)).run(lines[::-1].copy())
    np.testing.assert_allclose(up, down, atol=1e-6)


def test_steered_lines_lean_towards_their_angle() -> None:
    lines = np.zeros((11, 50), np.float32)
    lines[5] = 1
    x, z = np.linspace(-5e-3, 5e-3, 101), np.linspace(0, 4e-3, 41)
    picture = ScanConverter(lines.shape, *parallel_map(np.linspace(-5e-3, 5e-3, 11), 0.3, 0, 0.1e-3, x, z)).run(lines)
    for row in (10, 30):
        assert x[picture[row].argmax()] == pytest.approx(z[row] * np.tan(0.3), abs=0.11e-3)


def test_pixels_half_a_step_beyond_the_edge_are_inside() -> None:
    converter = ScanConverter((3, 4), [[-0.5, -0.51, 2.5, 2.51]], [[0.0, 0.0, 3.5, 3.5]])
    assert converter.inside.tolist() == [[True, False, True, False]]
    lines = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert converter.run(lines).tolist() == [[0.0, 0.0, 11.0, 0.0]]


def test_one_line_is_everywhere() -> None:
    x, z = np.linspace(-1e-3, 1e-3, 3), np.linspace(0, 3e-3, 4)
    converter = ScanConverter((1, 4), *parallel_map([0.0], 0.0, 0.0, 1e-3, x, z))
    picture = converter.run(np.array([[1, 2, 3, 4]], np.float32))
    np.testing.assert_allclose(picture, np.repeat([[1], [2], [3], [4]], 3, axis=1), rtol=1e-6)


def test_scan_conversion_is_the_same_everywhere() -> None:
    rng = np.random.default_rng(8)
    lines = rng.normal(size=(61, 200)).astype(np.float32)
    converter = ScanConverter(lines.shape, rng.uniform(-2, 62, (301, 203)), rng.uniform(-2, 202, (301, 203)))
    assert_same_bits(lambda: converter.run(lines))


def test_bad_argument_is_named() -> None:
    with pytest.raises(ValueError, match="line_index"):
        ScanConverter((3, 4), np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="ascend or descend"):
        sector_map([0.0, 0.1, 0.05], 0.0, 1e-3, 0.0, [0.0], [1e-3])
    with pytest.raises(ValueError, match="lines"):
        ScanConverter((3, 4), [[0.0]], [[0.0]]).run(np.zeros((4, 3), np.float32))
