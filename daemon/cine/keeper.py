"""Fills the rings: raw frames on the reader's thread, pictures on the runner's."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import structlog

from sonod.client.wire.geometry import ImageGeometry
from sonod.daemon.cine.facts import PictureFacts, RawFacts
from sonod.daemon.cine.ring import ALIGNMENT, CineRing
from sonod.daemon.pipeline.base import Plan
from sonod.daemon.pipeline.product import Product
from sonod.daemon.ring import Place
from sonod.drivers.digests import PictureRow, digest_of
from sonod.drivers.frame import Acquisition, Configuration, Slot

# Of the memory, what frames of so long take is in reserve: the oldest frames of a clip are still there when its process
# has started, and a disk may pause for so long while a recording is made.
RESERVE_S = 2.0
MIB = 1 << 20
# After so many raw frames the first picture is made: until then, the processor is not for memory that is used later.
FIRST_FRAMES = 2


@dataclass(frozen=True)
class CineLimits:
    """How much is kept: seconds of raw frames and of pictures (0 = none), each within so many bytes; a recording may
    always have `queue_frames` raw frames waiting, within these bytes."""

    raw_s: float = 10.0
    raw_bytes: int = 768 * MIB
    pictures_s: float = 30.0
    pictures_bytes: int = 256 * MIB
    queue_frames: int = 32


class CineKeeper:
    """Keeps the newest frames, without ever waiting. `raw` and `pictures` are read by those who write files.

    From `launch` on a thread makes their memory resident as soon as frames flow and it is known how much they need: the
    daemon's size is known from the start, and not only when they are full.
    """

    def __init__(self, limits: CineLimits) -> None:
        self._limits = limits
        self.raw: CineRing[RawFacts] = CineRing("raw", limits.raw_bytes)
        self.pictures: CineRing[PictureFacts] = CineRing("pictures", limits.pictures_bytes)
        self._recordings = 0
        self._lock = threading.Lock()
        self._raw_holds_s = self._pictures_hold_s = 0.0
        self._picture_bytes = 0
        self._said: dict[str, str] = {}
        self._log = structlog.get_logger()
        self._closing = threading.Event()
        self._fitted = threading.Event()
        self._flows = False
        self._thread = threading.Thread(target=self._populate, name="sonod-cine", daemon=True)

    def launch(self) -> None:
        """Start the thread. Not on one of the frame path, whose real-time rights and processors it would inherit."""
        self._thread.start()

    @property
    def keeps_raw(self) -> bool:
        """Whether raw frames are put into their ring."""
        return self._limits.raw_s > 0 or self._recordings > 0

    @property
    def makes_pictures(self) -> bool:
        """Whether a picture is wanted of every frame."""
        return self._limits.pictures_s > 0 or self._recordings > 0

    @property
    def keeps_pictures(self) -> bool:
        """Whether the pixels of pictures are kept."""
        return self._limits.pictures_s > 0

    def hold(self) -> None:
        """A recording needs frames."""
        with self._lock:
            self._recordings += 1

    def release(self) -> None:
        """It needs them no more."""
        with self._lock:
            self._recordings -= 1

    def fit(self, acquisition: Acquisition, frame_rate_hz: float) -> None:
        """Use as much memory as the raw frames to come need, and say how many seconds it holds."""
        limits, nbytes = self._limits, _aligned(acquisition.nbytes)
        needed = (int((limits.raw_s + RESERVE_S) * frame_rate_hz) + 2) * nbytes if limits.raw_s > 0 else 0
        self.raw.limit_bytes = min(limits.raw_bytes, max(needed, (limits.queue_frames + 1) * nbytes))
        self._raw_holds_s = _holds_s(self.raw.limit_bytes, nbytes, frame_rate_hz, limits.raw_s)
        if self._flows:
            self._fitted.set()
        if limits.raw_s > 0:
            self._say("raw", "RF", self._raw_holds_s, limits.raw_s, limits.raw_bytes, "cine.rf_memory_mib")

    def tap(self, slot: Slot) -> None:
        """Keep a raw frame; on the reader's thread."""
        if self.keeps_raw:
            self.raw.put(slot.data, RawFacts.of(slot))
            if not self._flows and self.raw.next_serial > FIRST_FRAMES:
                self._flows = True
                self._fitted.set()

    def picture(self, place: Place, plan: Plan, product: Product, failed: int) -> None:
        """Keep a picture just made, with the digests of what it was made of; on the runner's thread."""
        slot, configuration = place.slot, plan.configuration
        assert isinstance(product.geometry, ImageGeometry)
        row = PictureRow(
            slot.number,
            configuration.settings.revision,
            plan.pictures - 1,
            plan.level.amplitude,
            {name: digest_of(output) for name, output in plan.stage_outputs.items()},
        )
        facts = PictureFacts(
            configuration, slot.number, slot.last_byte_ns, product.geometry, row, place.ring_lost, failed
        )
        if product.data.nbytes != self._picture_bytes:
            self._picture_bytes = product.data.nbytes
            self._fit_pictures(configuration)
        self.pictures.put(product.data if self.keeps_pictures else product.data[:0], facts)

    def block(self) -> dict[str, Any]:
        """As `status` shows it."""
        return {
            "rf_s": round(self._raw_holds_s, 3),
            "rf_bytes": self.raw.limit_bytes if self._limits.raw_s > 0 else 0,
            "rf_frames": self.raw.count,
            "image_s": round(self._pictures_hold_s, 3),
            "image_bytes": self.pictures.limit_bytes if self._limits.pictures_s > 0 else 0,
            "image_frames": self.pictures.count,
        }

    def close(self) -> None:
        """Let go of the memory; the threads that fill it have ended."""
        self._closing.set()
        self._fitted.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.raw.close()
        self.pictures.close()

    def _populate(self) -> None:
        while not self._closing.is_set():
            self._fitted.wait()
            self._fitted.clear()
            rings: tuple[tuple[CineRing[Any], bool], ...] = (
                (self.raw, self._limits.raw_s > 0),
                # Before the first picture it is not known how much of it is needed.
                (self.pictures, self.keeps_pictures and self._picture_bytes > 0),
            )
            for ring, used in rings:
                while used and ring.populate():
                    if self._closing.is_set():
                        return

    def _fit_pictures(self, configuration: Configuration) -> None:
        limits, nbytes = self._limits, _aligned(self._picture_bytes)
        rate_hz = configuration.settings.frame_rate_hz
        if limits.pictures_s <= 0:
            return
        needed = (int((limits.pictures_s + RESERVE_S) * rate_hz) + 2) * nbytes
        self.pictures.limit_bytes = min(limits.pictures_bytes, max(needed, 2 * nbytes))
        self._pictures_hold_s = _holds_s(self.pictures.limit_bytes, nbytes, rate_hz, limits.pictures_s)
        self._fitted.set()
        self._say(
            "pictures",
            "image",
            self._pictures_hold_s,
            limits.pictures_s,
            limits.pictures_bytes,
            "cine.image_memory_mib",
        )

    def _say(self, ring: str, name: str, holds_s: float, wanted_s: float, memory_bytes: int, key: str) -> None:
        """Once for each thing there is to say."""
        message = f"the {name} ring holds {holds_s:.1f} s at this rate"
        if holds_s < wanted_s:
            message += f", not {wanted_s:g} s; more needs a larger {key} ({memory_bytes // MIB})"
        if self._said.get(ring) != message:
            self._said[ring] = message
            self._log.info("cine", message=message)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _holds_s(limit_bytes: int, nbytes: int, rate_hz: float, wanted_s: float) -> float:
    """Seconds beside the reserve; never more than wanted."""
    # One place is always given up for the frame that comes next.
    frames = limit_bytes // nbytes - 1
    return max(0.0, min(wanted_s, frames / rate_hz - RESERVE_S))
