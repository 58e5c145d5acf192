"""docs/wire-protocol.md says everything: no key, command, code, state or product is missing from it."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from sonod.client.wire.control import REQUEST_LIMIT_BYTES
from sonod.client.wire.geometry import GEOMETRIES
from sonod.client.wire.header import DTYPES
from sonod.client.wire.topic import MAJOR_VERSION
from sonod.daemon import access, arguments, clipper, commands, control, lease, lease_desk, places, planner, recorder
from sonod.daemon.lease import DEFAULT_TTL_S, LONGEST_TTL_S, SHORTEST_TTL_S
from sonod.daemon.state import State
from sonod.daemon.subscriptions import PRODUCTS

TESTS = Path(__file__).parents[1]
DOCUMENT = (TESTS.parent / "docs" / "wire-protocol.md").read_text(encoding="utf-8")
GOLDEN = TESTS / "client" / "golden"


def keys_of(value: Any) -> set[str]:
    """All keys at every depth, but not the names of knobs and stages."""
    if isinstance(value, list):
        return set().union(*(keys_of(item) for item in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    keys = set(value)
    for key, inner in value.items():
        if key not in ("settings", "changes", "applied", "stages"):
            keys |= keys_of(inner)
    return keys


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_every_key_of_the_golden_messages_is_documented(path: Path) -> None:
    keys = keys_of(json.loads(path.read_bytes()))
    assert not {key for key in keys if not re.search(rf'`[^`\n]*\b{key}\b[^`\n]*`|"{key}"', DOCUMENT)}


def test_every_key_of_every_geometry_is_documented() -> None:
    for geometry in GEOMETRIES.values():
        assert f"`{geometry.kind}`, axes" in DOCUMENT
        for name in geometry.__dataclass_fields__:
            assert re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", DOCUMENT), f"{geometry.kind}: {name}"


@pytest.mark.parametrize("names", [PRODUCTS, DTYPES, tuple(State)], ids=["products", "dtypes", "states"])
def test_names_are_documented(names: tuple[str, ...]) -> None:
    for name in names:
        assert f"`{name}`" in DOCUMENT


def test_products_stand_in_the_order_in_which_they_are_sent() -> None:
    table = re.findall(r"^\| `(\w+)` \|", DOCUMENT[: DOCUMENT.index("### Header of a frame")], re.MULTILINE)
    assert tuple(table[: len(PRODUCTS)]) == PRODUCTS


def test_every_error_code_in_the_code_is_documented_and_the_other_way_round() -> None:
    modules = (access, arguments, commands, control, lease, lease_desk, places, planner, recorder, clipper)
    raised = {
        code
        for text in map(inspect.getsource, modules)
        for code in re.findall(r'(?:CommandError|Problem)\(\s*"(\w+)"', text)
    }
    table = DOCUMENT[DOCUMENT.index("| Code | Meaning |") : DOCUMENT.index("### Commands")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == raised


def test_limits_are_those_of_the_code() -> None:
    assert REQUEST_LIMIT_BYTES == 64 * 1024
    assert "at most 64 KiB" in DOCUMENT
    assert f"`ttl_s` (optional, {SHORTEST_TTL_S:g} to {LONGEST_TTL_S:g}, {DEFAULT_TTL_S:g})" in DOCUMENT
    assert f"version {MAJOR_VERSION}" in DOCUMENT.splitlines()[0]
