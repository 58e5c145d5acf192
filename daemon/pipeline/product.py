"""What a plan makes and the publisher sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from sonod.client.wire.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Product:
    """One named result of one frame. `data` may be a view of a plan's buffer: copy or send it before the next run."""

    name: str
    data: NDArray[Any]
    geometry: Geometry
