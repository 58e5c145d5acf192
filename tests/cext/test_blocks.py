"""The plan of the block kernel: the order of lines, and lines that share their phases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cext_support.bits import assert_same_bits
from cext_support.scenes import error_db, pairs
from cext_support.works import arguments, grid
from numpy.typing import NDArray

from sonod.cext import depth_parts
from sonod.cext.blocks import working_order
from sonod.cext.das import DelayAndSum
from sonod.cext.symmetry import line_classes
from sonod.daemon.bench.work import Work, common, phased


def beamformer(work: Work) -> DelayAndSum:
    return DelayAndSum(**{**arguments(work), "apodization": "hann"}, samples=work.samples, **grid(work))


def beamformed(work: Work) -> NDArray[np.float32]:
    return np.array(beamformer(work).run(pairs(work.data).astype(np.float32)))


def some_lines(work: Work, lines: slice) -> Work:
    return replace(work, origins_m=work.origins_m[lines], directions=work.directions[lines])


def thinned(work: Work) -> Work:
    return some_lines(work, slice(None, None, 24))


def test_lines_that_lie_alike_follow_each_other() -> None:
    class_of, shift = np.array([0, 1, 2, 2, 1, 0], np.int32), np.zeros(6, np.int32)
    assert working_order(class_of, shift).tolist() == [0, 5, 1, 4, 2, 3]


def test_lines_of_another_shift_keep_their_places() -> None:
    class_of, shift = np.array([0, 1, 0, 1, 0, 1], np.int32), np.array([0, 0, 1, 1, 2, 2], np.int32)
    assert working_order(class_of, shift).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("waves", [1, 3])
def test_a_line_and_its_mirror_image_are_what_each_is_alone(waves: int, each_set: str) -> None:
    work = replace(common(waves), count=200)
    work = some_lines(work, slice(8, None, 40))
    mirrored = np.concatenate([work.origins_m, work.origins_m[::-1] * [-1, 1, 1]])
    work = replace(work, origins_m=mirrored, directions=np.tile(work.directions[:1], (len(mirrored), 1)))
    both, half = beamformed(work), len(mirrored) // 2
    for part in (slice(half), slice(half, None)):
        assert error_db(both[part], beamformed(some_lines(work, part))) < -60


def test_blocks_are_long_where_delays_grow_evenly_and_short_elsewhere() -> None:
    narrow = thinned(common(3))
    assert beamformer(narrow).block_points == (32,)
    assert beamformer(replace(narrow, f_number=0.6)).block_points == (16,)
    assert set(beamformer(thinned(phased())).block_points) == {16}
    assert beamformer(replace(narrow, count=16)).block_points == (16,)


def test_near_elements_and_sources_make_blocks_short() -> None:
    work = thinned(common())
    assert beamformer(replace(work, first_m=0.2e-3)).block_points == (16,)
    source = np.array([[0.0, 0.0, -0.1e-3]])
    assert beamformer(replace(work, first_m=2e-3, waves=source)).block_points == (16,)


@pytest.mark.parametrize("waves", [1, 3])
def test_long_and_short_blocks_show_the_same(waves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    work = thinned(common(waves))
    long = beamformed(work)
    monkeypatch.setattr(depth_parts, "MOST_STEEP", -1.0)
    assert beamformer(work).block_points == (16,)
    assert error_db(long, beamformed(work)) < -48


def test_long_blocks_are_the_same_everywhere() -> None:
    work = thinned(common(3))
    operator, data = beamformer(work), pairs(work.data).astype(np.float32)
    assert operator.block_points == (32,)
    assert_same_bits(lambda: operator.run(data))


def test_columns_on_one_side_count_elements_from_one_end() -> None:
    work = common()
    classes = line_classes(
        work.origins_m, work.directions, work.aperture.feet_m, work.elements_m, work.normals, alike=True
    )
    count = len(work.origins_m)
    assert classes.class_of.tolist() == classes.class_of[::-1].tolist()
    assert classes.mirrored.tolist() == [0] * (count // 2) + [1] * (count // 2)


def test_lines_of_a_fan_share_the_table_of_their_mirror_images() -> None:
    work = phased()
    classes = line_classes(
        work.origins_m, work.directions, work.aperture.feet_m, work.elements_m, work.normals, alike=True
    )
    count = len(work.origins_m)
    assert len(classes.example) == count / 2
    assert classes.class_of.tolist() == classes.class_of[::-1].tolist()
    assert classes.mirrored.tolist() == [0] * (count // 2) + [1] * (count // 2)
    skew = line_classes(
        work.origins_m + np.array([1e-4, 0, 0]),
        work.directions,
        work.aperture.feet_m,
        work.elements_m,
        work.normals,
        alike=True,
    )
    assert len(skew.example) == count


def test_a_fan_is_what_its_halves_are_alone() -> None:
    work = thinned(phased())
    mirrored = replace(
        work,
        origins_m=np.concatenate([work.origins_m, work.origins_m[::-1]]),
        directions=np.concatenate([work.directions, work.directions[::-1] * [-1, 1, 1]]),
    )
    both, half = beamformed(mirrored), len(work.origins_m)
    for part in (slice(half), slice(half, None)):
        alone = beamformed(some_lines(mirrored, part))
        assert np.linalg.norm(both[part] - alone) <= 1e-3 * np.linalg.norm(alone)
