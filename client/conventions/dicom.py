"""The item of a DICOM Sequence of Ultrasound Regions (0018,6011) that describes a picture, by attribute keyword.

PS3.3 C.8.5.5. DICOM measures in centimetres and counts pixels from 0 at the top left of the region; here the region is
the whole picture. The reference pixel is the first one, and its physical value is where that pixel lies: x lateral from
the middle of the array, y the depth below its face.
"""

from __future__ import annotations

from sonod.client.wire.geometry import ImageGeometry, MotionGeometry

CENTIMETRES_PER_METRE = 100.0
# Defined terms of PS3.3 C.8.5.5.1.
SPATIAL_2D, SPATIAL_M_MODE = 1, 2
DATA_TISSUE = 1
UNIT_NONE, UNIT_CENTIMETRE, UNIT_SECOND = 0, 3, 4

Region = dict[str, int | float]


def ultrasound_region(geometry: ImageGeometry | MotionGeometry) -> Region:
    """Keyword -> value, ready for a data set; for M-mode the x axis is time, 0 at the newest column (no unit when the
    time between columns is not known)."""
    rows, columns = geometry.shape
    region: Region = {
        "RegionDataType": DATA_TISSUE,
        "RegionFlags": 0,
        "RegionLocationMinX0": 0,
        "RegionLocationMinY0": 0,
        "RegionLocationMaxX1": columns - 1,
        "RegionLocationMaxY1": rows - 1,
        "ReferencePixelX0": 0,
        "ReferencePixelY0": 0,
        "PhysicalUnitsYDirection": UNIT_CENTIMETRE,
    }
    if isinstance(geometry, ImageGeometry):
        dz, dx = geometry.steps_m
        return region | {
            "RegionSpatialFormat": SPATIAL_2D,
            "PhysicalUnitsXDirection": UNIT_CENTIMETRE,
            "PhysicalDeltaX": dx * CENTIMETRES_PER_METRE,
            "PhysicalDeltaY": dz * CENTIMETRES_PER_METRE,
            "ReferencePixelPhysicalValueX": geometry.first_pixel_m[0] * CENTIMETRES_PER_METRE,
            "ReferencePixelPhysicalValueY": geometry.first_pixel_m[2] * CENTIMETRES_PER_METRE,
        }
    timed = geometry.column_period_s > 0
    return region | {
        "RegionSpatialFormat": SPATIAL_M_MODE,
        "PhysicalUnitsXDirection": UNIT_SECOND if timed else UNIT_NONE,
        "PhysicalDeltaX": geometry.column_period_s if timed else 1.0,
        "PhysicalDeltaY": geometry.spacing_m * CENTIMETRES_PER_METRE,
        "ReferencePixelX0": columns - 1,
        "ReferencePixelPhysicalValueX": 0.0,
        "ReferencePixelPhysicalValueY": geometry.first_z_m * CENTIMETRES_PER_METRE,
    }
