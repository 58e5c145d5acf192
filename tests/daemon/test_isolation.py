"""Bad subscribers cost a good one nothing: neither frames nor, beyond a bound, the daemon memory. (Time is measured by
`sonod bench isolation`, on a machine that has some.)"""

from __future__ import annotations

import os
from collections.abc import Callable

import zmq
from daemon_bench import PATIENCE_S, Bench

from sonod.daemon.bench.isolation import bad_subscribers
from sonod.daemon.bench.path import memory_mib
from sonod.daemon.subscriber_guard import SUBSCRIPTION_LIMIT

FRAMES = 150
# Times that the one that floods is cut and floods again, all of it.
RETURNS = 5


def has_cut(bench: Bench) -> bool:
    counts = bench.daemon.publisher.block()
    return bool(counts["cut_stalled"]) and int(counts["cut_flooding"]) >= RETURNS


def test_stopped_flooding_and_noisy_subscribers_cost_the_good_one_nothing(start: Callable[..., Bench]) -> None:
    bench = start(
        lambda driver: setattr(driver, "columns", 1 << 15),
        publish={"stalled_s": 5.0, "high_water_messages": 8},
        # The rings of clips would fill for as long as they have room.
        cine={"image_s": 0.0, "rf_s": 0.0},
    )
    frames = bench.frames()
    bench.driver.deliver()
    next(frames)
    memory = memory_mib(os.getpid())
    with bad_subscribers(bench.daemon.addresses.frames[0], "bmode", 100_000) as bad:
        bad.begin()
        numbers = []
        while len(numbers) < FRAMES or not has_cut(bench):
            bench.driver.deliver()
            numbers.append(next(frames).header.frame)
            assert len(numbers) < 10_000 * FRAMES
        counts = bench.control.status().values["subscribers"]
    assert numbers == list(range(2, len(numbers) + 2))
    assert bench.subscriber.losses["bmode"].total == 0
    assert counts["cut_stalled"] >= 1
    assert counts["cut_flooding"] >= RETURNS
    assert memory_mib(os.getpid()) - memory < 64


def test_one_connection_has_few_subscriptions(bench: Bench) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.SUB) as greedy, greedy.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
        greedy.connect(bench.daemon.addresses.frames[0])
        for index in range(SUBSCRIPTION_LIMIT + 1):
            greedy.subscribe(b"sonod.1.bmode.%d" % index)
        assert monitor.poll(int(PATIENCE_S * 1000)), "it was not cut"
        greedy.disable_monitor()
    context.destroy(linger=0)
    frames = bench.frames()
    bench.driver.deliver()
    assert next(frames).header.frame == 1
