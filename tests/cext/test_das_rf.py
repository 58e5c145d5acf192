"""Delay and sum of RF: as near to the ideal as baseband is, for lines and single points."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from cext_support.scenes import error_db
from cext_support.works import arguments, grid
from numpy.typing import NDArray

from sonod.cext import reference
from sonod.cext.das import DelayAndSum
from sonod.daemon.bench.work import Work, rf

# Of the 384 columns, so many apart.
COLUMN_STEP = 24


@cache
def thinned() -> Work:
    """RF at 31.25 MS/s round 7.6 MHz on every so many columns."""
    work = rf()
    return replace(work, origins_m=work.origins_m[::COLUMN_STEP], directions=work.directions[::COLUMN_STEP])


def operator(work: Work, **more: Any) -> DelayAndSum:
    return DelayAndSum(**{"samples": work.samples} | arguments(work) | {"demodulation_hz": 0.0} | more)


@cache
def wanted(interpolate: Any = reference.ideal_interpolation) -> NDArray[Any]:
    work = thinned()
    return reference.delay_and_sum(
        work.data,
        origins_m=work.origins_m,
        directions=work.directions,
        distances_m=work.first_m + np.arange(work.count) * work.spacing_m,
        **arguments(work) | {"demodulation_hz": 0.0},
        interpolate=interpolate,
    )


def beamformed(quality: str, **more: Any) -> NDArray[np.float32]:
    work = thinned()
    data = np.ascontiguousarray(work.data, np.float32)
    image = operator(work, quality=quality, **grid(work) | more).run(data)
    assert image.shape == (len(work.origins_m), work.count)
    return image


@pytest.mark.parametrize("points", [False, True])
def test_rf_is_as_near_to_the_ideal_as_baseband(points: bool, each_set: str) -> None:
    work = thinned()
    where = dict.fromkeys(grid(work), None) | {"first_m": 0.0, "spacing_m": 0.0, "count": 0, "points_m": work.points_m}
    more = {"center_hz": work.center_hz} | (where if points else {})
    assert error_db(beamformed("default", **more), wanted()) < -45
    assert error_db(beamformed("fast", **more), wanted()) < -37


def test_exact_interpolates_the_samples_themselves() -> None:
    linear = wanted(reference.linear_interpolation)
    exact = beamformed("exact", center_hz=thinned().center_hz)
    assert error_db(exact, linear) < -80
    np.testing.assert_array_equal(beamformed("default"), exact)


def test_a_narrower_band_keeps_what_is_in_it() -> None:
    """The pulse of the work is narrower than the band that is assumed without a word."""
    work = thinned()
    assert (
        error_db(beamformed("default", center_hz=work.center_hz, half_bandwidth_hz=0.45 * work.center_hz), wanted())
        < -40
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"demodulation_hz": 5e6, "center_hz": 5e6}, "center_hz: is for RF; the data are baseband at 5e"),
        ({"center_hz": 0.0}, "center_hz"),
        ({"center_hz": 7.6e6, "half_bandwidth_hz": -1e6}, "half_bandwidth_hz"),
        ({"center_hz": float("nan")}, "center_hz"),
        # At half the sampling rate the band is its own mirror image.
        (
            {"center_hz": 15.625e6},
            "center_hz: at 3.125e\\+07 samples/s the band round 1.5625e\\+07 Hz is its own mirror image",
        ),
    ],
)
def test_a_wrong_centre_is_named(change: dict[str, Any], told: str) -> None:
    work = thinned()
    with pytest.raises(ValueError, match=told):
        operator(work, **grid(work) | change)
