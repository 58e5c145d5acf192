"""Every product, notice and command has golden bytes, and an older client can read what is sent today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import older_wire.control
import older_wire.header
import older_wire.notices
import pytest
from golden_messages import CASES, COMMANDS, HEADERS

from sonod.client import replies
from sonod.client.wire.control import decode_reply, decode_request
from sonod.client.wire.fields import Fields
from sonod.client.wire.header import decode_header
from sonod.client.wire.notices import decode_notice
from sonod.daemon.subscriptions import PRODUCTS

GOLDEN = Path(__file__).parent / "golden"
# What the first client was tested with; never changed.
FIRST = Path(__file__).parent / "golden_first"
READERS: dict[str, type[Any]] = {
    "describe": replies.Description,
    "get": replies.CurrentSettings,
    "set": replies.AppliedSettings,
    "preset": replies.AppliedSettings,
    "status": replies.Status,
    "lease": replies.Lease,
}


@pytest.mark.parametrize("name", CASES)
def test_bytes_are_the_golden_ones(name: str) -> None:
    message, encode, decode = CASES[name]
    data = (GOLDEN / f"{name}.json").read_bytes()
    assert encode(message) == data
    assert encode(decode(data)) == data


def test_no_product_is_left_out() -> None:
    assert set(HEADERS) >= set(PRODUCTS)


@pytest.mark.parametrize("name", READERS)
def test_answers_are_read_into_their_types(name: str) -> None:
    reply = decode_reply((GOLDEN / f"reply_{name}.json").read_bytes())
    READERS[name].read(Fields(reply.result, name))


# -- an older client, a newer daemon -----------------------------------------------------------------------------------


def known(old: Any, new: Any) -> None:
    """Everything that the older client knows of a message is as the newer one reads it; but for the fingerprint's
    recipe, which a client does not compute."""
    if hasattr(old, "__dataclass_fields__"):
        for name in old.__dataclass_fields__:
            known(getattr(old, name), getattr(new, name))
    else:
        assert old == new


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_older_client_reads_every_message_of_today(path: Path) -> None:
    data = path.read_bytes()
    values = json.loads(data)
    if "shape" in values:
        known(older_wire.header.decode_header(data), decode_header(data))
    elif "product" in values and "command" not in values:
        if values["product"] in older_wire.notices.NOTICES:
            known(older_wire.notices.decode_notice(data), decode_notice(data))
    elif "ok" in values:
        known(older_wire.control.decode_reply(data), decode_reply(data))
    else:
        assert dict(older_wire.control.decode_request(data).arguments) == dict(decode_request(data).arguments)


@pytest.mark.parametrize("path", sorted(FIRST.glob("*.json")), ids=lambda path: path.stem)
def test_todays_client_reads_every_message_of_the_first_daemon(path: Path) -> None:
    data = path.read_bytes()
    values = json.loads(data)
    if "shape" in values:
        known(older_wire.header.decode_header(data), decode_header(data))
    elif "product" in values:
        known(older_wire.notices.decode_notice(data), decode_notice(data))
    elif "ok" in values:
        known(older_wire.control.decode_reply(data), decode_reply(data))
    else:
        assert decode_request(data).command in COMMANDS
