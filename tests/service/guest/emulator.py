"""Runs in the container, as root: an emulated array front-end on USB, told what to do line by line.

    emulator.py FOLDER

Lines: `unplug`, `plug`, `state`; each is answered with what the front-end is doing (idle, armed, running).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sonod.drivers.emulated import board_class
from sonod.drivers.emulated.usbfs import UsbfsFront, sleep_exactly


def main(folder: Path) -> None:
    # The daemon is another user.
    os.umask(0)
    sleep_exactly()
    sys.setswitchinterval(1e-4)
    device = board_class("bulk")(phantom="wires", probe="phased")
    with UsbfsFront(folder) as front:
        front.attach(device)
        print("ready", flush=True)  # noqa: T201
        for line in sys.stdin:
            match line.strip():
                case "unplug":
                    device.unplug()
                case "plug":
                    device.plug()
            front.refresh()
            print(device.state.name.lower(), flush=True)  # type: ignore[attr-defined]  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
