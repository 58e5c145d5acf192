"""Grids in two depth parts: what is chosen, and that nothing shows where the parts meet."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from cext_support import scenes
from cext_support.bits import assert_same_bits
from cext_support.scenes import SPEED, Scene, error_db, joined
from numpy.typing import NDArray

from sonod.cext import blocks, reference
from sonod.cext.blocks import BlockPlan
from sonod.cext.das import DelayAndSum
from sonod.cext.depth_parts import LONG_BLOCK, SHORT_BLOCK, DepthPart, polynomial_error_db
from sonod.cext.resampling import farrow_filters

FS, F0, SAMPLES = 20e6, 5e6, 640
SEAM = 2 * LONG_BLOCK


def waves_for(kind: str, points: NDArray[np.float64]) -> NDArray[np.float64]:
    if kind == "plane":
        return scenes.plane_times(points, [-0.1, 0.0, 0.1])
    if kind == "diverging":
        return scenes.spherical_times(points, np.array([[0.0, 0.0, -12e-3]])) - 12e-3 / SPEED
    if kind == "single element":
        return scenes.spherical_times(points, np.array([[-2e-3, 0.0, 0.0], [1e-3, 0.0, 0.0]]))
    focus = np.array([0.5e-3, 0.0, 11e-3])
    distance = np.linalg.norm(points - focus, axis=-1)
    return np.stack([(11e-3 + np.copysign(distance, points[..., 2] - 11e-3)) / SPEED])


KINDS = ["plane", "diverging", "single element", "focused"]


def arguments(scene: Scene, kind: str, **changes: Any) -> dict[str, Any]:
    waves = waves_for(kind, scene.points)
    return {
        **scene.array(),
        "receive_elements": np.tile(np.arange(len(scene.elements), dtype=np.int32), (len(waves), 1)),
        "transmit_time_s": waves,
        "sampling_hz": FS,
        "t0_s": np.zeros(len(waves)),
        "demodulation_hz": F0,
        "sound_speed_m_s": SPEED,
        "f_number": 2.0,
        "apodization": "rectangular",
    } | changes


def echoes_at(scene: Scene, kind: str, rows: list[int]) -> NDArray[np.float32]:
    """Baseband of targets on the lines in these rows."""
    targets = scene.points[::3, rows].reshape(-1, 3)
    rf = scenes.echoes(scene, targets, waves_for(kind, targets), sampling_hz=FS, samples=SAMPLES, center_hz=F0)
    return np.asarray(scenes.to_baseband(rf, FS, F0))


def two_parts(monkeypatch: pytest.MonkeyPatch, lower_block: int = LONG_BLOCK, seam: int = SEAM) -> None:
    """Every grid in two parts of the usual fine rate, the upper one in short blocks."""
    usual = blocks.choose_parts

    def choose(*arguments: Any) -> list[DepthPart]:
        (whole, *_) = usual(*arguments)
        end = sum(part.count for part in usual(*arguments))
        upper = replace(whole, count=min(seam, end), block_points=SHORT_BLOCK)
        lower = replace(whole, begin=seam, count=end - seam, block_points=lower_block)
        return [upper, lower] if end > seam else [upper]

    monkeypatch.setattr(blocks, "choose_parts", choose)


def run(scene: Scene, data: NDArray[np.float32], common: dict[str, Any], quality: str = "default") -> NDArray[Any]:
    return joined(DelayAndSum(**scene.lines(), samples=SAMPLES, quality=quality, **common).run(data))


def ideal(scene: Scene, data: NDArray[np.float32], common: dict[str, Any]) -> NDArray[Any]:
    return reference.delay_and_sum(
        joined(data),
        origins_m=scene.origins,
        directions=scene.directions,
        distances_m=scene.distances,
        interpolate=reference.ideal_interpolation,
        **common,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["linear", "curvilinear", "phased"])
def test_echoes_on_a_seam_are_as_near_to_the_ideal_as_without_it(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scenes.SCENES[name]
    scene = replace(scene, first=scene.first + 4e-3)
    common = arguments(scene, kind)
    data = echoes_at(scene, kind, [SEAM - 1, SEAM, SEAM + 40])
    whole, wanted = run(scene, data, common), ideal(scene, data, common)
    two_parts(monkeypatch, SHORT_BLOCK)
    parted = run(scene, data, common)
    near = slice(SEAM - 12, SEAM + 12)
    assert error_db(parted[:, near], wanted[:, near]) < error_db(whole[:, near], wanted[:, near]) + 1
    assert error_db(parted, wanted) < -40


def test_the_last_row_above_and_the_first_below_go_on_smoothly(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = replace(scenes.linear(), first=6e-3)
    common = arguments(scene, "plane")
    data = echoes_at(scene, "plane", [SEAM - 4, SEAM + 3])
    whole = run(scene, data, common)
    two_parts(monkeypatch)
    parted, wanted = run(scene, data, common), ideal(scene, data, common)
    rows = [values[:, SEAM - 2 : SEAM + 2] for values in (parted, whole, wanted)]
    steps = [np.diff(values, axis=1) for values in rows]
    assert error_db(steps[0], steps[1]) < -35
    assert error_db(steps[0], steps[2]) < error_db(steps[1], steps[2]) + 1
    assert error_db(rows[0], rows[2]) < error_db(rows[1], rows[2]) + 1


@pytest.mark.parametrize("count", [1, 15, 16, 17, SEAM, SEAM + 1, SEAM + 15, SEAM + 31, SEAM + 33, 3 * SEAM - 1])
def test_any_count_fills_every_point_and_no_other(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    full = replace(scenes.linear(count=3 * SEAM), first=6e-3)
    scene = replace(full, count=count)
    data = echoes_at(full, "plane", [0, 14, SEAM, SEAM + 30])
    two_parts(monkeypatch)
    out = np.full((len(scene.origins), count, 2), np.nan, np.float32)
    common = arguments(scene, "plane")
    DelayAndSum(**scene.lines(), samples=SAMPLES, **common).run(data, out)
    assert np.isfinite(out).all()
    whole = run(full, data, arguments(full, "plane"))[:, :count]
    assert error_db(joined(out), whole) < -40 or np.abs(whole).max() == 0


def test_weights_and_points_not_seen_on_both_sides_of_the_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = replace(scenes.linear(), first=6e-3)
    common = arguments(scene, "plane")
    data = echoes_at(scene, "plane", [SEAM - 9, SEAM - 1, SEAM, SEAM + 7])
    weight = np.ones(common["transmit_time_s"].shape, np.float32)
    weight[0] *= np.linspace(0, 2, scene.count, dtype=np.float32)
    weight[1, :, SEAM - 3 : SEAM + 2] = 0
    times = common["transmit_time_s"].copy()
    times[2, ::2, SEAM - 5 : SEAM + 5] = np.nan
    common |= {"transmit_weight": weight, "transmit_time_s": times}
    two_parts(monkeypatch)
    assert error_db(run(scene, data, common), ideal(scene, data, common)) < -40


def test_parts_are_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = replace(scenes.linear(), first=6e-3)
    data = echoes_at(scene, "plane", [SEAM - 1, SEAM])
    two_parts(monkeypatch)
    operator = DelayAndSum(**scene.lines(), samples=SAMPLES, **arguments(scene, "plane"))
    assert operator.block_points == (SHORT_BLOCK, LONG_BLOCK)
    assert_same_bits(lambda: operator.run(data))


def fine_linear(lines: int = 128) -> dict[str, Any]:
    """128 elements from the skin to 29 mm at 8 MHz, eleven waves: delays grow evenly but for the first millimetres."""
    scene = scenes.linear(elements=128, pitch=0.2e-3, lines=lines, first=0.0, spacing=57.5e-6, count=512)
    origins = np.zeros((lines, 3))
    origins[:, 0] = scenes.centred(lines, 25.6e-3 / lines)
    scene = replace(scene, origins=origins)
    waves = scenes.plane_times(scene.points, list(np.linspace(-0.17, 0.17, 11)))
    return {
        **scene.array(),
        **scene.lines(),
        "receive_elements": np.tile(np.arange(128, dtype=np.int32), (11, 1)),
        "transmit_time_s": waves,
        "sampling_hz": 20e6,
        "t0_s": np.zeros(11),
        "samples": 768,
        "demodulation_hz": 8e6,
        "sound_speed_m_s": SPEED,
        "f_number": 2.0,
        "apodization": "rectangular",
    }


def test_a_grid_from_the_skin_has_short_blocks_above_and_long_ones_below() -> None:
    operator = DelayAndSum(**fine_linear())
    assert operator.block_points == (SHORT_BLOCK, LONG_BLOCK)
    plan = operator._plan
    assert isinstance(plan, BlockPlan)
    upper, lower = (own.part for own in plan.parts)
    assert (upper.begin, lower.begin, lower.begin + lower.count) == (0, upper.count, 512)
    assert lower.begin % LONG_BLOCK == 0
    assert upper.step == lower.step == 1


def test_the_seam_that_is_chosen_is_as_near_to_the_ideal_as_the_rest() -> None:
    given = fine_linear()
    some = {"origins_m": given["origins_m"][::43], "directions": given["directions"][::43]}
    operator = DelayAndSum(**given)
    plan = operator._plan
    assert isinstance(plan, BlockPlan)
    seam = plan.parts[1].part.begin
    distances = np.arange(512) * given["spacing_m"]
    targets = (given["origins_m"][::43, None] + given["directions"][::43, None] * distances[None, :, None])[:, ::37]
    targets = np.concatenate([targets[:, 2:8].reshape(-1, 3), targets[:, 0] + [0, 0, distances[seam]]])
    scene = Scene(given["element_positions_m"], given["element_normals"], targets, targets, 0, 0, 0)
    times = scenes.plane_times(targets, list(np.linspace(-0.17, 0.17, 11)))
    rf = scenes.echoes(scene, targets, times, sampling_hz=40e6, samples=1536, center_hz=8e6, bandwidth=0.58)
    data = scenes.to_baseband(rf, 40e6, 8e6)[:, :, ::2]
    near = slice(seam - 16, seam + 48)
    got = joined(operator.run(np.ascontiguousarray(data)))[::43, near]
    common = {
        key: value
        for key, value in given.items()
        if key not in ("origins_m", "directions", "first_m", "spacing_m", "count", "samples", "transmit_time_s")
    }
    wanted = reference.delay_and_sum(
        joined(data),
        distances_m=distances[near],
        transmit_time_s=given["transmit_time_s"][:, ::43, near],
        interpolate=reference.ideal_interpolation,
        **some,
        **common,
    )
    for rows in (slice(16), slice(16, 32), slice(32, None)):
        assert error_db(got[:, rows], wanted[:, rows]) < -42
    assert error_db(got, wanted) < -45


def test_few_lines_are_not_worth_a_second_part() -> None:
    assert DelayAndSum(**fine_linear(lines=4)).block_points == (SHORT_BLOCK,)


def test_the_estimate_of_errors_grows_with_coarser_samples_drift_and_lower_echoes() -> None:
    usual = polynomial_error_db(3.3, 0.5, 0.0)
    assert -56 < usual < -50
    assert polynomial_error_db(2.8, 0.5, 0.0) > usual + 4
    assert polynomial_error_db(3.3, 0.6, 0.0) > usual + 3
    assert polynomial_error_db(3.3, 0.5, 1.5) > usual + 6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block_points", [SHORT_BLOCK, LONG_BLOCK])
def test_with_the_third_order_one_fine_sample_a_point_is_enough(
    kind: str, block_points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points so far apart that polynomials of second order need two; channels drift, turn and bend in all ways."""
    scene = replace(scenes.linear(spacing=116e-6, count=96), first=2e-3)
    common = arguments(scene, kind, f_number=1.5, apodization="tukey")
    plan = DelayAndSum(**scene.lines(), samples=SAMPLES, **common)._plan
    assert isinstance(plan, BlockPlan)
    (part, *_) = (own.part for own in plan.parts)
    assert (part.step, part.rows) == (1, 4)
    monkeypatch.setattr(blocks, "choose_parts", lambda *_: [replace(part, count=96, block_points=block_points)])
    data = echoes_at(scene, kind, [12, 40, 70, 90])
    operator = DelayAndSum(**scene.lines(), samples=SAMPLES, **common)
    got = joined(assert_same_bits(lambda: operator.run(data)))
    assert error_db(got, ideal(scene, data, common)) < -40


def test_numbers_of_the_third_order_hold_the_largest_samples() -> None:
    filters = farrow_filters(Fraction(2), 0.24, rows=4, farthest=0.9)
    x = np.linspace(-0.9, 0.9, 301)[:, None]
    signal, slope, curvature, third = filters.coefficients[0]
    for number in (third, curvature + x * third, slope + x * (curvature + x * third)):
        assert np.abs(number).sum(axis=-1).max() <= filters.bound * 1.001
    values = signal + x * (slope + x * (curvature + x * third))
    assert np.abs(values).sum(axis=-1).max() <= filters.bound * 1.001
