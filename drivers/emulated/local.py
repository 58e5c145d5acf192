"""An emulated board on a bus of its own in this process: what `?emulated=1` in a driver's URI stands for."""

from __future__ import annotations

from typing import Any

from sonod.drivers.emulated import board_class
from sonod.drivers.emulated.memory import Bus, MemoryBackend


def local_backend(board: str, **options: Any) -> MemoryBackend:
    """A backend for pyusb whose bus has just this board; `options` go to its model."""
    bus = Bus()
    bus.attach(board_class(board)(**options))
    return MemoryBackend(bus)
