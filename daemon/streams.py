"""The account of each stream, a product in a variant: every frame number was sent, or is counted under one cause."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sonod.client.wire.header import FrameHeader
from sonod.client.wire.variant import Variant


@dataclass
class Stream:
    """What became of the frames of one stream. `dropped` were made, and lost before the socket."""

    variant: Variant
    messages: int = 0
    skipped: int = 0
    dropped: int = 0
    _due_ns: int = 0

    def takes(self, header: FrameHeader) -> bool:
        """Whether the policy lets this frame through; counts it when not."""
        due = True
        if self.variant.every > 1:
            due = header.frame % self.variant.every == 0
        elif self.variant.rate_hz:
            now_ns, period_ns = header.times.last_byte_ns, 1_000_000_000 // self.variant.rate_hz
            due = now_ns >= self._due_ns
            if due:
                # The rate holds on the mean: a frame that comes a little late does not delay the next.
                self._due_ns = max(self._due_ns, now_ns - period_ns) + period_ns
        if not due:
            self.skipped += 1
        return due

    def completed(self, header: FrameHeader) -> FrameHeader:
        """The header with the next message's number and this stream's own losses."""
        message = self.messages + 1
        losses = header.losses
        processing = losses.processing + self.dropped
        told = message + losses.device + losses.ring + processing + self.skipped
        # What is left was processed while nobody subscribed to this stream.
        unsubscribed = max(0, header.frame - told)
        losses = replace(losses, processing=processing, unsubscribed=unsubscribed, skipped=self.skipped)
        return replace(header, losses=losses, message=message)


class Streams:
    """The accounts of a session, made when a stream is first needed and kept to its end."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, Variant], Stream] = {}

    def of(self, product: str, variant: Variant) -> Stream:
        key = (product, variant)
        if key not in self._streams:
            self._streams[key] = Stream(variant)
        return self._streams[key]

    def lost(self, product: str) -> None:
        """A frame of this product was dropped on its way to the socket: lost to every stream that had begun."""
        for (name, _), stream in self._streams.items():
            if name == product:
                stream.dropped += 1

    def block(self) -> dict[str, dict[str, int]]:
        """As `status` shows it: messages, frames left out by the policy and frames lost before the socket."""
        return {
            f"{product}+{variant.text}" if variant.text else product: {
                "messages": stream.messages,
                "skipped": stream.skipped,
                "dropped": stream.dropped,
            }
            for (product, variant), stream in dict(self._streams).items()
        }
