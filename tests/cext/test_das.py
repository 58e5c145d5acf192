"""Delay and sum against the reference: geometries, waves, masks, qualities, awkward shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cext_support import scenes
from cext_support.arrays_and_echoes import F0, FS, SAMPLES, arguments, wire_echoes
from cext_support.bits import assert_same_bits
from cext_support.scenes import SCENES, SPEED, Scene, error_db, joined, pairs
from numpy.typing import NDArray

from sonod.cext import reference
from sonod.cext.das import DelayAndSum, preferred_input_hz

APERTURES = [("rectangular", 1.5), ("hann", 1.5), ("hamming", 2.0), ("tukey", 1.0), ("tukey", 0.0)]


def noise(scene: Scene, transmits: int, samples: int = SAMPLES, seed: int = 1) -> NDArray[np.float32]:
    shape = (transmits, len(scene.elements), samples, 2)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run(scene: Scene, data: NDArray[np.float32], quality: str, common: dict[str, Any]) -> NDArray[Any]:
    operator = DelayAndSum(**scene.lines(), samples=data.shape[2], quality=quality, **common)
    out = operator.run(data)
    return joined(out) if data.ndim == 4 else out


def wanted(scene: Scene, data: NDArray[np.float32], common: dict[str, Any], **more: Any) -> NDArray[Any]:
    traces = joined(data) if data.ndim == 4 else data
    return reference.delay_and_sum(
        traces, origins_m=scene.origins, directions=scene.directions, distances_m=scene.distances, **common, **more
    )


def waves_for(kind: str, points: Any) -> Any:
    if kind == "plane":
        return scenes.plane_times(points, [0.0, 0.2])
    if kind == "diverging":
        sources = np.array([[0.0, 0.0, -8e-3], [2e-3, 0.0, -8e-3]])
        return scenes.spherical_times(points, sources) - 8e-3 / SPEED
    if kind == "single element":
        return scenes.spherical_times(points, np.array([[-2e-3, 0.0, 0.0], [1e-3, 0.0, 0.0]]))
    focus = np.array([0.5e-3, 0.0, 8e-3])
    distance = np.linalg.norm(points - focus, axis=-1)
    return np.stack([(8e-3 + np.copysign(distance, points[..., 2] - 8e-3)) / SPEED])


WAVES = ["plane", "diverging", "single element", "focused"]


@pytest.mark.parametrize(("apodization", "f_number"), APERTURES)
@pytest.mark.parametrize("name", SCENES)
def test_exact_agrees_with_reference(name: str, apodization: str, f_number: float, each_set: str) -> None:
    scene = SCENES[name]
    common = arguments(
        scene, waves_for("plane", scene.points), apodization=apodization, f_number=f_number, time_offset_s=2e-7
    )
    data = noise(scene, 2)
    assert error_db(run(scene, data, "exact", common), wanted(scene, data, common)) < -80


@pytest.mark.parametrize("kind", WAVES)
@pytest.mark.parametrize("name", SCENES)
def test_default_and_fast_keep_their_accuracy(name: str, kind: str) -> None:
    scene = SCENES[name]
    common = arguments(scene, waves_for(kind, scene.points), apodization="tukey")
    data = wire_echoes(scene, common, lambda targets: waves_for(kind, targets))
    ideal = wanted(scene, data, common, interpolate=reference.ideal_interpolation)
    assert error_db(run(scene, data, "default", common), ideal) < -40
    assert error_db(run(scene, data, "fast", common), ideal) < -37


@pytest.mark.parametrize(("apodization", "f_number"), APERTURES)
@pytest.mark.parametrize("name", SCENES)
def test_every_window_keeps_the_accuracy_of_default(name: str, apodization: str, f_number: float) -> None:
    scene = SCENES[name]
    common = arguments(scene, waves_for("plane", scene.points), apodization=apodization, f_number=f_number)
    data = wire_echoes(scene, common, lambda targets: waves_for("plane", targets))
    ideal = wanted(scene, data, common, interpolate=reference.ideal_interpolation)
    # With all elements, lines 1 mm from the face see elements at right angles: the worst there is.
    assert error_db(run(scene, data, "default", common), ideal) < (-46 if f_number else -42)


@pytest.mark.parametrize("quality", ["exact", "default"])
def test_masked_channels_weights_and_unseen_points(quality: str, each_set: str) -> None:
    scene = SCENES["linear"]
    rng = np.random.default_rng(9)
    waves = waves_for("plane", scene.points)
    waves[0, 2, 20:50] = np.nan
    waves[1, 3] = np.nan
    waves[:, 5] = np.nan
    weight = rng.uniform(0, 1, waves.shape).astype(np.float32)
    weight[0, 6, :40] = 0
    common = arguments(scene, waves, transmit_weight=weight)
    receive = common["receive_elements"].copy()
    receive[0, 4:9] = -1
    receive[1, 20] = -1
    receive[1, :6] = receive[1, :6][::-1]
    common["receive_elements"] = receive
    data = wire_echoes(scene, common, lambda targets: waves_for("plane", targets))
    data[0, 4:9] = 1e6
    if quality == "exact":
        assert error_db(run(scene, data, quality, common), wanted(scene, data, common)) < -80
    got = run(scene, data, quality, common)
    ideal = wanted(scene, data, common, interpolate=reference.ideal_interpolation)
    assert error_db(got, ideal) < -36
    assert (got[5] == 0).all()


@pytest.mark.parametrize("quality", ["exact", "default"])
def test_not_finite_samples_do_not_spread(quality: str) -> None:
    scene = SCENES["linear"]
    common = arguments(scene, waves_for("plane", scene.points))
    data = noise(scene, 2)
    repaired = data.copy()
    data[0, 3, 100] = np.nan
    data[1, 7, 200] = np.inf
    repaired[~np.isfinite(data)] = 0
    np.testing.assert_array_equal(run(scene, data, quality, common), run(scene, repaired, quality, common))


def test_rf_agrees_with_reference(each_set: str) -> None:
    for scene in SCENES.values():
        common = arguments(scene, waves_for("plane", scene.points), demodulation_hz=0.0)
        data = noise(scene, 2)[..., 0].copy()
        for quality in ("exact", "default"):
            assert error_db(run(scene, data, quality, common), wanted(scene, data, common)) < -80


def test_explicit_receive_times_replace_the_sound_speed(each_set: str) -> None:
    scene = SCENES["linear"]
    waves = waves_for("plane", scene.points)
    offset = scene.points[None] - scene.elements[:, None, None]
    times = np.linalg.norm(offset, axis=-1) / 1600.0
    common = arguments(scene, waves, receive_time_s=times)
    data = noise(scene, 2)
    assert error_db(run(scene, data, "exact", common), wanted(scene, data, common)) < -80
    del common["receive_time_s"]
    common["sound_speed_m_s"] = 1600.0
    assert error_db(run(scene, data, "exact", common), wanted(scene, data, common)) < -80


def test_single_points_agree_with_lines() -> None:
    scene = SCENES["linear"]
    common = arguments(scene, waves_for("plane", scene.points), apodization="hann")
    data = noise(scene, 2)
    by_lines = run(scene, data, "exact", common)
    by_points = DelayAndSum(points_m=scene.points, samples=SAMPLES, quality="exact", **common).run(data)
    assert error_db(joined(by_points), by_lines) < -100


@pytest.mark.parametrize("quality", ["exact", "default", "fast"])
def test_is_the_same_everywhere(quality: str) -> None:
    for name, kind in (
        ("linear", "focused"),
        ("curvilinear", "plane"),
        ("phased", "diverging"),
        ("arbitrary", "plane"),
    ):
        scene = SCENES[name]
        waves = waves_for(kind, scene.points)
        waves[0, 1, 30:60] = np.nan
        common = arguments(scene, waves, apodization="tukey", f_number=1.0)
        operator = DelayAndSum(**scene.lines(), samples=SAMPLES, quality=quality, **common)
        data = noise(scene, len(waves))
        assert_same_bits(lambda operator=operator, data=data: operator.run(data))  # type: ignore[misc]


@pytest.mark.parametrize("quality", ["exact", "default"])
@pytest.mark.parametrize(
    ("elements", "lines", "count", "samples"),
    [(1, 1, 1, 1), (1, 3, 17, 300), (2, 1, 5, 300), (7, 5, 15, 301), (9, 9, 33, 299), (33, 2, 16, 50), (32, 1, 1, 2)],
)
def test_awkward_shapes(elements: int, lines: int, count: int, samples: int, quality: str) -> None:
    scene = scenes.linear(elements, lines=lines, count=count, spacing=60e-6, first=2e-3)
    common = arguments(scene, scenes.plane_times(scene.points, [0.0]))
    data = noise(scene, 1, samples)
    if samples > 100:
        rf = scenes.echoes(
            scene,
            scene.points[0, count // 2][None],
            scenes.plane_times(scene.points[0, count // 2][None], [0.0]),
            sampling_hz=FS,
            samples=samples,
        )
        data = scenes.to_baseband(rf, FS, F0)
    got = run(scene, data, quality, common)
    assert got.shape == (lines, count)
    assert np.isfinite(got).all()
    if samples > 100:
        ideal = wanted(scene, data, common, interpolate=reference.ideal_interpolation)
        assert error_db(got, ideal) < -35


def test_coarse_and_fine_point_spacings_work() -> None:
    for spacing in (10e-6, 40e-6, 300e-6, 1.2e-3):
        scene = scenes.linear(count=max(2, int(12e-3 / spacing)), spacing=spacing, first=2e-3)
        common = arguments(scene, scenes.plane_times(scene.points, [0.1]))
        targets = scene.points[::3, :: max(1, scene.count // 3)].reshape(-1, 3)
        rf = scenes.echoes(scene, targets, scenes.plane_times(targets, [0.1]), sampling_hz=FS, samples=SAMPLES)
        data = scenes.to_baseband(rf, FS, F0)
        ideal = wanted(scene, data, common, interpolate=reference.ideal_interpolation)
        assert error_db(run(scene, data, "default", common), ideal) < -44


def test_preferred_rate_needs_no_resampling() -> None:
    scene = scenes.linear(first=8e-3)
    rate = preferred_input_hz(scene.spacing, SPEED, F0)
    common = arguments(scene, scenes.plane_times(scene.points, [0.0]), sampling_hz=rate, t0_s=[0.0])
    targets = scene.points[::3, ::60].reshape(-1, 3)
    rf = scenes.echoes(scene, targets, scenes.plane_times(targets, [0.0]), sampling_hz=rate, samples=1200)
    data = scenes.to_baseband(rf, rate, F0)
    ideal = wanted(scene, data, common, interpolate=reference.ideal_interpolation)
    assert error_db(run(scene, data, "default", common), ideal) < -45


def test_long_records_keep_their_accuracy() -> None:
    scene = scenes.linear(first=110e-3, count=64)
    common = arguments(scene, scenes.plane_times(scene.points, [0.0]), t0_s=[130e-6])
    target = scene.points[5:6, 30]
    rf = scenes.echoes(
        scene, target, scenes.plane_times(target, [0.0]), sampling_hz=FS, samples=800, t0_s=np.array([130e-6])
    )
    data = scenes.to_baseband(rf, FS, F0, np.array([130e-6]))
    ideal = wanted(scene, data, common, interpolate=reference.ideal_interpolation)
    assert error_db(run(scene, data, "default", common), ideal) < -44
    assert error_db(run(scene, data, "exact", common), wanted(scene, data, common)) < -80


def test_out_and_own_buffer_hold_the_same() -> None:
    scene = SCENES["linear"]
    common = arguments(scene, waves_for("plane", scene.points))
    operator = DelayAndSum(**scene.lines(), samples=SAMPLES, **common)
    data = noise(scene, 2)
    out = np.full(operator.output_shape, np.nan, np.float32)
    assert operator.run(data, out) is out
    np.testing.assert_array_equal(operator.run(data), out)
    with pytest.raises(ValueError, match="out"):
        operator.run(data, out[:-1])
    with pytest.raises(ValueError, match="data"):
        operator.run(data[:, :, :-1])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"f_number": -1.0}, "f_number"),
        ({"apodization": "blackman"}, "apodization"),
        ({"quality": "best"}, "quality"),
        ({"sampling_hz": 0.0}, "sampling_hz"),
        ({"sound_speed_m_s": float("nan")}, "sound_speed_m_s"),
        ({"demodulation_hz": -5e6}, "demodulation_hz"),
        ({"t0_s": [0.0]}, "t0_s"),
        ({"samples": 0}, "samples"),
        ({"count": 0}, "count"),
        ({"spacing_m": 0.0}, "spacing_m"),
        ({"element_positions_m": np.zeros((3, 2))}, "element_positions_m"),
        ({"element_normals": np.ones((32, 3))}, "element_normals"),
        ({"receive_elements": np.full((2, 32), 32, np.int32)}, "receive_elements"),
        ({"transmit_time_s": np.zeros((2, 3, 4))}, "transmit_time_s"),
        ({"transmit_weight": np.zeros((2, 3, 4))}, "transmit_weight"),
        ({"receive_time_s": np.zeros((2, 3, 4))}, "receive_time_s"),
        ({"directions": None}, "origins_m"),
    ],
)
def test_bad_argument_is_named(change: dict[str, Any], name: str) -> None:
    scene = SCENES["linear"]
    common = {**scene.lines(), **arguments(scene, waves_for("plane", scene.points)), "samples": SAMPLES}
    with pytest.raises(ValueError, match=name):
        DelayAndSum(**(common | change))


@pytest.mark.parametrize(("quality", "floor_db"), [("exact", -110), ("default", -60), ("fast", -60)])
def test_is_linear_down_to_its_rounding(quality: str, floor_db: float) -> None:
    scene = SCENES["curvilinear"]
    common = arguments(scene, waves_for("plane", scene.points))
    first, second = noise(scene, 2, seed=1), noise(scene, 2, seed=2)
    operator = DelayAndSum(**scene.lines(), samples=SAMPLES, quality=quality, **common)
    together = operator.run(2 * first - 3 * second).copy()
    apart = 2 * operator.run(first).copy() - 3 * operator.run(second)
    assert error_db(joined(apart), joined(together)) < floor_db
    assert pairs(joined(together)).shape == together.shape
