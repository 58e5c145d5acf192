"""Where beamformed points and pixels lie: the natural beam grid of a probe, and the square pixels of its picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonod.client.wire.geometry import Sector
from sonod.daemon.pipeline.options import ImageOptions
from sonod.drivers.frame import Acquisition, LineGeometry, PixelGrid
from sonod.drivers.probe import ArrayKind
from sonod.drivers.sequence import TransmitKind

# Half the opening angle of a phased array's sector.
PHASED_HALF_ANGLE_RAD = math.radians(45)
# A sector's or scan-line picture has this share more pixels on its longer side than usual rows.
SIDE_PER_ROW = 1.6
# Beam lines of a sector for each element: closer than the beam is wide, so that nothing is unseen between them.
LINES_PER_ELEMENT = 2
# Beam lines no finer than this share of a pitch.
FINEST_LINE_PITCHES = 0.5
# A sector narrower than this (half angle) is drawn as parallel lines would be.
SMALLEST_SECTOR_RAD = 1e-6


@dataclass(frozen=True)
class BeamGrid:
    """The lines that are beamformed and the pixels they become; `direct` when each line is one column of pixels."""

    lines: LineGeometry
    pixels: PixelGrid
    sector: Sector | None = None
    direct: bool = False


def depth_range_m(acquisition: Acquisition, depth_m: float, sound_speed_m_s: float) -> tuple[float, float]:
    """First and last depth worth a row: from where the record begins (0 when it begins at the face) to the depth knob,
    but no deeper than the record reaches."""
    t0 = acquisition.sequence.t0_s - acquisition.pulse_delay_s
    begin = acquisition.depth_at_m(max(float(t0.min()), 0.0), sound_speed_m_s)
    end = acquisition.depth_at_m(float(t0.max()) + acquisition.shape[2] / acquisition.sampling_hz, sound_speed_m_s)
    last = min(depth_m, end)
    return min(begin, last / 2), last


def channel_grid(
    acquisition: Acquisition,
    depth_m: float,
    sound_speed_m_s: float,
    options: ImageOptions,
    y_m: float | None = None,
) -> BeamGrid:
    """The beam grid and pixel grid for channel data in the plane of `y_m` (default: the array's)."""
    probe = acquisition.probe
    first, last = depth_range_m(acquisition, depth_m, sound_speed_m_s)
    row_m = _row_spacing(last - first, sound_speed_m_s / acquisition.pulse_frequency_hz, options)
    if scans_line_by_line(acquisition, options):
        return _with_pixels(_scan_lines(acquisition, first, last, row_m), options)
    if probe.kind is ArrayKind.CURVILINEAR:
        angles = np.arctan2(probe.element_positions_m[:, 0], probe.element_positions_m[:, 2] + probe.radius_m)
        return _with_pixels(
            _sector(float(np.abs(angles).max()), probe.radius_m, acquisition, first, last, row_m, options), options
        )
    if probe.kind is ArrayKind.PHASED:
        return _with_pixels(_sector(PHASED_HALF_ANGLE_RAD, 0.0, acquisition, first, last, row_m, options), options)
    return _straight_grid(acquisition, first, last, row_m, options, y_m)


def scans_line_by_line(acquisition: Acquisition, options: ImageOptions) -> bool:
    """Whether each focused transmission makes one beam line."""
    events = acquisition.sequence.events
    focused = all(event.kind is TransmitKind.FOCUSED for event in events)
    return options.focused == "lines" and focused and len(events) > 1


def lines_grid(lines: LineGeometry, depth_m: float, options: ImageOptions) -> tuple[PixelGrid, Sector | None]:
    """The pixels that hold given scan lines down to z = `depth_m`: as fine as the samples, within the usual size."""
    last = lines.first_m + (lines.count - 1) * lines.spacing_m
    ends = np.concatenate([lines.origins_m + lines.directions * distance for distance in (lines.first_m, last)])
    x0, x1 = float(ends[:, 0].min()), float(ends[:, 0].max())
    z0, z1 = float(ends[:, 2].min()), min(float(ends[:, 2].max()), depth_m)
    coarsest = max(x1 - x0, z1 - z0) / (SIDE_PER_ROW * options.usual_rows)
    pixel = options.pixel_m or max(coarsest, lines.spacing_m)
    return _pixels(x0, x1, z0, z1, pixel, float(lines.origins_m[:, 1].mean())), line_sector(lines)


def line_sector(lines: LineGeometry) -> Sector | None:
    """The sector that lines fan out over from one apex, or None for lines without a common apex."""
    angles = lines.angles_rad
    if lines.line_count < 2 or np.ptp(angles) < 2 * SMALLEST_SECTOR_RAD:
        return None
    apexes = lines.origins_m - lines.radius_m * lines.directions
    if np.ptp(apexes, axis=0).max() > lines.spacing_m:
        return None
    x, y, z = (float(value) for value in apexes.mean(axis=0))
    last = lines.first_m + (lines.count - 1) * lines.spacing_m
    return Sector(
        (x, y, z),
        lines.radius_m + lines.first_m,
        lines.radius_m + last,
        float(angles.min()),
        float(angles.max()),
    )


def _row_spacing(extent_m: float, wavelength_m: float, options: ImageOptions) -> float:
    if options.rows:
        return extent_m / max(options.rows - 1, 1)
    if options.pixel_m:
        return options.pixel_m
    return max(extent_m / options.usual_rows, min(options.finest_row_wavelengths * wavelength_m, extent_m / 2))


def _straight_grid(
    acquisition: Acquisition,
    first: float,
    last: float,
    row_m: float,
    options: ImageOptions,
    y_m: float | None,
) -> BeamGrid:
    columns, rows, pixel_m = options.columns, options.rows, options.pixel_m
    probe = acquisition.probe
    x = probe.element_positions_m[:, 0]
    y = float(np.mean(probe.element_positions_m[:, 1])) if y_m is None else y_m
    pitch = probe.pitch_m or row_m
    if probe.kind is ArrayKind.ARBITRARY and len(np.unique(np.round(x, 7))) > 1:
        pitch = float(np.min(np.diff(np.unique(np.round(x, 7)))))
    x0, x1 = float(x.min()) - pitch / 2, float(x.max()) + pitch / 2
    exact = bool(columns and rows)
    spacing = (x1 - x0) / columns if columns else (pixel_m or max(FINEST_LINE_PITCHES * pitch, row_m))
    # Columns centred on the array; with spacing = pitch / n they are aligned to the elements' half pitches.
    count = columns or max(1, round((x1 - x0) / spacing))
    first_x = (x0 + x1) / 2 - (count - 1) / 2 * spacing
    row_count = rows or _row_count(first, last, row_m)
    origins = np.zeros((count, 3))
    origins[:, 0] = first_x + np.arange(count) * spacing
    origins[:, 1] = y
    directions = np.tile([0.0, 0.0, 1.0], (count, 1))
    lines = LineGeometry(origins, directions, first, row_m, row_count)
    if exact or abs(spacing - row_m) < 1e-3 * row_m or count == 1:
        return BeamGrid(lines, PixelGrid(row_count, count, first_x, first, spacing, row_m, y), direct=True)
    edge = (spacing - row_m) / 2
    pixels = _pixels(first_x - edge, first_x + (count - 1) * spacing + edge, first, last, row_m, y)
    return BeamGrid(lines, pixels)


def _sector(
    half_angle: float,
    radius: float,
    acquisition: Acquisition,
    first: float,
    last: float,
    row_m: float,
    options: ImageOptions,
) -> LineGeometry:
    count = max(options.columns or LINES_PER_ELEMENT * acquisition.probe.element_count, 2)
    angles = np.linspace(-half_angle, half_angle, count)
    directions = np.stack([np.sin(angles), np.zeros_like(angles), np.cos(angles)], axis=1)
    origins = directions * radius - np.array([0.0, 0.0, radius])
    return LineGeometry(origins, directions, first, row_m, _row_count(first, last, row_m), radius)


def _scan_lines(acquisition: Acquisition, first: float, last: float, row_m: float) -> LineGeometry:
    """One line per focused transmission: through its focus, along its steering angle, from the face."""
    probe, events = acquisition.probe, acquisition.sequence.events
    focuses = acquisition.sequence.origins_m
    radius = probe.radius_m
    if probe.kind is ArrayKind.CURVILINEAR:
        apex = np.array([0.0, 0.0, -radius])
        directions = focuses - apex
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        origins = apex + directions * radius
    else:
        angles = np.array([event.angle_rad for event in events])
        directions = np.stack([np.sin(angles), np.zeros_like(angles), np.cos(angles)], axis=1)
        origins = focuses - directions * (focuses[:, 2:3] / directions[:, 2:3])
    return LineGeometry(origins, directions, first, row_m, _row_count(first, last, row_m), radius)


def _with_pixels(lines: LineGeometry, options: ImageOptions) -> BeamGrid:
    pixels, sector = lines_grid(lines, math.inf, options)
    return BeamGrid(lines, pixels, sector)


def _row_count(first: float, last: float, row_m: float) -> int:
    return max(1, math.floor((last - first) / row_m + 1e-9) + 1)


def _pixels(x0: float, x1: float, z0: float, z1: float, pixel: float, y: float) -> PixelGrid:
    columns = max(1, math.floor((x1 - x0) / pixel + 1e-6) + 1)
    rows = max(1, math.floor((z1 - z0) / pixel + 1e-6) + 1)
    first_x = (x0 + x1) / 2 - (columns - 1) / 2 * pixel
    return PixelGrid(rows, columns, first_x, z0, pixel, pixel, y)
