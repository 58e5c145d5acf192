"""Who wants what: the prefixes that subscribers have asked for."""

from __future__ import annotations

from sonod.client.wire.topic import PREFIX

PRODUCTS = ("bmode", "mmode", "envelope", "lines", "iq", "rf")
# A subscriber that asks for more different prefixes than any true one is served everything; memory stays bounded.
PREFIX_LIMIT = 1024


class Subscriptions:
    """The prefixes in force; the socket reports the first subscription and the last cancellation of each."""

    def __init__(self) -> None:
        self._prefixes: set[bytes] = set()
        self._overflow = False

    def heard(self, message: bytes) -> bool:
        """Take what the socket reports; True when somebody subscribed."""
        kind, prefix = message[:1], message[1:]
        if kind == b"\x01":
            if len(self._prefixes) < PREFIX_LIMIT:
                self._prefixes.add(prefix)
            else:
                self._overflow = True
            return True
        if kind == b"\x00":
            self._prefixes.discard(prefix)
            if not self._prefixes:
                self._overflow = False
        return False

    def wanted(self, probe: str) -> frozenset[str]:
        """The products of this probe that somebody subscribes to."""
        if self._overflow:
            return frozenset(PRODUCTS)
        topics = {product: f"{PREFIX}{product}.{probe}".encode("ascii") for product in PRODUCTS}
        prefixes = tuple(self._prefixes)
        return frozenset(product for product, topic in topics.items() if topic.startswith(prefixes))
