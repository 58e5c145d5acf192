"""The plan of the block kernel: the order of lines, and lines that share their phases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cext_support.scenes import error_db, pairs
from numpy.typing import NDArray

from sonod.cext.blocks import working_order
from sonod.cext.das import DelayAndSum
from sonod.daemon.bench.work import SOUND_SPEED_M_S, Work, common


def beamformed(work: Work, lines: slice) -> NDArray[np.float32]:
    own = replace(work, origins_m=work.origins_m[lines], directions=work.directions[lines])
    operator = DelayAndSum(
        element_positions_m=own.elements_m,
        element_normals=own.normals,
        receive_elements=np.tile(np.arange(len(own.elements_m), dtype=np.int32), (own.transmits, 1)),
        transmit_time_s=np.stack([own.arrival_s(index, own.points_m) for index in range(own.transmits)]),
        sampling_hz=own.sampling_hz,
        t0_s=np.zeros(own.transmits),
        demodulation_hz=own.center_hz,
        sound_speed_m_s=SOUND_SPEED_M_S,
        f_number=own.f_number,
        apodization="hann",
        origins_m=own.origins_m,
        directions=own.directions,
        first_m=own.first_m,
        spacing_m=own.spacing_m,
        count=own.count,
        samples=own.samples,
    )
    return np.array(operator.run(pairs(own.data).astype(np.float32)))


def test_lines_that_lie_alike_follow_each_other() -> None:
    class_of, shift = np.array([0, 1, 2, 2, 1, 0], np.int32), np.zeros(6, np.int32)
    assert working_order(class_of, shift).tolist() == [0, 5, 1, 4, 2, 3]


def test_lines_of_another_shift_keep_their_places() -> None:
    class_of, shift = np.array([0, 1, 0, 1, 0, 1], np.int32), np.array([0, 0, 1, 1, 2, 2], np.int32)
    assert working_order(class_of, shift).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("waves", [1, 3])
def test_a_line_and_its_mirror_image_are_what_each_is_alone(waves: int, each_set: str) -> None:
    work = replace(common(waves), count=200)
    work = replace(work, origins_m=work.origins_m[8::40], directions=work.directions[8::40])
    mirrored = np.concatenate([work.origins_m, work.origins_m[::-1] * [-1, 1, 1]])
    work = replace(work, origins_m=mirrored, directions=np.tile(work.directions[:1], (len(mirrored), 1)))
    both, half = beamformed(work, slice(None)), len(mirrored) // 2
    for part in (slice(half), slice(half, None)):
        alone: Any = beamformed(work, part)
        assert error_db(both[part], alone) < -60
