"""What a driver has seen go wrong between it and its device: the causes behind lost frames."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LinkCounters:
    """Since open. A message is what the device sends at once: a shot, a line, a frame, a reply.

    missing: never came by their numbers, or came damaged. device_drops: the device says that it could not send them.
    damaged: seen to be wrong, by checksum, digits or line number. duplicates: came twice and were left out.
    bytes_skipped: belonged to no message. errors: transfers that failed on the wire. halts: halted endpoints cleared.
    """

    missing: int = 0
    device_drops: int = 0
    damaged: int = 0
    duplicates: int = 0
    bytes_skipped: int = 0
    errors: int = 0
    halts: int = 0
