"""The common work: delay and sum of baseband channel data, as other beamformers are measured, and the peers themselves.

128 elements of 0.3 mm, 5 MHz, baseband at 20 MS/s, 1536 samples, 384 x 607 points from 5 to 50 mm, f-number 1.75,
rectangular window, plane waves. An active point is one point x element x transmission inside the f-number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median

import numpy as np
from numpy.typing import NDArray

from sonod.cext.das import DelayAndSum

ELEMENTS, PITCH_M, SAMPLES = 128, 0.3e-3, 1536
SAMPLING_HZ, CENTER_HZ, SOUND_SPEED_M_S = 20e6, 5e6, 1540.0
COLUMNS, ROWS = 384, 607
FIRST_M, LAST_M, HALF_WIDTH_M = 5e-3, 50e-3, 19.05e-3
F_NUMBER = 1.75
LARGEST_ANGLE_RAD = np.radians(8)
LEAST_ROUNDS = 5
PEERS = ("scipy",)

# Makes the beamformed baseband (columns, rows) of the work.
Run = Callable[[], NDArray[np.complex64]]


@dataclass(frozen=True)
class CommonResult:
    """One beamformer on the common work. `likeness` is the correlation of its envelope with sonod's."""

    name: str
    transmits: int
    set_up_ms: float
    frame_ms: float
    active_points_per_s: float
    likeness: float
    ratio: float


@dataclass(frozen=True)
class _Work:
    angles_rad: NDArray[np.float64]
    elements_x_m: NDArray[np.float64]
    columns_m: NDArray[np.float64]
    depths_m: NDArray[np.float64]
    data: NDArray[np.complex64]

    def arrival_s(self, angle_rad: float) -> NDArray[np.float64]:
        """(columns, rows)"""
        along = np.cos(angle_rad) * self.depths_m[None] + np.sin(angle_rad) * self.columns_m[:, None]
        return np.asarray(along / SOUND_SPEED_M_S)

    @property
    def active_points(self) -> int:
        lateral = np.abs(self.columns_m[:, None] - self.elements_x_m[None])
        half = self.depths_m / (2 * F_NUMBER)
        return len(self.angles_rad) * int(sum((lateral <= reach).sum() for reach in half))


def measure_common(transmits: int, quality: str, against: tuple[str, ...], seconds: float) -> list[CommonResult]:
    """Sonod first, then each installed peer of `against`, in turns of one run; ValueError for an unknown peer."""
    unknown = sorted(set(against) - set(PEERS))
    if unknown:
        raise ValueError(f"--against: no peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    work = _work(transmits)
    contenders: list[tuple[str, float, Run]] = []
    builders: list[tuple[str, Callable[[], Run]]] = [(f"sonod {quality}", lambda: _sonod(work, quality))]
    builders += [(peer, _peer(peer, work)) for peer in against]
    for name, build in builders:
        begun = time.perf_counter()
        run = build()
        contenders.append((name, (time.perf_counter() - begun) * 1e3, run))
    pictures = [np.abs(run()) for _, _, run in contenders]
    durations: list[list[float]] = [[] for _ in contenders]
    begun = time.monotonic()
    while time.monotonic() - begun < seconds * len(contenders) or len(durations[0]) < LEAST_ROUNDS:
        for own, (_, _, run) in zip(durations, contenders, strict=True):
            start = time.perf_counter()
            run()
            own.append(time.perf_counter() - start)
    results = []
    for (name, set_up_ms, _), own, picture in zip(contenders, durations, pictures, strict=True):
        ratios = [theirs / ours for theirs, ours in zip(own, durations[0], strict=True)]
        results.append(
            CommonResult(
                name=name,
                transmits=transmits,
                set_up_ms=round(set_up_ms, 1),
                frame_ms=round(median(own) * 1e3, 2),
                active_points_per_s=work.active_points / median(own),
                likeness=round(float(np.corrcoef(picture.ravel(), pictures[0].ravel())[0, 1]), 4),
                ratio=round(median(ratios), 2),
            )
        )
    return results


def _work(transmits: int) -> _Work:
    """Echoes of a few hundred points, so that pictures can be compared."""
    rng = np.random.default_rng(1)
    angles = np.linspace(-LARGEST_ANGLE_RAD, LARGEST_ANGLE_RAD, transmits) if transmits > 1 else np.zeros(1)
    x = (np.arange(ELEMENTS, dtype=np.float64) - (ELEMENTS - 1) / 2) * PITCH_M
    points = np.stack([rng.uniform(-18e-3, 18e-3, 300), rng.uniform(6e-3, 48e-3, 300)], axis=1)
    times = np.arange(SAMPLES) / SAMPLING_HZ
    data = np.zeros((transmits, ELEMENTS, SAMPLES), np.complex64)
    for index, angle in enumerate(angles):
        for point_x, point_z in points:
            arrival = (point_z * np.cos(angle) + point_x * np.sin(angle)) / SOUND_SPEED_M_S
            delay = arrival + np.hypot(point_x - x, point_z) / SOUND_SPEED_M_S
            begin = np.clip((delay * SAMPLING_HZ).astype(int) - 20, 0, SAMPLES - 40)
            window = begin[:, None] + np.arange(40)
            offset = times[window] - delay[:, None]
            pulse = np.exp(-((offset * 2.5e6) ** 2) - 2j * np.pi * CENTER_HZ * delay[:, None])
            data[index, np.arange(ELEMENTS)[:, None], window] += pulse.astype(np.complex64)
    return _Work(angles, x, np.linspace(-HALF_WIDTH_M, HALF_WIDTH_M, COLUMNS), np.linspace(FIRST_M, LAST_M, ROWS), data)


def _sonod(work: _Work, quality: str) -> Run:
    transmits = len(work.angles_rad)
    elements = np.zeros((ELEMENTS, 3))
    elements[:, 0] = work.elements_x_m
    origins = np.zeros((COLUMNS, 3))
    origins[:, 0] = work.columns_m
    operator = DelayAndSum(
        element_positions_m=elements,
        element_normals=np.tile([0.0, 0.0, 1.0], (ELEMENTS, 1)),
        receive_elements=np.tile(np.arange(ELEMENTS, dtype=np.int32), (transmits, 1)),
        transmit_time_s=np.stack([work.arrival_s(angle) for angle in work.angles_rad]),
        sampling_hz=SAMPLING_HZ,
        t0_s=np.zeros(transmits),
        samples=SAMPLES,
        demodulation_hz=CENTER_HZ,
        sound_speed_m_s=SOUND_SPEED_M_S,
        f_number=F_NUMBER,
        quality=quality,
        origins_m=origins,
        directions=np.tile([0.0, 0.0, 1.0], (COLUMNS, 1)),
        first_m=FIRST_M,
        spacing_m=(LAST_M - FIRST_M) / (ROWS - 1),
        count=ROWS,
    )
    data = np.ascontiguousarray(work.data).view(np.float32).reshape(*work.data.shape, 2)
    out = np.zeros((COLUMNS, ROWS, 2), np.float32)

    def run() -> NDArray[np.complex64]:
        operator.run(data, out)
        return out.reshape(COLUMNS, ROWS * 2).view(np.complex64)

    return run


def _peer(name: str, work: _Work) -> Callable[[], Run]:
    if find_spec(name) is None:
        raise ValueError(f"--against: {name} is not installed; pip install {name}")
    return lambda: _scipy(work)


def _scipy(work: _Work) -> Run:
    """One sparse matrix for each transmission, linear interpolation and phase rotation in its entries."""
    from scipy.sparse import csr_array

    lateral = np.abs(work.columns_m[:, None] - work.elements_x_m[None])
    matrices = []
    for angle in work.angles_rad:
        transmit = work.arrival_s(angle)
        rows, places, values = [], [], []
        for element in range(ELEMENTS):
            distance = np.hypot(work.columns_m[:, None] - work.elements_x_m[element], work.depths_m[None])
            delay = transmit + distance / SOUND_SPEED_M_S
            index = delay * SAMPLING_HZ
            before = np.floor(index)
            inside = (lateral[:, element, None] <= work.depths_m[None] / (2 * F_NUMBER)) & (before < SAMPLES - 1)
            point = np.flatnonzero(inside)
            share = (index - before)[inside]
            turn = np.exp(2j * np.pi * CENTER_HZ * delay[inside]) / (ELEMENTS * len(work.angles_rad))
            sample = element * SAMPLES + before[inside].astype(np.int64)
            for offset, weight in ((0, 1 - share), (1, share)):
                rows.append(point)
                places.append(sample + offset)
                values.append((turn * weight).astype(np.complex64))
        shape = (COLUMNS * ROWS, ELEMENTS * SAMPLES)
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(places)))
        matrices.append(csr_array(entries, shape=shape))
    data = [np.ascontiguousarray(one.reshape(-1)) for one in work.data]

    def run() -> NDArray[np.complex64]:
        total = matrices[0] @ data[0]
        for matrix, one in zip(matrices[1:], data[1:], strict=True):
            total = total + matrix @ one
        return np.asarray(total, dtype=np.complex64).reshape(COLUMNS, ROWS)

    return run
