"""Log lines as entries of systemd's journal, every fact a field of its own.

The protocol is that of systemd-journald's native socket: NAME=VALUE lines in one datagram; a value that has line breaks
is written with its length in front.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Mapping
from typing import Any, TextIO

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "sonod"
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
# One datagram; the kernel's usual limit is about 200 KiB.
FIELD_LIMIT = 16384


def leads_to_journal(stream: TextIO, journal_stream: str) -> bool:
    """Whether `stream` is the one that systemd has connected to the journal, as JOURNAL_STREAM says."""
    device, _, inode = journal_stream.partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class JournalLogger:
    """What structlog writes to; without a journal, lines with a priority in front on `stream`, which systemd reads,
    too."""

    def __init__(self, stream: TextIO, address: str = SOCKET) -> None:
        self._stream = stream
        self._address = address

    def msg(self, **line: Any) -> None:
        """One entry; `event` and `level` as structlog gives them."""
        entry = entry_of(line)
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        try:
            with socket.socket(socket.AF_UNIX, kind) as sender:
                sender.sendto(encode_entry(entry), self._address)
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(f"<{entry['PRIORITY']}>{entry['MESSAGE']}\n")
                self._stream.flush()

    debug = info = warning = error = msg


class JournalRenderer:
    """The last structlog processor: hands the facts over as they are."""

    def __call__(self, logger: object, method: str, line: Mapping[str, Any]) -> tuple[tuple[()], dict[str, Any]]:
        return (), dict(line)


class JournalLoggerFactory:
    """Gives every part of the daemon the same logger."""

    def __init__(self, stream: TextIO, address: str = SOCKET) -> None:
        self._logger = JournalLogger(stream, address)

    def __call__(self, *arguments: object) -> JournalLogger:
        return self._logger


def entry_of(line: Mapping[str, Any]) -> dict[str, str]:
    """The fields of one line: MESSAGE for people, SONOD_<FACT> for programs."""
    facts = {name: _text(value) for name, value in line.items() if name not in ("event", "level", "exception")}
    event, exception = str(line.get("event", "")), line.get("exception")
    told = " ".join(f"{name}={json.dumps(fact) if ' ' in fact else fact}" for name, fact in facts.items())
    message = f"{event} {told}".rstrip()
    return {
        "MESSAGE": f"{message}\n{exception}" if exception else message,
        "PRIORITY": str(PRIORITIES.get(str(line.get("level", "info")), 6)),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "SONOD_EVENT": event,
        **{f"SONOD_{name.upper()}": fact for name, fact in facts.items() if name.isidentifier()},
    }


def encode_entry(entry: Mapping[str, str]) -> bytes:
    """The datagram of one entry."""
    parts = []
    for name, text in entry.items():
        value = text[:FIELD_LIMIT].encode()
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str)
