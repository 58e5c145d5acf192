"""Beamforming of one frame: which operator, over all transmissions at once or over looks that are added detected."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sonod.cext.detect import Envelope

# Transmissions are added as signals in at most so many groups of neighbours, and these after detection.
MOST_LOOKS = 16
SHORT_LAG = "short-lag-coherence"


class Operator(Protocol):
    """A beamformer of the core."""

    def run(self, data: NDArray[np.float32], out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Beamforms `data (T, C, M, 2)` into `out (L, N, 2)`."""


class Beams:
    """`run(iq)` makes `beamformed (lines, samples, 2)`; `detect` then its `magnitude (lines, samples)`.

    With looks the magnitude is the mean of those of the looks (spatial compounding: G. E. Trahey, S. W. Smith, O. T.
    von Ramm, IEEE Trans. UFFC 33(3), 1986) and `beamformed` the mean of their signals. A coherence is its own
    magnitude, from 0 on.
    """

    def __init__(
        self,
        transmits: int,
        shape: tuple[int, int],
        build: Callable[[slice], Operator],
        *,
        incoherent: bool,
        coherence: bool,
    ) -> None:
        looks = min(transmits, MOST_LOOKS) if incoherent else 1
        edges = np.linspace(0, transmits, looks + 1).astype(int)
        parts = [slice(int(begin), int(end)) for begin, end in pairwise(edges)]
        self._looks = [(part, build(part)) for part in parts]
        self._coherence = coherence
        self._envelope = Envelope()
        self.beamformed = np.zeros((*shape, 2), np.float32)
        self.magnitude = np.zeros(shape, np.float32)
        several = looks > 1
        self._look = np.zeros((*shape, 2) if several else (0, 0, 2), np.float32)
        self._look_magnitude = np.zeros(shape if several else (0, 0), np.float32)

    @property
    def shows_baseband(self) -> bool:
        """Whether the picture is that of the magnitude of `beamformed`."""
        return len(self._looks) == 1 and not self._coherence

    def run(self, iq: NDArray[np.float32]) -> None:
        if len(self._looks) == 1:
            self._looks[0][1].run(iq, self.beamformed)
            return
        self.beamformed[:] = 0
        self.magnitude[:] = 0
        for part, operator in self._looks:
            operator.run(iq[part], self._look)
            self.beamformed += self._look
            self._detect(self._look, self._look_magnitude)
            self.magnitude += self._look_magnitude
        share = np.float32(1 / len(self._looks))
        self.beamformed *= share
        self.magnitude *= share

    def detect(self) -> None:
        """Makes the magnitude, where `run` has not."""
        if len(self._looks) == 1:
            self._detect(self.beamformed, self.magnitude)

    def _detect(self, beamformed: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        if self._coherence:
            np.maximum(beamformed[..., 0], 0, out=out)
        else:
            self._envelope.run(beamformed, out)
