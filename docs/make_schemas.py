"""Write the JSON Schemas of every message from the types that read and write them: `make schemas`.

The results are checked in as `client/wire/schemas/*.json` and installed with the package; a test says when they are out
of date. A field of a type that has a default is an optional key, and may be null; keys that are not named are allowed
everywhere except in requests, where a misspelt argument must not be lost in silence.
"""

from __future__ import annotations

import json
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from sonod.client import replies
from sonod.client.wire import header, notices
from sonod.client.wire.control import Problem
from sonod.client.wire.geometry import ARRAY_ORDER, GEOMETRIES, ORIENTATIONS, ImageGeometry, Matrix
from sonod.client.wire.topic import MAJOR_VERSION
from sonod.daemon import arguments

FOLDER = Path(__file__).parents[1] / "client" / "wire" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

# What a field's type does not say.
NARROWER: Mapping[tuple[str, str], Schema] = {
    ("FrameHeader", "frame"): {"type": "integer", "minimum": 1},
    ("FrameHeader", "shape"): {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
    ("FrameHeader", "dtype"): {"enum": list(header.DTYPES)},
    ("FrameHeader", "byte_order"): {"enum": [header.LITTLE, header.BIG]},
    ("AcousticIndex", "status"): {"enum": list(header.ACOUSTIC_STATUS)},
    ("ImageGeometry", "orientation_letters"): {"enum": list(ORIENTATIONS)},
}
# Fields that stand in the message in another form than the type keeps them, or not at all.
ELSEWHERE: Mapping[tuple[str, str], Schema | None] = {
    ("FrameHeader", "geometry"): {"oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in GEOMETRIES.values()]},
    ("ImageGeometry", "transforms"): {"type": "array", "items": {"$ref": "#/$defs/Link"}},
    ("Description", "knobs"): {"type": "array", "items": {"$ref": "#/$defs/KnobDescription"}},
    ("Status", "values"): None,
    ("Status", "lease_holder"): None,
}
STATE_REPLY: Schema = {"type": "object", "properties": {"state": {"type": "string"}}, "required": ["state"]}
PATH_REPLY: Schema = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
FILE_REPLY: Schema = {
    "type": "object",
    "properties": {"revision": {"type": "integer"}, "file": {"type": "string"}},
    "required": ["revision", "file"],
}
MEMORY_REPLY: Schema = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "expires_in_s": {"type": "number"}},
    "required": ["name", "expires_in_s"],
}
SWITCH_REPLY: Schema = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("from", "to", "session")},
    "required": ["from", "to", "session"],
}
# Command -> its arguments and what answers it.
COMMANDS: Mapping[str, tuple[type[arguments.Arguments], type | Schema]] = {
    "describe": (arguments.NoArguments, replies.Description),
    "get": (arguments.GetArguments, replies.CurrentSettings),
    "set": (arguments.SetArguments, replies.AppliedSettings),
    "preset": (arguments.PresetArguments, replies.AppliedSettings),
    "save": (arguments.NoArguments, FILE_REPLY),
    "load": (arguments.LoadArguments, replies.AppliedSettings),
    "freeze": (arguments.NoArguments, STATE_REPLY),
    "unfreeze": (arguments.TransmitArguments, STATE_REPLY),
    "start": (arguments.TransmitArguments, STATE_REPLY),
    "stop": (arguments.NoArguments, STATE_REPLY),
    "status": (arguments.NoArguments, replies.Status),
    "record": (arguments.RecordArguments, {"anyOf": [PATH_REPLY, {"$ref": "#/$defs/RecordingOutcome"}]}),
    "clip": (arguments.ClipArguments, replies.ClipStarted),
    "mark": (arguments.MarkArguments, replies.Marked),
    "lease": (arguments.LeaseArguments, replies.Lease),
    "shared_memory": (arguments.SharedMemoryArguments, MEMORY_REPLY),
    "switch": (arguments.SwitchArguments, SWITCH_REPLY),
}


class Definitions:
    """The `$defs` of one schema, filled as types are met."""

    def __init__(self) -> None:
        self.found: Schema = {}

    def of(self, kind: Any) -> Schema:
        """The schema of a type annotation."""
        simple = {int: "integer", float: "number", str: "string", bool: "boolean", types.NoneType: "null"}
        if kind in simple:
            return {"type": simple[kind]}
        if kind is Any:
            return {}
        if is_dataclass(kind):
            return self.reference(typing.cast(type, kind))
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return {"anyOf": [self.of(each) for each in inner]}
        if origin is tuple and inner[-1] is Ellipsis:
            return {"type": "array", "items": self.of(inner[0])}
        if origin is tuple:
            return {
                "type": "array",
                "prefixItems": [self.of(each) for each in inner],
                "items": False,
                "minItems": len(inner),
            }
        if origin is Mapping or origin is dict:
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        raise TypeError(f"no schema for {kind!r}")

    def reference(self, kind: type) -> Schema:
        """A reference to a dataclass, which is defined when first met."""
        name = kind.__name__
        if name not in self.found:
            self.found[name] = {}
            self.found[name] = self.object(kind)
        return {"$ref": f"#/$defs/{name}"}

    def object(self, kind: type) -> Schema:
        """A dataclass as an object."""
        hints = typing.get_type_hints(kind)
        properties: Schema = {}
        required = []
        for field in fields(kind):
            place = (kind.__name__, field.name)
            if ELSEWHERE.get(place, {}) is None:
                continue
            schema = ELSEWHERE.get(place) or NARROWER.get(place) or self.of(hints[field.name])
            if field.default is MISSING and field.default_factory is MISSING:
                required.append(field.name)
            else:
                schema = _or_null(schema)
            properties[field.name] = schema
        summary = (kind.__doc__ or "").split("\n\n")[0]
        return {
            "description": " ".join(summary.split()),
            "type": "object",
            "properties": properties,
            "required": required,
        }


def _or_null(schema: Schema) -> Schema:
    choices = schema.get("anyOf", [schema])
    return {"anyOf": choices if {"type": "null"} in choices else [*choices, {"type": "null"}]}


def _document(name: str, title: str, schema: Schema, definitions: Definitions | None = None) -> Schema:
    found = {} if definitions is None else definitions.found
    return {
        "$schema": DIALECT,
        "$id": f"https://sonod.invalid/schemas/{MAJOR_VERSION}/{name}.json",
        "title": title,
        **schema,
        **({"$defs": dict(sorted(found.items()))} if found else {}),
    }


def _geometries(definitions: Definitions) -> None:
    """The geometry blocks: a type's fields, its kind and axes, and what follows from them."""
    matrix = definitions.of(Matrix)
    for kind, geometry in GEOMETRIES.items():
        schema = definitions.object(geometry)
        axes = list(geometry.axes)
        schema["properties"] |= {"kind": {"const": kind}, "axes": {"const": axes}, "fingerprint": {"type": "string"}}
        schema["properties"]["shape"] = {
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "minItems": len(axes),
            "maxItems": len(axes),
        }
        schema["required"] += ["kind", "axes", "fingerprint"]
        if geometry is ImageGeometry:
            schema["properties"] |= {
                "array_order": {"anyOf": [{"const": ARRAY_ORDER}, {"type": "null"}]},
                "image_to_transducer": matrix,
                "transducer_origin_pixel": definitions.of(tuple[float, float]),
                "orientation": {"type": "object"},
            }
            schema["required"] += ["image_to_transducer", "transducer_origin_pixel", "orientation"]
        definitions.found[geometry.__name__] = schema
    definitions.found["Link"] = {
        "description": "One link of the chain of transforms.",
        "type": "object",
        "properties": {"from": {"type": "string"}, "to": {"type": "string"}, "matrix": matrix},
        "required": ["from", "to", "matrix"],
    }


def _published(schema: Schema, product: Schema) -> Schema:
    """An object with the keys that every published message has."""
    schema = {**schema, "properties": {"sonod": {"const": MAJOR_VERSION}, "product": product} | schema["properties"]}
    schema["required"] = ["sonod", "product", *(key for key in schema["required"] if key != "product")]
    return schema


def _frame_header() -> Schema:
    definitions = Definitions()
    _geometries(definitions)
    schema = _published(definitions.object(header.FrameHeader), {"type": "string"})
    return _document("frame_header", "Header of a frame", schema, definitions)


def _notices() -> dict[str, Schema]:
    documents = {}
    for kind in typing.get_args(notices.Notice):
        definitions = Definitions()
        product = kind.__name__.removesuffix("Notice").lower()
        schema = _published(definitions.object(kind), {"const": product})
        documents[product] = _document(product, f"Header of a {product} message", schema, definitions)
    return documents


def _identity() -> Schema:
    return {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}


def _request() -> Schema:
    definitions: Schema = {}
    for command, (model, _) in COMMANDS.items():
        schema = model.model_json_schema()
        properties = {"id": _identity(), "command": {"const": command}, **schema.get("properties", {})}
        definitions[command] = {
            "type": "object",
            "properties": properties,
            "required": ["id", "command", *schema.get("required", [])],
            "additionalProperties": False,
        }
    schema = {"oneOf": [{"$ref": f"#/$defs/{command}"} for command in definitions], "$defs": definitions}
    return _document("request", "A control request", schema)


def _reply() -> Schema:
    """`$defs` has what answers each command; the whole is any of them, or a refusal."""
    definitions = Definitions()
    for kind in (replies.RecordingOutcome, replies.KnobDescription, replies.Lease):
        definitions.reference(kind)
    choices = []
    for command, (_, result) in COMMANDS.items():
        body = definitions.object(result) if isinstance(result, type) else result
        if command == "status":
            body["properties"]["lease"] = _or_null({"$ref": "#/$defs/Lease"})
        definitions.found[command] = {
            "allOf": [{"$ref": "#/$defs/good"}, body],
            "description": f"What answers {command}",
        }
        choices.append({"$ref": f"#/$defs/{command}"})
    definitions.found["good"] = {
        "type": "object",
        "properties": {"id": _identity(), "ok": {"const": True}},
        "required": ["id", "ok"],
    }
    definitions.found["refusal"] = {
        "type": "object",
        "properties": {"id": _identity(), "ok": {"const": False}, "error": definitions.reference(Problem)},
        "required": ["id", "ok", "error"],
    }
    return _document("reply", "A control reply", {"anyOf": [*choices, {"$ref": "#/$defs/refusal"}]}, definitions)


def schemas() -> dict[str, Schema]:
    """Name -> schema, of every message."""
    return {"frame_header": _frame_header(), **_notices(), "request": _request(), "reply": _reply()}


def text_of(schema: Schema) -> str:
    """As the file holds it."""
    return json.dumps(schema, indent=1) + "\n"


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        path = FOLDER / f"{name}.json"
        path.write_text(text_of(schema), encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(FOLDER.parents[2])}\n")


if __name__ == "__main__":
    main()
