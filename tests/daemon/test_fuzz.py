"""The short form of tests/fuzz/fuzz_sockets.py: whatever comes, the daemon answers or ignores it and stays as it is."""

from __future__ import annotations

import json

import pytest
import zmq
from daemon_bench import PATIENCE_S, Bench
from hostile import changes_something, conversations, requests, talk
from hypothesis import HealthCheck, given, seed, settings

LIMITS = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@pytest.fixture
def calm(bench: Bench) -> Bench:
    """A daemon that is frozen, so that no reply waits for a frame."""
    bench.control.freeze()
    return bench


@seed(5)
@settings(max_examples=50, **LIMITS)  # type: ignore[arg-type]
@given(requests)
def _hostile_request(dealer: zmq.Socket[bytes], bench: Bench, request: bytes) -> None:
    before = bench.control.get()
    dealer.send(request)
    reply = dealer.recv()
    assert set(json.loads(reply)) >= {"id", "ok"}
    assert changes_something(request, reply) or bench.control.get() == before


def test_hostile_requests_change_nothing_unless_the_reply_says_so(calm: Bench) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        dealer = context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
        dealer.connect(calm.daemon.addresses.control)
        _hostile_request(dealer, calm)
    finally:
        context.destroy(linger=0)


@seed(6)
@settings(max_examples=40, **LIMITS)  # type: ignore[arg-type]
@given(conversations)
def _hostile_bytes(bench: Bench, pieces: list[bytes]) -> None:
    talk(bench.daemon.addresses.control, pieces)
    talk(bench.daemon.addresses.frames[0], pieces)


def test_hostile_bytes_on_the_ports_change_nothing(calm: Bench) -> None:
    before = calm.control.get()
    _hostile_bytes(calm)
    assert calm.control.get() == before
    assert calm.control.status().state == "frozen"
    calm.control.unfreeze()
    frames = calm.frames()
    calm.driver.deliver()
    assert next(frames).header.revision == before.revision
