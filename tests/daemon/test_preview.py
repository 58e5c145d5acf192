from __future__ import annotations

import numpy as np
import pytest

from sonod.client.wire.geometry import ImageGeometry
from sonod.daemon.pipeline.product import Product
from sonod.daemon.preview import LARGEST_SIDE, PREVIEW, PreviewMaker


@pytest.mark.parametrize("shape", [(1, 1), (1, 1 << 15), (1 << 15, 1), (3, 4000), (513, 327), (256, 256)])
def test_a_preview_of_any_shape_is_small_and_covers_the_same_region(shape: tuple[int, int]) -> None:
    geometry = ImageGeometry(shape, (1e-4, 2e-4), (-0.01, 0.0, 5e-5))
    picture = Product("bmode", np.full(shape, 77, np.uint8), geometry)
    preview = PreviewMaker().of(picture)
    assert preview.name == PREVIEW
    assert max(preview.data.shape) <= LARGEST_SIDE
    assert min(preview.data.shape) >= 1
    assert (preview.data == 77).all()
    small = preview.geometry
    assert isinstance(small, ImageGeometry)
    assert small.shape == preview.data.shape
    # The far corner of what is left is within one large pixel of the whole picture's.
    for axis, place in ((0, 2), (1, 0)):
        near = small.first_pixel_m[place] - small.spacing_m[axis] / 2
        assert near == pytest.approx(geometry.first_pixel_m[place] - geometry.spacing_m[axis] / 2)
        far = near + small.spacing_m[axis] * small.shape[axis]
        whole = geometry.first_pixel_m[place] + geometry.spacing_m[axis] * (shape[axis] - 0.5)
        assert whole - small.spacing_m[axis] < far <= whole + 1e-9
