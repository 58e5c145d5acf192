"""One rule of the protocol, kept or not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`problem` is empty when the rule is kept, else one line."""

    check: str
    problem: str = ""
