"""The stages round the beamformer, each against a copy of what it reads and writes: one thread, its processor time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.cext.compress import Compressor
from sonod.cext.detect import Envelope, HilbertEnvelope
from sonod.cext.prepare import Demodulator, IqPreparer, RfPreparer
from sonod.cext.scanconvert import ScanConverter, sector_map
from sonod.cext.threads import set_thread_count, thread_count
from sonod.cext.wire import Packing, deinterleave, unpack

TRANSMITS, CHANNELS, SAMPLES = 3, 128, 2272
SAMPLING_HZ, CENTER_HZ, HALF_BAND_HZ = 40e6, 7.5e6, 4.5e6
COLUMNS, ROWS = 256, 512
SECTOR_LINES, SECTOR_SAMPLES, SECTOR_ROWS, SECTOR_COLUMNS = 256, 600, 600, 800
ROUNDS = 25


@dataclass(frozen=True)
class StageResult:
    """One stage: processor time of one thread, bytes read and written a second, and time over that of a copy of half as
    many bytes (a copy reads and writes them)."""

    stage: str
    work: str
    cpu_ms: float
    gb_s: float
    copies: float


def measure_stages() -> list[StageResult]:
    """Every stage on arrays of the default probe's size, on one thread."""
    threads = thread_count()
    set_thread_count(1)
    try:
        return [_measure(*stage) for stage in _stages()]
    finally:
        set_thread_count(threads)


def _measure(name: str, work: str, run: Callable[[], object], nbytes: int) -> StageResult:
    source, target = np.zeros(nbytes // 2, np.uint8), np.ones(nbytes // 2, np.uint8)
    own, copies = _median_s(run), _median_s(lambda: np.copyto(target, source))
    return StageResult(name, work, round(own * 1e3, 3), round(nbytes / own / 1e9, 2), round(own / copies, 2))


def _median_s(run: Callable[[], object]) -> float:
    run()
    durations = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        run()
        durations.append(time.thread_time() - begun)
    return max(median(durations), 1e-7)


def _stages() -> list[tuple[str, str, Callable[[], object], int]]:
    rng = np.random.default_rng(0)
    raw = rng.integers(-2000, 2000, (TRANSMITS, CHANNELS, SAMPLES)).astype(np.int16)
    traces = f"{TRANSMITS} x {CHANNELS} x {SAMPLES}"
    stages: list[tuple[str, str, Callable[[], object], int]] = []

    def add(name: str, work: str, run: Callable[[], Any], *arrays: NDArray[Any]) -> None:
        stages.append((name, work, run, sum(array.nbytes for array in arrays)))

    samples = np.zeros(CHANNELS * SAMPLES, np.int16)
    for packing in Packing:
        packed = rng.integers(0, 256, packing.nbytes(len(samples))).astype(np.uint8)
        add(
            f"unpack {packing.name.lower()}",
            f"{CHANNELS} x {SAMPLES}",
            lambda packed=packed, packing=packing: unpack(packed, packing, samples, offset=8192),  # type: ignore[misc]
            packed,
            samples,
        )
    turned = np.zeros((CHANNELS, SAMPLES), np.int16)
    items = np.ascontiguousarray(turned.T)
    add("deinterleave i16", f"{CHANNELS} x {SAMPLES}", lambda: deinterleave(items, turned), items, turned)
    demodulator = Demodulator(
        raw.shape, np.int16, sampling_hz=SAMPLING_HZ, demodulation_hz=CENTER_HZ, half_bandwidth_hz=HALF_BAND_HZ,
        output_hz=SAMPLING_HZ / 3, t0_s=np.zeros(TRANSMITS),
    )  # fmt: skip
    baseband = np.zeros(demodulator.output_shape, np.float32)
    add("offset, gain, demodulate, / 3", traces, lambda: demodulator.run(raw, baseband), raw, baseband)
    band_pass = RfPreparer(
        raw.shape, np.int16, sampling_hz=SAMPLING_HZ, center_hz=CENTER_HZ, half_bandwidth_hz=HALF_BAND_HZ,
        t0_s=np.zeros(TRANSMITS),
    )  # fmt: skip
    rf = np.zeros(raw.shape, np.float32)
    add("offset, gain, band-pass", traces, lambda: band_pass.run(raw, rf), raw, rf)
    iq_raw = rng.integers(-2000, 2000, (TRANSMITS, CHANNELS, SAMPLES // 2, 2)).astype(np.int16)
    scaler = IqPreparer(
        iq_raw.shape, np.int16, sampling_hz=SAMPLING_HZ / 2, demodulation_hz=CENTER_HZ, t0_s=np.zeros(TRANSMITS)
    )
    iq = np.zeros(iq_raw.shape, np.float32)
    add("gain of IQ i16", f"{TRANSMITS} x {CHANNELS} x {SAMPLES // 2}", lambda: scaler.run(iq_raw, iq), iq_raw, iq)
    hilbert = HilbertEnvelope(raw.shape[1:], np.int16, sampling_hz=SAMPLING_HZ, band_hz=(3e6, 12e6))
    envelope_of_lines = np.zeros(raw.shape[1:], np.float32)
    add(
        "envelope of RF lines", f"{CHANNELS} x {SAMPLES}", lambda: hilbert.run(raw[0], envelope_of_lines), raw[0],
        envelope_of_lines,
    )  # fmt: skip
    beamformed = rng.standard_normal((COLUMNS, ROWS, 2)).astype(np.float32)
    magnitude, detect = np.zeros((COLUMNS, ROWS), np.float32), Envelope()
    add("envelope of IQ", f"{COLUMNS} x {ROWS}", lambda: detect.run(beamformed, magnitude), beamformed, magnitude)
    greys = np.zeros((ROWS, COLUMNS), np.uint8)
    pixels = np.abs(rng.standard_normal((ROWS, COLUMNS))).astype(np.float32)
    for name, options in {
        "logarithm": {},
        "logarithm, persistence": {"persistence": 0.5},
        "logarithm, grey map": {"grey_map": "gamma"},
    }.items():
        own = Compressor((ROWS, COLUMNS), reference_amplitude=1.0, **options)  # type: ignore[arg-type]
        add(name, f"{ROWS} x {COLUMNS}", lambda own=own: own.run(pixels, greys), pixels, greys)  # type: ignore[misc]
    direct = Compressor((ROWS, COLUMNS), reference_amplitude=1.0)
    add("IQ lines to greys", f"{ROWS} x {COLUMNS}", lambda: direct.run_lines(beamformed, greys), beamformed, greys)
    angles = np.linspace(-0.6, 0.6, SECTOR_LINES)
    x, z = np.linspace(-40e-3, 40e-3, SECTOR_COLUMNS), np.linspace(0, 100e-3, SECTOR_ROWS)
    shape = (SECTOR_LINES, SECTOR_SAMPLES)
    converter = ScanConverter(shape, *sector_map(angles, 10e-3, 150e-6, -10e-3, x, z))
    lines = np.abs(rng.standard_normal(shape)).astype(np.float32)
    drawn, sector_greys = np.zeros(converter.output_shape, np.float32), np.zeros(converter.output_shape, np.uint8)
    size = f"{SECTOR_ROWS} x {SECTOR_COLUMNS}"
    add("scan conversion", size, lambda: converter.run(lines, drawn), lines, drawn)
    sector = Compressor(converter.output_shape, reference_amplitude=1.0)
    add("scan conversion to greys", size, lambda: sector.run_scan(lines, converter, sector_greys), lines, sector_greys)
    return stages
