"""The level that is shown white: found once in a session, so that brightness never jumps by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# This share of the pixels may be brighter than white.
WHITE_PERCENTILE = 99.9
# What an all-zero picture is measured against.
SMALLEST_AMPLITUDE = 1e-20


class Level:
    """Reference amplitude at 0 dB gain: declared by the driver, or the brightest 0.1 % of the first frame."""

    def __init__(self, declared: float = 0.0) -> None:
        self.amplitude = declared

    @property
    def known(self) -> bool:
        return self.amplitude > 0

    def learn(self, envelope: NDArray[Any]) -> None:
        """Take the level from a first frame's envelope of any shape; zeros (outside a sector) do not count."""
        seen = envelope[envelope > 0]
        found = float(np.percentile(seen, WHITE_PERCENTILE)) if seen.size else 0.0
        self.amplitude = max(found if np.isfinite(found) else 0.0, SMALLEST_AMPLITUDE)
