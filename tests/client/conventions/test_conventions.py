"""Geometry in the words of OpenIGTLink, PLUS and DICOM, against numbers worked out by hand.

The picture: 3 rows of 0.1 mm and 4 columns of 0.2 mm; its first pixel lies at x = -0.3 mm, z = 0.05 mm.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sonod.client.conventions.dicom import ultrasound_region
from sonod.client.conventions.matrices import applied, in_metres, in_millimetres, inverse, product
from sonod.client.conventions.millimetres import pixel_of_mm, point_mm, spacing_mm
from sonod.client.conventions.openigtlink import placement
from sonod.client.conventions.plus import (
    image_to_probe_m,
    image_to_probe_mm,
    pixel_change,
    transform_element,
    turned,
)
from sonod.client.wire.geometry import ImageGeometry, MotionGeometry

PICTURE = ImageGeometry((3, 4), (0.0001, 0.0002), (-0.0003, 0.0, 0.00005))


def close(value: object, wanted: object) -> None:
    np.testing.assert_allclose(np.array(value), np.array(wanted), rtol=0, atol=1e-12)


def test_pixels_and_millimetres() -> None:
    close(spacing_mm(PICTURE), (0.1, 0.2))
    close(point_mm(PICTURE, 2, 3), (0.3, 0.0, 0.25))
    close(pixel_of_mm(PICTURE, (0.3, 7.0, 0.25)), (2, 3))
    # The face's middle is half a row above the first row, half-way between columns 1 and 2.
    close(PICTURE.transducer_origin_pixel, (-0.5, 1.5))


def test_openigtlink_places_the_centre() -> None:
    placed = placement(PICTURE)
    assert placed.size == (4, 3, 1)
    close(placed.i_mm, (0.2, 0, 0))
    close(placed.j_mm, (0, 0, 0.1))
    # x cross z is -y: right-handed axes.
    close(placed.k_mm, (0, -1, 0))
    close(placed.centre_mm, (0.0, 0.0, 0.15))
    close(placed.spacing_mm, (0.2, 0.1, 1.0))
    close(placed.first_pixel_mm, (-0.3, 0.0, 0.05))


def test_openigtlink_lps_turns_two_axes() -> None:
    ras = placement(replace(PICTURE, first_pixel_m=(0.001, 0.002, 0.003)))
    lps = placement(replace(PICTURE, first_pixel_m=(0.001, 0.002, 0.003)), coordinates="LPS")
    close(ras.centre_mm, (1.3, 2.0, 3.1))
    close(lps.centre_mm, (-1.3, -2.0, 3.1))
    close(lps.i_mm, (-0.2, 0, 0))
    close(lps.j_mm, (0, 0, 0.1))
    close(np.cross(lps.i_mm, lps.j_mm) / 0.02, lps.k_mm)
    with pytest.raises(ValueError, match="must be RAS or LPS; got 'XYZ'"):
        placement(PICTURE, coordinates="XYZ")


def test_openigtlink_in_the_frame_of_a_calibration() -> None:
    # A quarter turn about z, then 10 mm along x.
    to_probe = ((0.0, -1.0, 0.0, 0.01), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    placed = placement(PICTURE, product(to_probe, PICTURE.image_to_transducer))
    close(placed.i_mm, (0, 0.2, 0))
    close(placed.j_mm, (0, 0, 0.1))
    close(placed.k_mm, (1, 0, 0))
    close(placed.centre_mm, (10.0, 0.0, 0.15))


def test_plus_turns_the_picture() -> None:
    pixels = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(turned(pixels, "UF", "MF")[0], [3, 2, 1, 0])
    np.testing.assert_array_equal(turned(pixels, "UF", "UN")[:, 0], [8, 4, 0])
    np.testing.assert_array_equal(turned(pixels, "MN", "UF"), pixels[::-1, ::-1])
    with pytest.raises(ValueError, match="orientation: must be one of UF, UN, MF, MN; got 'FM'"):
        turned(pixels, "FM", "UF")
    # Column 0 of ours is column 3 of PLUS's, row 0 of ours row 0.
    close(applied(pixel_change(PICTURE, "MF"), (0, 0, 0)), (3, 0, 0))
    close(applied(pixel_change(PICTURE, "UN"), (1, 0, 0)), (1, 2, 0))


def test_plus_image_to_probe() -> None:
    # The first pixel of the MF picture is our last column: x = +0.3 mm; x falls by 0.2 mm a column.
    matrix = image_to_probe_mm(PICTURE)
    close(
        matrix,
        [[-0.2, 0, 0, 0.3], [0, 0, 0.15, 0], [0, 0.1, 0, 0.05], [0, 0, 0, 1]],
    )
    close(
        np.array(image_to_probe_mm(PICTURE, letters="UF"))[:, [0, 1, 3]],
        [[0.2, 0, -0.3], [0, 0, 0], [0, 0.1, 0.05], [0, 0, 1]],
    )
    back = np.array(image_to_probe_m(PICTURE, matrix))
    close(back[:, [0, 1, 3]], np.array(PICTURE.image_to_transducer)[:, [0, 1, 3]])
    assert transform_element(matrix) == (
        '<Transform From="Image" To="Probe" Matrix="-0.2 0 0 0.3  0 0 0.15 0  0 0.1 0 0.05  0 0 0 1" />'
    )


def test_matrices_there_and_back() -> None:
    matrix = image_to_probe_mm(PICTURE)
    close(product(matrix, inverse(matrix)), np.eye(4))
    close(in_millimetres(in_metres(matrix)), matrix)


def test_dicom_region_of_a_picture() -> None:
    region = ultrasound_region(PICTURE)
    assert region == pytest.approx(
        {
            "RegionSpatialFormat": 1,
            "RegionDataType": 1,
            "RegionFlags": 0,
            "RegionLocationMinX0": 0,
            "RegionLocationMinY0": 0,
            "RegionLocationMaxX1": 3,
            "RegionLocationMaxY1": 2,
            "ReferencePixelX0": 0,
            "ReferencePixelY0": 0,
            "PhysicalUnitsXDirection": 3,
            "PhysicalUnitsYDirection": 3,
            "PhysicalDeltaX": 0.02,
            "PhysicalDeltaY": 0.01,
            "ReferencePixelPhysicalValueX": -0.03,
            "ReferencePixelPhysicalValueY": 0.005,
        }
    )
    assert ultrasound_region(PICTURE.oriented("MN"))["PhysicalDeltaX"] == pytest.approx(-0.02)


def test_dicom_region_of_m_mode() -> None:
    region = ultrasound_region(MotionGeometry((100, 256), 0.0002, 0.001, 0.05))
    assert region["RegionSpatialFormat"] == 2
    assert (region["PhysicalUnitsXDirection"], region["PhysicalDeltaX"]) == (4, 0.05)
    assert (region["ReferencePixelX0"], region["ReferencePixelPhysicalValueX"]) == (255, 0.0)
    assert (region["PhysicalDeltaY"], region["ReferencePixelPhysicalValueY"]) == pytest.approx((0.02, 0.1))
    assert ultrasound_region(MotionGeometry((100, 256), 0.0002, 0.0, 0.0))["PhysicalUnitsXDirection"] == 0


def test_dicom_region_fits_its_attributes() -> None:
    """pydicom knows every keyword, takes each value for its representation, and reads it back."""
    pydicom = pytest.importorskip("pydicom")
    item = pydicom.Dataset()
    for keyword, value in ultrasound_region(PICTURE).items():
        setattr(item, keyword, value)
    data = pydicom.Dataset()
    data.SequenceOfUltrasoundRegions = [item]
    stored = pydicom.Dataset.from_json(data.to_json()).SequenceOfUltrasoundRegions[0]
    for keyword, value in ultrasound_region(PICTURE).items():
        assert item.data_element(keyword).VR in ("US", "UL", "SL", "FD")
        assert stored[keyword].value == value
