"""Control messages: a JSON request with an id, and the one reply to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from older_wire.errors import WireError
from older_wire.fields import Fields, compact

# Larger requests cost their sender the connection; the longest true request is a few kilobytes.
REQUEST_LIMIT_BYTES = 64 * 1024

RequestId = str | int | None


@dataclass(frozen=True)
class Request:
    """`{"id": ..., "command": ..., <arguments>}`; the id comes back in the reply and is the sender's own."""

    id: RequestId
    command: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Why a request was refused: a code for programs, a line for people, and one line for each thing that is wrong."""

    code: str
    message: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """`{"id": ..., "ok": true, <result>}` or `{"id": ..., "ok": false, "error": {...}}`."""

    id: RequestId
    result: Mapping[str, Any] = field(default_factory=dict)
    error: Problem | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


def encode_request(request: Request) -> bytes:
    """The request as UTF-8 JSON."""
    return compact({"id": request.id, "command": request.command, **request.arguments}).encode()


def decode_request(data: bytes | memoryview) -> Request:
    """The request in `data`; WireError names what is wrong."""
    fields = Fields.parse(data, "request")
    identity = request_id(fields)
    arguments = {name: value for name, value in fields.values.items() if name not in ("id", "command")}
    return Request(identity, fields.text("command"), arguments)


def encode_reply(reply: Reply) -> bytes:
    """The reply as UTF-8 JSON."""
    if reply.error is None:
        return compact({"id": reply.id, "ok": True, **reply.result}).encode()
    error = {"code": reply.error.code, "message": reply.error.message, "problems": reply.error.problems}
    return compact({"id": reply.id, "ok": False, "error": error}).encode()


def decode_reply(data: bytes | memoryview) -> Reply:
    """The reply in `data`; WireError names what is wrong."""
    fields = Fields.parse(data, "reply")
    identity = request_id(fields)
    if fields.flag("ok"):
        return Reply(identity, {name: value for name, value in fields.values.items() if name not in ("id", "ok")})
    error = fields.inner("error")
    return Reply(identity, error=Problem(error.text("code"), error.text("message"), error.texts("problems")))


def request_id(fields: Fields) -> RequestId:
    """The id of a request or reply: a text, a whole number, or none."""
    identity = fields.values.get("id")
    if identity is not None and (isinstance(identity, bool) or not isinstance(identity, str | int)):
        raise WireError(f"{fields.where}: id: must be a text or a whole number")
    return identity
