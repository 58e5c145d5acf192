"""The addresses that the daemon will listen on."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from sonod.daemon.config import Config
from sonod.daemon.doctor.finding import Finding, good, wrong
from sonod.daemon.doctor.machine import Machine


def check_ports(machine: Machine, config: Config) -> Iterator[Finding]:
    wanted = [("publish.endpoint", config.publish.endpoint), ("control.endpoint", config.control.endpoint)]
    addresses = [(key, *_host_and_port(endpoint)) for key, endpoint in wanted if endpoint.startswith("tcp://")]
    if config.viewer.enabled:
        addresses.append(("viewer.port", config.viewer.host, config.viewer.port))
    if config.metrics.enabled:
        addresses.append(("metrics.port", config.metrics.host, config.metrics.port))
    busy = [(key, port) for key, host, port in addresses if port and not _free(host, port)]
    if len(busy) == len([port for _, _, port in addresses if port]) and busy:
        # All of them: that is a daemon that runs with this configuration, or one like it.
        yield good("ports", "all ports are in use: a sonod seems to run (`sonod status`)")
        return
    for key, port in busy:
        yield wrong(
            "ports",
            f"{key}: port {port} is in use by another program",
            f"end it (ss -ltnp 'sport = :{port}' names it), or choose another port",
        )
    if not busy:
        yield good("ports", f"free: {', '.join(str(port) for _, _, port in addresses if port)}")


def _host_and_port(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else 0


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
        return True
