from __future__ import annotations

import pytest
from daemon_bench import Bench

from sonod.client.errors import RequestRefused
from sonod.daemon.errors import CommandError
from sonod.daemon.lease import LeaseKeeper


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_without_a_lease_everything_is_allowed() -> None:
    LeaseKeeper(Clock()).require(None, "set output_level")


def test_only_the_holder_may_act_prolong_and_release() -> None:
    keeper = LeaseKeeper(Clock())
    token = keeper.acquire("needle", 10).token
    keeper.require(token, "set output_level")
    for wrong in (None, "x"):
        with pytest.raises(CommandError, match="the lease is held by 'needle'"):
            keeper.require(wrong, "set output_level")
    with pytest.raises(CommandError, match="must be released or expire"):
        keeper.acquire("other", 10)
    with pytest.raises(CommandError, match="no lease has this token"):
        keeper.release("x")
    assert keeper.acquire("needle", 10, token).token == token
    keeper.release(token)
    assert keeper.lease is None


def test_lease_that_is_not_prolonged_expires_once() -> None:
    clock = Clock()
    keeper = LeaseKeeper(clock)
    token = keeper.acquire("needle", 2).token
    clock.now_ns = 1_500_000_000
    keeper.acquire("needle", 2, token)
    clock.now_ns = 3_000_000_000
    assert keeper.expire() is None
    clock.now_ns = 3_500_000_000
    expired = keeper.expire()
    assert expired is not None
    assert expired.holder == "needle"
    assert keeper.expire() is None
    with pytest.raises(CommandError, match="no lease has this token"):
        keeper.acquire("needle", 2, token)


def test_lease_guards_output_and_nothing_else(bench: Bench) -> None:
    lease = bench.control.acquire_lease("needle")
    assert lease.token is not None
    assert bench.control.lease().holder == "needle"
    bench.control.freeze()
    bench.control.set({"gain_db": 1})
    with pytest.raises(RequestRefused) as caught:
        bench.control.set({"gain_db": 2, "output_level": 0.1})
    assert caught.value.code == "lease_held"
    assert bench.control.get(["gain_db"]).settings == {"gain_db": 1.0}
    for act in (bench.control.unfreeze, bench.control.start):
        with pytest.raises(RequestRefused, match="held by 'needle'"):
            act()
    assert bench.control.set({"output_level": 0.1}, lease=lease.token).applied == {"output_level": 0.1}
    assert bench.control.unfreeze(lease.token) == "running"
    bench.control.release_lease(lease.token)
    assert bench.control.lease().holder is None


def test_probe_is_frozen_when_the_holder_is_gone(bench: Bench) -> None:
    event = bench.event("lease_expired", lambda: bench.control.acquire_lease("needle", 1.0))
    assert event.facts["holder"] == "needle"
    bench.until_state("frozen")
    assert not bench.driver.transmitting
    assert bench.control.unfreeze() == "running"
