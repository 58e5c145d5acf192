"""ZeroMQ addresses the daemon may listen on."""

from __future__ import annotations

import ipaddress
import re

_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^:\[\]]+):(?P<port>\d+|\*)")
LARGEST_PORT = 65535
# A Unix socket's path, with its end, fits into 108 bytes.
LONGEST_IPC_PATH_BYTES = 107


def check_endpoint(endpoint: str) -> str:
    """The endpoint itself; ValueError unless it is `ipc:///PATH` or `tcp://HOST:PORT`."""
    if endpoint.startswith("ipc://"):
        path = endpoint.removeprefix("ipc://")
        if not path.startswith("/"):
            raise ValueError(f"must be ipc:// and an absolute path, such as ipc:///run/sonod/frames; got {endpoint!r}")
        if len(path.encode()) > LONGEST_IPC_PATH_BYTES:
            raise ValueError(f"the path may have {LONGEST_IPC_PATH_BYTES} bytes at most; got {endpoint!r}")
        return endpoint
    match = _TCP.fullmatch(endpoint)
    if match is None or (match["port"] != "*" and int(match["port"]) > LARGEST_PORT):
        raise ValueError(f"must be tcp://HOST:PORT or ipc:///PATH, such as tcp://127.0.0.1:5555; got {endpoint!r}")
    return endpoint


def is_exposed(endpoint: str) -> bool:
    """Whether other machines can reach it."""
    match = _TCP.fullmatch(endpoint)
    return match is not None and not is_loopback(match["host"].strip("[]"))


def is_ipc(endpoint: str) -> bool:
    return endpoint.startswith("ipc://")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address of this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
