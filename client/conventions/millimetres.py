"""Pixels and millimetres."""

from __future__ import annotations

from sonod.client.conventions.matrices import MILLIMETRES_PER_METRE
from sonod.client.wire.geometry import ImageGeometry, Vector


def point_mm(geometry: ImageGeometry, row: float, column: float) -> Vector:
    """Where a pixel's centre (or a place between pixels) is: transducer coordinates in millimetres."""
    x, y, z = geometry.point_m(row, column)
    return x * MILLIMETRES_PER_METRE, y * MILLIMETRES_PER_METRE, z * MILLIMETRES_PER_METRE


def pixel_of_mm(geometry: ImageGeometry, point: Vector) -> tuple[float, float]:
    """(row, column), real numbers, of a point in millimetres; its elevation is ignored."""
    x, y, z = point
    return geometry.pixel((x / MILLIMETRES_PER_METRE, y / MILLIMETRES_PER_METRE, z / MILLIMETRES_PER_METRE))


def spacing_mm(geometry: ImageGeometry) -> tuple[float, float]:
    """(between rows, between columns) in millimetres."""
    between_rows, between_columns = geometry.spacing_m
    return between_rows * MILLIMETRES_PER_METRE, between_columns * MILLIMETRES_PER_METRE
