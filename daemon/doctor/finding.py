"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    GOOD = "good"
    WARNING = "warning"  # sonod works, but not as well as it could
    WRONG = "wrong"  # something will not work


@dataclass(frozen=True)
class Finding:
    """What one check found; `remedy` is '' when all is well."""

    check: str
    verdict: Verdict
    message: str
    remedy: str = ""


def good(check: str, message: str) -> Finding:
    return Finding(check, Verdict.GOOD, message)


def warning(check: str, message: str, remedy: str) -> Finding:
    return Finding(check, Verdict.WARNING, message, remedy)


def wrong(check: str, message: str, remedy: str) -> Finding:
    return Finding(check, Verdict.WRONG, message, remedy)
