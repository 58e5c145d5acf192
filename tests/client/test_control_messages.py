from __future__ import annotations

import pytest

from sonod.client.wire.control import decode_reply, decode_request
from sonod.client.wire.errors import WireError


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"{", "request: not JSON"),
        (b"\xff", "request: not UTF-8 (byte 0)"),
        (b"[1]", "request: must be a JSON object; got [1]"),
        (b'{"id": 1}', "request: command: missing; must be a text"),
        (b'{"command": 5}', "request: command: must be a text; got 5"),
        (b'{"command": "get", "id": [1]}', "request: id: must be a text or a whole number"),
        (b'{"a":' * 20000 + b"1" + b"}" * 20000, "request: not JSON"),
    ],
)
def test_malformed_request_is_refused_with_one_line(data: bytes, line: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_request(data)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_request_keeps_its_arguments() -> None:
    request = decode_request(b'{"command": "get", "keys": ["depth_m"]}')
    assert (request.id, request.command, request.arguments) == (None, "get", {"keys": ["depth_m"]})


def test_reply_without_ok_is_refused() -> None:
    with pytest.raises(WireError, match="reply: ok: missing"):
        decode_reply(b"{}")
