"""Which products are written into shared memory, and for how long: while somebody asks for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from sonod.client.wire.header import FrameHeader, encode_header
from sonod.client.wire.variant import Variant
from sonod.daemon.errors import CommandError
from sonod.daemon.session import Session
from sonod.daemon.shared_ring import PREFIX, SharedRing, remove_stale, supported
from sonod.daemon.streams import Stream

# The product that the reader writes itself.
RAW = "rf"
# A later header may be somewhat longer: numbers grow.
HEADER_RESERVE = 1024


@dataclass
class _Shared:
    """One product. Its ring is touched by the thread that writes the product alone."""

    until_ns: int
    stream: Stream
    ring: SharedRing | None = None
    generation: int = 1
    failure: str = ""


class SharedMemory:
    """`open` on any thread; `write` on the thread that makes the product."""

    def __init__(self, session: Session, slots: int, permissions: int) -> None:
        self._session = session
        self._slots = slots
        self._permissions = permissions
        self._products: dict[str, _Shared] = {}
        self._lock = threading.Lock()
        self._wanted: frozenset[str] = frozenset()
        self._log = structlog.get_logger()
        if supported() and (removed := remove_stale()):
            self._log.info("stale_segments_removed", count=removed)

    @property
    def wanted(self) -> frozenset[str]:
        """The products that somebody reads here."""
        return self._wanted

    def open(self, product: str, ttl_s: float) -> dict[str, Any]:
        """Write this product from the next frame on, for so long; asked again, for so long from then on."""
        if not supported():
            raise CommandError("unavailable", "shared memory needs /dev/shm on an x86-64 machine; subscribe instead")
        with self._lock:
            until_ns = self._session.monotonic_ns() + int(ttl_s * 1e9)
            shared = self._products.get(product)
            if shared is None:
                shared = self._products[product] = _Shared(until_ns, Stream(Variant()))
            if shared.failure:
                failure, shared.failure = shared.failure, ""
                raise CommandError("unavailable", f"shared memory: {failure}")
            shared.until_ns = max(shared.until_ns, until_ns)
            self._wanted |= {product}
            return {"name": self._name(product, shared.generation), "expires_in_s": ttl_s}

    def write(self, header: FrameHeader, data: NDArray[Any]) -> None:
        """One frame; its header is completed here. What cannot be written is told to whoever asks next."""
        shared = self._products[header.product]
        now_ns = self._session.monotonic_ns()
        if now_ns > shared.until_ns:
            self._end(header.product, shared)
            return
        own = shared.stream.completed(header)
        own = replace(own, times=replace(own.times, published_ns=now_ns, utc=self._session.check()))
        if data.dtype.byteorder == ">":
            data = data.astype(data.dtype.newbyteorder("<"))
        try:
            text = encode_header(own)
            self._ring_for(header.product, shared, len(text), data).write(own.frame, text, data, now_ns)
        except (OSError, ValueError) as error:
            shared.failure = str(error)
            shared.stream.dropped += 1
            self._log.error("shared_memory_failed", product=header.product, reason=str(error))
            self._end(header.product, shared)
            return
        shared.stream.messages += 1

    def block(self) -> dict[str, Any]:
        """As `status` shows it."""
        with self._lock:
            return {
                product: {
                    "name": None if shared.ring is None else f"/{shared.ring.name}",
                    "bytes": 0 if shared.ring is None else shared.ring.bytes,
                    "messages": shared.stream.messages,
                    "dropped": shared.stream.dropped,
                }
                for product, shared in self._products.items()
            }

    def close(self) -> None:
        """The end; the writing threads have ended before."""
        for product, shared in self._products.items():
            self._end(product, shared)

    def _ring_for(self, product: str, shared: _Shared, header_bytes: int, data: NDArray[np.generic]) -> SharedRing:
        ring = shared.ring
        if ring is not None and ring.fits(header_bytes, data.nbytes):
            return ring
        generation = shared.generation if ring is None else shared.generation + 1
        name = self._name(product, generation).removeprefix("/")
        made = SharedRing(
            name,
            self._session.id,
            product,
            self._slots,
            2 * header_bytes + HEADER_RESERVE,
            data.nbytes,
            self._permissions,
        )
        with self._lock:
            shared.generation, shared.ring = generation, made
        if ring is not None:
            ring.close(f"/{name}")
        return made

    def _end(self, product: str, shared: _Shared) -> None:
        """Nobody asks any more; a later request begins with the next segment."""
        with self._lock:
            self._wanted -= {product}
            ring, shared.ring = shared.ring, None
            if ring is not None:
                shared.generation += 1
        if ring is not None:
            ring.close()

    def _name(self, product: str, generation: int) -> str:
        return f"/{PREFIX}{self._session.id[:12]}.{product}.{generation}"
