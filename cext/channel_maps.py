"""Which channels hear which element, for transmissions that often have the same channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Channels are added up to so many at a time: the kernels read that many places at once.
PARTY = 16


@dataclass(frozen=True, eq=False)
class ChannelMaps:
    """Channels by element, and by element from the other end of the array.

    `of (transmits,)`: the map of each transmission; `first (maps, 2, elements + 1)`: place of an element's first
    channel; `traces (maps, 2, channels + 16)`: where the fine samples of these channels begin; `whole (maps, 2)`:
    1 where every element has exactly one.
    """

    of: NDArray[np.int32]
    first: NDArray[np.int32]
    traces: NDArray[np.int32]
    whole: NDArray[np.uint8]


def channel_maps(receive: NDArray[np.int32], elements: int, trace_ints: int) -> ChannelMaps:
    """Maps of `receive (transmits, channels)`, the element of each or -1; a trace takes `trace_ints` numbers."""
    rows, inverse = np.unique(receive, axis=0, return_inverse=True)
    traces = np.zeros((len(rows), 2, rows.shape[1] + PARTY), np.int32)
    first = np.zeros((len(rows), 2, elements + 1), np.int32)
    for number, row in enumerate(rows):
        for mirrored, own in enumerate((row, np.where(row < 0, -1, elements - 1 - row))):
            order = np.argsort(own, kind="stable")[int((own < 0).sum()) :]
            traces[number, mirrored, : len(order)] = order * trace_ints
            first[number, mirrored] = np.searchsorted(own[order], np.arange(elements + 1))
    whole = (np.diff(first, axis=2) == 1).all(axis=2)
    return ChannelMaps(
        np.ascontiguousarray(inverse.reshape(-1), dtype=np.int32),
        first,
        traces,
        np.ascontiguousarray(whole, dtype=np.uint8),
    )
