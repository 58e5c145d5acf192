"""The picture in a reduced size, for pages and small screens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sonod.client.wire.geometry import Geometry, ImageGeometry
from sonod.daemon.pipeline.product import Product

PICTURE, PREVIEW = "bmode", "preview"
# Neither side of a preview is longer.
LARGEST_SIDE = 256


class PreviewMaker:
    """Means over square blocks of pixels; what does not fill a block at the far edges is left out."""

    def __init__(self) -> None:
        self._whole: Geometry | None = None
        self._reduced: Geometry | None = None

    def of(self, picture: Product) -> Product:
        """The preview of a grey picture `(rows, columns)`; a copy."""
        rows, columns = picture.data.shape
        factor = -(-max(rows, columns) // LARGEST_SIDE)
        # A picture of a single column or row stays one.
        down, across = min(factor, rows), min(factor, columns)
        if self._reduced is None or self._whole is not picture.geometry:
            self._whole, self._reduced = picture.geometry, _reduced(picture.geometry, down, across)
        return Product(PREVIEW, _block_means(picture.data, down, across), self._reduced)


def _block_means(data: NDArray[np.uint8], down: int, across: int) -> NDArray[np.uint8]:
    rows, columns = data.shape[0] // down, data.shape[1] // across
    blocks = data[: rows * down, : columns * across].reshape(rows, down, columns, across)
    total = blocks.sum(axis=(1, 3), dtype=np.uint32)
    return np.asarray((total + down * across // 2) // (down * across), dtype=np.uint8)


def _reduced(geometry: Geometry, down: int, across: int) -> Geometry:
    """The same region in larger pixels: the first one's centre is that of the first block."""
    assert isinstance(geometry, ImageGeometry)
    dz, dx = geometry.spacing_m
    x, y, z = geometry.first_pixel_m
    return replace(
        geometry,
        shape=(geometry.shape[0] // down, geometry.shape[1] // across),
        spacing_m=(dz * down, dx * across),
        first_pixel_m=(x + dx * (across - 1) / 2, y, z + dz * (down - 1) / 2),
    )
