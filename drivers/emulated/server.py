"""An emulated board in a process of its own, for programs with the real libusb; faults on request.

    python -m sonod.drivers.emulated.server BOARD FOLDER [OPTIONS]

OPTIONS is a JSON object for the board's model; with `"apart": true` among them the board has the first processor to
itself as far as the system permits it, for a device does not wait for the host's; with `"speed": 10` it lives ten times
as fast, for a driver with such a clock. Every line on standard input is a
JSON object and gets one line back:
`{"do": "unplug"}`, `{"do": "plug"}`, `{"do": "reset"}` (it starts anew by itself, on the bus all the time),
`{"do": "set", "faults": {"silent": true, "halt": [129]}}`, `{"do": "clear"}`.
The end of standard input ends the board.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sonod.drivers.emulated import board_class
from sonod.drivers.emulated.clock import ScaledClock
from sonod.drivers.emulated.device import EmulatedDevice
from sonod.drivers.emulated.faults import Faults, OpenFault
from sonod.drivers.emulated.usbfs import UsbfsFront, sleep_exactly

# Real-time priority: just above every ordinary program.
URGENT = 1


def change(device: EmulatedDevice, command: dict[str, Any]) -> dict[str, Any]:
    """Do what a command says; the answer has `error` when it cannot be done."""
    try:
        match command.get("do"):
            case "unplug":
                device.unplug()
            case "plug":
                device.plug()
            case "reset":
                with device.lock:
                    device.reset()
            case "set":
                set_faults(device, command.get("faults", {}))
            case "clear":
                with device.lock:
                    device.faults.clear()
            case "faults":
                pass
            case other:
                return {"error": f"must be unplug, plug, reset, clear, faults or NAME=VALUE, got {other!r}"}
    except (AttributeError, TypeError, ValueError) as error:
        return {"error": str(error)}
    left = asdict(device.faults)
    return {"plugged": device.plugged, "faults": {**left, "halt": sorted(left["halt"])}}


def short_as(line: str) -> dict[str, Any]:
    """A command as a person types it: one word, or fault=value."""
    name, equals, text = line.partition("=")
    if not equals:
        return {"do": line}
    try:
        value = json.loads(text)
    except ValueError:
        value = text.strip()
    return {"do": "set", "faults": {name.strip(): value}}


def set_faults(device: EmulatedDevice, wanted: dict[str, Any]) -> None:
    """Switch faults by name; ValueError for a name that is none."""
    known = asdict(Faults())
    for name in wanted:
        if name not in known:
            raise ValueError(f"faults.{name}: there is none; there are {', '.join(known)}")
    checked = {name: _checked(device, name, value) for name, value in wanted.items()}
    with device.lock:
        for name, value in checked.items():
            setattr(device.faults, name, value)


def _checked(device: EmulatedDevice, name: str, value: Any) -> Any:
    """The value of a fault as the board wants it, else ValueError."""
    if name == "halt":
        own = sorted({end.address for end in device.description.endpoints})
        ends = value if isinstance(value, list) else [value]
        if not all(type(end) is int and end in own for end in ends):
            raise ValueError(f"faults.halt: must be endpoints of the board, {own}, got {value!r}")
        return set(ends)
    if name == "open_fault":
        if value is not None and value not in list(OpenFault):
            raise ValueError(f"faults.open_fault: must be {', '.join(OpenFault)} or null, got {value!r}")
        return None if value is None else OpenFault(value)
    if name == "silent":
        if type(value) is not bool:
            raise ValueError(f"faults.silent: must be true or false, got {value!r}")
        return value
    least = -1 if name == "unplug_after_bytes" else 0
    if type(value) is not int or value < least:
        raise ValueError(f"faults.{name}: must be a whole number from {least} on, got {value!r}")
    return value


def serve(device: EmulatedDevice, folder: Path, lines: Iterable[str], answer: Callable[[str], None]) -> None:
    """Show the board in `folder` until `lines` end; the first answer says how a program must be started."""
    with UsbfsFront(folder) as front:
        front.attach(device)
        answer(json.dumps({"environment": front.environment}))
        for line in lines:
            try:
                command = json.loads(line)
            except ValueError:
                command = {}
            told = change(device, command if isinstance(command, dict) else {})
            front.refresh()
            answer(json.dumps(told))


def board_processors() -> set[int]:
    """Where a board runs that is kept apart: the first processor, where there are more."""
    return set(sorted(os.sched_getaffinity(0))[:1])


class RemoteBoard:
    """A board served by another process: what a test or the benchmark talks to."""

    def __init__(self, board: str, folder: Path, **options: Any) -> None:
        command = [sys.executable, "-m", "sonod.drivers.emulated.server", board, str(folder), json.dumps(options)]
        # Not the preload library: the board must see the system as it is.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_without_preload()
        )
        self.environment: dict[str, str] = self._answer()["environment"]

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command; ValueError with the board's words when it cannot be done."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer

    def set(self, **faults: Any) -> None:
        """Switch faults by name."""
        self.ask(do="set", faults=faults)

    def unplug(self) -> None:
        self.ask(do="unplug")

    def plug(self) -> None:
        self.ask(do="plug")

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ValueError(f"emulated board: its process ended with {self._process.wait(10)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _without_preload() -> dict[str, str]:
    # /usr/bin/env would do it too; the environment itself is the daemon's to read.
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def main(arguments: list[str]) -> None:
    board, folder = arguments[0], Path(arguments[1])
    options = json.loads(arguments[2]) if len(arguments) > 2 else {}
    if options.pop("apart", False):
        os.sched_setaffinity(0, board_processors())
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(URGENT))
    if speed := options.pop("speed", None):
        options["clock"] = ScaledClock(speed)
    sleep_exactly()
    # The thread that answers the program must not wait 5 ms for the one that makes the data.
    sys.setswitchinterval(1e-4)

    def answer(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    serve(board_class(board)(**options), folder, sys.stdin, answer)


if __name__ == "__main__":
    main(sys.argv[1:])
