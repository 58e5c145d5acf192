"""How long each leg of a frame's way takes: the sums of the latency ledger."""

from __future__ import annotations

import threading

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
    """One thread adds, any may read."""

    def __init__(self) -> None:
        self._durations = np.zeros((len(LEGS), WINDOW_FRAMES), np.int64)
        self._counts = [0] * len(LEGS)
        self._lock = threading.Lock()

    def add(self, times: Times, published_ns: int) -> None:
        """Take a product's ledger; legs with an end that is not known are left out."""
        with self._lock:
            for leg, (begin, end) in enumerate(LEGS.values()):
                begun_ns = getattr(times, begin)
                ended_ns = published_ns if end == "published_ns" else getattr(times, end)
                if begun_ns is not None:
                    self._durations[leg, self._counts[leg] % WINDOW_FRAMES] = ended_ns - begun_ns
                    self._counts[leg] += 1

    def block(self) -> dict[str, dict[str, int]]:
        """As `status` shows it: over the last products, and their count since the session began."""
        with self._lock:
            durations, counts = self._durations.copy(), list(self._counts)
        legs = {}
        for leg, name in enumerate(LEGS):
            if counts[leg]:
                known = durations[leg, : min(counts[leg], WINDOW_FRAMES)]
                p50, p99 = np.percentile(known, (50, 99))
                legs[name] = {
                    "p50_ns": round(p50),
                    "p99_ns": round(p99),
                    "max_ns": int(known.max()),
                    "count": counts[leg],
                }
        return legs
