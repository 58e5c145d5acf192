"""Delay and sum at points that lie anywhere and with given ways back: accuracy, masks, order, the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cext_support import scenes
from cext_support.arrays_and_echoes import FS, SAMPLES, arguments, wire_echoes
from cext_support.bits import assert_same_bits
from cext_support.scenes import SCENES, SPEED, error_db, joined, pairs
from numpy.typing import NDArray

from sonod.cext.das import DelayAndSum
from sonod.cext.points import PointPlan

FINER = 8


def ideal(data: NDArray[np.float32], common: dict[str, Any], **grid: Any) -> NDArray[Any]:
    """The exact kernel on samples eight times as dense, so that its straight lines between them do not matter."""
    spectrum = np.fft.fft(joined(data), axis=-1)
    denser = np.zeros((*spectrum.shape[:-1], FINER * SAMPLES), np.complex128)
    denser[..., : SAMPLES // 2] = spectrum[..., : SAMPLES // 2]
    denser[..., -SAMPLES // 2 :] = spectrum[..., -SAMPLES // 2 :]
    dense = pairs(np.fft.ifft(denser, axis=-1) * FINER)
    operator = DelayAndSum(**common | {"sampling_hz": FINER * FS}, samples=FINER * SAMPLES, quality="exact", **grid)
    return joined(operator.run(dense))


def test_the_point_kernel_is_used_and_says_its_memory() -> None:
    scene = SCENES["linear"]
    common = arguments(scene, scenes.plane_times(scene.points, [0.0, 0.2]))
    assert DelayAndSum(points_m=scene.points, samples=SAMPLES, **common).table_bytes > 0
    assert DelayAndSum(points_m=scene.points, samples=SAMPLES, quality="exact", **common).table_bytes == 0
    # More fine samples than its floats count: the exact kernel.
    wide = np.stack([scene.points, scene.points + np.array([0, 0, 9.0])], axis=1).reshape(len(scene.points), -1, 3)
    common["transmit_time_s"] = scenes.plane_times(wide, [0.0, 0.2])
    assert DelayAndSum(points_m=wide, samples=400_000, **common).table_bytes == 0


@pytest.mark.parametrize(
    ("apodization", "f_number"), [("rectangular", 1.5), ("hann", 1.5), ("hamming", 2.0), ("tukey", 1.0), ("tukey", 0.0)]
)
@pytest.mark.parametrize("name", SCENES)
def test_points_keep_the_accuracy_of_default(name: str, apodization: str, f_number: float) -> None:
    scene = SCENES[name]
    waves = scenes.plane_times(scene.points, [0.0, 0.2])
    common = arguments(scene, waves, apodization=apodization, f_number=f_number, time_offset_s=2e-7)
    data = wire_echoes(scene, common)
    wanted = ideal(data, common, points_m=scene.points)
    for quality in ("default", "fast"):
        got = joined(DelayAndSum(points_m=scene.points, samples=SAMPLES, quality=quality, **common).run(data))
        assert error_db(got, wanted) < -45


def test_given_ways_back_keep_the_accuracy_of_default() -> None:
    scene = SCENES["linear"]
    offset = scene.points[None] - scene.elements[:, None, None]
    # No sound speed gives these: a bend that differs from element to element.
    times = np.linalg.norm(offset, axis=-1) / SPEED * (1 + 0.02 * np.sin(np.arange(len(scene.elements))))[:, None, None]
    common = arguments(scene, scenes.plane_times(scene.points, [0.0, 0.2]), receive_time_s=times.astype(np.float32))
    data = wire_echoes(scene, common)
    got = joined(DelayAndSum(**scene.lines(), samples=SAMPLES, **common).run(data))
    assert error_db(got, ideal(data, common, **scene.lines())) < -45


def test_masks_weights_and_unseen_points() -> None:
    scene = SCENES["curvilinear"]
    waves = scenes.plane_times(scene.points, [0.0, 0.2])
    waves[0, 1, 30:60] = np.nan
    waves[:, 5] = np.nan
    weight = np.random.default_rng(2).uniform(0.2, 1, waves.shape).astype(np.float32)
    common = arguments(scene, waves, transmit_weight=weight)
    receive = common["receive_elements"].copy()
    receive[0, 4:9] = -1
    receive[1, :6] = receive[1, :6][::-1]
    # One element twice.
    receive[1, 10] = receive[1, 11]
    common["receive_elements"] = receive
    data = wire_echoes(scene, common)
    data[0, 4:9] = 1e6
    data[1, 3, 100] = np.nan
    got = joined(DelayAndSum(points_m=scene.points, samples=SAMPLES, **common).run(data))
    data[1, 3, 100] = 0
    assert error_db(got, ideal(data, common, points_m=scene.points)) < -40
    assert (got[5] == 0).all()


def test_the_order_of_points_does_not_matter() -> None:
    scene = SCENES["phased"]
    flat = scene.points.reshape(1, -1, 3)
    mixed = np.random.default_rng(3).permutation(flat.shape[1])
    both = []
    for points in (flat, flat[:, mixed]):
        common = arguments(scene, scenes.plane_times(points, [0.0, 0.2]), apodization="tukey")
        data = wire_echoes(scene, arguments(scene, scenes.plane_times(scene.points, [0.0, 0.2])))
        both.append(joined(DelayAndSum(points_m=points, samples=SAMPLES, **common).run(data)))
    assert both[1][0].tobytes() == both[0][0][mixed].tobytes()


def test_a_single_point_far_from_all_others() -> None:
    scene = SCENES["linear"]
    points = np.concatenate([scene.points[5:6, ::30], [[[0.3, 0.0, 0.2]]]], axis=1)
    common = arguments(scene, scenes.plane_times(points, [0.0, 0.2]))
    data = wire_echoes(scene, common)
    got = joined(DelayAndSum(points_m=points, samples=SAMPLES, **common).run(data))
    assert error_db(got, ideal(data, common, points_m=points)) < -40
    # Its echoes would come after the end of the record.
    assert got[0, -1] == 0


@pytest.mark.parametrize("name", ["linear", "curvilinear", "phased", "arbitrary"])
def test_is_the_same_everywhere(name: str) -> None:
    scene = SCENES[name]
    waves = scenes.plane_times(scene.points, [-0.1, 0.0, 0.2])
    waves[0, 1, 30:60] = np.nan
    for window, f_number in (("rectangular", 1.5), ("tukey", 1.0), ("hann", 0.0)):
        common = arguments(scene, waves, apodization=window, f_number=f_number)
        operator = DelayAndSum(points_m=scene.points, samples=SAMPLES, **common)
        shape = (3, len(scene.elements), SAMPLES, 2)
        data = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        assert_same_bits(lambda operator=operator, data=data: operator.run(data))  # type: ignore[misc]


def test_transmissions_of_several_groups_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = SCENES["linear"]
    waves = scenes.plane_times(scene.points, [-0.1, 0.0, 0.1, 0.2])
    common = arguments(scene, waves)
    data = np.random.default_rng(1).normal(size=(4, len(scene.elements), SAMPLES, 2)).astype(np.float32)
    whole = DelayAndSum(points_m=scene.points, samples=SAMPLES, **common).run(data).copy()
    monkeypatch.setattr("sonod.cext.points.PLANE_BYTES", 1)
    operator = DelayAndSum(points_m=scene.points, samples=SAMPLES, **common)
    plan = operator._plan
    assert isinstance(plan, PointPlan)
    assert len(plan.planes) == 1
    np.testing.assert_allclose(operator.run(data), whole, atol=1e-6 * np.abs(whole).max())


@pytest.mark.parametrize("name", SCENES)
def test_neighbours_are_taken_together_and_agree_with_points_taken_singly(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = SCENES[name]
    common = arguments(scene, scenes.plane_times(scene.points, [0.0, 0.2]), apodization="hann")
    data = wire_echoes(scene, common)
    together = DelayAndSum(points_m=scene.points, samples=SAMPLES, **common)
    monkeypatch.setattr("sonod.cext.points.LEAST_WAY_FINE", np.inf)
    singly = DelayAndSum(points_m=scene.points, samples=SAMPLES, **common)
    assert isinstance(together._plan, PointPlan)
    assert isinstance(singly._plan, PointPlan)
    assert np.isfinite(together._plan.bounds[:, -1]).mean() > 0.8
    assert not np.isfinite(singly._plan.bounds[:, -1]).any()
    assert error_db(joined(together.run(data)), joined(singly.run(data))) < -55


def test_a_single_element() -> None:
    scene = SCENES["linear"]
    one = {"element_positions_m": scene.elements[:1], "element_normals": scene.normals[:1]}
    points = scene.points[:1] + np.linspace(0, 1e-4, 50)[:, None, None] * np.array([1.0, 0, 0])
    common = arguments(scene, scenes.plane_times(points, [0.0])) | one
    common["receive_elements"] = np.zeros((1, 1), np.int32)
    data = wire_echoes(scene, arguments(scene, scenes.plane_times(points, [0.0])))[:1, :1]
    got = joined(DelayAndSum(points_m=points, samples=SAMPLES, **common).run(data))
    assert error_db(got, ideal(data, common, points_m=points)) < -45
