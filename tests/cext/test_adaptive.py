"""Adaptive beamforming: against the reference, the same everywhere, and what it must do to wires, noise and speckle."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from cext_support import scenes
from cext_support.bits import assert_same_bits
from cext_support.scenes import SCENES, SPEED, Scene, echoes, error_db, flat, joined, plane_times, to_baseband
from numpy.typing import NDArray

from sonod.cext import adaptive_reference as adaptive
from sonod.cext.adaptive import PRODUCTS, AdaptiveBeamformer, channels_of_elements
from sonod.cext.das import DelayAndSum

FS, F0, SAMPLES = 20e6, 5e6, 600
LAGS, REACH = 5, 2
ANGLES = [-0.1, 0.15]


@cache
def many_points(scene: Scene) -> NDArray[np.float32]:
    """Baseband of many points of random strength under two plane waves."""
    rng = np.random.default_rng(0)
    targets = np.stack([rng.uniform(-4e-3, 4e-3, 150), np.zeros(150), rng.uniform(0.5e-3, 14.5e-3, 150)], axis=1)
    rf = echoes(
        scene,
        targets,
        plane_times(targets, ANGLES),
        sampling_hz=FS,
        samples=SAMPLES,
        amplitudes=rng.normal(size=150),
    )
    return to_baseband(rf, FS, F0)


def task(scene: Scene) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Those echoes, and what every beamformer is told."""
    return many_points(scene).copy(), {
        "receive_elements": np.tile(np.arange(len(scene.elements), dtype=np.int32), (2, 1)),
        "transmit_time_s": plane_times(scene.points, ANGLES),
        "sampling_hz": FS,
        "t0_s": np.zeros(2),
        "demodulation_hz": F0,
        "sound_speed_m_s": SPEED,
        "f_number": 1.5,
    }


def beamformer(scene: Scene, product: str, told: dict[str, Any], **more: Any) -> AdaptiveBeamformer:
    options: dict[str, Any] = {"samples": SAMPLES, "lags": LAGS, "reach_m": REACH * scene.spacing}
    return AdaptiveBeamformer(product=product, **scene.lines(), **scene.array(), **(options | told | more))


def wanted(scene: Scene, data: NDArray[np.float32], told: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Every product by the reference, in the amplitude of the kernel."""
    channels, inside = adaptive.delayed_channels(
        joined(data),
        origins_m=scene.origins,
        directions=scene.directions,
        distances_m=scene.distances,
        **scene.array(),
        **told,
    )
    scale = 1 / (told["receive_elements"].size)
    das = channels.sum(axis=0) * scale
    in_phase, quadrature = adaptive.sign_coherence_factor(channels, inside)
    return {
        "delay-and-sum": das,
        "coherence-factor": das * adaptive.coherence_factor(channels, inside),
        "generalised-coherence-factor": das * adaptive.generalised_coherence_factor(channels, inside, 2),
        "sign-coherence-factor": das.real * in_phase + 1j * das.imag * quadrature,
        "delay-multiply-and-sum": adaptive.delay_multiply_and_sum(channels, inside) * scale,
        "short-lag-coherence": adaptive.short_lag_coherence(channels, inside, LAGS, REACH),
    }


# Signs jump: a sample near zero may have the other one, and coherence where there is next to no signal is rounding.
WORST_DB = {"sign-coherence-factor": -22.0, "short-lag-coherence": -25.0}


@pytest.mark.parametrize("name", SCENES)
def test_agrees_with_reference(name: str) -> None:
    scene = SCENES[name]
    data, told = task(scene)
    references = wanted(scene, data, told)
    heard = np.abs(references["delay-and-sum"])
    heard = heard > 1e-2 * heard.max()
    assert set(references) == set(PRODUCTS)
    for product, reference in references.items():
        got = joined(beamformer(scene, product, told, bins=2).run(data))
        assert error_db(got[heard], reference[heard]) < WORST_DB.get(product, -45.0), product


def test_masked_channels_and_weights_follow_the_reference() -> None:
    scene = SCENES["linear"]
    data, told = task(scene)
    rng = np.random.default_rng(3)
    receive = told["receive_elements"].copy()
    receive[0, ::3] = -1
    receive[1] = rng.permutation(receive[1])
    receive[:, 5] = -1
    time = told["transmit_time_s"].copy()
    time[0, :4] = np.nan
    told |= {"receive_elements": receive, "transmit_time_s": time}
    told["transmit_weight"] = rng.uniform(0.5, 1, time.shape)
    references = wanted(scene, data, told)
    for product in ("delay-and-sum", "coherence-factor", "delay-multiply-and-sum"):
        got = joined(beamformer(scene, product, told).run(data))
        assert error_db(got, references[product]) < -45, product


@pytest.mark.parametrize("window", ["hann", "hamming", "tukey"])
def test_plain_sum_is_that_of_delay_and_sum(window: str) -> None:
    scene = SCENES["curvilinear"]
    data, told = task(scene)
    own = joined(beamformer(scene, "delay-and-sum", told, apodization=window).run(data))
    other = DelayAndSum(
        samples=SAMPLES, quality="default", apodization=window, **scene.lines(), **scene.array(), **told
    )
    assert error_db(own, joined(other.run(data))) < -40


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_same_bits_everywhere(product: str) -> None:
    scene = scenes.linear(elements=20, lines=9, count=70)
    data, told = task(scene)
    data[0, 3, 100] = np.nan
    data[1, 4] = np.inf
    operator = beamformer(scene, product, told, apodization="hann")
    assert np.isfinite(assert_same_bits(lambda: operator.run(data))).all()


@pytest.mark.parametrize("product", PRODUCTS)
def test_silence_is_dark(product: str) -> None:
    scene = SCENES["phased"]
    data, told = task(scene)
    assert (beamformer(scene, product, told).run(np.zeros_like(data)) == 0).all()


def test_factors_only_take_away_and_keep_a_lone_point() -> None:
    scene, data, told = point()
    plain = np.abs(joined(beamformer(scene, "delay-and-sum", told).run(data)))
    peak = np.unravel_index(plain.argmax(), plain.shape)
    for product in ("coherence-factor", "generalised-coherence-factor", "sign-coherence-factor"):
        own = np.abs(joined(beamformer(scene, product, told).run(data)))
        assert (own <= plain * (1 + 1e-5)).all(), product
        assert own[peak] > 0.9 * plain[peak], product
    multiplied = np.abs(joined(beamformer(scene, "delay-multiply-and-sum", told).run(data)))
    assert multiplied[peak] == pytest.approx(plain[peak], rel=0.05)


def point(noise: float = 0.0) -> tuple[Scene, NDArray[np.float32], dict[str, Any]]:
    """One point below the middle of 64 elements, lines 0.1 mm apart."""
    elements, normals = flat(scenes.centred(64, 0.3e-3))
    origins = np.zeros((81, 3))
    origins[:, 0] = scenes.centred(81, 0.1e-3)
    scene = Scene(elements, normals, origins, np.tile([0.0, 0.0, 1.0], (81, 1)), 9e-3, 50e-6, 81)
    target = np.array([[0.0, 0.0, 11e-3]])
    rf = echoes(scene, target, plane_times(target, ANGLES), sampling_hz=FS, samples=SAMPLES)
    data = to_baseband(rf, FS, F0)
    if noise:
        rng = np.random.default_rng(4)
        spectrum = np.fft.fft(rng.normal(size=rf.shape) + 1j * rng.normal(size=rf.shape))
        spectrum[..., np.abs(np.fft.fftfreq(SAMPLES, 1 / FS)) > 2e6] = 0
        data = data + scenes.pairs(noise * np.fft.ifft(spectrum))
    return (
        scene,
        data,
        {
            "receive_elements": np.tile(np.arange(64, dtype=np.int32), (2, 1)),
            "transmit_time_s": plane_times(scene.points, ANGLES),
            "sampling_hz": FS,
            "t0_s": np.zeros(2),
            "demodulation_hz": F0,
            "sound_speed_m_s": SPEED,
            "f_number": 1.5,
        },
    )


@pytest.mark.parametrize("product", [name for name in PRODUCTS if name not in ("delay-and-sum", "short-lag-coherence")])
def test_a_wire_becomes_sharper_and_noise_sinks(product: str) -> None:
    scene, data, told = point(noise=0.3)

    def measures(name: str) -> tuple[int, float]:
        picture = np.abs(joined(beamformer(scene, name, told).run(data)))
        profile = picture[:, 35:46].max(axis=1)
        away = np.concatenate([picture[:15], picture[-15:]])
        # Pixels above -12 dB across the wire, and the noise beside it over its peak.
        return int((profile > profile.max() / 4).sum()), float(np.sqrt((away**2).mean()) / profile.max())

    width, clutter = measures("delay-and-sum")
    own_width, own_clutter = measures(product)
    assert own_width <= width
    assert own_clutter < 0.6 * clutter


def test_short_lag_coherence_tells_speckle_from_an_anechoic_region_with_noise() -> None:
    rng = np.random.default_rng(6)
    elements, normals = flat(scenes.centred(48, 0.3e-3))
    origins = np.zeros((40, 3))
    origins[:, 0] = scenes.centred(40, 0.2e-3)
    scene = Scene(elements, normals, origins, np.tile([0.0, 0.0, 1.0], (40, 1)), 8e-3, 75e-6, 65)
    # Speckle to the left of the middle, nothing to the right; white noise half as strong on every channel. One plane
    # wave lights everything at once and leaves little coherence between elements; seven together make a focus.
    angles = list(np.linspace(-0.22, 0.22, 7))
    targets = np.stack([rng.uniform(-6e-3, 0, 250), np.zeros(250), rng.uniform(7e-3, 14e-3, 250)], axis=1)
    rf = echoes(
        scene, targets, plane_times(targets, angles), sampling_hz=FS, samples=450, amplitudes=rng.normal(size=250)
    )
    data = to_baseband(rf, FS, F0)
    data += (0.5 * data.std() * rng.normal(size=data.shape)).astype(np.float32)
    told = {
        "receive_elements": np.tile(np.arange(48, dtype=np.int32), (7, 1)),
        "transmit_time_s": plane_times(scene.points, angles),
        "sampling_hz": FS,
        "t0_s": np.zeros(7),
        "demodulation_hz": F0,
        "sound_speed_m_s": SPEED,
        "f_number": 1.5,
    }
    coherence = beamformer(scene, "short-lag-coherence", told, samples=450).run(data)[..., 0]
    speckle, empty = coherence[5:15].mean(), coherence[-8:].mean()
    assert coherence.max() <= 1 + 1e-5
    # The theorem of van Cittert and Zernike: in speckle neighbours agree, falling as a triangle over the aperture.
    assert speckle > 0.25
    assert empty < 0.5 * speckle


def test_baseband_pairs_agree_with_the_filtered_original() -> None:
    # Fine along depth, so that twice the centre frequency is sampled.
    scene, data, told = point()
    period_m = SPEED / F0 / 2
    fine = Scene(scene.elements, scene.normals, scene.origins[::8], scene.directions[::8], 9e-3, period_m / 16, 400)
    told["transmit_time_s"] = plane_times(fine.points, ANGLES)
    channels, inside = adaptive.delayed_channels(
        joined(data),
        origins_m=fine.origins,
        directions=fine.directions,
        distances_m=fine.distances,
        **fine.array(),
        **told,
    )
    baseband = np.abs(adaptive.delay_multiply_and_sum(channels, inside))
    original = adaptive.filtered_delay_multiply_and_sum(channels.real, 16)
    spectrum = np.fft.fft(original)
    spectrum[:, 1 : spectrum.shape[1] // 2] *= 2
    spectrum[:, spectrum.shape[1] // 2 :] = 0
    envelope = np.abs(np.fft.ifft(spectrum))
    assert np.corrcoef(baseband.ravel(), envelope.ravel())[0, 1] > 0.97


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"product": "magic"}, "product"),
        ({"bins": 9}, "bins"),
        ({"lags": 0}, "lags"),
        ({"samples": 0}, "samples"),
        ({"transmit_time_s": np.zeros((2, 1, 1))}, "transmit_time_s"),
        ({"receive_elements": np.full((2, 4), 99)}, "receive_elements"),
        ({"demodulation_hz": 0.0}, "demodulation_hz"),
    ],
)
def test_bad_argument_is_named(change: dict[str, Any], name: str) -> None:
    scene = SCENES["linear"]
    _, told = task(scene)
    product = change.pop("product", "coherence-factor")
    with pytest.raises(ValueError, match=name):
        beamformer(scene, product, told, **change)


def test_an_element_twice_in_one_transmission_is_refused() -> None:
    with pytest.raises(ValueError, match="transmission 1 has an element in two channels"):
        channels_of_elements(np.array([[0, 1], [1, 1]], np.int32), 2)
