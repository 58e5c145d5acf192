"""Log compression, grey maps and persistence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cext_support.bits import assert_same_bits

from sonod.cext import reference
from sonod.cext.compress import DECIBELS_PER_OCTAVE, GREY_MAPS, LARGEST_ERROR_DB, WHITE, Compressor, grey_table
from sonod.cext.detect import Envelope
from sonod.cext.scanconvert import ScanConverter


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


def test_logarithm_is_as_exact_as_stated() -> None:
    # With persistence the levels before rounding to greys can be read: every exponent, and 65 536 mantissas.
    amplitude = (np.linspace(1, 2, 65536, endpoint=False)[None] * 2.0 ** np.arange(-120, 113, 8)[:, None]).astype(
        np.float32
    )
    dynamic_range = 2000.0
    operator = Compressor(amplitude.shape, reference_amplitude=1e36, dynamic_range_db=dynamic_range, persistence=0.5)
    operator.run(amplitude)
    assert operator._level is not None
    level_db = operator._level.astype(np.float64) / WHITE * dynamic_range - dynamic_range
    wanted = DECIBELS_PER_OCTAVE * np.log2(amplitude.astype(np.float64) / 1e36)
    # Near 255 a level itself is only known to half its last bit.
    rounding_db = dynamic_range * 2.0**-23
    assert np.abs(level_db - wanted).max() <= LARGEST_ERROR_DB + rounding_db


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (37, 301), (129, 19)])
@pytest.mark.parametrize("persistence", [0.0, 0.4])
def test_lines_in_one_pass_make_the_same_greys(shape: tuple[int, int], persistence: float, each_set: str) -> None:
    rng = np.random.default_rng(9)
    options: dict[str, Any] = {"reference_amplitude": 2.0, "persistence": persistence, "grey_map": "s-curve"}
    options["row_gain_db"] = np.linspace(-3, 3, shape[0])
    apart, together, from_envelope = (Compressor(shape, **options) for _ in range(3))
    for _ in range(2):
        iq = (rng.normal(size=(shape[1], shape[0], 2)) * 10 ** rng.uniform(-4, 0.5, (shape[1], shape[0], 1))).astype(
            np.float32
        )
        iq[0, 0] = np.nan
        envelope = Envelope().run(iq)
        wanted = apart.run(np.ascontiguousarray(envelope.T))
        np.testing.assert_array_equal(together.run_lines(iq), wanted)
        np.testing.assert_array_equal(from_envelope.run_lines(envelope), wanted)


@pytest.mark.parametrize("persistence", [0.0, 0.4])
def test_scan_conversion_in_one_pass_makes_the_same_greys(persistence: float, each_set: str) -> None:
    rng = np.random.default_rng(10)
    index = (rng.uniform(-2, 62, (37, 301)), rng.uniform(-2, 102, (37, 301)))
    index[0][5] = np.nan
    index[0][:, :40] = np.nan
    converter = ScanConverter((61, 100), *index)
    apart, together = (Compressor((37, 301), reference_amplitude=1.0, persistence=persistence) for _ in range(2))
    for _ in range(2):
        lines = amplitudes((61, 100)) * rng.uniform(0, 1)
        np.testing.assert_array_equal(together.run_scan(lines, converter), apart.run(converter.run(lines)))


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
    iq = np.random.default_rng(11).normal(size=(517, 33, 2)).astype(np.float32)
    assert_same_bits(lambda: Compressor((33, 517), reference_amplitude=1.7).run_lines(iq))


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


def test_sources_of_another_shape_are_refused() -> None:
    operator = Compressor((3, 4), reference_amplitude=1.0)
    with pytest.raises(ValueError, match="lines"):
        operator.run_lines(np.zeros((3, 4), np.float32))
    with pytest.raises(ValueError, match="converter"):
        operator.run_scan(np.zeros((2, 2), np.float32), ScanConverter((2, 2), [[0.0]], [[0.0]]))
