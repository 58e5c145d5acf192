"""The speed of a USB 3 wire: transmissions of 128 channels at 350 MB/s, every one of them to be used in a picture.

A paced thread fills slots of the daemon's own ring; the plan of the default linear probe makes pictures of the standard
size from them as the runner would. Then the same plan runs hot, which says what rate could be sustained.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from sonod.daemon.pipeline.plan import ImageOptions, build_plan
from sonod.daemon.process import starting_settings
from sonod.daemon.ring import SlotRing
from sonod.drivers import open_uri
from sonod.drivers.frame import Configuration

CHANNELS, SAMPLES, BYTES_A_SAMPLE = 128, 1536, 2
# What a saturated SuperSpeed link carries.
LINK_BYTES_S = 350e6
# Plane waves of one picture: all that arrive in 60th of a second, and the rate of pictures follows.
TRANSMITS = 15
COLUMNS, ROWS = 256, 512
# `acquire.waiting_frames` that this takes: the machine stalls for longer than four of these frames last.
WAITING_FRAMES = 8
TAKE_TIMEOUT_S = 1.0
HOT_RUNS = 10
WANTED = frozenset({"bmode"})


@dataclass(frozen=True)
class WireResult:
    """What came of it. `dropped` raw frames of `sent`; rates are of transmissions."""

    seconds: float
    transmits_a_picture: int
    offered_transmits_per_s: float
    done_transmits_per_s: float
    sent: int
    made: int
    dropped: int
    latency_ms: float
    latency_p99_ms: float
    cpu_percent: float
    hot_picture_ms: float
    cpu_ms_per_transmit: float
    sustainable_transmits_per_s: float
    sustainable_mb_s: float
    stages_ms: Mapping[str, float] = field(default_factory=dict)


def measure_wire(seconds: float, rate_mb_s: float = LINK_BYTES_S / 1e6, quality: str = "default") -> WireResult:
    """Send for `seconds` at `rate_mb_s` and process; then measure hot."""
    configuration, data = _recording()
    plan = build_plan(configuration, ImageOptions(columns=COLUMNS, rows=ROWS, quality=quality))
    ring = SlotRing(WAITING_FRAMES)
    nbytes = configuration.acquisition.nbytes
    period_s = nbytes / (rate_mb_s * 1e6)
    sent, ending = [0], threading.Event()

    def send() -> None:
        due = time.monotonic()
        while not ending.is_set():
            due += period_s
            time.sleep(max(0.0, due - time.monotonic()))
            place = ring.free()
            place.slot.prepare(configuration)
            np.copyto(place.slot.data, data[sent[0] % len(data)])
            place.slot.number = sent[0]
            place.slot.last_byte_ns = time.monotonic_ns()
            sent[0] += 1
            ring.put(place)

    latencies: list[float] = []
    stages: dict[str, list[int]] = {}
    sender = threading.Thread(target=send, name="bench-wire")
    begun, cpu = time.monotonic(), time.process_time()
    sender.start()
    try:
        while time.monotonic() - begun < seconds:
            place = ring.take(TAKE_TIMEOUT_S)
            if place is None:
                continue
            plan.run(place.slot, WANTED)
            latencies.append((time.monotonic_ns() - place.slot.last_byte_ns) / 1e6)
            for name, duration in plan.stage_durations_ns.items():
                stages.setdefault(name, []).append(duration)
            ring.give_back(place)
        elapsed, cpu = time.monotonic() - begun, time.process_time() - cpu
        dropped, made, offered = ring.dropped, len(latencies), sent[0]
    finally:
        ending.set()
        sender.join()
    place = ring.free()
    place.slot.prepare(configuration)
    np.copyto(place.slot.data, data[0])
    hot = []
    cpu_hot = time.process_time()
    for _ in range(HOT_RUNS):
        start = time.perf_counter()
        plan.run(place.slot, WANTED)
        hot.append(time.perf_counter() - start)
    cpu_hot = (time.process_time() - cpu_hot) / (HOT_RUNS * TRANSMITS)
    picture_s = median(hot)
    return WireResult(
        seconds=round(elapsed, 2),
        transmits_a_picture=TRANSMITS,
        offered_transmits_per_s=round(TRANSMITS / period_s, 1),
        done_transmits_per_s=round(made * TRANSMITS / elapsed, 1),
        sent=offered,
        made=made,
        dropped=dropped,
        latency_ms=round(median(latencies), 2) if latencies else 0.0,
        latency_p99_ms=round(float(np.percentile(latencies, 99)), 2) if latencies else 0.0,
        cpu_percent=round(100 * cpu / elapsed, 1),
        hot_picture_ms=round(picture_s * 1e3, 2),
        cpu_ms_per_transmit=round(cpu_hot * 1e3, 3),
        sustainable_transmits_per_s=round(TRANSMITS / picture_s, 1),
        sustainable_mb_s=round(nbytes / picture_s / 1e6, 1),
        stages_ms={name: round(median(values) / 1e6, 2) for name, values in stages.items()},
    )


def _recording() -> tuple[Configuration, list[NDArray[np.int16]]]:
    """A configuration of the simulated linear probe, cut to the wire's samples, and a few frames of noise for it."""
    driver = open_uri("sim:")
    driver.open()
    try:
        settings, _ = starting_settings(driver, {"angle_count": TRANSMITS})
        configuration = driver.prepare(settings)
    finally:
        driver.close()
    acquisition = configuration.acquisition
    shape = (acquisition.shape[0], acquisition.shape[1], SAMPLES)
    configuration = replace(configuration, acquisition=replace(acquisition, shape=shape))
    rng = np.random.default_rng(0)
    return configuration, [rng.integers(-4000, 4000, shape).astype(np.int16) for _ in range(2)]
