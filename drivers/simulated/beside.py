"""How strongly a probe sends to and hears from places beside its image plane."""

from __future__ import annotations

import numpy as np

from sonod.cext.simulate import elevation
from sonod.drivers.probe import AnyFloatArray, FloatArray, Probe

_NEAREST_M = 1e-3
_DEPTHS, _PLACES = 48, 128
# A probe of unknown height counts as so many wavelengths high here.
_UNKNOWN_WAVELENGTHS = 3.0


class Beside:
    """The elevation beam of one probe, on a grid to `deepest_m` and as far beside the plane as the beam may spread."""

    def __init__(self, probe: Probe, wavelength_m: float, deepest_m: float) -> None:
        height = probe.element_height_m or _UNKNOWN_WAVELENGTHS * wavelength_m
        self._places = np.linspace(0, 1.5 * height + 2 * wavelength_m * deepest_m / height, _PLACES)
        self._depths = np.geomspace(_NEAREST_M, max(deepest_m, 2 * _NEAREST_M), _DEPTHS)
        beam = elevation(self._depths, self._places, height, probe.elevation_focus_m, wavelength_m)
        self._share = (beam / beam[0]) ** 2
        self._share[-1] = 0.0

    def share(self, depth_m: AnyFloatArray, y_m: AnyFloatArray) -> FloatArray:
        """Two-way amplitude at places `y_m (n,)` beside the plane against that in it; 0 beyond the grid."""
        at_y = np.clip(np.abs(y_m) / self._places[1], 0, _PLACES - 1.001)
        at_depth = np.clip(np.interp(depth_m, self._depths, np.arange(_DEPTHS)), 0, _DEPTHS - 1.001)
        row, column = at_y.astype(np.intp), at_depth.astype(np.intp)
        down, right = at_y - row, at_depth - column
        table = self._share
        upper = table[row, column] * (1 - right) + table[row, column + 1] * right
        lower = table[row + 1, column] * (1 - right) + table[row + 1, column + 1] * right
        return np.asarray(upper * (1 - down) + lower * down)
