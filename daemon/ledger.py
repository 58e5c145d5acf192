"""How long frames took, step by step: percentiles over the newest frames that were published."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from sonod.client.wire.times import Times

# Newest frames that count: some seconds at any frame rate, and exact up to the 99th percentile.
WINDOW_FRAMES = 512
QUANTILES = (0.5, 0.9, 0.99, 1.0)
# span -> (from, to), both fields of the frame's ledger; as docs/service.md explains them.
SPANS: Mapping[str, tuple[str, str]] = {
    "transfer": ("first_byte_ns", "last_byte_ns"),
    "wait": ("last_byte_ns", "dequeued_ns"),
    "processing": ("dequeued_ns", "processed_ns"),
    "publishing": ("processed_ns", "published_ns"),
    "total": ("first_byte_ns", "published_ns"),
}


class LedgerBook:
    """One thread adds, any may read; adding allocates nothing that stays."""

    def __init__(self) -> None:
        self._spans = {name: array("q", bytes(8 * WINDOW_FRAMES)) for name in SPANS}
        self.published = 0

    def add(self, times: Times) -> None:
        """The ledger of one published frame."""
        place = self.published % WINDOW_FRAMES
        for name, (first, last) in SPANS.items():
            self._spans[name][place] = getattr(times, last) - getattr(times, first)
        self.published += 1

    def quantiles_s(self) -> dict[str, dict[float, float]]:
        """span -> quantile -> seconds; empty before the first frame."""
        count = min(self.published, WINDOW_FRAMES)
        if not count:
            return {}
        return {name: _quantiles(sorted(durations[:count])) for name, durations in self._spans.items()}


def _quantiles(ordered_ns: list[int]) -> dict[float, float]:
    """The smallest duration that at least this part of the frames did not exceed."""
    count = len(ordered_ns)
    return {quantile: ordered_ns[max(0, -int(-quantile * count // 1) - 1)] / 1e9 for quantile in QUANTILES}
