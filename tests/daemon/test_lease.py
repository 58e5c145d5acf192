from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from daemon_bench import PATIENCE_S, Bench

from sonod.client.control import Control
from sonod.client.errors import RequestRefused
from sonod.client.lease import HeldLease
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
    with pytest.raises(CommandError, match="must be released or expire, or be taken over"):
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


def test_depth_is_geometry_and_needs_the_lease(bench: Bench) -> None:
    bench.control.acquire_lease("tracker")
    with pytest.raises(RequestRefused, match="set depth_m: affects acoustic output or geometry, and the lease is held"):
        bench.control.set({"depth_m": 0.1})
    knobs = bench.control.describe().knobs
    assert {name for name, knob in knobs.items() if knob.held_by == "tracker"} == {
        "depth_m",
        "output_level",
        "frame_rate_hz",
    }
    assert knobs["depth_m"].geometry
    assert not knobs["depth_m"].acoustic_output
    assert not knobs["gain_db"].needs_lease


def test_takeover_ends_the_former_lease_and_everybody_is_told(bench: Bench) -> None:
    bench.control.freeze()
    first = bench.control.acquire_lease("first")
    taken: list[str | None] = []
    event = bench.event("lease_taken_over", lambda: taken.append(bench.control.take_over_lease("second").token))
    assert event.facts == {"holder": "second", "previous": "first"}
    assert event.level == "warning"
    with pytest.raises(RequestRefused, match="held by 'second'"):
        bench.control.set({"depth_m": 0.1}, lease=first.token)
    with pytest.raises(RequestRefused) as caught:
        bench.control.release_lease(first.token or "")
    assert caught.value.code == "lease_lost"
    assert bench.control.set({"depth_m": 0.1}, lease=taken[0]).revision == 1


def test_token_of_a_lease_that_has_ended_is_refused_even_when_nobody_holds_one(bench: Bench) -> None:
    token = bench.control.acquire_lease("needle").token or ""
    bench.control.release_lease(token)
    for refused in (lambda: bench.control.set({"depth_m": 0.1}, lease=token), lambda: bench.control.unfreeze(token)):
        with pytest.raises(RequestRefused, match=r"no lease has this token; .* or leave the token out") as caught:
            refused()
        assert caught.value.code == "lease_lost"
    bench.control.freeze()
    assert bench.control.set({"gain_db": 1}, lease=token).revision == 1
    assert bench.control.set({"depth_m": 0.1}).revision == 2


def test_acquiring_and_releasing_are_told(bench: Bench) -> None:
    tokens: list[str | None] = []
    event = bench.event("lease_acquired", lambda: tokens.append(bench.control.acquire_lease("needle").token))
    assert event.facts == {"holder": "needle"}
    event = bench.event("lease_released", lambda: bench.control.release_lease(tokens[0] or ""))
    assert event.facts == {"holder": "needle"}


def test_lease_bound_to_a_connection_ends_with_it(bench: Bench) -> None:
    def come_and_go() -> None:
        with Control(bench.daemon.addresses.control, PATIENCE_S) as other:
            other.acquire_lease("brief", 3600, connection=True)

    event = bench.event("lease_expired", come_and_go)
    assert event.facts == {"holder": "brief", "cause": "connection"}
    bench.until_state("frozen")
    assert not bench.driver.transmitting


def test_kept_lease_is_prolonged_and_given_back(bench: Bench) -> None:
    with HeldLease("needle", bench.daemon.addresses.control, ttl_s=1.0) as held:
        assert not held.wait_lost(1.5)
        assert bench.control.lease().holder == "needle"
        bench.control.take_over_lease("other")
        assert held.wait_lost(PATIENCE_S)
    assert bench.control.lease().holder == "other"


def test_policy_may_keep_the_probe_transmitting(start: Callable[..., Bench]) -> None:
    bench = start(lease={"when_lost": "keep"})
    event = bench.event("lease_expired", lambda: bench.control.acquire_lease("needle", 1.0))
    assert "frozen" not in event.message
    assert bench.control.status().state == "running"


def test_required_lease_guards_from_the_start_and_freezes_what_nobody_holds(start: Callable[..., Bench]) -> None:
    bench = start(lease={"required": True, "grace_s": 0.2})
    bench.until_state("frozen")
    with pytest.raises(RequestRefused) as caught:
        bench.control.unfreeze()
    assert caught.value.code == "lease_needed"
    token = bench.control.acquire_lease("needle", 60).token
    assert bench.control.unfreeze(token) == "running"
    bench.event("lease_missing", lambda: bench.control.release_lease(token or ""))
    bench.until_state("frozen")
    assert bench.control.lease().required


HOLDER = """
import sys
from sonod.client import HeldLease
held = HeldLease("victim", sys.argv[1], ttl_s=3600)
print(held.token, flush=True)
held.wait_lost()
"""


def test_killed_holder_loses_the_lease_and_transmission_stops(bench: Bench) -> None:
    control = bench.daemon.addresses.control
    with subprocess.Popen([sys.executable, "-c", HOLDER, control], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        token = holder.stdout.readline().strip()
        assert bench.control.lease().holder == "victim"
        event = bench.event("lease_expired", holder.kill)
    # An hour before its time.
    assert event.facts == {"holder": "victim", "cause": "connection"}
    bench.until_state("frozen")
    assert not bench.driver.transmitting
    with pytest.raises(RequestRefused) as caught:
        bench.control.acquire_lease("victim", token=token)
    assert caught.value.code == "lease_lost"
    assert bench.control.unfreeze() == "running"
