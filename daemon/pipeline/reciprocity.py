"""A half matrix made whole: what element r hears of element t is what t hears of r."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.sequence import Sequence, TransmitKind


class Reciprocity:
    """Fills the unmeasured pairs of single-element transmissions from the measured ones, where there are any.

    `sequence` is the completed one; `run` returns the frame as given when there is nothing to fill.
    """

    def __init__(self, sequence: Sequence, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.sequence = sequence
        self._into: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
        self._buffer: NDArray[Any] | None = None
        if any(event.kind is not TransmitKind.SINGLE_ELEMENT for event in sequence.events):
            return
        receive = sequence.receive_elements
        firing = np.isfinite(sequence.delays_s)
        if (receive >= 0).all() or (firing.sum(axis=1) != 1).any():
            return
        transmitter = firing.argmax(axis=1)
        t0_s = sequence.t0_s
        # The element of a channel is the one that it holds where it was measured.
        channel_element = receive.max(axis=0)
        channels = np.arange(len(channel_element))
        known = channel_element >= 0
        if len(channels) == sequence.element_count and (channel_element[known] == channels[known]).all():
            # One channel to each element: then a channel that was never measured is its own element's too.
            channel_element = channels
        measured = {(int(transmitter[t]), int(receive[t, c])): (t, c) for t, c in np.argwhere(receive >= 0).tolist()}
        filled = receive.copy()
        pairs = []
        for t, c in np.argwhere(receive < 0).tolist():
            mirror = measured.get((int(channel_element[c]), int(transmitter[t])))
            if mirror is not None and t0_s[mirror[0]] == t0_s[t]:
                filled[t, c] = channel_element[c]
                pairs.append(((t, c), mirror))
        if not pairs:
            return
        into, source = np.array(pairs).transpose(1, 2, 0)
        self._into = (into[0], into[1])
        self._source = (source[0], source[1])
        self._buffer = np.zeros(shape, dtype)
        events = zip(sequence.events, filled, strict=True)
        self.sequence = Sequence(tuple(replace(event, receive_elements=row) for event, row in events))

    def run(self, raw: NDArray[Any]) -> NDArray[Any]:
        """The completed frame; a buffer of this object's when anything was filled."""
        if self._into is None or self._buffer is None:
            return raw
        np.copyto(self._buffer, raw)
        self._buffer[self._into] = raw[self._source]
        return self._buffer
