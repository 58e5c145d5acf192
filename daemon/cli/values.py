"""KEY=VALUE as people type it."""

from __future__ import annotations

from collections.abc import Sequence

from sonod.daemon.cli.failure import USAGE, Failure

Typed = float | int | str | list[float]


def parse_changes(pairs: Sequence[str]) -> dict[str, Typed]:
    """Settings by name; Failure lists every pair that is not KEY=VALUE."""
    changes: dict[str, Typed] = {}
    problems: list[str] = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip() or not text.strip():
            problems.append(f"{pair!r}: must be KEY=VALUE, for example depth_m=0.04")
        elif key.strip() in changes:
            problems.append(f"{pair!r}: {key.strip()} is given twice")
        else:
            changes[key.strip()] = parse_value(text.strip())
    if problems:
        raise Failure(USAGE, *problems)
    return changes


def parse_value(text: str) -> Typed:
    """A whole number, a number, a comma list of numbers, else the text itself."""
    if "," in text:
        points = [_number(part) for part in text.split(",")]
        numbers = [float(point) for point in points if point is not None]
        return numbers if len(numbers) == len(points) else text
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> float | int | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None
