"""Whatever arrives on its sockets, the daemon answers or ignores it and goes on."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from daemon_bench import PATIENCE_S, Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonod.client.wire.control import REQUEST_LIMIT_BYTES

# A web browser, noise, and a greeting that begins well.
GARBAGE = [b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 64, b"\xff" + bytes(8) + b"\x7f\x03" + b"\xff" * 900]


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def dealer(context: zmq.Context[zmq.Socket[bytes]], bench: Bench) -> Iterator[zmq.Socket[bytes]]:
    made = context.socket(zmq.DEALER)
    made.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
    made.connect(bench.daemon.addresses.control)
    yield made
    made.close()


def ask(dealer: zmq.Socket[bytes], data: bytes) -> dict[str, Any]:
    dealer.send(data)
    reply: dict[str, Any] = json.loads(dealer.recv())
    return reply


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        (b"", "malformed", "request: not JSON"),
        (b'{"command": "get"', "malformed", "request: not JSON"),
        (b"\x00\xff\x80garbage", "malformed", "request: not UTF-8"),
        (b'"get"', "malformed", "request: must be a JSON object"),
        (b'{"id": 1}', "malformed", "request: command: missing"),
        (b"[" * 60000, "malformed", "request: not JSON"),
        (b'{"command": "fly"}', "unknown_command", "'fly': no such command; there are describe, get, set"),
        (b'{"command": "set"}', "invalid", "set: changes: missing"),
        (b'{"command": "set", "changes": {}}', "invalid", "set: changes: must be"),
        (
            b'{"command": "set", "changes": {"gain_db": 1}, "expect": 1}',
            "invalid",
            "expect: unknown argument; there are",
        ),
        (b'{"command": "set", "changes": {"gain_db": "loud"}}', "refused", "gain_db: must be a number; got 'loud'"),
        (b'{"command": "set", "changes": {"gain_db": NaN}}', "refused", "gain_db: must be in -40..40 dB"),
        (b'{"command": "set", "changes": {"depth_m": 9}}', "refused", "depth_m: must be in 0.02..0.1 m; got 9"),
        (b'{"command": "set", "changes": {"depht_m": 1}}', "refused", "depht_m: no such setting"),
        (b'{"command": "set", "changes": {"tgc_db": [1, 2]}}', "refused", "tgc_db: must have 8 points; got 2"),
        (b'{"command": "set", "changes": {"gain_db": 1}, "expected_revision": 7}', "conflict", "expected revision 7"),
        (b'{"command": "get", "keys": ["gain"]}', "invalid", "gain: no such setting; did you mean gain_db"),
        (b'{"command": "preset", "name": "x"}', "invalid", "preset 'x': not known"),
        (b'{"command": "record", "action": "stop"}', "refused", "nothing is being recorded"),
        (b'{"command": "record", "action": "start", "path": "here.h5"}', "invalid", "must be an absolute path"),
        (
            b'{"command": "record", "action": "start", "path": "/nowhere/x.h5"}',
            "refused",
            "folder /nowhere does not",
        ),
        (b'{"command": "lease", "action": "release", "token": "x"}', "lease_lost", "no lease has this token"),
    ],
)
def test_bad_request_gets_one_clear_reply(
    dealer: zmq.Socket[bytes], bench: Bench, data: bytes, code: str, line: str
) -> None:
    reply = ask(dealer, data)
    assert not reply["ok"]
    assert reply["error"]["code"] == code
    assert line in reply["error"]["message"]
    assert "\n" not in reply["error"]["message"]
    assert ask(dealer, b'{"id": 2, "command": "get"}')["revision"] == 0


def test_every_problem_of_a_change_is_told_and_nothing_is_changed(dealer: zmq.Socket[bytes]) -> None:
    reply = ask(dealer, b'{"command": "set", "changes": {"gain_db": 3, "depth_m": 9, "wings": 2, "grey_map": "pink"}}')
    assert len(reply["error"]["problems"]) == 3
    assert ask(dealer, b'{"command": "get", "keys": ["gain_db"]}')["settings"] == {"gain_db": 0.0}


def test_message_of_several_parts_is_refused(dealer: zmq.Socket[bytes]) -> None:
    dealer.send_multipart([b"{}", b"{}"])
    assert json.loads(dealer.recv())["error"]["message"] == "request: must be one part of JSON; got 2 parts"


def test_req_socket_is_answered_in_kind(context: zmq.Context[zmq.Socket[bytes]], bench: Bench) -> None:
    with context.socket(zmq.REQ) as req:
        req.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
        req.connect(bench.daemon.addresses.control)
        req.send(b'{"id": "x", "command": "get"}')
        assert json.loads(req.recv())["id"] == "x"


def test_message_of_100_megabytes_costs_its_sender_the_connection_only(
    context: zmq.Context[zmq.Socket[bytes]], dealer: zmq.Socket[bytes], bench: Bench
) -> None:
    with context.socket(zmq.DEALER) as large, large.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
        large.setsockopt(zmq.LINGER, 0)
        large.connect(bench.daemon.addresses.control)
        large.send(bytes(100_000_000), copy=False)
        assert monitor.poll(int(PATIENCE_S * 1000)), "the sender was not disconnected"
        large.disable_monitor()
    assert ask(dealer, b'{"id": 1, "command": "status"}')["ok"]


def test_largest_request_is_answered(dealer: zmq.Socket[bytes]) -> None:
    data = b'{"command": "get", "keys": ["' + b"x" * (REQUEST_LIMIT_BYTES - 100) + b'"]}'
    assert ask(dealer, data)["error"]["code"] == "invalid"


@pytest.mark.parametrize("which", ["control", "frames"])
@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 64, b"\xff" + bytes(8) + b"\x7f\x03" + b"\xff" * 900]
)
def test_garbage_on_a_port_disturbs_nobody(bench: Bench, which: str, data: bytes) -> None:
    addresses = bench.daemon.addresses
    endpoint = addresses.control if which == "control" else addresses.frames[0]
    host, port = endpoint.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as connection:
        connection.sendall(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    frames = bench.frames()
    bench.driver.deliver()
    assert next(frames).header.frame >= 1
    assert bench.control.status().state == "running"


def test_subscriber_that_sends_nonsense_upstream_is_ignored(
    context: zmq.Context[zmq.Socket[bytes]], bench: Bench
) -> None:
    with context.socket(zmq.XSUB) as upstream:
        upstream.connect(bench.daemon.addresses.frames[0])
        for message in (b"\x07hello", b"", b"\x01" + b"x" * 900, b"\x01sonod.1.bmode.", b"\x01" + b"x" * 5000):
            upstream.send(message)
        frames = bench.frames()
        bench.driver.deliver()
        assert next(frames).header.frame == 1


def test_thousands_of_subscriptions_do_not_grow_the_daemon(
    context: zmq.Context[zmq.Socket[bytes]], bench: Bench
) -> None:
    with context.socket(zmq.SUB) as greedy:
        greedy.connect(bench.daemon.addresses.frames[0])
        for index in range(3000):
            greedy.subscribe(f"prefix-{index}".encode())
        frames = bench.frames()
        # Among thousands of others the daemon may hear of this subscription later than the socket serves it.
        deadline = time.monotonic() + PATIENCE_S
        while "bmode" not in bench.daemon.publisher.wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        bench.driver.deliver()
        assert next(frames).header.frame == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
commands = st.sampled_from(["describe", "get", "set", "preset", "freeze", "unfreeze", "status", "record", "lease", "x"])
names = st.sampled_from(["changes", "keys", "name", "action", "path", "token", "holder", "expected_revision", "lease"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(command=commands, arguments=st.dictionaries(names, json_values, max_size=3))
def test_any_request_gets_exactly_one_reply(
    dealer: zmq.Socket[bytes], command: str, arguments: dict[str, object]
) -> None:
    reply = ask(dealer, json.dumps({"id": 5, "command": command, **arguments}).encode())
    assert reply["id"] == 5
    assert reply["ok"] or reply["error"]["code"] != "internal", reply
