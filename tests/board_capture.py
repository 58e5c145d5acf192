"""Captures of serial boards: raw bytes as they came from the device, with a header that says from which.

`NAME.bin` holds the bytes, `NAME.json` the header: device, firmware, who, when, the URI that it was read with, and
what a driver must make of it. Those here come from emulated boards and say so; one from a real board is worth more.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.pacing import Clock
from sonod.drivers.transports.byte_port import BytePort, Identity

CAPTURES = Path(__file__).parent / "drivers" / "captures"


class CapturePort(BytePort):
    """Gives the bytes of a capture, in pieces of odd sizes; takes whatever is written."""

    def __init__(self, data: bytes, clock: Clock | None = None, piece: int = 4093) -> None:
        super().__init__(clock or ManualClock())
        self.identity = Identity(place="capture")
        self.written = b""
        self._data = memoryview(data)
        self._piece = piece

    def read_into(self, view: memoryview, timeout_s: float) -> int:
        count = min(len(view), len(self._data), self._piece)
        if count == 0:
            self.clock.sleep_until(self.clock.now_ns() + int(timeout_s * 1e9))
        view[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def write(self, data: bytes, timeout_s: float = 1.0) -> None:
        self.written += data

    def set_dtr(self, up: bool) -> None:
        pass

    def close(self) -> None:
        pass


def load_capture(name: str) -> tuple[bytes, dict[str, Any]]:
    """The bytes and the header of a capture."""
    return (CAPTURES / f"{name}.bin").read_bytes(), json.loads((CAPTURES / f"{name}.json").read_text("utf-8"))


def make_captures() -> None:
    """Write the captures of emulated boards anew: `python tests/board_capture.py`."""
    from sonod.drivers.emulated.cdc import CdcBoard
    from sonod.drivers.frame import Slot
    from sonod.drivers.open_echo.driver import OpenEchoDriver
    from sonod.drivers.pic0rick.driver import Pic0rickDriver, Ultr4rickDriver
    from sonod.drivers.serial_board import SerialBoard
    from sonod.drivers.settings import default_settings
    from sonod.drivers.wulpus.driver import WulpusDriver

    def record(name: str, driver: SerialBoard, frames: int, **said: object) -> None:
        driver.open()
        board = driver.board
        assert isinstance(board, CdcBoard)
        configuration = driver.prepare(default_settings(driver.knobs()))
        driver.apply(configuration)
        driver.start()
        slot = Slot(configuration.acquisition.nbytes)
        taken = bytearray()
        original = driver.port.read_into

        def tapped(view: memoryview, timeout_s: float) -> int:
            count = original(view, timeout_s)
            taken.extend(view[:count])
            return count

        driver.port.read_into = tapped  # type: ignore[method-assign]
        sums = []
        for _ in range(frames):
            driver.read_into(slot, 5.0)
            sums.append(int(slot.data.astype("int64").sum()))
        driver.close()
        header = {
            "device": name,
            "firmware": driver.firmware or said.pop("firmware", "not known"),
            "who": "sonod's emulated board; not a real one",
            "when": "2026-11",
            "uri": driver.uri.text,
            "frames": frames,
            "sums": sums,
            **said,
        }
        CAPTURES.mkdir(exist_ok=True)
        (CAPTURES / f"{name}.bin").write_bytes(bytes(taken))
        (CAPTURES / f"{name}.json").write_text(json.dumps(header, indent=2) + "\n", "utf-8")

    clock = ManualClock
    record("pic0rick_text", Pic0rickDriver("pic0rick:?emulated=1&firmware=text", clock()), 2)
    record("pic0rick_raw", Pic0rickDriver("pic0rick:?emulated=1&firmware=binary", clock()), 3)
    record("ultr4rick_alaw", Ultr4rickDriver("ultr4rick:?emulated=1&data=alaw", clock()), 3)
    record("wulpus_synthetic", WulpusDriver("wulpus:?emulated=1", clock()), 2, firmware="1.2.3")
    record("open_echo", OpenEchoDriver("open-echo:?emulated=1", clock()), 4)


if __name__ == "__main__":
    make_captures()
    sys.stdout.write(f"written to {CAPTURES}\n")
