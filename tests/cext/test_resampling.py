"""The filters of the block kernel as whole numbers, and what they make of traces."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from cext_support import scenes
from cext_support.bits import assert_same_bits
from cext_support.scenes import SPEED, error_db, joined

from sonod.cext import reference
from sonod.cext.das import DelayAndSum
from sonod.cext.resampling import farrow_filters, whole_filters

FS, F0 = 20e6, 5e6
RATIOS = (Fraction(21, 11), Fraction(29, 18), Fraction(1), Fraction(1, 32), Fraction(3), Fraction(5, 2))


@pytest.mark.parametrize("step", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("half", [0.12, 0.3])
@pytest.mark.parametrize("rows", [3, 4])
def test_whole_filters_are_the_filters(ratio: Fraction, half: float, step: int, rows: int) -> None:
    filters, width, row = farrow_filters(ratio, half, rows=rows), 96, 176
    whole = whole_filters(filters, step, width, row, 300)
    taps = filters.coefficients.shape[2]
    assert whole.bound >= filters.bound
    assert whole.bound >= 2**whole.headroom
    seen = []
    for number in range(step * width):
        table, lane = whole.table_of[number // 16], number % 16
        before, place = divmod(whole.places[number // 4] + number % 4, row)
        fine = place * step + before // rows
        seen.append(fine)
        numbers = np.ascontiguousarray(whole.coefficients[table, :, :, lane].T).view(np.int16)
        assert numbers.shape == (rows, taps)
        wanted = filters.coefficients[fine % ratio.denominator] * 2.0 ** (16 - whole.headroom)
        assert np.abs(numbers - wanted).max() <= 1
        assert whole.starts[number] == int(fine * ratio) - filters.left
        if whole.picks is not None:
            picked = whole.starts[number - lane] + (whole.picks[table, lane] & 0xFFFF)
            assert picked == whole.starts[number]
            assert whole.picks[table, lane] >> 16 == (whole.picks[table, lane] & 0xFFFF) + 1
            assert whole.picks[table].max() >> 16 < 32
        if number % whole.run:
            assert whole.places[number // 4] + number % 4 == whole.places[number // whole.run * whole.run // 4] + (
                number % whole.run
            )
    assert sorted(seen) == list(range(step * width))


def test_samples_that_lie_far_apart_are_not_picked_from_a_register() -> None:
    assert whole_filters(farrow_filters(Fraction(2), 0.12), 1, 32, 112, 100).picks is not None
    assert whole_filters(farrow_filters(Fraction(9, 4), 0.12), 1, 32, 112, 100).picks is None


@pytest.mark.parametrize("oversampling", [1.0, 1.7, 3.4])
def test_any_input_rate_gives_the_picture_everywhere(oversampling: float) -> None:
    scene = scenes.linear(first=3e-3)
    rate = FS * oversampling
    times = scenes.plane_times(scene.points, [0.0])
    targets = scene.points[::3, ::60].reshape(-1, 3)
    rf = scenes.echoes(
        scene, targets, scenes.plane_times(targets, [0.0]), sampling_hz=rate, samples=int(560 * oversampling)
    )
    data = scenes.to_baseband(rf, rate, F0)
    common = {
        **scene.array(),
        "receive_elements": np.arange(len(scene.elements), dtype=np.int32)[None],
        "transmit_time_s": times,
        "sampling_hz": rate,
        "t0_s": [0.0],
        "demodulation_hz": F0,
        "sound_speed_m_s": SPEED,
        "f_number": 1.5,
        "apodization": "rectangular",
    }
    operator = DelayAndSum(**common, **scene.lines(), samples=data.shape[2])
    got = joined(assert_same_bits(lambda: operator.run(data)))
    ideal = reference.delay_and_sum(
        joined(data),
        origins_m=scene.origins,
        directions=scene.directions,
        distances_m=scene.distances,
        **common,
        interpolate=reference.ideal_interpolation,
    )
    assert error_db(got, ideal) < -40
