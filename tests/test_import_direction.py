"""The rooms import downwards only, and each foreign library is known to few files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.tree
ROOMS = ("cext", "drivers", "daemon", "client")
# What a room may import beside itself.
ALLOWED = {
    "cext": (),
    "drivers": ("sonod.cext",),
    "daemon": ("sonod.drivers", "sonod.cext", "sonod.client.wire"),
    "client": (),
}
# The command line and the benchmark talk to a running daemon: clients that live in the daemon's room.
CLIENTS = ("daemon/cli/", "daemon/bench/")
ZMQ_FILES = (
    "daemon/publisher.py",
    "daemon/control.py",
    "daemon/connections.py",
    "daemon/latest.py",
    "daemon/subscriber_guard.py",
    "daemon/sockets.py",
    "daemon/zap.py",
)


def files() -> Iterator[Path]:
    for room in ROOMS:
        yield from sorted((REPOSITORY / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever the statement stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports must be absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", list(files()), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_file_imports_only_what_its_room_may(path: Path) -> None:
    place = path.relative_to(REPOSITORY).as_posix()
    room = place.split("/")[0]
    allowed = (f"sonod.{room}", "sonod.__version__", *ALLOWED[room])
    if place.startswith(CLIENTS):
        allowed = (*allowed, "sonod.client")
    for name in imported(path):
        if within(name, ("sonod",)) and name != "sonod":
            assert within(name, allowed), f"{place} must not import {name}"
        if within(name, ("usb", "libusb_package")):
            assert place.startswith(("drivers/transports/", "drivers/emulated/")), (
                f"{place}: usb is for transports only"
            )
        if within(name, ("zmq",)):
            assert room == "client" or place in ZMQ_FILES or place.startswith("daemon/bench/"), (
                f"{place}: zmq is for {', '.join(ZMQ_FILES)} and client/"
            )
        if within(name, ("h5py",)) and room == "drivers":
            assert place.startswith("drivers/recording/"), f"{place}: h5py is for drivers/recording/ only"
        if room == "daemon":
            assert not _concrete_driver(name), f"{place}: reach drivers through sonod.drivers.open_uri, not {name}"


def _concrete_driver(name: str) -> bool:
    return within(name, ("sonod.drivers.simulated", "sonod.drivers.replay"))


def test_environment_is_read_in_one_file() -> None:
    readers = [
        path.relative_to(REPOSITORY).as_posix()
        for path in files()
        if {"os.environ", "os.getenv"} & imported(path)
        or "os.environ" in path.read_text()
        or "os.getenv" in path.read_text()
    ]
    assert readers == ["daemon/environment.py"]


def test_logging_is_configured_in_one_file() -> None:
    daemon_files = [path for path in files() if path.is_relative_to(REPOSITORY / "daemon")]
    places = [path.name for path in daemon_files if "structlog.configure(" in path.read_text()]
    assert places == ["log.py"]
