"""What a hostile or broken peer may send: requests, and bytes on the ports themselves."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from typing import Any

from hypothesis import strategies as st

KNOBS = ("depth_m", "gain_db", "tgc_db", "angle_count", "grey_map", "output_level", "frame_rate_hz", "nothing")
COMMANDS = (
    *("describe", "get", "set", "preset", "save", "load", "freeze", "unfreeze", "start", "stop", "status", "record"),
    *("lease", "fly", "", "__class__"),
)
ARGUMENTS = (
    *("changes", "keys", "name", "expected_revision", "lease", "action", "holder", "token", "ttl_s", "connection"),
    *("file", "path", "seconds", "id", "x"),
)
# Commands that change nothing, whatever comes with them.
READING = ("describe", "get", "status", "save")

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=40)
    | st.sampled_from(
        ("acquire", "takeover", "release", "status", "start", "stop", "needle", "/nowhere/x.h5", "[settings]\n")
    ),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(KNOBS) | st.text(max_size=10), inner, max_size=5)
    ),
    max_leaves=12,
)
objects = st.fixed_dictionaries(
    {"command": st.sampled_from(COMMANDS) | values},
    optional={"id": values, **{name: values for name in ARGUMENTS if name != "id"}},
)


def _mangled(data: bytes, place: float, patch: bytes) -> bytes:
    """The data with a few bytes written over."""
    at = int(place * len(data))
    return data[:at] + patch + data[at + len(patch) :]


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


# One message part, sensible or not.
requests = (
    objects.map(_encoded)
    | st.builds(_mangled, objects.map(_encoded), st.floats(0, 1), st.binary(max_size=4))
    | st.binary(max_size=300)
    | st.just(b"[" * 50_000)
    | st.integers(1, 3000).map(lambda depth: b'{"command":' * depth)
)

GREETING = b"\xff" + bytes(7) + b"\x01\x7f\x03"
NULL_GREETING = GREETING + b"\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
CURVE_GREETING = GREETING + b"\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
DEALER = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
HELLO = b"\x04\xc8" + b"\x05HELLO" + b"\x01\x00" + bytes(192)

frames = st.builds(
    lambda flags, long, length, body: (
        bytes([flags | 2]) + struct.pack(">Q", length) + body if long else bytes([flags & ~2, length & 255]) + body
    ),
    st.integers(0, 255),
    st.booleans(),
    st.integers(0, 300) | st.sampled_from((2**16, 2**31, 2**62, 2**63, 2**64 - 1)),
    st.binary(max_size=300),
)
VARIANT = b"sonod.1+"


def subscribed(prefix: bytes) -> bytes:
    """A subscription, as ZMTP has it."""
    return bytes([0, len(prefix) + 1, 1]) + prefix


subscriptions = st.builds(
    subscribed, st.binary(max_size=60) | st.binary(max_size=40).map(lambda variant: VARIANT + variant)
)
# What one connection sends, piece by piece.
conversations = (
    st.lists(
        st.sampled_from((GREETING, NULL_GREETING, CURVE_GREETING, READY, DEALER, HELLO))
        | frames
        | st.binary(max_size=200)
        | subscriptions,
        max_size=8,
    )
    | st.lists(frames, max_size=6).map(lambda pieces: [NULL_GREETING, DEALER, *pieces])
    | st.lists(subscriptions, max_size=6).map(lambda pieces: [NULL_GREETING, READY, *pieces])
)


def talk(endpoint: str, pieces: list[bytes]) -> None:
    """Send the pieces on a connection of their own, hear a little, and go, politely or not."""
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=5) as raw:
        raw.settimeout(0.002)
        for number, piece in enumerate(pieces):
            raw.sendall(piece)
            if number % 3 == 0:
                with contextlib.suppress(TimeoutError):
                    raw.recv(4096)
        if sum(map(len, pieces)) % 2:
            # Gone without a word.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def changes_something(request: bytes, reply: bytes) -> bool:
    """Whether the daemon has said that it did something on this request."""
    answer = json.loads(reply)
    if not answer["ok"]:
        return False
    command = json.loads(request)["command"]
    action = json.loads(request).get("action")
    return command not in READING and not (command == "lease" and action == "status")
