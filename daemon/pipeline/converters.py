"""Which place between the lines each pixel shows: the maps behind scan conversion."""

from __future__ import annotations

import numpy as np

from sonod.cext.scanconvert import ScanConverter
from sonod.daemon.pipeline.grid import line_sector
from sonod.drivers.frame import LineGeometry, PixelGrid
from sonod.drivers.probe import FloatArray


def to_pixels(lines: LineGeometry, pixels: PixelGrid) -> ScanConverter:
    """The converter that draws `lines` on `pixels`."""
    line_index, sample_index = pixel_map(lines, pixels)
    return ScanConverter(lines.shape, line_index, sample_index)


def pixel_map(lines: LineGeometry, pixels: PixelGrid) -> tuple[FloatArray, FloatArray]:
    """(line index, sample index) of each pixel (rows, columns), fractional; NaN beyond the first and last line."""
    x, z = np.meshgrid(pixels.x_m, pixels.z_m)
    line_numbers = np.arange(lines.line_count, dtype=np.float64)
    sector = line_sector(lines)
    if sector is not None:
        apex_x, _, apex_z = sector.apex_m
        angle = np.arctan2(x - apex_x, z - apex_z)
        line_index = _between(angle, lines.angles_rad, line_numbers)
        along = np.hypot(x - apex_x, z - apex_z) - lines.radius_m
    elif (lines.directions[:, 0] == 0).all():
        # Straight down, the lines stand at the same places in every row.
        index = _between(pixels.x_m, lines.origins_m[:, 0], line_numbers)
        here = np.nan_to_num(index)
        cosine = np.interp(here, line_numbers, lines.directions[:, 2])
        line_index = np.broadcast_to(index, x.shape)
        along = (z - np.interp(here, line_numbers, lines.origins_m[:, 2])) / cosine
    else:
        # In each row, the lines stand side by side in their own order; between neighbours the angle changes evenly.
        tangent = lines.directions[:, 0] / lines.directions[:, 2]
        line_index = np.empty_like(x)
        along = np.empty_like(x)
        for row, depth in enumerate(pixels.z_m):
            places = lines.origins_m[:, 0] + tangent * (depth - lines.origins_m[:, 2])
            line_index[row] = _between(pixels.x_m, places, line_numbers)
            here = np.nan_to_num(line_index[row])
            start = np.interp(here, line_numbers, lines.origins_m[:, 2])
            cosine = np.interp(here, line_numbers, lines.directions[:, 2])
            along[row] = (depth - start) / cosine
    return line_index, (along - lines.first_m) / lines.spacing_m


def _between(places: FloatArray, line_places: FloatArray, line_numbers: FloatArray) -> FloatArray:
    """Fractional line number of each place; NaN more than half a line beyond the outermost lines."""
    if len(line_places) == 1:
        return np.zeros_like(places)
    order = slice(None) if line_places[-1] > line_places[0] else slice(None, None, -1)
    ascending, numbers = line_places[order], line_numbers[order]
    index = np.interp(places, ascending, numbers)
    reach_before = (ascending[1] - ascending[0]) / 2
    reach_behind = (ascending[-1] - ascending[-2]) / 2
    outside = (places < ascending[0] - reach_before) | (places > ascending[-1] + reach_behind)
    index[outside] = np.nan
    return index
