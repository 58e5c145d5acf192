"""The gateway's command line."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from sonod.client.control import DEFAULT_ENDPOINT as DEFAULT_CONTROL
from sonod.client.subscriber import DEFAULT_ENDPOINT as DEFAULT_FRAMES

DEFAULT_PORT = 5580
LARGEST_PORT = 65535


class UsageError(ValueError):
    """The command line cannot be used; one line says what is wrong."""


@dataclass(frozen=True)
class Options:
    """Where the daemon is, and where the page is served. Port 0 takes any free one."""

    frames: str = DEFAULT_FRAMES
    control: str = DEFAULT_CONTROL
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    until_input_ends: bool = False
    keys: str | None = None

    def __post_init__(self) -> None:
        for name, endpoint in (("--frames", self.frames), ("--control", self.control)):
            scheme, separator, rest = endpoint.partition("://")
            if scheme not in ("tcp", "ipc") or not separator or not rest:
                raise UsageError(f"{name}: must be tcp://HOST:PORT or ipc://PATH; got {endpoint!r}")
        if not is_loopback(self.host):
            raise UsageError(
                f"--host: the viewer listens on this machine only, on 127.0.0.1 or ::1; got {self.host!r}; "
                f"to look from elsewhere use a tunnel: ssh -L {self.port}:127.0.0.1:{self.port} THIS_MACHINE"
            )
        if not 0 <= self.port <= LARGEST_PORT:
            raise UsageError(f"--port: must be 0..{LARGEST_PORT}; got {self.port}")

    @property
    def daemon_here(self) -> bool:
        """Whether the daemon runs on this machine, so that its devices and files are those of this one."""
        host = self.control.removeprefix("tcp://").rpartition(":")[0].strip("[]")
        return self.control.startswith("ipc://") or is_loopback(host)


def parse_options(arguments: Sequence[str]) -> Options:
    """The options of a command line; UsageError when it cannot be used."""
    parser = _Parser(
        prog="sonod.client.viewer",
        description="Serve the viewer page of a running sonod daemon. Research software: not a medical device.",
        allow_abbrev=False,
    )
    parser.add_argument("--frames", default=DEFAULT_FRAMES, help="the daemon's frames (default %(default)s)")
    parser.add_argument("--control", default=DEFAULT_CONTROL, help="the daemon's control (default %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 = any free port (default %(default)s)")
    parser.add_argument("--keys", metavar="FILE", help="key file made by `sonod keys new`, where the daemon wants one")
    parser.add_argument(
        "--until-input-ends", action="store_true", help="end when standard input ends, with the program that holds it"
    )
    return Options(**vars(parser.parse_args(arguments)))


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)
