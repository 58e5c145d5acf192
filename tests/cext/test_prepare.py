"""Demodulation, band-pass and scaling of raw samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cext_support.bits import assert_same_bits
from cext_support.scenes import error_db, joined

from sonod.cext import reference
from sonod.cext.prepare import Demodulator, IqPreparer, RfPreparer

DTYPES = ["int16", "uint16", "uint8", "int32", "float32"]


def raw_samples(shape: tuple[int, ...], dtype: str, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    low, high = {"int16": (-900, 900), "int32": (-(10**6), 10**6)}.get(dtype, (0, 255))
    return rng.integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output_hz", [None, 20e6, 9.1e6, 33e6])
def test_demodulator_agrees_with_reference(dtype: str, output_hz: float | None, each_set: str) -> None:
    shape, t0 = (2, 3, 401), np.array([1e-6, -3.3e-6])
    raw = raw_samples(shape, dtype)
    gain = np.linspace(0.5, 2, shape[-1])
    common: dict[str, Any] = {
        "sampling_hz": 20e6,
        "demodulation_hz": 5e6,
        "t0_s": t0,
        "sample_scale": 1 / 128,
        "time_gain": gain,
    }
    operator = Demodulator(shape, dtype, half_bandwidth_hz=2e6, output_hz=output_hz, **common)
    got = joined(operator.run(raw))
    wanted = reference.demodulate(
        raw,
        taps=operator._filter.taps,
        cutoff_hz=(2e6 + operator.stop_hz) / 2,
        attenuation_db=60,
        step=20e6 / operator.output_hz,
        **common,
    )
    assert got.shape == operator.output_shape[:3]
    assert error_db(got, wanted) < -55


@pytest.mark.parametrize("sampling_hz", [6.667e6, 15e6, 20e6, 60e6])
@pytest.mark.parametrize("t0", [0.0, 3.21e-6])
def test_cosine_of_amplitude_a_has_magnitude_a_and_its_phase(sampling_hz: float, t0: float) -> None:
    time = t0 + np.arange(600) / sampling_hz
    rf = (3 * np.cos(2 * np.pi * 5e6 * time + 0.4)).astype(np.float32)[None, None]
    operator = Demodulator(
        rf.shape, np.float32, sampling_hz=sampling_hz, demodulation_hz=5e6, half_bandwidth_hz=1.2e6, t0_s=[t0]
    )
    middle = joined(operator.run(rf))[0, 0]
    middle = middle[len(middle) // 3 : -(len(middle) // 3)]
    assert np.abs(middle - 3 * np.exp(0.4j)).max() < 0.01


def test_delay_is_compensated_at_every_output_rate() -> None:
    time = np.arange(800) / 40e6
    centre = 9.7e-6
    rf = np.exp(-0.5 * ((time - centre) / 0.4e-6) ** 2) * np.cos(2 * np.pi * 5e6 * (time - centre))
    for output_hz in (40e6, 13e6, 57e6):
        operator = Demodulator(
            (1, 1, 800),
            np.float32,
            sampling_hz=40e6,
            demodulation_hz=5e6,
            half_bandwidth_hz=2e6,
            t0_s=[0],
            output_hz=output_hz,
        )
        envelope = np.abs(joined(operator.run(rf.astype(np.float32)[None, None])))[0, 0]
        place = np.arange(len(envelope)) / operator.output_hz
        assert np.sum(envelope * place) / envelope.sum() == pytest.approx(centre, abs=2e-9)


def test_offset_is_removed_and_nan_and_infinity_do_not_spread(each_set: str) -> None:
    raw = np.full((1, 2, 300), 7.5, np.float32)
    raw[0, 0, 100] = np.nan
    raw[0, 0, 200] = np.inf
    operator = Demodulator(
        raw.shape, np.float32, sampling_hz=20e6, demodulation_hz=5e6, half_bandwidth_hz=2e6, t0_s=[0]
    )
    out = operator.run(raw)
    assert np.isfinite(out).all()
    assert np.abs(out[0, 1]).max() < 1e-4
    repaired = np.where(np.isfinite(raw), raw, 0)
    np.testing.assert_array_equal(operator.run(raw).copy(), operator.run(repaired))


@pytest.mark.parametrize("samples", [1, 2, 7, 8, 9, 65])
def test_awkward_lengths(samples: int, each_set: str) -> None:
    raw = raw_samples((1, 2, samples), "int16")
    operator = Demodulator(
        raw.shape, np.int16, sampling_hz=20e6, demodulation_hz=5e6, half_bandwidth_hz=2e6, t0_s=[0], output_hz=7e6
    )
    out = operator.run(raw)
    assert out.shape == operator.output_shape
    assert np.isfinite(out).all()


def test_demodulator_is_the_same_everywhere() -> None:
    raw = raw_samples((2, 5, 333), "int16")
    operator = Demodulator(
        raw.shape,
        np.int16,
        sampling_hz=20e6,
        demodulation_hz=5e6,
        half_bandwidth_hz=2e6,
        t0_s=[0, 1e-6],
        output_hz=17e6,
    )
    assert_same_bits(lambda: operator.run(raw))


def test_per_transmit_gain_reaches_its_transmit() -> None:
    raw = raw_samples((2, 1, 100), "int16")
    gain = np.ones((2, 100))
    gain[1] = 0
    operator = Demodulator(
        raw.shape, np.int16, sampling_hz=20e6, demodulation_hz=5e6, half_bandwidth_hz=2e6, t0_s=[0, 0], time_gain=gain
    )
    out = operator.run(raw)
    assert np.abs(out[0]).max() > 1
    assert np.abs(out[1]).max() == 0


def test_band_pass_keeps_its_band_and_stops_the_rest(each_set: str) -> None:
    time = np.arange(1000) / 40e6
    inside, outside = np.cos(2 * np.pi * 5e6 * time), np.cos(2 * np.pi * 10e6 * time) + 3
    operator = RfPreparer((1, 1, 1000), np.float32, sampling_hz=40e6, center_hz=5e6, half_bandwidth_hz=2e6, t0_s=[0])
    middle = slice(200, 800)
    out = operator.run((inside + outside).astype(np.float32)[None, None])[0, 0]
    assert np.abs(out - inside)[middle].max() < 5e-3


def test_baseband_is_scaled_and_gained(each_set: str) -> None:
    raw = raw_samples((2, 3, 50, 2), "int16")
    gain = np.linspace(1, 3, 50)
    operator = IqPreparer(
        raw.shape, np.int16, sampling_hz=5e6, demodulation_hz=5e6, t0_s=[0, 0], sample_scale=0.5, time_gain=gain
    )
    np.testing.assert_allclose(operator.run(raw), 0.5 * raw * gain[:, None], rtol=1e-6)
    centred = IqPreparer(raw.shape, np.int16, sampling_hz=5e6, demodulation_hz=5e6, t0_s=[0, 0], remove_offset=True)
    np.testing.assert_allclose(centred.run(raw), raw - raw.mean(axis=2, keepdims=True), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"sampling_hz": 0.0}, "sampling_hz"),
        ({"demodulation_hz": -1.0}, "demodulation_hz"),
        ({"half_bandwidth_hz": 9e6}, "half_bandwidth_hz"),
        ({"output_hz": 1e6}, "output_hz"),
        ({"t0_s": [0.0, 1.0]}, "t0_s"),
        ({"time_gain": np.ones(3)}, "time_gain"),
        ({"sample_scale": float("nan")}, "sample_scale"),
        ({"dtype": np.float64}, "dtype"),
        ({"shape": (1, 0, 5)}, "shape"),
    ],
)
def test_bad_argument_is_named(change: dict[str, Any], name: str) -> None:
    arguments: dict[str, Any] = {
        "shape": (1, 2, 100),
        "dtype": np.int16,
        "sampling_hz": 20e6,
        "demodulation_hz": 5e6,
        "half_bandwidth_hz": 2e6,
        "t0_s": [0.0],
    } | change
    with pytest.raises(ValueError, match=name):
        Demodulator(arguments.pop("shape"), arguments.pop("dtype"), **arguments)


def test_wrong_input_is_refused() -> None:
    operator = Demodulator(
        (1, 2, 100), np.int16, sampling_hz=20e6, demodulation_hz=5e6, half_bandwidth_hz=2e6, t0_s=[0]
    )
    with pytest.raises(ValueError, match="raw"):
        operator.run(np.zeros((1, 2, 99), np.int16))
    with pytest.raises(ValueError, match="raw"):
        operator.run(np.zeros((1, 2, 100), np.float32))
    with pytest.raises(ValueError, match="out"):
        operator.run(np.zeros((1, 2, 100), np.int16), np.zeros(3, np.float32))


@pytest.mark.parametrize("output_hz", [20e6, 10e6, 20e6 / 3, 8e6])
def test_whole_numbers_are_as_good_as_floats(output_hz: float, each_set: str) -> None:
    """Quiet and loud traces, gain, and the largest samples there are in the order that the filter adds up most."""
    raw = raw_samples((2, 3, 700), "int16")
    raw[0, 0] //= 100
    raw[0, 1] = np.where(np.cos(2 * np.pi * np.arange(700) / 4 + 0.3) > 0, 32767, -32768)
    common: dict[str, Any] = {
        "sampling_hz": 20e6,
        "demodulation_hz": 5e6,
        "half_bandwidth_hz": 2e6,
        "t0_s": [0.0, 1e-6],
        "output_hz": output_hz,
        "time_gain": np.geomspace(0.1, 10, 700),
    }
    whole = joined(Demodulator(raw.shape, np.int16, **common).run(raw))
    floats = joined(Demodulator(raw.shape, np.float32, **common).run(raw.astype(np.float32)))
    for got, wanted in zip(whole.reshape(6, -1), floats.reshape(6, -1), strict=True):
        assert error_db(got, wanted) < -65
