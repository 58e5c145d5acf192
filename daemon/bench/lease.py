"""How soon a probe stops transmitting when the holder of the lease is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sonod.client.control import Control
from sonod.client.subscriber import Subscriber
from sonod.client.wire.notices import StateNotice
from sonod.daemon.bench.served import served_daemon

ANSWER_S = 30.0
KILLS = 20
# (driver, settings): a simulated probe, an emulated array front-end, and a probe that sends a frame a second,
# so that a read lasts as long as it may.
DRIVERS = (
    ("sim:wires", ""),
    ("bulk:?emulated=1&probe=phased", ""),
    ("un0rick:?emulated=1", ""),
    ("sim:wires", "frame_rate_hz = 1.0"),
)
HOLDER = """
import sys
from sonod.client import HeldLease
held = HeldLease("victim", sys.argv[1], ttl_s=3600)
print("holds", flush=True)
held.wait_lost()
"""


@dataclass(frozen=True)
class LeaseResult:
    """Milliseconds from `kill -9` of the holder until the driver had stopped the probe (`since_ns` of the state
    `frozen`)."""

    driver: str
    settings: str
    kills: int
    p50_ms: float
    longest_ms: float


def measure_lease(driver: str, settings: str = "", kills: int = KILLS) -> LeaseResult:
    """Kill so many holders. BenchFailed when the daemon does not run or the probe goes on."""
    more = f"[settings]\n{settings}"
    with (
        served_daemon(driver, more=more) as daemon,
        Subscriber(daemon.frames) as subscriber,
        Control(daemon.control, ANSWER_S) as control,
    ):
        states = (
            message for message in subscriber.messages("state", timeout_s=ANSWER_S) if isinstance(message, StateNotice)
        )
        took_ns = []
        for _ in range(kills):
            _until(states, "running")
            command = [sys.executable, "-c", HOLDER, daemon.control]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
                assert holder.stdout is not None
                holder.stdout.readline()
                killed_ns = time.monotonic_ns()
                holder.kill()
                took_ns.append(_until(states, "frozen").since_ns - killed_ns)
            control.unfreeze()
    return LeaseResult(
        driver,
        settings,
        kills,
        round(float(np.median(took_ns)) / 1e6, 1),
        round(max(took_ns) / 1e6, 1),
    )


def _until(states: Iterator[StateNotice], state: str) -> StateNotice:
    deadline_s = time.monotonic() + ANSWER_S
    for notice in states:
        if notice.state == state:
            return notice
        if time.monotonic() > deadline_s:
            break
    raise TimeoutError(f"not {state} within {ANSWER_S:g} s")
