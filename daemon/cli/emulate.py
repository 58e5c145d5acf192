"""`sonod emulate BOARD`: a board without hardware, for sonod and for any other program."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from sonod.daemon.cli.failure import FAILED, USAGE, Failure
from sonod.daemon.cli.output import put
from sonod.drivers import driver_names
from sonod.drivers.emulated import BOARDS, board_class
from sonod.drivers.emulated.cdc import CdcBoard
from sonod.drivers.emulated.device import EmulatedDevice
from sonod.drivers.emulated.pty import PtyFront
from sonod.drivers.emulated.server import change, serve, short_as
from sonod.drivers.emulated.usbfs import preload_library, sleep_exactly
from sonod.drivers.errors import DriverError

# The board behind which the whole simulated probe stands.
SCENE_BOARD = "bulk"

# What the URI of a board needs beside its driver's name, where the board stands; '' = any other board.
OVER_TTY = {"wulpus-pro": "board=pro"}
OVER_USB = {**OVER_TTY, "open-echo": "usb=2341:0069"}
IN_PROCESS = {
    "": "emulated=1",
    "wulpus-pro": "emulated=1&board=pro",
    "pic0rick-binary": "emulated=1&firmware=binary",
}


def emulate(
    board: Annotated[str, typer.Argument(metavar="BOARD", help=f"One of {', '.join(BOARDS)}.")],
    pty: Annotated[bool, typer.Option("--pty", help="As a serial port instead of a USB device.")] = False,
    scene: Annotated[
        str, typer.Option("--scene", metavar="NAME|FILE", help="What the bulk front-end looks at: a scene of `sim:`.")
    ] = "",
) -> None:
    """Emulate a board until Ctrl-C or the end of standard input. Lines there make it misbehave: `unplug`, `plug`,
    `reset`, `clear`, `faults`, or a fault as `NAME=VALUE`, for example `silent=true` or `corrupt_frames=3`;
    docs/hardware.md lists them all."""
    if scene and board != SCENE_BOARD:
        raise Failure(USAGE, f"emulate {board} --scene: only {SCENE_BOARD} looks at a scene")
    try:
        device = board_class(board)(phantom=scene) if scene else board_class(board)()
    except DriverError as error:
        raise Failure(USAGE, str(error)) from error
    try:
        if pty:
            _serial_port(board, device)
        else:
            _usb(board, device)
    except KeyboardInterrupt:
        put()


def _usb(board: str, device: EmulatedDevice) -> None:
    if preload_library() is None:
        raise Failure(
            FAILED,
            "emulate: programs with the real libusb need umockdev; apt-get install umockdev, or use --pty for serial "
            f"boards, or `sonod run --driver '{_uri(board, IN_PROCESS)}'`, which needs nothing",
        )
    sleep_exactly()

    def answer(line: str) -> None:
        told = json.loads(line)
        if "environment" in told:
            settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in told["environment"].items())
            put(f"emulating {board}; a program sees it when it is started like this:")
            program = f"sonod run --driver '{_uri(board, OVER_USB)}'" if _driver(board) else "PROGRAM"
            put(f"  env {settings} {program}")
        else:
            put(_told(told))

    with tempfile.TemporaryDirectory(prefix="sonod-") as folder:
        serve(device, Path(folder, "t"), _commands(), answer)


def _serial_port(board: str, device: EmulatedDevice) -> None:
    if not isinstance(device, CdcBoard):
        raise Failure(USAGE, f"emulate {board} --pty: is no serial board")
    with PtyFront(device) as front:
        put(f"emulating {board} as a serial port:")
        put(f"  sonod run --driver '{_uri(board, OVER_TTY, front.path)}'")
        for line in _commands():
            told = change(device, json.loads(line))
            if "error" not in told and told["plugged"] and (path := front.wait_for_path(1.0)):
                put(f"  at {path}")
            put(_told(told))


def _driver(board: str) -> str:
    """The driver of a board has its name, or the beginning of it; '' for the benchmark's source, which has none."""
    names = [name for name in driver_names() if board == name or board.startswith(f"{name}-")]
    return max(names, key=len, default="")


def _uri(board: str, options: Mapping[str, str], rest: str = "") -> str:
    option = options.get(board, options.get("", ""))
    return f"{_driver(board)}:{rest}" + (f"?{option}" if option else "")


def _commands() -> Iterator[str]:
    """Lines of standard input as JSON commands."""
    for line in sys.stdin:
        if line.strip():
            yield json.dumps(short_as(line.strip()))


def _told(told: dict[str, object]) -> str:
    if "error" in told:
        return f"  {told['error']}"
    faults = told["faults"]
    assert isinstance(faults, dict)
    active = ", ".join(f"{name}={value}" for name, value in faults.items() if value not in (False, None, 0, -1, []))
    return f"  {'plugged in' if told['plugged'] else 'unplugged'}{', ' + active if active else ''}"
