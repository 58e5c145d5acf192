"""The bytes of version 1: they may gain keys, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wire_messages as messages

from sonod.client.wire.control import decode_reply, decode_request, encode_reply, encode_request
from sonod.client.wire.header import decode_header, encode_header
from sonod.client.wire.notices import decode_notice, encode_notice

GOLDEN = Path(__file__).parent / "golden"
CASES: dict[str, tuple[Any, Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "frame_header": (messages.HEADER, encode_header, decode_header),
    "settings": (messages.SETTINGS, encode_notice, decode_notice),
    "state": (messages.STATE, encode_notice, decode_notice),
    "clock": (messages.CLOCK, encode_notice, decode_notice),
    "event": (messages.EVENT, encode_notice, decode_notice),
    "request": (messages.REQUEST, encode_request, decode_request),
    "reply": (messages.REPLY, encode_reply, decode_reply),
    "refusal": (messages.REFUSAL, encode_reply, decode_reply),
}


@pytest.mark.parametrize("name", CASES)
def test_encoding_gives_the_golden_bytes(name: str) -> None:
    message, encode, _ = CASES[name]
    assert encode(message) == (GOLDEN / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_golden_bytes_decode_to_the_message(name: str) -> None:
    message, _, decode = CASES[name]
    assert decode((GOLDEN / f"{name}.json").read_bytes()) == message


@pytest.mark.parametrize("name", sorted(set(CASES) - {"request", "reply"}))
def test_keys_of_a_later_version_are_ignored(name: str) -> None:
    message, _, decode = CASES[name]
    values = json.loads((GOLDEN / f"{name}.json").read_bytes())
    values["later"] = {"anything": [1, 2, 3]}
    for inner in ("times", "losses", "geometry", "acoustic", "error"):
        if inner in values:
            values[inner]["later"] = "anything"
    assert decode(json.dumps(values).encode()) == message
