"""Boards that exist only as software: work without hardware, and misbehave on request.

    description.py   what a device says about itself -> the bytes of its descriptors
    device.py        the model of one device: control, bulk and interrupt transfers, faults
    faults.py        what can go wrong
    clock.py         time that a test moves
    memory.py        front 1: a backend for pyusb, in this process
    usbfs.py         front 2: the Linux device files under umockdev's preload library, for the real libusb;
                     usbfs_session.py one open file of a program, client_memory.py the memory of that program
    <board>.py       one model per board

The table maps a board's name to its class, imported on use; each takes (serial, clock) or fewer keyword arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from sonod.drivers.emulated.device import EmulatedDevice
from sonod.drivers.errors import DeviceNotFound

BOARDS: dict[str, str] = {
    "pic0rick": "sonod.drivers.emulated.pic0rick:Pic0rick",
    "pic0rick-binary": "sonod.drivers.emulated.p0rk:P0rkBoard",
    "ultr4rick": "sonod.drivers.emulated.p0rk:Ultr4rickBoard",
    "wulpus": "sonod.drivers.emulated.wulpus:Wulpus",
    "wulpus-pro": "sonod.drivers.emulated.wulpus:WulpusPro",
    "open-echo": "sonod.drivers.emulated.open_echo:OpenEcho",
    "interson": "sonod.drivers.emulated.interson:EmulatedInterson",
    "un0rick": "sonod.drivers.emulated.un0rick:EmulatedUn0rick",
    "bulk": "sonod.drivers.emulated.bulk:BulkFrontEnd",
    "paced": "sonod.drivers.emulated.paced:PacedSource",
}


def board_class(name: str) -> Callable[..., EmulatedDevice]:
    """The model of the named board, called with its own options; DeviceNotFound when there is none."""
    if name not in BOARDS:
        raise DeviceNotFound(f"emulated board {name!r}: there is none; there are {', '.join(BOARDS)}")
    module, _, attribute = BOARDS[name].partition(":")
    loaded: Callable[..., EmulatedDevice] = getattr(import_module(module), attribute)
    return loaded
