"""Tells systemd what it asked for: ready, reloading, stopping, a line of status, and that all is well.

The protocol is sd_notify(3): lines of NAME=VALUE in one datagram to the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import contextlib
import socket
import time

# What a line of status may hold, so that a datagram stays small.
STATUS_LIMIT = 300


class Notifier:
    """Sends to `address`; '' = nobody asked, nothing is sent. Never blocks, never raises: a lost datagram is systemd's
    to notice."""

    def __init__(self, address: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""

    def ready(self, status: str) -> None:
        """Started, or done reloading."""
        self._send("READY=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`; sent when it is another one."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={_line(status)}")

    def reloading(self) -> None:
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def well(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, *fields: str) -> None:
        if not self._address:
            return
        # A socket for each: so rare that keeping one would save nothing.
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
            sender.sendto("\n".join(fields).encode(), self._address)


def _line(text: str) -> str:
    return " ".join(text.split())[:STATUS_LIMIT]
