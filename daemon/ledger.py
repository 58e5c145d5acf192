"""How long each leg of a frame's way takes: the sums of the latency ledger."""

from __future__ import annotations

from collections import deque

import numpy as np

from sonod.client.wire.times import Times

# Frames over which percentiles are taken: half a minute at 30 a second.
WINDOW_FRAMES = 1024
# Leg -> (from, to).
LEGS = {
    "transmit_to_first_byte": ("transmit_ns", "first_byte_ns"),
    "first_to_last_byte": ("first_byte_ns", "last_byte_ns"),
    "last_byte_to_dequeued": ("last_byte_ns", "dequeued_ns"),
    "dequeued_to_processed": ("dequeued_ns", "processed_ns"),
    "processed_to_published": ("processed_ns", "published_ns"),
    "transmit_to_published": ("transmit_ns", "published_ns"),
}


class Ledger:
    """One thread adds, any may read. Adding is for the frame path and does next to nothing."""

    def __init__(self) -> None:
        self.count = 0
        self._frames: deque[tuple[Times, int]] = deque(maxlen=WINDOW_FRAMES)

    def add(self, times: Times, published_ns: int) -> None:
        """Take a product's ledger."""
        self._frames.append((times, published_ns))
        self.count += 1

    def block(self) -> dict[str, dict[str, int]]:
        """As `status` shows it, over the last products; a leg with an end that is not known is left out."""
        frames = self._frames.copy()
        legs = {}
        for name, (begin, end) in LEGS.items():
            durations = [
                (published_ns if end == "published_ns" else getattr(times, end)) - getattr(times, begin)
                for times, published_ns in frames
                if getattr(times, begin) is not None
            ]
            if durations:
                p50, p99 = np.percentile(durations, (50, 99))
                legs[name] = {
                    "p50_ns": round(p50),
                    "p99_ns": round(p99),
                    "max_ns": max(durations),
                    "count": len(durations),
                }
        return legs
