"""What the adaptive beamformers cost: each as a setting of the default plan, against plain delay and sum, in turns."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from sonod.daemon.pipeline.plan import ImageOptions, build_plan
from sonod.daemon.process import starting_settings
from sonod.drivers import open_uri
from sonod.drivers.frame import Slot
from sonod.drivers.settings import KNOBS

LEAST_ROUNDS = 5
READ_TIMEOUT_S = 5.0
WANTED = frozenset({"bmode"})


@dataclass(frozen=True)
class AdaptiveResult:
    """One product: time from raw frame to picture, hot; `ratio` is that over plain delay and sum in the same run."""

    product: str
    plan_ms: float
    frame_ms: float
    images_per_s: float
    ratio: float


def measure_adaptive(uri: str, options: ImageOptions, seconds: float) -> list[AdaptiveResult]:
    """Every beamformer, and incoherent compounding, on one frame of a driver."""
    driver = open_uri(uri)
    driver.open()
    try:
        products = [{"beamformer": name} for name in KNOBS["beamformer"].choices] + [{"compounding": "incoherent"}]
        plans, set_up = [], []
        for changes in products:
            settings, _ = starting_settings(driver, changes)
            configuration = driver.prepare(settings)
            begun = time.perf_counter()
            plans.append(build_plan(configuration, options))
            set_up.append(time.perf_counter() - begun)
        driver.apply(configuration)
        driver.start()
        slot = Slot(configuration.acquisition.nbytes)
        driver.read_into(slot, READ_TIMEOUT_S)
        driver.stop()
    finally:
        driver.close()
    durations: list[list[float]] = [[] for _ in plans]
    begun = time.monotonic()
    while time.monotonic() - begun < seconds * len(plans) or len(durations[0]) < LEAST_ROUNDS:
        for own, plan in zip(durations, plans, strict=True):
            start = time.perf_counter()
            plan.run(slot, WANTED)
            own.append(time.perf_counter() - start)
    return [
        AdaptiveResult(
            product=next(iter(changes.values())) + (" compounding" if "compounding" in changes else ""),
            plan_ms=round(set_up_s * 1e3, 1),
            frame_ms=round(median(own) * 1e3, 2),
            images_per_s=round(1 / median(own), 1),
            ratio=round(median([theirs / ours for theirs, ours in zip(own, durations[0], strict=True)]), 2),
        )
        for changes, set_up_s, own in zip(products, set_up, durations, strict=True)
    ]
