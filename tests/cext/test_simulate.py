"""Echoes against the NumPy float64 reference, on every instruction set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from sonod.cext import _native
from sonod.cext.simulate import EchoModel, EchoSimulator, reference_amplitude, reference_echoes
from sonod.drivers.probe import Probe

SAMPLES = 480


@pytest.fixture(params=_native.instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _native.instruction_set()
    _native.select_instruction_set(request.param)
    yield request.param
    _native.select_instruction_set(before)


def model_of(probe: Probe) -> EchoModel:
    assert probe.element_normals is not None
    return EchoModel(
        positions_m=probe.element_positions_m,
        normals=probe.element_normals,
        element_width_m=probe.element_width_m,
        sound_speed_m_s=1540.0,
        attenuation_np_m=8.0,
        farthest_m=0.05,
        sampling_hz=20e6,
        frequency_hz=5e6,
        deviation_hz=1e6,
        pulse_delay_s=4e-7,
    )


PROBES = {
    "linear": Probe.linear("linear", 16, 0.3e-3, 5e6),
    "curved, odd number": Probe.curvilinear("curved", 13, 0.4e-3, 8e-3, 5e6),
    "one element": Probe.linear("one", 1, 0.3e-3, 5e6),
}


class Case:
    """Reflectors before a probe, and two transmissions of which one has silent elements."""

    def __init__(self, name: str, points: int = 40) -> None:
        self.model = model_of(PROBES[name])
        random = np.random.default_rng(3)
        elements = len(self.model.positions_m)
        self.points = np.zeros((points, 3))
        self.points[:, 0] = random.uniform(-4e-3, 4e-3, points)
        self.points[:, 2] = random.uniform(1e-3, 15e-3, points)
        self.delays = random.uniform(-2e-7, 2e-7, (2, elements))
        if elements > 3:
            self.delays[1, 1::2] = np.nan
        self.weights = random.uniform(0.2, 1.0, (2, elements))
        self.arrival = np.hypot(self.points[:, 0], self.points[:, 2])[None] / 1540 + np.array([[0.0], [1e-7]])
        self.strength = random.standard_normal((2, points))
        self.t0 = np.array([0.0, -3e-7])

    @property
    def x(self) -> np.ndarray:
        return self.points[:, 0].astype(np.float32)

    @property
    def z(self) -> np.ndarray:
        return self.points[:, 2].astype(np.float32)

    def simulated(self) -> np.ndarray:
        strength = self.strength.astype(np.float32)
        return EchoSimulator(self.model).echoes(self.x, self.z, self.arrival, strength, self.t0, SAMPLES)

    def frame(self, mirror: float, rough: float, axis: tuple[float, float], piece_m: float, scale: float) -> np.ndarray:
        """The same reflectors as moving ones, without background and noise."""
        simulator = EchoSimulator(self.model)
        count, elements = len(self.points), len(self.model.positions_m)
        points = np.stack([self.x, self.z, np.full(count, mirror), np.full(count, rough)]).astype(np.float32)
        incoming = np.full((2, count), axis[1])
        meeting = np.stack([self.strength, simulator.arrival_in_samples(self.arrival, self.t0), incoming], axis=1)
        out = np.empty((2, elements, SAMPLES), np.int16)
        simulator.frame(
            points,
            meeting.astype(np.float32),
            axis,
            piece_m,
            np.zeros((2, elements, SAMPLES), np.float32),
            np.zeros(SAMPLES + 1, np.float32),
            np.zeros((2, elements), np.int32),
            0.0,
            scale,
            np.ones(SAMPLES, np.float32),
            32000.0,
            out,
        )
        return out


def relative_error(value: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("name", PROBES)
def test_transmitted_amplitude_is_that_of_the_reference(name: str, instruction_set: str) -> None:
    case = Case(name)
    out = np.empty((2, len(case.points)), np.float32)
    EchoSimulator(case.model).amplitude(case.x, case.z, case.delays, case.weights, out)
    reference = reference_amplitude(case.model, case.points, case.delays, case.weights)
    np.testing.assert_allclose(out, reference, atol=5e-3 * reference.max())


@pytest.mark.parametrize("name", PROBES)
def test_echoes_are_those_of_the_reference(name: str, instruction_set: str) -> None:
    case = Case(name)
    reference = reference_echoes(case.model, case.points, case.arrival, case.strength, case.t0, SAMPLES)
    assert relative_error(case.simulated(), reference) < 0.03


@pytest.mark.parametrize("name", PROBES)
def test_moving_points_echo_like_fixed_ones(name: str, instruction_set: str) -> None:
    case = Case(name)
    reference = reference_echoes(case.model, case.points, case.arrival, case.strength, case.t0, SAMPLES)
    scale = 8000 / np.abs(reference).max()
    out = case.frame(mirror=0.0, rough=1.0, axis=(1.0, 0.0), piece_m=1e-6, scale=scale)
    assert relative_error(out, scale * reference) < 0.03


def test_a_piece_of_a_line_mirrors(instruction_set: str) -> None:
    case = Case("linear")
    model, axis, piece = case.model, (0.6, 0.8), 4e-4
    offset = case.points[:, None] - model.positions_m[None]
    along = (offset[..., 0] * axis[0] + offset[..., 2] * axis[1]) / np.linalg.norm(offset, axis=-1)
    lobe = np.sinc(piece / (1540 / 5e6) * (axis[1] + along))
    strength = case.strength[:, :, None] * (2.0 * lobe + 0.25)
    reference = reference_echoes(model, case.points, case.arrival, strength, case.t0, SAMPLES)
    scale = 8000 / np.abs(reference).max()
    assert relative_error(case.frame(2.0, 0.25, axis, piece, scale), scale * reference) < 0.03


def test_every_instruction_set_gives_the_same_bits() -> None:
    results = []
    before = _native.instruction_set()
    try:
        for name in _native.instruction_sets():
            _native.select_instruction_set(name)
            case = Case("curved, odd number", 300)
            amplitude = np.empty((2, 300), np.float32)
            EchoSimulator(case.model).amplitude(case.x, case.z, case.delays, case.weights, amplitude)
            frame = case.frame(1.0, 0.5, (0.6, 0.8), 2e-4, 100.0)
            results.append(amplitude.tobytes() + case.simulated().tobytes() + frame.tobytes())
    finally:
        _native.select_instruction_set(before)
    assert len(set(results)) == 1


def test_echoes_are_linear_in_the_reflectors() -> None:
    case = Case("linear")
    one = case.simulated()
    case.strength *= -3.0
    np.testing.assert_allclose(case.simulated(), -3.0 * one, atol=1e-5 * np.abs(one).max())


def test_no_reflectors_no_echoes() -> None:
    case = Case("linear", points=0)
    assert not case.simulated().any()


def test_echoes_outside_the_record_are_left_out() -> None:
    case = Case("linear")
    case.arrival += 1.0
    assert not case.simulated().any()
    case.arrival -= 2.0
    assert not case.simulated().any()


def test_gain_noise_and_clipping_act_in_this_order() -> None:
    simulator = EchoSimulator(model_of(PROBES["one element"]))
    background = np.zeros((1, 1, 4), np.float32)
    background[0, 0] = [10, 20, -30, 4000]
    noise = np.array([0, 1, 2, -1, 1], np.float32)
    out = np.empty((1, 1, 4), np.int16)
    gain = np.array([1, 2, 1, 4], np.float32)
    simulator.frame(
        np.zeros((4, 0), np.float32),
        np.zeros((1, 3, 0), np.float32),
        (0.0, 1.0),
        1e-6,
        background,
        noise,
        np.array([[1]], np.int32),
        0.5,
        2.0,
        gain,
        8191.0,
        out,
    )
    # (10 * 2 + 0.5) * 1 rounds away from zero; the last one is clipped.
    assert out[0, 0].tolist() == [21, 82, -61, 8191]


def test_wrong_shapes_are_refused_by_name() -> None:
    case = Case("linear")
    simulator = EchoSimulator(case.model)
    with pytest.raises(ValueError, match=r"x and z must be \(points,\)"):
        simulator.amplitude(case.x, case.z[:-1], case.delays, case.weights, np.empty((2, 40), np.float32))
    with pytest.raises(ValueError, match="noise_start must leave room"):
        simulator.frame(
            np.zeros((4, 0), np.float32),
            np.zeros((1, 3, 0), np.float32),
            (0.0, 1.0),
            1e-6,
            np.zeros((1, 16, 8), np.float32),
            np.zeros(8, np.float32),
            np.ones((1, 16), np.int32),
            0.0,
            1.0,
            np.ones(8, np.float32),
            100.0,
            np.zeros((1, 16, 8), np.int16),
        )
