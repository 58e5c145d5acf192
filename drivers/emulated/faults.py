"""What an emulated board does wrong when asked to. A fault that is not set costs nothing and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum


class OpenFault(StrEnum):
    """Why the host refuses to open the device."""

    ACCESS = "access"  # EACCES: no permission on the device node
    BUSY = "busy"  # EBUSY: another program or a kernel driver holds the interface
    MEMORY = "memory"  # ENOMEM: the host's budget for transfers is used up


@dataclass
class Faults:
    """Switches stay until they are turned off; counts are how many of the next events go wrong.

    Transfers (every board obeys them, the front-facing side of `EmulatedDevice` sees to it):
    `silent` NAK for ever. `open_fault` the host may not open it. `unplug_after_bytes` bytes of bulk IN from now until
    it is pulled, in mid-frame if need be (-1 = never). `stall_control` control requests answered with a stall.
    `halt` bulk endpoints that are halted until the host clears them. `short_packets` reads cut short at an odd place,
    the rest lost. `zero_packets` empty packets sent first. `oversize` reads answered with more than was asked.
    `bus_errors` reads that fail with a protocol error on the wire. `garbage_bytes` bytes of noise before the next data.

    Frames (for the board's own model, which knows where a frame begins; it takes them with `take`):
    `drop_frames`, `duplicate_frames`, `corrupt_frames` (one byte flipped, so that the CRC is wrong, if there is one).
    """

    silent: bool = False
    open_fault: OpenFault | None = None
    unplug_after_bytes: int = -1
    stall_control: int = 0
    halt: set[int] = field(default_factory=set)
    short_packets: int = 0
    zero_packets: int = 0
    oversize: int = 0
    bus_errors: int = 0
    garbage_bytes: int = 0
    drop_frames: int = 0
    duplicate_frames: int = 0
    corrupt_frames: int = 0

    def take(self, name: str) -> bool:
        """Whether this event goes wrong; uses up one of the count."""
        left: int = getattr(self, name)
        if left <= 0:
            return False
        setattr(self, name, left - 1)
        return True

    def clear(self) -> None:
        """Behave again."""
        fresh = Faults()
        for item in fields(self):
            setattr(self, item.name, getattr(fresh, item.name))
