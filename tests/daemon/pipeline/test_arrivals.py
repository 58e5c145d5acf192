"""Travel times: closed forms against the element delays, focus, and Snell's law."""

import math

import numpy as np
import pytest

from sonod.cext.arrival import arrival_by_elements, layered_times
from sonod.daemon.pipeline.arrivals import event_times, transmit_times
from sonod.drivers.probe import Probe
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind

C = 1540.0
PERIOD = 1 / 5e6
PROBE = Probe.linear("test", 64, 0.3e-3, 5e6)
CURVED = Probe.curvilinear("test", 64, 0.5e-3, 60e-3, 3.5e6)
POINTS = np.stack(np.meshgrid(np.linspace(-5e-3, 5e-3, 5), [0.0], np.linspace(10e-3, 40e-3, 7)), axis=-1)[0]


def event(probe: Probe, kind: TransmitKind, delays: np.ndarray, origin: object = (0, 0, 0), angle: float = 0.0):  # type: ignore[no-untyped-def]
    return TransmitEvent(kind, delays, np.array(origin, float), np.arange(probe.element_count, dtype=np.int32), angle)


@pytest.mark.parametrize("shift", [0.0, 3e-6, -2e-6])
@pytest.mark.parametrize("probe", [PROBE, CURVED])
def test_plane_wave_agrees_with_its_element_delays_whatever_the_time_zero(probe: Probe, shift: float) -> None:
    angle = math.radians(8)
    direction = np.array([math.sin(angle), 0, math.cos(angle)])
    delays = probe.element_positions_m @ direction / C + shift
    time, weight = event_times(event(probe, TransmitKind.PLANE, delays, angle=angle), probe, POINTS, C, PERIOD)
    assert weight is None
    np.testing.assert_allclose(time, POINTS @ direction / C + shift, atol=1e-12)
    by_elements = arrival_by_elements(POINTS, delays, probe.element_positions_m, C)
    middle = np.abs(POINTS[..., 0]) < 3e-3
    assert np.abs(time - by_elements)[middle].max() < 0.02 * PERIOD


@pytest.mark.parametrize("shift", [0.0, 5e-6])
def test_diverging_wave_agrees_with_its_element_delays(shift: float) -> None:
    source = np.array([1e-3, 0, -10e-3])
    delays = np.linalg.norm(PROBE.element_positions_m - source, axis=1) / C - 10e-3 / C + shift
    time, _ = event_times(event(PROBE, TransmitKind.DIVERGING, delays, source), PROBE, POINTS, C, PERIOD)
    np.testing.assert_allclose(time, (np.linalg.norm(POINTS - source, axis=-1) - 10e-3) / C + shift, atol=1e-12)


def test_delays_that_do_not_fit_their_name_decide_themselves() -> None:
    delays = np.random.default_rng(2).uniform(0, 1e-6, 64)
    time, _ = event_times(event(PROBE, TransmitKind.PLANE, delays), PROBE, POINTS, C, PERIOD)
    np.testing.assert_array_equal(time, arrival_by_elements(POINTS, delays, PROBE.element_positions_m, C))


def test_focused_wave_passes_its_focus_in_time_and_weighs_its_own_cone() -> None:
    focus = np.array([2e-3, 0, 20e-3])
    delays = (20e-3 - np.linalg.norm(PROBE.element_positions_m - focus, axis=1)) / C
    line = np.stack([np.full(31, 2e-3), np.zeros(31), np.linspace(5e-3, 35e-3, 31)], axis=-1)
    time, weight = event_times(event(PROBE, TransmitKind.FOCUSED, delays, focus), PROBE, line, C, PERIOD)
    assert weight is not None
    # On a line through focus and aperture centre the wave travels as a plane one would; here it leans a little.
    np.testing.assert_allclose(time, line[:, 2] / C, atol=2e-8)
    assert weight[15] == 1
    aside = np.array([[12e-3, 0, 20e-3]])
    assert event_times(event(PROBE, TransmitKind.FOCUSED, delays, focus), PROBE, aside, C, PERIOD)[1] == 0


def test_scan_lines_see_their_own_transmission_only() -> None:
    focuses = [(x, 0, 20e-3) for x in (-2e-3, 0, 2e-3)]
    events = tuple(
        event(PROBE, TransmitKind.FOCUSED, (20e-3 - np.linalg.norm(PROBE.element_positions_m - f, axis=1)) / C, f)
        for f in focuses
    )
    points = np.stack(
        [np.stack([np.full(9, x), np.zeros(9), np.linspace(5e-3, 30e-3, 9)], axis=-1) for x, _, _ in focuses]
    )
    time, weight = transmit_times(Sequence(events), PROBE, points, C, PERIOD, line_by_line=True)
    assert weight is None
    assert np.isfinite(time).any(axis=2).tolist() == np.eye(3, dtype=bool).tolist()


def test_layers_of_one_speed_are_no_layers() -> None:
    lateral = np.tile(np.linspace(0, 20e-3, 9), (5, 1))
    depths = np.linspace(1e-3, 40e-3, 5)
    times = layered_times(lateral, depths, [10e-3, 10e-3, 10e-3], [C, C, C])
    np.testing.assert_allclose(times, np.hypot(lateral, depths[:, None]) / C, rtol=2e-5)


def test_layered_time_is_the_least_over_all_crossings() -> None:
    thickness, speeds = [23.5e-3, 40e-3], [1480.0, 4660.0]
    lateral, depth = np.array([[0.0, 3e-3, 12e-3]]), np.array([33e-3])
    crossing = np.linspace(0, 12e-3, 200_001)
    for index, distance in enumerate(lateral[0]):
        by_search = (
            np.hypot(crossing, 23.5e-3) / 1480 + np.hypot(distance - crossing, depth[0] - 23.5e-3) / 4660
        ).min()
        assert layered_times(lateral, depth, thickness, speeds)[0, index] == pytest.approx(by_search, rel=1e-5)
