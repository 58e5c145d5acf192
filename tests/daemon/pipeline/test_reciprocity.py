"""A half matrix is completed from what was measured, and from nothing else."""

import numpy as np
import pytest

from sonod.daemon.pipeline.reciprocity import Reciprocity
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind


def half_matrix(elements: int, lower: bool) -> Sequence:
    events = []
    for transmitter in range(elements):
        delays = np.full(elements, np.nan)
        delays[transmitter] = 0
        channels = np.arange(elements, dtype=np.int32)
        measured = channels < transmitter if lower else channels >= transmitter
        events.append(
            TransmitEvent(
                TransmitKind.SINGLE_ELEMENT, delays, np.zeros(3), np.where(measured, channels, -1).astype(np.int32)
            )
        )
    return Sequence(tuple(events))


@pytest.mark.parametrize("lower", [False, True])
def test_half_matrix_becomes_symmetric(lower: bool) -> None:
    full = np.random.default_rng(1).integers(-100, 100, (5, 5, 7)).astype(np.int16)
    full = (full + full.transpose(1, 0, 2)).astype(np.int16)
    sequence = half_matrix(5, lower)
    half = np.where((sequence.receive_elements >= 0)[..., None], full, 0).astype(np.int16)
    reciprocity = Reciprocity(sequence, half.shape, half.dtype)
    whole = reciprocity.run(half)
    off_diagonal = ~np.eye(5, dtype=bool)
    np.testing.assert_array_equal(whole[off_diagonal], full[off_diagonal])
    assert (reciprocity.sequence.receive_elements[off_diagonal] >= 0).all()
    if lower:
        # Nobody heard an element's own echo, and nothing was invented for it.
        assert (np.diag(reciprocity.sequence.receive_elements) == -1).all()


def test_full_matrix_is_left_alone() -> None:
    sequence = half_matrix(4, lower=False)
    events = tuple(
        TransmitEvent(event.kind, event.delays_s, event.origin_m, np.arange(4, dtype=np.int32))
        for event in sequence.events
    )
    raw = np.ones((4, 4, 3), np.int16)
    reciprocity = Reciprocity(Sequence(events), raw.shape, raw.dtype)
    assert reciprocity.run(raw) is raw


def test_pairs_with_another_time_zero_are_not_mixed() -> None:
    events = list(half_matrix(2, lower=False).events)
    late = events[0]
    events[0] = TransmitEvent(late.kind, late.delays_s, late.origin_m, late.receive_elements, t0_s=1e-6)
    reciprocity = Reciprocity(Sequence(tuple(events)), (2, 2, 3), np.dtype(np.int16))
    assert reciprocity.sequence.receive_elements[1, 0] == -1
