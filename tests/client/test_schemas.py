"""The JSON Schemas are those of the types, and describe what is sent."""

from __future__ import annotations

import importlib.util
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

REPOSITORY = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
SCHEMAS = {
    path.name.removesuffix(".json"): json.loads(path.read_text())
    for path in (files("sonod.client.wire") / "schemas").iterdir()
}


def schema_of(values: dict[str, Any]) -> str:
    if "shape" in values:
        return "frame_header"
    if "product" in values and "command" not in values:
        return str(values["product"])
    return "reply" if "ok" in values else "request"


def check(name: str, values: Any) -> None:
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(values)


@pytest.mark.tree
def test_schemas_are_up_to_date() -> None:
    """`make schemas` when this fails."""
    spec = importlib.util.spec_from_file_location("make_schemas", REPOSITORY / "docs" / "make_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    made = {name: maker.text_of(schema) for name, schema in maker.schemas().items()}
    there = {path.stem: path.read_text() for path in (REPOSITORY / "client" / "wire" / "schemas").glob("*.json")}
    assert there == made, "run `make schemas`"


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden_message_keeps_to_its_schema(path: Path) -> None:
    values = json.loads(path.read_text())
    check(schema_of(values), values)
    if path.stem.startswith("reply_"):
        schema = SCHEMAS["reply"]
        own = {"$ref": f"#/$defs/{path.stem.removeprefix('reply_')}", "$defs": schema["$defs"]}
        jsonschema.Draft202012Validator(own).validate(values)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("frame_header", {"frame": 0}),
        ("frame_header", {"sonod": 2}),
        ("frame_header", {"dtype": "object"}),
        ("frame_header", {"geometry": {"kind": "image"}}),
        ("frame_header", {"times": {}}),
        ("state", {"state": 3}),
        ("request", {"command": "explode"}),
        ("request", {"misspelt": 1}),
    ],
)
def test_wrong_message_does_not_keep_to_its_schema(name: str, change: dict[str, Any]) -> None:
    values = json.loads((GOLDEN / f"{name}.json").read_text()) | change
    with pytest.raises(jsonschema.ValidationError):
        check(name, values)
