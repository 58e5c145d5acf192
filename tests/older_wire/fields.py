"""Typed reading of a JSON object that came from somebody else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from older_wire.errors import WireError

# Longest part of a wrong value that an error message repeats.
SHOWN_LENGTH = 60


class Fields:
    """A JSON object whose fields are checked as they are read; WireError names `where` and the field.

    A field that is missing, or null, takes the default; without a default it is an error. Unknown fields are ignored.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    @classmethod
    def parse(cls, data: bytes | memoryview, where: str) -> Fields:
        """The fields of a UTF-8 JSON object."""
        try:
            values = json.loads(bytes(data).decode("utf-8"))
        except UnicodeDecodeError as error:
            raise WireError(f"{where}: not UTF-8 (byte {error.start})") from error
        except (ValueError, RecursionError) as error:
            raise WireError(f"{where}: not JSON ({error})") from error
        if not isinstance(values, dict):
            raise WireError(f"{where}: must be a JSON object; got {shown(values)}")
        return cls(values, where)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._get(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "a whole number")
        return value

    def optional_integer(self, name: str) -> int | None:
        return None if self.values.get(name) is None else self.integer(name)

    def number(self, name: str, default: float | None = None) -> float:
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(name, "a number")
        return float(value)

    def optional_number(self, name: str) -> float | None:
        return None if self.values.get(name) is None else self.number(name)

    def flag(self, name: str, default: bool | None = None) -> bool:
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        value = self._get(name, None)
        if not isinstance(value, list) or any(isinstance(item, bool) or not isinstance(item, int) for item in value):
            raise self.wrong(name, "a list of whole numbers")
        return tuple(value)

    def vector(self, name: str) -> tuple[float, float, float]:
        value = self._get(name, None)
        if not isinstance(value, list) or len(value) != 3 or not all(isinstance(item, int | float) for item in value):
            raise self.wrong(name, "a list of three numbers")
        x, y, z = (float(item) for item in value)
        return x, y, z

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "a list of texts")
        return tuple(value)

    def inner(self, name: str) -> Fields:
        """The fields of a required object."""
        value = self._get(name, None)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return Fields(value, f"{self.where}: {name}")

    def optional_inner(self, name: str) -> Fields | None:
        return None if self.values.get(name) is None else self.inner(name)

    def inners(self, name: str) -> tuple[Fields, ...]:
        """The fields of each object of an optional list."""
        value = self._get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(name, "a list of objects")
        return tuple(Fields(item, f"{self.where}: {name}[{index}]") for index, item in enumerate(value))

    def wrong(self, name: str, expected: str) -> WireError:
        """The error for a field that is missing or is not `expected`."""
        if self.values.get(name) is None:
            return WireError(f"{self.where}: {name}: missing; must be {expected}")
        return WireError(f"{self.where}: {name}: must be {expected}; got {shown(self.values[name])}")

    def _get(self, name: str, default: Any) -> Any:
        value = self.values.get(name)
        return default if value is None else value


def shown(value: Any) -> str:
    """A value as an error message repeats it: JSON, cut when long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 3] + "..."


def compact(values: Mapping[str, Any]) -> str:
    """JSON without spaces; ValueError on NaN and infinities, which JSON does not have."""
    return json.dumps(values, separators=(",", ":"), allow_nan=False)
