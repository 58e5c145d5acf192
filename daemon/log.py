"""How the daemon logs: lines for people on a terminal, entries with fields in the journal, JSON otherwise; to standard
error."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from sonod.daemon.journal import JournalLoggerFactory, JournalRenderer, leads_to_journal
from sonod.daemon.log_limit import LogLimit

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

# What every line says, whoever writes it: which driver, serial number and revision it was about. Replaced as a whole.
_standing: dict[str, Any] = {}


def say_always(**facts: Any) -> None:
    """Have every further line carry these facts; None and '' take one away."""
    global _standing
    merged = {**_standing, **facts}
    _standing = {name: value for name, value in merged.items() if value not in (None, "")}


def _add_standing(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in _standing.items():
        line.setdefault(name, value)
    return line


def configure_level(level: str) -> None:
    """Log from this level on, in the form chosen before."""
    structlog.configure(**{**structlog.get_config(), "wrapper_class": _filter(level)})


def _filter(level: str) -> Any:
    return structlog.make_filtering_bound_logger(LEVELS[level])


def configure_logging(
    level: str = "info", form: str = "auto", stream: TextIO | None = None, journal_stream: str = ""
) -> None:
    """`form` is auto, human, json or journal; auto is human when the stream is a terminal, journal when it leads to
    systemd's journal (`journal_stream`: its device and inode)."""
    target = sys.stderr if stream is None else stream
    if form == "auto":
        form = "human" if target.isatty() else "journal" if leads_to_journal(target, journal_stream) else "json"
    shared: list[Any] = [
        LogLimit(),
        structlog.contextvars.merge_contextvars,
        _add_standing,
        structlog.processors.add_log_level,
    ]
    factory: Any = structlog.PrintLoggerFactory(target)
    if form == "human":
        tail: list[Any] = [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=target.isatty()),
        ]
    elif form == "journal":
        tail = [structlog.processors.format_exc_info, JournalRenderer()]
        factory = JournalLoggerFactory(target)
    else:
        tail = [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    structlog.configure(
        processors=[*shared, *tail],
        wrapper_class=_filter(level),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )
