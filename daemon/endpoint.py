"""ZeroMQ addresses the daemon may listen on."""

from __future__ import annotations

import ipaddress
import re

_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^:\[\]]+):(?P<port>\d+|\*)")
LARGEST_PORT = 65535


def check_endpoint(endpoint: str) -> str:
    """The endpoint itself; ValueError unless it is `ipc://PATH` or a TCP address of this machine alone."""
    if endpoint.startswith("ipc://") and len(endpoint) > len("ipc://"):
        return endpoint
    match = _TCP.fullmatch(endpoint)
    if match is None or (match["port"] != "*" and int(match["port"]) > LARGEST_PORT):
        raise ValueError(f"must be tcp://127.0.0.1:PORT or ipc://PATH; got {endpoint!r}")
    if not is_loopback(match["host"].strip("[]")):
        raise ValueError(
            f"{endpoint!r} would listen beyond this machine, which needs CURVE keys, and this version has none; "
            "use tcp://127.0.0.1:PORT and a tunnel (ssh -L)"
        )
    return endpoint


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address of this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
