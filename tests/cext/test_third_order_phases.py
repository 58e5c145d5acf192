"""Long blocks in which the phases of the way back are held to third order, for they turn too much for the second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cext_support.bits import assert_same_bits
from cext_support.scenes import error_db, joined, pairs
from cext_support.works import arguments, grid
from numpy.typing import NDArray

from sonod.cext import depth_parts, reference
from sonod.cext.blocks import BlockPlan
from sonod.cext.das import DelayAndSum
from sonod.daemon.bench.work import Work, common, curvilinear

LINE_STEP = 24


def operator(work: Work, **more: Any) -> DelayAndSum:
    return DelayAndSum(**arguments(work) | more, samples=work.samples, **grid(work))


def parts(own: DelayAndSum) -> tuple[depth_parts.DepthPart, ...]:
    assert isinstance(own._plan, BlockPlan)
    return tuple(part.part for part in own._plan.parts)


def thinned(work: Work) -> Work:
    return replace(work, origins_m=work.origins_m[::LINE_STEP], directions=work.directions[::LINE_STEP])


def beamformed(work: Work, **more: Any) -> NDArray[Any]:
    return joined(operator(work, **more).run(pairs(work.data).astype(np.float32)))


def ideal(work: Work, **more: Any) -> NDArray[Any]:
    return reference.delay_and_sum(
        work.data.astype(np.complex128),
        origins_m=work.origins_m,
        directions=work.directions,
        distances_m=work.first_m + np.arange(work.count) * work.spacing_m,
        interpolate=reference.ideal_interpolation,
        **arguments(work) | more,
    )


def test_deep_lines_of_a_fan_have_them_and_even_ones_do_without() -> None:
    upper, lower = parts(operator(curvilinear()))
    assert (upper.block_points, upper.phase_order) == (depth_parts.SHORT_BLOCK, 2)
    assert (lower.block_points, lower.phase_order) == (depth_parts.LONG_BLOCK, 3)
    assert [part.phase_order for part in parts(operator(common()))] == [2]


@pytest.mark.parametrize("apodization", ["rectangular", "hann", "tukey"])
def test_they_are_as_near_to_the_ideal_as_short_blocks(apodization: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work, more = thinned(curvilinear()), {"apodization": apodization}
    begin = parts(operator(work, **more))[-1].begin
    wanted, own = ideal(work, **more)[:, begin:], beamformed(work, **more)[:, begin:]
    assert parts(operator(work, **more))[-1].phase_order == 3
    assert error_db(own, wanted) < -47
    # Taken to second order, the same phases are further away.
    monkeypatch.setattr("sonod.cext.ways_back.LARGEST_TURN_RAD", {2: 1.1, 3: 0.0})
    second = operator(work, **more)
    assert {part.phase_order for part in parts(second)} == {2}
    assert depth_parts.LONG_BLOCK in second.block_points
    worse = joined(second.run(pairs(work.data).astype(np.float32)))[:, begin:]
    assert error_db(worse, wanted) > error_db(own, wanted) + 1


def test_they_are_the_same_everywhere() -> None:
    work = thinned(curvilinear())
    own, data = operator(work), pairs(work.data).astype(np.float32)
    assert parts(own)[-1].phase_order == 3
    assert_same_bits(lambda: own.run(data))
