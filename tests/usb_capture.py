"""Captures of boards that stream over USB: what came on the bulk IN endpoint, compressed, with a header like those of
board_capture.py. `python tests/usb_capture.py` writes those of the emulated boards anew."""

from __future__ import annotations

import json
import lzma
import sys
from typing import Any

import numpy as np
from board_capture import CAPTURES

from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.device import Data, EmulatedDevice
from sonod.drivers.emulated.memory import Bus, MemoryBackend


def load_usb_capture(name: str) -> tuple[bytes, dict[str, Any]]:
    """The bytes and the header of a capture."""
    return lzma.decompress((CAPTURES / f"{name}.xz").read_bytes()), json.loads(
        (CAPTURES / f"{name}.json").read_text("utf-8")
    )


def replayed(board: EmulatedDevice, data: bytes) -> MemoryBackend:
    """A bus with this board, whose bulk IN bytes are those of the capture once it would send its own; then nothing."""
    rest = memoryview(data)
    original = board.bulk_in

    def bulk_in(endpoint: int, length: int) -> Data | None:
        nonlocal rest
        if original(endpoint, length) is None or not rest:
            return None
        part, rest = rest[:length], rest[length:]
        return part

    board.bulk_in = bulk_in  # type: ignore[method-assign]
    bus = Bus()
    bus.attach(board)
    return MemoryBackend(bus)


def main() -> None:
    from sonod.drivers.base import Driver
    from sonod.drivers.bulk.driver import BulkDriver
    from sonod.drivers.emulated.bulk import BulkFrontEnd
    from sonod.drivers.emulated.interson import EmulatedInterson
    from sonod.drivers.frame import Slot
    from sonod.drivers.interson.driver import IntersonDriver
    from sonod.drivers.settings import change_settings, default_settings

    def record(name: str, board: EmulatedDevice, driver: Driver, frames: int, **changes: Any) -> None:
        taken = bytearray()
        original = board.bulk_in

        def tapped(endpoint: int, length: int) -> Data | None:
            data = original(endpoint, length)
            taken.extend(data or b"")
            return data

        board.bulk_in = tapped  # type: ignore[method-assign]
        driver.open()
        configuration = driver.prepare(change_settings(default_settings(driver.knobs()), changes, driver.knobs()))
        driver.apply(configuration)
        driver.start()
        slot = Slot(configuration.acquisition.nbytes)
        sums = []
        for _ in range(frames):
            driver.read_into(slot, 5.0)
            sums.append(int(slot.data.astype(np.int64).sum()))
        firmware = driver.firmware
        driver.close()
        said = {
            "device": name,
            "firmware": firmware,
            "who": "sonod's emulated board; not a real one",
            "when": "2026-11",
            "uri": driver.uri.text,
            "settings": changes,
            "frames": frames,
            "sums": sums,
        }
        (CAPTURES / f"{name}.xz").write_bytes(lzma.compress(bytes(taken), preset=9))
        (CAPTURES / f"{name}.json").write_text(json.dumps(said, indent=2) + "\n", "utf-8")

    def on_bus(board: EmulatedDevice) -> MemoryBackend:
        bus = Bus()
        bus.attach(board)
        return MemoryBackend(bus)

    clock = ManualClock()
    front_end = BulkFrontEnd(clock=clock, phantom="wires", probe="phased")
    driver = BulkDriver("bulk:1209:0001?format=packed_10", on_bus(front_end), clock)
    record("bulk_packed_10", front_end, driver, 2, angle_count=1)
    probe = EmulatedInterson(clock=clock)
    # Noise cannot be compressed.
    probe._tile[:] = 0
    record("interson", probe, IntersonDriver("interson:", clock, on_bus(probe)), 2)


if __name__ == "__main__":
    main()
    sys.stdout.write(f"written to {CAPTURES}\n")
