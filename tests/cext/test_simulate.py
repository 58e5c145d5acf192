"""Echoes against the NumPy float64 reference, on every instruction set; then physics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal

from sonod.cext import _native
from sonod.cext.pulse import HALF_WIDTH_DEVIATIONS, Pulse
from sonod.cext.simulate import EVEN_SHARE, EchoModel, EchoSimulator, Meeting, Reflectors, elevation
from sonod.cext.simulate_reference import reference_amplitude, reference_echoes
from sonod.cext.threads import set_thread_count, thread_count
from sonod.drivers.probe import Probe

SAMPLES = 480
C = 1540.0


@pytest.fixture(params=_native.instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _native.instruction_set()
    _native.select_instruction_set(request.param)
    yield request.param
    _native.select_instruction_set(before)


def model_of(probe: Probe) -> EchoModel:
    return EchoModel(
        positions_m=probe.element_positions_m,
        normals=probe.element_normals,
        element_width_m=probe.element_width_m,
        sound_speed_m_s=C,
        attenuation_np_m_hz=2e-6,
        farthest_m=0.05,
        sampling_hz=20e6,
        pulse=Pulse.gaussian(5e6, 1e6, 4e-7),
        element_height_m=4e-3,
        elevation_focus_m=15e-3,
    )


PROBES = {
    "linear": Probe.linear("linear", 16, 0.3e-3, 5e6),
    "curved, odd number": Probe.curvilinear("curved", 21, 0.4e-3, 8e-3, 5e6),
    "one element": Probe.linear("one", 1, 0.3e-3, 5e6),
}


class Case:
    """Reflectors before a probe, and two transmissions of which one has silent elements."""

    def __init__(self, name: str, points: int = 24, *, mirrors: bool = False, shadow: bool = False) -> None:
        self.model = model_of(PROBES[name])
        self.simulator = EchoSimulator(self.model)
        random = np.random.default_rng(3)
        elements = len(self.model.positions_m)
        x = random.uniform(-4e-3, 4e-3, points).astype(np.float32)
        z = np.sort(random.uniform(1e-3, 15e-3, points)).astype(np.float32)
        angle = random.uniform(0, math.pi, points)
        own = Reflectors.points(x, z, random.standard_normal(points))
        if mirrors:
            own = replace(
                own,
                smooth=random.uniform(0.5, 2, points).astype(np.float32),
                axis=np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32),
                piece_m=random.uniform(1e-4, 6e-4, points).astype(np.float32),
            )
        if shadow:
            own = replace(own, loss=random.uniform(0.1, 2, (points, self.simulator.stations)).astype(np.float32))
        self.reflectors = own
        self.delays = random.uniform(-2e-7, 2e-7, (2, elements))
        if elements > 3:
            self.delays[1, 1::2] = np.nan
        self.weights = random.uniform(0.2, 1.0, (2, elements))
        arrival = np.hypot(x, z)[None] / C + np.array([[0.0], [1e-7]])
        amplitude = random.standard_normal((2, points)) + 1j * random.standard_normal((2, points))
        incoming = random.uniform(-1, 1, (2, points)).astype(np.float32)
        self.meeting = Meeting(arrival, amplitude.astype(np.complex64), incoming)
        self.t0 = np.array([0.0, -3e-7])
        self.start = np.array([0.0, 1e-7])

    def simulated(self) -> np.ndarray:
        return self.simulator.echoes(self.reflectors, self.meeting, self.t0, SAMPLES, self.start)

    def expected(self) -> np.ndarray:
        return reference_echoes(self.model, self.reflectors, self.meeting, self.t0, SAMPLES, self.start)

    def frame(self, scale: float) -> np.ndarray:
        """The same reflectors as moving ones, without background and noise."""
        elements = self.simulator.count
        out = np.empty((2, elements, SAMPLES), np.int16)
        self.simulator.moving(SAMPLES, self.t0, self.start).frame(
            self.reflectors,
            self.meeting,
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


# -- against the reference ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBES)
def test_transmitted_amplitude_is_that_of_the_reference(name: str, instruction_set: str) -> None:
    case = Case(name, shadow=True)
    own = case.reflectors
    out = case.simulator.amplitude(own.x_m, own.z_m, case.delays, case.weights, case.meeting.arrival_s, own.loss)
    x, z = own.x_m.astype(float), own.z_m.astype(float)
    reference = reference_amplitude(case.model, x, z, case.delays, case.weights, case.meeting.arrival_s, own.loss)
    np.testing.assert_allclose(out, reference, atol=3e-3 * np.abs(reference).max())


@pytest.mark.parametrize(("mirrors", "shadow"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("name", PROBES)
def test_echoes_are_those_of_the_reference(name: str, mirrors: bool, shadow: bool, instruction_set: str) -> None:
    case = Case(name, mirrors=mirrors, shadow=shadow)
    assert relative_error(case.simulated(), case.expected()) < 0.01


@pytest.mark.parametrize("name", PROBES)
def test_moving_reflectors_echo_like_fixed_ones(name: str, instruction_set: str) -> None:
    case = Case(name, mirrors=True, shadow=True)
    expected = case.expected()
    scale = 30000 / np.abs(expected).max()
    assert relative_error(case.frame(scale), scale * expected) < 0.01


def test_every_instruction_set_and_thread_count_gives_the_same_bits() -> None:
    results = []
    before, threads = _native.instruction_set(), thread_count()
    try:
        for name in _native.instruction_sets():
            for count in (1, 3):
                _native.select_instruction_set(name)
                set_thread_count(count)
                case = Case("curved, odd number", 300, mirrors=True, shadow=True)
                own = case.reflectors
                amplitude = case.simulator.amplitude(
                    own.x_m, own.z_m, case.delays, case.weights, case.meeting.arrival_s, own.loss
                )
                results.append(amplitude.tobytes() + case.simulated().tobytes() + case.frame(100.0).tobytes())
    finally:
        _native.select_instruction_set(before)
        set_thread_count(threads)
    assert len(set(results)) == 1


def test_echoes_are_linear_in_the_reflectors() -> None:
    case = Case("linear")
    one = case.simulated()
    case.reflectors = replace(case.reflectors, rough=-3 * case.reflectors.rough)
    np.testing.assert_allclose(case.simulated(), -3.0 * one, atol=1e-5 * np.abs(one).max())


def test_no_reflectors_no_echoes() -> None:
    case = Case("linear", points=0)
    assert not case.simulated().any()
    assert not case.frame(1.0).any()


def test_echoes_outside_the_record_are_left_out() -> None:
    case = Case("linear")
    for late in (1.0, -1.0):
        case.meeting = replace(case.meeting, arrival_s=case.meeting.arrival_s + late)
        assert not case.simulated().any()
        assert not case.frame(100.0).any()
        case.meeting = replace(case.meeting, arrival_s=case.meeting.arrival_s - late)


# -- physics -----------------------------------------------------------------------------------------------------------


def test_attenuation_lowers_the_frequency_as_a_gaussian_band_says() -> None:
    deviation, loss = 1e6, 0.4e-6
    pulse = Pulse.gaussian(5e6, deviation)
    time = np.arange(-4000, 4000) * 1e-9
    spectrum = np.abs(np.fft.rfft(pulse.wave(time, loss))) ** 2
    frequency = np.fft.rfftfreq(len(time), 1e-9)
    centre = (frequency * spectrum).sum() / spectrum.sum()
    assert centre == pytest.approx(5e6 - loss * deviation**2, rel=2e-3)
    peak = float(np.abs(pulse.envelope(np.zeros(1), loss))[0])
    assert peak == pytest.approx(math.exp(-loss * 5e6 + (loss * deviation) ** 2 / 2), rel=1e-3)


def test_the_pulse_has_the_band_that_was_asked_for() -> None:
    deviation = 2e6 / HALF_WIDTH_DEVIATIONS
    pulse = Pulse.gaussian(7e6, deviation)
    time = np.arange(-4000, 4000) * 1e-9
    spectrum = np.abs(np.fft.rfft(pulse.wave(time)))
    frequency = np.fft.rfftfreq(len(time), 1e-9)
    inside = frequency[spectrum > spectrum.max() / 2]
    assert (inside[0], inside[-1]) == pytest.approx((5e6, 9e6), rel=0.03)


def test_the_elevation_lens_focuses() -> None:
    wavelength, distance = 0.2e-3, np.linspace(5e-3, 40e-3, 141)
    lens = elevation(distance, np.zeros(1), 4e-3, 20e-3, wavelength)[0]
    endless = elevation(distance, np.zeros(1), 0.0, math.inf, wavelength)[0]
    # An aperture of so few wavelengths gains most nearer than its lens says (Y. Li, E. Wolf, Optics Communications
    # 39(4), 1981, on the focal shift): where the sum over its height without Fresnel's approximation does.
    height = np.linspace(-2e-3, 2e-3, 4001)[:, None]
    ways = np.hypot(distance, height) - np.hypot(20e-3, height)
    taper = scipy.signal.windows.tukey(4001, 1 - EVEN_SHARE)[:, None]
    plain = np.abs((taper * np.exp(2j * np.pi * ways / wavelength)).mean(axis=0)) / np.sqrt(distance)
    assert distance[(lens / endless).argmax()] == pytest.approx(distance[plain.argmax()], abs=0.5e-3)
    # At the focus the gain is the root of height^2 / (wavelength F), with the height that is left of its tapered one.
    at = np.abs(distance - 20e-3).argmin()
    height = 4e-3 * (1 + EVEN_SHARE) / 2
    assert lens[at] / endless[at] == pytest.approx(math.sqrt(height**2 / (wavelength * 20e-3)), rel=0.02)
    beside = elevation(np.array([20e-3]), np.array([0.0, wavelength * 20e-3 / 4e-3]), 4e-3, 20e-3, wavelength)[:, 0]
    # In the focal plane the beam is the Fourier transform of the aperture: here one period over its height.
    window = scipy.signal.windows.tukey(4001, 1 - EVEN_SHARE)
    pattern = np.abs((window * np.exp(2j * np.pi * np.linspace(0, 1, 4001))).sum()) / window.sum()
    assert beside[1] / beside[0] == pytest.approx(pattern, rel=0.02)


def test_far_from_an_unfocused_element_sound_spreads_like_a_sphere() -> None:
    values = elevation(np.array([0.5, 1.0]), np.zeros(1), 1e-3, math.inf, 0.3e-3)[0]
    assert values[0] / values[1] == pytest.approx(2, rel=0.01)


def test_a_rigid_baffle_lets_elements_hear_aside() -> None:
    soft = model_of(PROBES["linear"])
    rigid = replace(soft, soft_baffle=False)
    cosine = np.array([0.5, 1.0, -0.2])
    np.testing.assert_allclose(soft.directivity(cosine)[0], rigid.directivity(cosine)[0] / 2)
    assert rigid.directivity(cosine)[2] == soft.directivity(cosine)[2] == 0


# -- the converter -----------------------------------------------------------------------------------------------------


def test_gain_noise_and_clipping_act_in_this_order() -> None:
    simulator = EchoSimulator(model_of(PROBES["one element"]))
    background = np.zeros((1, 1, 4), np.float32)
    background[0, 0] = [10, 20, -30, 4000]
    noise = np.array([0, 1, 2, -1, 1], np.float32)
    out = np.empty((1, 1, 4), np.int16)
    gain = np.array([1, 2, 1, 4], np.float32)
    none = Meeting(np.zeros((1, 0)), np.zeros((1, 0), np.complex64), np.zeros((1, 0), np.float32))
    simulator.moving(4, np.zeros(1), np.zeros(1)).frame(
        Reflectors.none(), none, background, noise, np.array([[1]], np.int32), 0.5, 2.0, gain, 8191.0, out
    )
    # (10 * 2 + 0.5) * 1 rounds away from zero; the last one is clipped.
    assert out[0, 0].tolist() == [21, 82, -61, 8191]


def test_wrong_shapes_are_refused_by_name() -> None:
    case = Case("linear")
    own, simulator = case.reflectors, case.simulator
    with pytest.raises(ValueError, match=r"x and z must be \(points,\)"):
        simulator.amplitude(own.x_m, own.z_m[:-1], case.delays, case.weights, case.meeting.arrival_s)
    none = Meeting(np.zeros((1, 0)), np.zeros((1, 0), np.complex64), np.zeros((1, 0), np.float32))
    with pytest.raises(ValueError, match="noise_start must leave room"):
        simulator.moving(8, np.zeros(1), np.zeros(1)).frame(
            Reflectors.none(),
            none,
            np.zeros((1, 16, 8), np.float32),
            np.zeros(8, np.float32),
            np.ones((1, 16), np.int32),
            0.0,
            1.0,
            np.ones(8, np.float32),
            100.0,
            np.zeros((1, 16, 8), np.int16),
        )
    with pytest.raises(ValueError, match="n >= 3"):
        Pulse(5e6, np.zeros(2), np.zeros(2, complex))
