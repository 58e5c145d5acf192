"""Who wants what: the prefixes that subscribers have asked for."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from sonod.client.wire.errors import WireError
from sonod.client.wire.topic import PREFIX, VARIANT_PREFIX
from sonod.client.wire.variant import LAST, Variant

PRODUCTS = ("bmode", "preview", "mmode", "envelope", "lines", "iq", "rf", "labels")
# A subscriber that asks for more different prefixes than any true one is served everything; memory stays bounded.
PREFIX_LIMIT = 1024
# Each variant is a message of its own for each frame; later ones are not served.
VARIANT_LIMIT = 16
PLAIN = Variant()


class Subscriptions:
    """The prefixes in force; the socket reports the first subscription and the last cancellation of each.

    The publisher's thread hears of changes while the runner's asks what is wanted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prefixes: set[bytes] = set()
        self._variants: dict[bytes, Variant] = {}
        self._overflow = False
        # Subscriptions to variants that bring nothing, and why; until they are told.
        self._refused: list[tuple[bytes, str]] = []
        # Prefixes of the variant `last` that were subscribed to and not yet answered.
        self._last: set[bytes] = set()
        # Asked for each frame, changed by subscriptions only.
        self._streams: tuple[str, Mapping[str, tuple[Variant, ...]]] | None = None

    def heard(self, message: bytes) -> bool:
        """Take what the socket reports; True when somebody subscribed."""
        with self._lock:
            return self._heard(message[:1], message[1:])

    def refused(self) -> list[tuple[bytes, str]]:
        """The subscriptions to variants, since the last call, that will bring nothing, each with the reason."""
        with self._lock:
            refused, self._refused = self._refused, []
        return refused

    def wanted(self, probe: str) -> frozenset[str]:
        """The products of this probe that somebody subscribes to, in any variant."""
        return frozenset(self.streams(probe))

    def streams(self, probe: str) -> Mapping[str, tuple[Variant, ...]]:
        """The variants of each product of this probe that somebody subscribes to, the plain one first."""
        with self._lock:
            known = self._streams
            if known is None or known[0] != probe:
                known = self._streams = (probe, self._find(probe))
            return known[1]

    def _heard(self, kind: bytes, prefix: bytes) -> bool:
        self._streams = None
        if kind == b"\x01":
            if len(self._prefixes) < PREFIX_LIMIT:
                self._prefixes.add(prefix)
                self._add_variant(prefix)
            else:
                self._overflow = True
            return True
        if kind == b"\x00":
            self._prefixes.discard(prefix)
            self._variants.pop(prefix, None)
            self._last.discard(prefix)
            if not self._prefixes:
                self._overflow = False
        return False

    def _find(self, probe: str) -> dict[str, tuple[Variant, ...]]:
        found: dict[str, tuple[Variant, ...]] = {}
        prefixes = tuple(self._prefixes)
        for product in PRODUCTS:
            plain = self._overflow or f"{PREFIX}{product}.{probe}".encode("ascii").startswith(prefixes)
            variants = {
                variant
                for prefix, variant in self._variants.items()
                if f"{VARIANT_PREFIX}{variant.text}.{product}.{probe}".encode("ascii").startswith(prefix)
            }
            if plain or variants:
                found[product] = ((PLAIN,) if plain else ()) + tuple(sorted(variants, key=lambda one: one.text))
        return found

    def asked_again(self, probe: str) -> frozenset[str]:
        """The products whose last frame somebody has just asked for."""
        with self._lock:
            prefixes = tuple(self._last)
        if not prefixes:
            return frozenset()
        return frozenset(
            product
            for product in PRODUCTS
            if f"{VARIANT_PREFIX}{LAST}.{product}.{probe}".encode("ascii").startswith(prefixes)
        )

    def answered(self) -> None:
        """Whoever asked for last frames has got them, or new ones have come."""
        with self._lock:
            self._last.clear()

    def _add_variant(self, prefix: bytes) -> None:
        """A prefix must name its variant in full."""
        if not prefix.startswith(VARIANT_PREFIX.encode()):
            return
        text, dot, rest = prefix.removeprefix(VARIANT_PREFIX.encode()).decode("ascii", "replace").partition(".")
        try:
            if not dot:
                raise WireError(f"variant: must be named in full, with a dot behind it; got {text[:60]!r}")
            variant = None if text == LAST else Variant.parse(text)
            if not any(f"{product}.".startswith(rest) or rest.startswith(f"{product}.") for product in PRODUCTS):
                raise WireError(f"variant: must be of a product out of {', '.join(PRODUCTS)}; got {rest[:60]!r}")
            in_use = set(self._variants.values())
            if variant is not None and variant not in in_use and len(in_use) >= VARIANT_LIMIT:
                raise WireError(
                    f"variant: {VARIANT_LIMIT} others are in use; subscribe to one of them, to the whole stream, or "
                    f"again later; got {text!r}"
                )
        except WireError as error:
            self._refused.append((prefix, str(error)))
            return
        if variant is None:
            self._last.add(prefix)
        else:
            self._variants[prefix] = variant
