"""Delay and sum alone: sonod and its peers on the same arrays, in turns of one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext.das import DelayAndSum
from sonod.cext.prepare import Demodulator, baseband_rate_hz, half_bandwidth_hz
from sonod.cext.threads import set_thread_count
from sonod.daemon.bench.peers import PEERS, PeerUnfit, Run, installed, transmits_held
from sonod.daemon.bench.work import SOUND_SPEED_M_S, Work

# Turns; how long each beamformer warms up in its turn, and how many runs are then measured.
LEAST_ROUNDS, WARM_S, RUNS_IN_TURN = 5, 0.06, 5
# Rate at which the paced runs follow each other, and how many are enough.
PACED_HZ, PACED_ROUNDS = 20.0, 20
# Envelopes that correlate less do not show the same picture.
LEAST_LIKENESS = 0.9


class PicturesDiffer(ValueError):
    """A peer's picture is not that of sonod, so its time means nothing."""


@dataclass(frozen=True)
class BeamformResult:
    """One beamformer on one work. `ratio` is its time over that of sonod in the same run; `likeness` the correlation of
    its envelope with sonod's. `measured_transmits`: on so many the time was taken, and scaled to all."""

    name: str
    work: str
    threads: int
    transmits: int
    measured_transmits: int
    set_up_ms: float
    table_mb: float
    frame_ms: float
    paced_ms: float
    active_points: int
    active_points_per_s: float
    likeness: float
    ratio: float


@dataclass(frozen=True, eq=False)
class _Contender:
    name: str
    transmits: int
    set_up_s: float
    table_bytes: int
    run: Run
    likeness: float
    durations_s: list[float]


def check_peers(names: tuple[str, ...]) -> None:
    """PeerUnfit for a peer that is unknown or not installed."""
    unknown = sorted(set(names) - set(PEERS))
    if unknown:
        raise PeerUnfit(f"no peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    for name in names:
        installed(name)


def measure_beamform(
    work: Work, quality: str, against: tuple[str, ...], threads: tuple[int, ...], seconds: float
) -> tuple[list[BeamformResult], list[str]]:
    """Sonod at each thread count, and each peer of `against` (on the threads it takes itself), in turns of one run; and
    one line for each peer that cannot do this work. PicturesDiffer when a peer's envelope is another."""
    run, set_up_s, table_bytes = _timed_set_up(lambda: _sonod(work, quality))
    contenders = [
        _Contender(f"sonod {quality}", work.transmits, set_up_s, table_bytes, _on_threads(run, count), 1.0, [])
        for count in threads
    ]
    notes = []
    for name in against:
        try:
            contenders.append(_peer(name, work, quality))
        except PeerUnfit as unfit:
            notes.append(f"{work.name}: {unfit}")
    begun = time.monotonic()
    while time.monotonic() - begun < seconds or len(contenders[0].durations_s) < LEAST_ROUNDS:
        for contender in contenders:
            elapsed = _hot_s(contender.run)
            contender.durations_s.append(elapsed * work.transmits / contender.transmits)
    results = []
    for index, contender in enumerate(contenders):
        own, paced_ms = contender.durations_s, 0.0
        ours = contenders[0].durations_s
        if index < len(threads):
            paced_ms = _paced_ms(contender.run)
        results.append(
            BeamformResult(
                name=contender.name,
                work=work.name,
                threads=threads[index] if index < len(threads) else 0,
                transmits=work.transmits,
                measured_transmits=contender.transmits,
                set_up_ms=round(contender.set_up_s * 1e3, 1),
                table_mb=round(contender.table_bytes / 1e6, 2),
                frame_ms=round(median(own) * 1e3, 3),
                paced_ms=round(paced_ms, 3),
                active_points=work.active_points,
                active_points_per_s=work.active_points / median(own),
                likeness=round(contender.likeness, 4),
                ratio=round(median([theirs / mine for theirs, mine in zip(own, ours, strict=True)]), 2),
            )
        )
    return results, notes


def _timed_set_up(build: Callable[[], tuple[Run, int]]) -> tuple[Run, float, int]:
    begun = time.perf_counter()
    run, table_bytes = build()
    return run, time.perf_counter() - begun, table_bytes


def _peer(name: str, work: Work, quality: str) -> _Contender:
    part = work.part(transmits_held(name, work))
    begun = time.perf_counter()
    run = PEERS[name](part)
    set_up_s = time.perf_counter() - begun
    ours = _envelope(_sonod(part, quality)[0](), part)
    likeness = float(np.corrcoef(_envelope(run(), part).ravel(), ours.ravel())[0, 1])
    if not likeness >= LEAST_LIKENESS:
        raise PicturesDiffer(f"{work.name}: the picture of {name} correlates with sonod's by {likeness:.3f} only")
    return _Contender(name, part.transmits, set_up_s, 0, run, likeness, [])


def _on_threads(run: Run, threads: int) -> Run:
    def own() -> NDArray[Any]:
        set_thread_count(threads)
        return run()

    return own


def _hot_s(run: Run) -> float:
    """Median of some runs in a row, after others until the caches are no longer those of whoever ran before."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < WARM_S:
        run()
    durations = []
    for _ in range(RUNS_IN_TURN):
        begun = time.perf_counter()
        run()
        durations.append(time.perf_counter() - begun)
    return median(durations)


def _paced_ms(run: Run) -> float:
    durations = []
    due = time.monotonic()
    for _ in range(PACED_ROUNDS):
        due += 1 / PACED_HZ
        time.sleep(max(0.0, due - time.monotonic()))
        begun = time.perf_counter()
        run()
        durations.append(time.perf_counter() - begun)
    return median(durations) * 1e3


def _envelope(picture: NDArray[Any], work: Work) -> NDArray[np.float64]:
    """Magnitude; of RF, by the spectrum along the lines."""
    if np.iscomplexobj(picture):
        return np.asarray(np.abs(picture), dtype=np.float64)
    spectrum = np.fft.fft(picture, axis=1)
    spectrum[:, work.count // 2 + 1 :] = 0
    return np.asarray(np.abs(np.fft.ifft(spectrum, axis=1)))


def _sonod(work: Work, quality: str) -> tuple[Run, int]:
    """RF is demodulated first, and that is part of the time."""
    prepare: Demodulator | None = None
    sampling_hz, samples = work.sampling_hz, work.samples
    if work.is_rf:
        half = half_bandwidth_hz(work.center_hz, work.sampling_hz)
        prepare = Demodulator(
            work.data.shape,
            np.float32,
            sampling_hz=work.sampling_hz,
            demodulation_hz=work.center_hz,
            half_bandwidth_hz=half,
            output_hz=baseband_rate_hz(work.sampling_hz, half),
            t0_s=np.zeros(work.transmits),
        )
        sampling_hz, samples = prepare.output_hz, prepare.output_shape[2]
    lines = {
        "origins_m": work.origins_m,
        "directions": work.directions,
        "first_m": work.first_m,
        "spacing_m": work.spacing_m,
        "count": work.count,
    }
    grid: dict[str, Any] = {"points_m": work.points_m} if work.single_points else lines
    operator = DelayAndSum(
        element_positions_m=work.elements_m,
        element_normals=work.normals,
        receive_elements=np.tile(np.arange(len(work.elements_m), dtype=np.int32), (work.transmits, 1)),
        transmit_time_s=np.stack([work.arrival_s(index, work.points_m) for index in range(work.transmits)]),
        sampling_hz=sampling_hz,
        t0_s=np.zeros(work.transmits),
        samples=samples,
        demodulation_hz=work.center_hz,
        sound_speed_m_s=SOUND_SPEED_M_S,
        f_number=work.f_number,
        quality=quality,
        **grid,
    )
    shape = work.points_m.shape[:2]
    out = np.zeros((*shape, 2), np.float32)
    data = work.data if work.is_rf else work.data.view(np.float32).reshape(*work.data.shape, 2)
    data = np.ascontiguousarray(data, dtype=np.float32)

    def run() -> NDArray[Any]:
        operator.run(data if prepare is None else prepare.run(data), out)
        return out.reshape(shape[0], 2 * shape[1]).view(np.complex64)

    return run, operator.table_bytes
