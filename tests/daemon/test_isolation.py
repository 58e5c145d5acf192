"""Bad subscribers cost a good one nothing: neither frames nor, beyond a bound, the daemon memory. (Time is measured by
`sonod bench isolation`, on a machine that has some.)"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zmq
from daemon_bench import PATIENCE_S, Bench
from fake_clock import FakeClock

from sonod.client.subscriber import Subscriber
from sonod.daemon.bench.isolation import FLOODING, LOW_PRIORITY, bad_subscribers, measure_isolation, start_program
from sonod.daemon.bench.path import memory_mib
from sonod.daemon.penalties import FIRST_S, FORGIVEN_S, LONGEST_S, REMEMBERED, Penalties
from sonod.daemon.subscriber_guard import SILENCED_LIMIT, SUBSCRIPTION_LIMIT
from sonod.daemon.zap import ZapHandler

FRAMES = 150
# Sockets of the one that floods, one after the other.
FLOODS = 2
# A client that is cut comes back within a tenth of this.
RETURN_S = 1.5


def counts_of(bench: Bench) -> dict[str, Any]:
    return bench.daemon.publisher.block()


def has_noticed(bench: Bench, floods: int) -> bool:
    return counts_of(bench)["cut_flooding"] >= floods


def wait_for(what: Callable[[], bool], why: str) -> None:
    deadline_s = time.monotonic() + 6 * PATIENCE_S
    while not what():
        assert time.monotonic() < deadline_s, why
        time.sleep(0.01)


@contextlib.contextmanager
def flooding(endpoint: str, subscriptions: int = 20_000) -> Iterator[subprocess.Popen[bytes]]:
    """A program that has subscribed far too often, and goes on using its socket."""
    program = start_program(FLOODING, endpoint, str(subscriptions), "1")
    try:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(b"go\n")
        program.stdin.flush()
        assert program.stdout.readline() == b"flooded\n"
        yield program
    finally:
        program.kill()
        program.communicate()


def test_stopped_flooding_and_noisy_subscribers_cost_the_good_one_nothing(start: Callable[..., Bench]) -> None:
    bench = start(
        lambda driver: setattr(driver, "columns", 1 << 15),
        # As many waiting messages as usual: frames follow each other here within 0.2 ms, and libzmq learns late which
        # of them have been taken.
        publish={"stalled_s": 5.0},
        # The rings of clips would fill for as long as they have room.
        cine={"image_s": 0.0, "rf_s": 0.0},
    )
    frames = bench.frames()
    bench.driver.deliver()
    next(frames)
    memory = memory_mib(os.getpid())
    with bad_subscribers(bench.daemon.addresses.frames[0], "bmode", 100_000, FLOODS) as bad:
        bad.begin()
        numbers: list[int] = []
        while len(numbers) < FRAMES or not (
            counts_of(bench)["cut_stalled"] and has_noticed(bench, FLOODS) and bad.flooded()
        ):
            bench.driver.deliver()
            numbers.append(next(frames).header.frame)
            assert len(numbers) < 10_000 * FRAMES
        counts = bench.control.status().values["subscribers"]
    assert numbers == list(range(2, len(numbers) + 2))
    assert bench.subscriber.losses["bmode"].total == 0
    assert counts["cut_stalled"] >= 1
    assert counts["cut_flooding"] >= FLOODS
    assert memory_mib(os.getpid()) - memory < 64


def test_the_bench_listens_at_both_daemons() -> None:
    result = measure_isolation(1.0, flood=SUBSCRIPTION_LIMIT + 1)
    assert min(result.frames_before, result.frames_during) > 0
    assert min(result.p50_before_ms, result.p50_during_ms, result.p50_beside_ms) > 0


def test_bad_programs_of_the_bench_take_no_processor_from_others(bench: Bench) -> None:
    with bad_subscribers(bench.daemon.addresses.frames[0], "bmode", 1, low=True) as bad:
        for program in bad.programs:
            assert os.getpriority(os.PRIO_PROCESS, program.pid) == LOW_PRIORITY
            assert os.sched_getscheduler(program.pid) == os.SCHED_OTHER


def test_one_connection_has_few_subscriptions(bench: Bench) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.SUB) as greedy:
        greedy.connect(bench.daemon.addresses.frames[0])
        for index in range(SUBSCRIPTION_LIMIT):
            greedy.subscribe(b"sonod.1.rf.%d" % index)
        wait_for(lambda: counts_of(bench)["accepted"] >= 1, "no connection")
        assert counts_of(bench)["cut_flooding"] == 0
        greedy.subscribe(b"sonod.1.rf.128")
        wait_for(lambda: counts_of(bench)["cut_flooding"] == 1, "it may have as many as it likes")
        assert counts_of(bench)["silenced"] == 1
        greedy.subscribe(b"sonod.1.iq.")
        frames = bench.frames()
        bench.driver.deliver()
        assert next(frames).header.frame == 1
        assert "iq" not in bench.daemon.publisher.wanted
    context.destroy(linger=0)
    wait_for(lambda: counts_of(bench)["silenced"] == 0, "a connection that ended is still counted")


def test_flood_over_tcp_is_not_heard_any_more_and_does_not_come_back(bench: Bench) -> None:
    frames = bench.frames()
    accepted = counts_of(bench)["accepted"]
    with flooding(bench.daemon.addresses.frames[0]):
        wait_for(lambda: counts_of(bench)["cut_flooding"] == 1, "the flood was not noticed")
        until_s = time.monotonic() + RETURN_S
        while time.monotonic() < until_s:
            bench.driver.deliver()
            next(frames)
        counts = counts_of(bench)
        assert (counts["accepted"] - accepted, counts["cut_flooding"], counts["silenced"]) == (1, 1, 1)
    # The end of the program is heard: its connection does not take anybody's room.
    wait_for(lambda: counts_of(bench)["silenced"] == 0, "its connection is still there")


def test_few_connections_are_left_open_unheard(bench: Bench) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    flooding_sockets = [context.socket(zmq.SUB) for _ in range(SILENCED_LIMIT + 3)]
    for number, greedy in enumerate(flooding_sockets, 1):
        greedy.setsockopt(zmq.RECONNECT_IVL, -1)
        greedy.connect(bench.daemon.addresses.frames[0])
        for index in range(SUBSCRIPTION_LIMIT + 1):
            greedy.subscribe(b"sonod.1.rf.%d" % index)
        wait_for(partial(has_noticed, bench, number), "the flood was not noticed")
        assert counts_of(bench)["silenced"] <= SILENCED_LIMIT
    wait_for(lambda: counts_of(bench)["connections"] <= SILENCED_LIMIT, "those that are too many were not cut")
    for greedy in flooding_sockets:
        greedy.close(linger=0)
    context.term()


def test_flood_over_ipc_is_cut_and_waits_at_the_door(start: Callable[..., Bench], tmp_path: Path) -> None:
    bench = start(publish={"endpoint": f"ipc://{tmp_path}/s/frames"})
    frames = bench.frames()
    accepted = counts_of(bench)["accepted"]
    with flooding(bench.daemon.addresses.frames[0]):
        wait_for(lambda: counts_of(bench)["cut_flooding"] == 1, "the flood was not noticed")
        wait_for(lambda: counts_of(bench)["accepted"] >= accepted + 2, "it did not come back")
        until_s = time.monotonic() + RETURN_S
        while time.monotonic() < until_s:
            bench.driver.deliver()
            next(frames)
        assert counts_of(bench)["cut_flooding"] == 1
        # Others are let in meanwhile.
        with Subscriber(bench.daemon.addresses.frames[0]) as newcomer:
            next(newcomer.messages("state", timeout_s=PATIENCE_S))


def test_penalties_grow_and_are_forgiven() -> None:
    clock = FakeClock()
    penalties = Penalties(lambda: clock.now_ns() / 1e9)
    assert penalties.left_s(7) == 0
    for expected_s in (FIRST_S, 2 * FIRST_S, 4 * FIRST_S):
        penalties.add(7)
        assert penalties.left_s(7) == pytest.approx(expected_s)
        assert penalties.left_s(8) == 0
        clock.pass_time(expected_s)
        assert penalties.left_s(7) == 0
    for _ in range(10):
        penalties.add(7)
    assert penalties.left_s(7) == pytest.approx(LONGEST_S)
    clock.pass_time(LONGEST_S + FORGIVEN_S)
    penalties.add(7)
    assert penalties.left_s(7) == pytest.approx(FIRST_S)
    penalties.add(0)
    assert penalties.left_s(0) == 0
    for process in range(1, REMEMBERED + 10):
        penalties.add(process + 100)
    assert penalties.left_s(7) == 0


def test_held_handshake_is_let_in_when_the_penalty_ends(tmp_path: Path) -> None:
    ahead_s = [0.0]
    penalties = Penalties(lambda: time.monotonic() + ahead_s[0])
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    handler = ZapHandler(context, None, "test", penalties)
    peer = b"localhost:1000:1000:%d" % os.getpid()
    request = [b"1.0", b"1", b"sonod-ipc", peer, b"", b"NULL"]
    try:
        assert handler.answer(request) == [b"1.0", b"1", b"200", b"", b"", b""]
        penalties.add(os.getpid())
        assert handler.answer(request) is None
        # Another process, and one of which libzmq says nothing.
        for other in (b"localhost:1000:1000:1", b"", b"127.0.0.1"):
            answer = handler.answer([*request[:3], other, *request[4:]])
            assert answer is not None
            assert answer[2] == b"200"
        ahead_s[0] = FIRST_S - 0.2
        with context.socket(zmq.XPUB) as server, context.socket(zmq.SUB) as client:
            server.setsockopt(zmq.ZAP_DOMAIN, b"sonod-ipc")
            server.bind(f"ipc://{tmp_path}/x")
            client.connect(f"ipc://{tmp_path}/x")
            client.subscribe(b"news")
            assert server.poll(int(PATIENCE_S * 1000)), "never let in"
            assert server.recv() == b"\x01news"
    finally:
        handler.leave()
        context.destroy(linger=0)
