"""The simulation against SIMUS of the package pymust (harmonic domain, every element of a transmission by itself)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simus_twin import KINDS, PROBES, Twin, amplitude_ratio_db, correlation, counted_from_zero, image_of_point, targets

pytestmark = pytest.mark.pymust


@pytest.fixture(autouse=True)
def installed() -> None:
    pytest.importorskip("pymust")


@pytest.mark.parametrize("attenuation", [0.0, 0.5])
@pytest.mark.parametrize("name", PROBES)
def test_single_firing_elements_are_those_of_simus(name: str, attenuation: float) -> None:
    twin = Twin(name, attenuation)
    event = twin.event("single")
    x, z = targets(twin)
    unit, worst = None, []
    for at in zip(x, z, strict=True):
        place = np.array([at[0]]), np.array([at[1]])
        theirs = twin.theirs(*place, event.delays_s, split=False)
        ours = twin.ours(event, *place, theirs.shape[1])
        assert correlation(ours, theirs) > 0.995, f"at {at}"
        # One factor for the whole probe: the programs count amplitudes in units of their own.
        unit = unit or 10 ** (amplitude_ratio_db(ours, theirs, 1.0) / 20)
        worst.append(amplitude_ratio_db(ours, theirs, unit))
    assert np.ptp(worst) < 0.2, f"amplitude ratios in dB: {np.round(worst, 2)}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROBES)
def test_beams_make_the_widths_and_places_of_simus(name: str, kind: str) -> None:
    """A point beamformed from both: -6 dB widths within 10 %, places within a tenth of a wavelength."""
    twin = Twin(name)
    event = twin.event(kind)
    wavelength = 1540 / twin.model.pulse.frequency_hz
    x, z = (2e-3, 30e-3) if name == "L11-5v" else (2e-3, 60e-3)
    theirs = twin.theirs(np.array([x]), np.array([z]), event.delays_s, split=True)
    # Plane waves count from their own time zero in ours: shift by the event's t0.
    ours = twin.ours(counted_from_zero(event, twin), np.array([x]), np.array([z]), theirs.shape[1])
    sizes = [image_of_point(twin, event, rf, x, z, wavelength) for rf in (ours, theirs)]
    (wide, deep, at_x, at_z), (their_wide, their_deep, their_x, their_z) = sizes
    assert wide == pytest.approx(their_wide, rel=0.1)
    assert deep == pytest.approx(their_deep, rel=0.1)
    assert math.hypot(at_x - their_x, at_z - their_z) < 0.1 * wavelength
