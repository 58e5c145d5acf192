"""The time-gain curve as a gain for each sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def time_gain(tgc_db: tuple[float, ...], depths_m: NDArray[np.float64], depth_m: float) -> NDArray[np.float32] | None:
    """Linear gain at `depths_m` for a curve with points evenly from the face to `depth_m`; None when it is flat 0 dB.

    Between points the curve is straight in dB; beyond its ends it stays.
    """
    if not any(tgc_db):
        return None
    places = np.linspace(0.0, depth_m, len(tgc_db))
    decibels = np.interp(depths_m, places, tgc_db)
    return np.asarray(10 ** (decibels / 20), dtype=np.float32)
