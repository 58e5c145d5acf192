"""The pipeline of one driver without a daemon: stage times hot, then paced at the frame rate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from sonod.daemon.pipeline.plan import ImageOptions, Plan, build_plan
from sonod.daemon.process import starting_settings
from sonod.drivers import open_uri
from sonod.drivers.frame import Slot

# Raw frames that a measurement goes round in, so that the caches see fresh data.
FRAMES_IN_HAND = 4
READ_TIMEOUT_S = 5.0
WANTED = frozenset({"bmode"})


@dataclass(frozen=True)
class Timing:
    """Durations of one frame in milliseconds: median, 99th percentile, and processor time of all threads."""

    frame_ms: float
    p99_ms: float
    cpu_ms: float
    stages_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CoreResult:
    """What one case gave."""

    case: str
    driver: str
    transmits: int
    channels: int
    samples: int
    beam_points: int
    pixels: tuple[int, int]
    plan_ms: float
    frame_period_ms: float
    hot: Timing
    paced: Timing

    @property
    def images_per_s(self) -> float:
        """Pictures a second when nothing else is done."""
        return 1e3 / self.hot.frame_ms


def measure_core(
    case: str, uri: str, changes: Mapping[str, object], options: ImageOptions, seconds: float
) -> CoreResult:
    """Run the plan of a driver's frames for about `seconds` hot and as long paced; DriverError as the driver gives."""
    driver = open_uri(uri)
    driver.open()
    try:
        settings, _ = starting_settings(driver, changes)
        configuration = driver.prepare(settings)
        begun = time.perf_counter()
        plan = build_plan(configuration, options)
        plan_ms = (time.perf_counter() - begun) * 1e3
        driver.apply(configuration)
        driver.start()
        slots = [Slot(configuration.acquisition.nbytes) for _ in range(FRAMES_IN_HAND)]
        for slot in slots:
            driver.read_into(slot, READ_TIMEOUT_S)
        driver.stop()
    finally:
        driver.close()
    shape = configuration.acquisition.shape
    period = 1 / settings.frame_rate_hz
    pixels = plan.run(slots[0], WANTED)[0].data.shape
    lines = plan.run(slots[0], frozenset({"lines"}))[0].data.shape
    return CoreResult(
        case=case,
        driver=uri,
        transmits=shape[0],
        channels=shape[1],
        samples=shape[2],
        beam_points=int(np.prod(lines)),
        pixels=(pixels[0], pixels[1]),
        plan_ms=round(plan_ms, 2),
        frame_period_ms=round(period * 1e3, 3),
        hot=_time(plan, slots, seconds, 0.0),
        paced=_time(plan, slots, seconds, period),
    )


def _time(plan: Plan, slots: list[Slot], seconds: float, period_s: float) -> Timing:
    durations: list[int] = []
    stages: dict[str, list[int]] = {}
    cpu_ns = 0
    begun = time.monotonic()
    due = begun
    while time.monotonic() - begun < seconds or len(durations) < FRAMES_IN_HAND:
        if period_s:
            due += period_s
            time.sleep(max(0.0, due - time.monotonic()))
        slot = slots[len(durations) % len(slots)]
        cpu_before, before = time.process_time_ns(), time.perf_counter_ns()
        plan.run(slot, WANTED)
        durations.append(time.perf_counter_ns() - before)
        cpu_ns += time.process_time_ns() - cpu_before
        for name, duration in plan.stage_durations_ns.items():
            stages.setdefault(name, []).append(duration)
    return Timing(
        frame_ms=round(median(durations) / 1e6, 3),
        p99_ms=round(float(np.percentile(durations, 99)) / 1e6, 3),
        cpu_ms=round(cpu_ns / len(durations) / 1e6, 3),
        stages_ms={name: round(median(values) / 1e6, 3) for name, values in stages.items()},
    )
