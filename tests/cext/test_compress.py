"""Log compression, grey maps and persistence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cext_support.bits import assert_same_bits

from sonod.cext import reference
from sonod.cext.compress import GREY_MAPS, Compressor, grey_table


def amplitudes(shape: tuple[int, int] = (37, 301)) -> np.ndarray[Any, np.dtype[np.float32]]:
    rng = np.random.default_rng(5)
    return (10 ** rng.uniform(-5, 2, shape)).astype(np.float32)


def test_levels_agree_with_reference(each_set: str) -> None:
    envelope = amplitudes()
    row_gain = np.linspace(-6, 6, 37)
    kwargs: dict[str, Any] = {
        "reference_amplitude": 3.0,
        "gain_db": 4.0,
        "dynamic_range_db": 55.0,
        "row_gain_db": row_gain,
    }
    got = Compressor(envelope.shape, **kwargs).run(envelope)
    wanted = 255 * reference.compress(envelope, **kwargs)
    # Off by more than rounding only where the level itself lies on a half.
    assert np.abs(got - wanted).max() <= 0.501


def test_reference_is_white_and_dynamic_range_below_is_black() -> None:
    envelope = np.array([[2.0, 2.0 * 10 ** (-60 / 20), 2.0 * 10 ** (-30 / 20), 1e9]], np.float32)
    got = Compressor((1, 4), reference_amplitude=2.0, dynamic_range_db=60.0).run(envelope)
    assert got.tolist() == [[255, 0, 128, 255]] or got.tolist() == [[255, 0, 127, 255]]


def test_values_without_a_logarithm(each_set: str) -> None:
    envelope = np.array([[np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-45, 3e38]], np.float32)
    got = Compressor(envelope.shape, reference_amplitude=1.0).run(envelope)
    assert got.tolist() == [[0, 255, 0, 0, 0, 0, 255]]


@pytest.mark.parametrize("name", GREY_MAPS)
def test_grey_map_follows_its_curve(name: str) -> None:
    level = np.arange(256) / 255
    np.testing.assert_array_equal(grey_table(name), np.rint(255 * reference.grey_map(name, level)))
    envelope = amplitudes((4, 64))
    linear = Compressor(envelope.shape, reference_amplitude=1.0).run(envelope)
    mapped = Compressor(envelope.shape, reference_amplitude=1.0, grey_map=name).run(envelope)
    np.testing.assert_array_equal(mapped, grey_table(name)[linear])


def test_persistence_mixes_levels_and_reset_forgets() -> None:
    white, black = np.full((2, 3), 1.0, np.float32), np.zeros((2, 3), np.float32)
    operator = Compressor((2, 3), reference_amplitude=1.0, persistence=0.5)
    assert operator.run(white)[0, 0] == 255
    assert operator.run(black)[0, 0] == 128
    assert operator.run(black)[0, 0] == 64
    operator.reset()
    assert operator.run(black)[0, 0] == 0


def test_a_nan_does_not_stay_in_the_persistence() -> None:
    operator = Compressor((1, 1), reference_amplitude=1.0, persistence=0.5)
    operator.run(np.full((1, 1), np.nan, np.float32))
    assert operator.run(np.ones((1, 1), np.float32))[0, 0] == 128


def test_compression_is_the_same_everywhere() -> None:
    envelope = amplitudes((33, 517))

    def run() -> Any:
        operator = Compressor(envelope.shape, reference_amplitude=1.7, persistence=0.3, grey_map="gamma")
        operator.run(envelope)
        return operator.run(envelope[::-1].copy())

    assert_same_bits(run)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"reference_amplitude": 0.0}, "reference_amplitude"),
        ({"dynamic_range_db": -1.0}, "dynamic_range_db"),
        ({"gain_db": float("inf")}, "gain_db"),
        ({"persistence": 1.0}, "persistence"),
        ({"grey_map": "sepia"}, "grey_map"),
        ({"row_gain_db": np.zeros(7)}, "row_gain_db"),
    ],
)
def test_bad_argument_is_named(change: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Compressor((3, 4), **({"reference_amplitude": 1.0} | change))
