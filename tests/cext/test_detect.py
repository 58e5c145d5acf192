"""Envelope of baseband and of real lines."""

from __future__ import annotations

import numpy as np
import pytest
from cext_support.bits import assert_same_bits

from sonod.cext import reference
from sonod.cext.detect import Envelope, HilbertEnvelope


def burst(samples: int = 600, frequency: float = 0.15) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    n = np.arange(samples)
    return np.exp(-0.5 * ((n - samples / 2) / (samples / 12)) ** 2) * np.cos(2 * np.pi * frequency * n + 0.7)


@pytest.mark.parametrize("shape", [(1, 2), (3, 5, 2), (7, 33, 2), (2,)])
def test_envelope_agrees_with_reference(shape: tuple[int, ...], each_set: str) -> None:
    iq = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(Envelope().run(iq), reference.envelope(iq), rtol=1e-6)


@pytest.mark.parametrize("samples", [599, 600])
@pytest.mark.parametrize("frequency", [0.06, 0.15, 0.3, 0.42])
def test_hilbert_envelope_agrees_with_reference(samples: int, frequency: float, each_set: str) -> None:
    line = 100 * burst(samples, frequency)
    got = HilbertEnvelope((1, samples), np.float32, sampling_hz=1.0).run(line.astype(np.float32)[None])
    wanted = reference.hilbert_envelope(line)
    assert np.abs(got[0] - wanted).max() < 0.003 * wanted.max()


def test_offset_and_slow_baseline_are_removed() -> None:
    n = np.arange(800)
    baseline = 500 * np.exp(-n / 300) + 1000
    line = 100 * burst(800) + baseline
    got = HilbertEnvelope((1, 800), np.float32, sampling_hz=1.0).run(line.astype(np.float32)[None])[0]
    wanted = reference.hilbert_envelope(100 * burst(800))
    inner = slice(150, 650)
    assert np.abs(got - wanted)[inner].max() < 0.03 * wanted.max()


def test_band_selects_one_of_two_tones() -> None:
    n = np.arange(1000)
    low, high = np.cos(2 * np.pi * 0.1 * n), 5 * np.cos(2 * np.pi * 0.35 * n)
    operator = HilbertEnvelope((1, 1000), np.float32, sampling_hz=1.0, band_hz=(0.06, 0.14))
    got = operator.run((low + high).astype(np.float32)[None])[0]
    assert np.abs(got[200:800] - 1).max() < 0.02


@pytest.mark.parametrize("samples", [1, 2, 5, 17])
def test_awkward_lengths_and_not_finite_samples(samples: int, each_set: str) -> None:
    line = np.ones((3, samples), np.float32)
    line[0, 0] = np.nan
    line[1, -1] = -np.inf
    out = HilbertEnvelope((3, samples), np.float32, sampling_hz=1.0).run(line)
    assert out.shape == (3, samples)
    assert np.isfinite(out).all()


def test_time_gain_scales_the_envelope() -> None:
    line = (1000 * burst()).astype(np.int16)[None]
    gain = np.linspace(1, 4, 600)
    plain = HilbertEnvelope((1, 600), np.int16, sampling_hz=1.0).run(line)
    gained = HilbertEnvelope((1, 600), np.int16, sampling_hz=1.0, time_gain=gain, sample_scale=0.5).run(line)
    np.testing.assert_allclose(gained, 0.5 * gain * plain, rtol=1e-5)


def test_envelopes_are_the_same_everywhere() -> None:
    rng = np.random.default_rng(4)
    iq = rng.normal(size=(77, 531, 2)).astype(np.float32)
    assert_same_bits(lambda: Envelope().run(iq))
    lines = rng.integers(-500, 500, (9, 333)).astype(np.int16)
    operator = HilbertEnvelope(lines.shape, np.int16, sampling_hz=20e6, band_hz=(2e6, 8e6))
    assert_same_bits(lambda: operator.run(lines))


def test_bad_argument_is_named() -> None:
    with pytest.raises(ValueError, match="band_hz"):
        HilbertEnvelope((1, 10), np.int16, sampling_hz=1.0, band_hz=(0.3, 0.7))
    with pytest.raises(ValueError, match="iq"):
        Envelope().run(np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match="time_gain"):
        HilbertEnvelope((1, 10), np.int16, sampling_hz=1.0, time_gain=np.ones(4))
