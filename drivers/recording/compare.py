"""Whether two acquisitions mean the same, so that their frames may stand in one recording."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from sonod.drivers.frame import Acquisition, LineGeometry
from sonod.drivers.probe import Probe
from sonod.drivers.sequence import Sequence, TransmitEvent

_WITH_ARRAYS = (Acquisition, LineGeometry, Probe, Sequence, TransmitEvent)


def difference(one: object, other: object, name: str = "acquisition") -> str:
    """The path of the first thing that differs, or '' when both mean the same. NaN equals NaN."""
    if one is other:
        return ""
    if type(one) is not type(other):
        return name
    if isinstance(one, _WITH_ARRAYS):
        pairs: list[tuple[Any, Any, str]] = [
            (getattr(one, field.name), getattr(other, field.name), f"{name}.{field.name}") for field in fields(one)
        ]
    elif isinstance(one, tuple) and isinstance(other, tuple):
        if len(one) != len(other):
            return name
        pairs = [(a, b, f"{name}[{index}]") for index, (a, b) in enumerate(zip(one, other, strict=True))]
    elif isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return "" if np.array_equal(one, other, equal_nan=one.dtype.kind == "f") else name
    else:
        same = one == other or (one != one and other != other)
        return "" if same else name
    for a, b, path in pairs:
        found = difference(a, b, path)
        if found:
            return found
    return ""
