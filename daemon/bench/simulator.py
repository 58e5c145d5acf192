"""The simulated probe: frames a second beside the beamformer, and the same scatterers in PyMUST's SIMUS."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext.pulse import Pulse
from sonod.cext.simulate import EchoModel, EchoSimulator, Meeting, Reflectors
from sonod.cext.threads import set_thread_count, thread_count
from sonod.daemon.bench.beamform import LEAST_LIKENESS, PicturesDiffer
from sonod.daemon.bench.work import SOUND_SPEED_M_S
from sonod.daemon.pipeline.plan import ImageOptions, Plan, build_plan
from sonod.daemon.process import starting_settings
from sonod.drivers import open_uri
from sonod.drivers.base import Driver
from sonod.drivers.frame import Slot

# The scene and depth first: the linear probe, 128 elements, 3 plane waves.
SCENES = {"carpal-tunnel": {"depth_m": 0.04}, "knee": {}, "vessel": {}, "hip": {}}
WANTED = frozenset({"bmode"})
READ_TIMEOUT_S = 10.0
# Frames on their way between the thread that simulates and the one that beamforms.
SLOTS = 3
LEAST_FRAMES = 10
SCATTERERS = 20_000
ELEMENTS, PITCH_M, WIDTH_M, CENTER_HZ, BANDWIDTH = 128, 0.2e-3, 0.18e-3, 7.5e6, 0.6
DEEPEST_M, ANGLE_RAD = 0.04, math.radians(10)
PEER = "pymust"


@dataclass(frozen=True)
class SceneResult:
    """One scene: milliseconds of simulating and of beamforming a frame alone; frames a second of both in two threads as
    in the daemon, and the processor time of one; seconds to compute the background for a new depth."""

    driver: str
    transmits: int
    channels: int
    samples: int
    simulate_ms: float
    beamform_ms: float
    frames_per_s: float
    cpu_ms: float
    frame_rate_hz: float
    background_s: float


@dataclass(frozen=True)
class ScatterersResult:
    """The same scatterers, elements and plane wave: time and processor time of one transmission on so many threads, and
    of SIMUS. `ratio` is that of the processor times, which other work on the machine changes least; `likeness` is the
    correlation of the RF. SIMUS not asked for: the last four are 0."""

    scatterers: int
    elements: int
    samples: int
    threads: int
    transmit_ms: float
    cpu_ms: float
    simus_s: float
    simus_cpu_s: float
    ratio: float
    likeness: float


def measure_scene(uri: str, changes: Mapping[str, object], seconds: float) -> SceneResult:
    """Frames of a simulated driver as fast as they can be made."""
    driver = open_uri(uri)
    driver.open()
    try:
        settings, _ = starting_settings(driver, changes)
        other, _ = starting_settings(driver, {**changes, "depth_m": 0.5 * settings.depth_m})
        driver.prepare(settings)
        begun = time.perf_counter()
        driver.prepare(other)
        background_s = time.perf_counter() - begun
        configuration = driver.prepare(settings)
        plan = build_plan(configuration, ImageOptions())
        driver.apply(configuration)
        driver.start()
        slots = [Slot(configuration.acquisition.nbytes) for _ in range(SLOTS)]
        simulating, beamforming = _apart(driver, plan, slots[0], seconds / 2)
        together, cpu_ms = _together(driver, plan, slots, seconds / 2)
        driver.stop()
    finally:
        driver.close()
    shape = configuration.acquisition.shape
    return SceneResult(
        driver=uri,
        transmits=shape[0],
        channels=shape[1],
        samples=shape[2],
        simulate_ms=round(simulating * 1e3, 2),
        beamform_ms=round(beamforming * 1e3, 2),
        frames_per_s=round(together, 1),
        cpu_ms=round(cpu_ms, 2),
        frame_rate_hz=settings.frame_rate_hz,
        background_s=round(background_s, 3),
    )


def _apart(driver: Driver, plan: Plan, slot: Slot, seconds: float) -> tuple[float, float]:
    simulating: list[float] = []
    beamforming: list[float] = []
    begun = time.monotonic()
    while time.monotonic() - begun < seconds or len(simulating) < LEAST_FRAMES:
        start = time.perf_counter()
        driver.read_into(slot, READ_TIMEOUT_S)
        read = time.perf_counter()
        plan.run(slot, WANTED)
        simulating.append(read - start)
        beamforming.append(time.perf_counter() - read)
    return median(simulating), median(beamforming)


def _together(driver: Driver, plan: Plan, slots: list[Slot], seconds: float) -> tuple[float, float]:
    """Frames a second with one thread that simulates and one that beamforms, and milliseconds of processor time."""
    with ThreadPoolExecutor(1, "simulate") as simulate:
        made = deque((slot, simulate.submit(driver.read_into, slot, READ_TIMEOUT_S)) for slot in slots)
        count, begun, cpu_ns = 0, time.monotonic(), time.process_time_ns()
        while time.monotonic() - begun < seconds or count < LEAST_FRAMES:
            slot, read = made.popleft()
            read.result()
            plan.run(slot, WANTED)
            made.append((slot, simulate.submit(driver.read_into, slot, READ_TIMEOUT_S)))
            count += 1
        elapsed, cpu_ns = time.monotonic() - begun, time.process_time_ns() - cpu_ns
    return count / elapsed, cpu_ns / count / 1e6


def measure_scatterers(threads: tuple[int, ...], *, against_simus: bool) -> list[ScatterersResult]:
    """20 000 scatterers in front of a linear probe, one plane wave; PicturesDiffer when SIMUS hears another RF."""
    random = np.random.default_rng(1)
    x = random.uniform(-0.5, 0.5, SCATTERERS) * ELEMENTS * PITCH_M
    z = np.sort(random.uniform(2e-3, DEEPEST_M, SCATTERERS))
    strength = random.standard_normal(SCATTERERS)
    delays: NDArray[np.float64] = (
        np.arange(ELEMENTS, dtype=np.float64) * PITCH_M * math.sin(ANGLE_RAD) / SOUND_SPEED_M_S
    )
    theirs: NDArray[np.float64] | None = None
    simus_s = simus_cpu_s = 0.0
    pulse = Pulse.gaussian(CENTER_HZ, BANDWIDTH * CENTER_HZ / 2.355)
    if against_simus:
        begun, cpu_begun = time.perf_counter(), time.process_time()
        theirs, pulse = _simus(x, z, strength, delays)
        simus_s, simus_cpu_s = time.perf_counter() - begun, time.process_time() - cpu_begun
    samples = math.ceil(2.2 * DEEPEST_M / SOUND_SPEED_M_S * 4 * CENTER_HZ) if theirs is None else theirs.shape[1]
    before, results = thread_count(), []
    try:
        for count in threads:
            set_thread_count(count)
            durations, processor = [], []
            for _ in range(LEAST_FRAMES):
                begun, cpu_begun = time.perf_counter(), time.process_time()
                ours = _ours(x, z, strength, delays, pulse, samples)
                durations.append(time.perf_counter() - begun)
                processor.append(time.process_time() - cpu_begun)
            likeness = 0.0 if theirs is None else float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])
            if theirs is not None and likeness < LEAST_LIKENESS:
                raise PicturesDiffer(f"scatterers: the RF of SIMUS correlates with sonod's by {likeness:.3f} only")
            own = median(processor)
            results.append(
                ScatterersResult(
                    SCATTERERS,
                    ELEMENTS,
                    samples,
                    count,
                    round(median(durations) * 1e3, 2),
                    round(own * 1e3, 2),
                    round(simus_s, 2),
                    round(simus_cpu_s, 2),
                    round(simus_cpu_s / own, 1),
                    round(likeness, 4),
                )
            )
    finally:
        set_thread_count(before)
    return results


def _positions() -> NDArray[np.float64]:
    positions = np.zeros((ELEMENTS, 3))
    positions[:, 0] = (np.arange(ELEMENTS) - (ELEMENTS - 1) / 2) * PITCH_M
    return positions


def _ours(
    x: NDArray[np.float64],
    z: NDArray[np.float64],
    strength: NDArray[np.float64],
    delays: NDArray[np.float64],
    pulse: Pulse,
    samples: int,
) -> NDArray[np.float32]:
    """Everything from the places to the RF (channels, samples), tables included."""
    positions = _positions()
    model = EchoModel(
        positions_m=positions,
        normals=np.tile([0.0, 0.0, 1.0], (ELEMENTS, 1)),
        element_width_m=WIDTH_M,
        sound_speed_m_s=SOUND_SPEED_M_S,
        attenuation_np_m_hz=0.0,
        farthest_m=3 * DEEPEST_M,
        sampling_hz=4 * CENTER_HZ,
        pulse=pulse,
    )
    simulator = EchoSimulator(model)
    reflectors = Reflectors.points(x, z, strength)
    first = positions[0, 0]
    arrival = (((x - first) * math.sin(ANGLE_RAD) + z * math.cos(ANGLE_RAD)) / SOUND_SPEED_M_S)[None]
    amplitude = simulator.amplitude(reflectors.x_m, reflectors.z_m, delays[None], np.ones_like(delays)[None], arrival)
    meeting = Meeting(arrival, amplitude, np.zeros(arrival.shape, np.float32))
    echoes = simulator.echoes(reflectors, meeting, np.zeros(1), samples, np.array([delays.mean()]))
    return np.asarray(echoes[0], np.float32)


def _simus(
    x: NDArray[np.float64], z: NDArray[np.float64], strength: NDArray[np.float64], delays: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Pulse]:
    """RF (channels, samples) of SIMUS with its usual options, and its pulse."""
    module: Any = import_module(PEER)
    param = module.utils.Param()
    param.fc, param.fs, param.c, param.bandwidth = CENTER_HZ, 4 * CENTER_HZ, SOUND_SPEED_M_S, 100 * BANDWIDTH
    param.Nelements, param.pitch, param.width, param.kerf = ELEMENTS, PITCH_M, WIDTH_M, PITCH_M - WIDTH_M
    param.radius, param.height, param.focus, param.attenuation = math.inf, math.inf, math.inf, 0.0
    rf, _ = module.simus(x, z, strength, delays[None], param)
    frequency = np.linspace(0.25, 1.75, 601) * CENTER_HZ
    omega = 2 * np.pi * frequency
    spectrum = np.conj(param.getPulseSpectrumFunction(None)(omega)) * param.getProbeFunction()(omega) ** 2
    pulse = Pulse(CENTER_HZ, frequency, spectrum / abs(spectrum.sum() * (frequency[1] - frequency[0])))
    return np.asarray(rf, dtype=np.float64).T, pulse
