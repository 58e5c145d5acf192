"""Reading the options of a driver URI; DeviceNotFound names the option, its value and what it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sonod.drivers.base import Uri
from sonod.drivers.errors import DeviceNotFound


def number_option(uri: Uri, name: str, default: float, minimum: float = -math.inf, maximum: float = math.inf) -> float:
    """A number in minimum..maximum."""
    text = uri.options.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not minimum <= value <= maximum or math.isinf(value):
        limits = f" in {minimum:g}..{maximum:g}" if math.isfinite(minimum + maximum) else f" >= {minimum:g}"
        raise DeviceNotFound(f"driver URI {uri.text!r}: {name} must be a number{limits}, got {text!r}")
    return value


def whole_option(uri: Uri, name: str, default: int, minimum: int, maximum: int) -> int:
    """A whole number in minimum..maximum."""
    text = uri.options.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        value = minimum - 1
    if not minimum <= value <= maximum:
        raise DeviceNotFound(
            f"driver URI {uri.text!r}: {name} must be a whole number in {minimum}..{maximum}, got {text!r}"
        )
    return value


def choice_option(uri: Uri, name: str, default: str, choices: Sequence[str]) -> str:
    """One of the choices."""
    text = uri.options.get(name, default)
    if text not in choices:
        raise DeviceNotFound(f"driver URI {uri.text!r}: {name} must be one of {', '.join(choices)}, got {text!r}")
    return text
