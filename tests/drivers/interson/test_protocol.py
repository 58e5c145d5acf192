"""Registers and vectors of the Interson probe, against its fact sheet and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sonod.drivers.interson import protocol
from sonod.drivers.interson.protocol import FRAME_BYTES, VECTOR_BYTES, VECTORS, find_frame, frame_number


def frames(*numbers: int, seed: int = 1) -> NDArray[np.uint8]:
    """Frames of noise with these numbers, one after the other (bytes,)."""
    made = np.random.default_rng(seed).integers(0, 256, (len(numbers), VECTORS, VECTOR_BYTES), np.uint8)
    made[:, :, 0] = np.array(numbers)[:, None]
    return made.reshape(-1)


@pytest.mark.parametrize(
    ("index", "megahertz"), [(0, 20), (1, 15), (11, 4.29), (14, 3.53), (15, 3.33), (19, 2.73), (28, 1.94)]
)
def test_frequencies_are_the_published_ones(index: int, megahertz: float) -> None:
    assert protocol.frequency_hz(index) / 1e6 == pytest.approx(megahertz, abs=0.006)
    assert protocol.frequency_index(megahertz * 1e6) == index


def test_rates_are_those_of_the_motor() -> None:
    assert [protocol.nearest_rate_hz(rate) for rate in (10, 11, 12, 13.9, 15)] == [10, 10, 12.5, 15, 15]


def test_initialising_writes_the_published_values() -> None:
    writes = protocol.initialise_writes(14, 100, 15.0)
    assert [value for address, value in writes if 0x0801 <= address <= 0x0807] == list(bytes.fromhex("7a0d000080a432"))
    assert dict(writes) | {} == dict(writes)
    assert (0x0100, 14) in writes
    assert (0x0201, 100) in writes
    # Nobody knows what the time-gain registers mean.
    assert not [address for address, _ in writes if 0x0500 <= address < 0x0600 or 0x0700 <= address < 0x0800]


def test_a_frame_whose_vectors_agree_has_a_number() -> None:
    frame = frames(9).reshape(VECTORS, VECTOR_BYTES)
    assert frame_number(frame) == 9
    frame[100, 0] = 10
    assert frame_number(frame) == -1
    frame[:, 0] = 16
    assert frame_number(frame) == -1


@pytest.mark.parametrize("cut", [1, 700, 1024, 100_000, FRAME_BYTES - 1])
def test_the_next_frame_is_found_wherever_reading_began(cut: int) -> None:
    stream = frames(14, 15, 0)[cut:]
    assert find_frame(stream[: 2 * FRAME_BYTES]) == FRAME_BYTES - cut or cut > FRAME_BYTES - VECTOR_BYTES


def test_dark_vectors_are_not_mistaken_for_numbers() -> None:
    stream = frames(3, 4).reshape(2, VECTORS, VECTOR_BYTES)
    stream[:, :, 500:] = 0
    assert find_frame(stream.reshape(-1)[300:]) == FRAME_BYTES - 300


def test_noise_holds_no_frame() -> None:
    noise = np.random.default_rng(5).integers(0, 256, 2 * FRAME_BYTES, np.uint8)
    assert find_frame(noise) == -1
    assert find_frame(noise[:FRAME_BYTES]) == -1
