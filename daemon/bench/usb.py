"""USB streaming: a paced source through the real libusb and the ring, one transfer at a time beside it; and kernels.

The source is an emulated device in a process of its own under umockdev, so this measures libusb, the ring and Python,
not a host controller or a cable.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sonod.cext.wire import Packing, crc32c, unpack
from sonod.daemon.errors import DaemonError
from sonod.drivers.emulated.server import RemoteBoard
from sonod.drivers.emulated.usbfs import preload_library

# One shot of 128 channels x 1536 samples.
SHOT_SAMPLES = 128 * 1536
# So many shots are more than any cache: what a stream of fresh data is like.
FRESH_SHOTS = 64
REPEATS = 5
# On a virtual machine that has used up its share nothing runs for a while: a multiple of what transfers in flight can
# hide, in a real device's host as here, so such a run says nothing about the program.
UNDISTURBED_MS = 20.0
MOST_ATTEMPTS = 6


class UsbBenchFailed(DaemonError):
    """The measurement could not be made."""


@dataclass(frozen=True)
class StreamResult:
    """One run. Of the `made` messages `lost` never came, which the reader counted: `late` because no transfer was
    waiting for them in time, others in the `overruns` (transfers that the ring threw away because nobody read);
    `unaccounted` must be 0. `cpu_ns_byte` is of the whole process, busy threads and emulated system calls included,
    `reader_ns_byte` of the thread that parses, checks and hands over. `stolen_ms`: what the hypervisor took from this
    machine's processors meanwhile, in which nothing here runs and everything that is due is lost; `waited_ms`: how
    long threads of the process were ready and had no processor. `attempts`: runs that it took to find one with less
    stolen than `UNDISTURBED_MS`; then the least disturbed one is told."""

    reader: str
    rate_mb_s: float
    shot: tuple[int, int]
    busy_threads: int
    seconds: float
    received_mb_s: float
    made: int
    lost: int
    late: int
    overruns: int
    unaccounted: int
    out_of_order: int
    crc_errors: int
    cpu_ns_byte: float
    reader_ns_byte: float
    stolen_ms: float
    waited_ms: float
    attempts: int = 1


@dataclass(frozen=True)
class KernelResult:
    """One kernel over fresh memory; `ratio` is its time over that of a copy of as many bytes in the same run."""

    kernel: str
    gb_s: float
    ratio: float


def measure_stream(
    reader: str, rate_mb_s: float, busy_threads: int, shot: tuple[int, int], seconds: float
) -> StreamResult:
    """`reader` is `ring` or `polled`; `shot` is (channels, samples) of a message. UsbBenchFailed without umockdev."""
    runs: list[StreamResult] = []
    while len(runs) < MOST_ATTEMPTS and (not runs or runs[-1].stolen_ms > UNDISTURBED_MS):
        runs.append(_run(reader, rate_mb_s, busy_threads, shot, seconds))
    return replace(min(runs, key=lambda run: run.stolen_ms), attempts=len(runs))


def _run(reader: str, rate_mb_s: float, busy_threads: int, shot: tuple[int, int], seconds: float) -> StreamResult:
    if preload_library() is None:
        raise UsbBenchFailed("bench usb: umockdev is not installed; apt-get install umockdev")
    with (
        tempfile.TemporaryDirectory(prefix="sonod-") as folder,
        RemoteBoard(
            "paced", Path(folder, "t"), apart=True, rate_bytes_s=rate_mb_s * 1e6, channels=shot[0], samples=shot[1]
        ) as board,
    ):
        environment = [f"{name}={value}" for name, value in board.environment.items()]
        module = "sonod.daemon.bench.usb_reader"
        done = subprocess.run(
            ["env", *environment, sys.executable, "-m", module, reader, str(seconds), str(busy_threads)],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
    if done.returncode != 0:
        raise UsbBenchFailed(f"bench usb: the reader failed: {done.stderr.strip().splitlines()[-1:]}")
    seen = json.loads(done.stdout)
    count = max(seen["bytes"], 1)
    return StreamResult(
        reader,
        rate_mb_s,
        shot,
        busy_threads,
        seen["seconds"],
        seen["bytes"] / seen["seconds"] / 1e6,
        seen["made"],
        seen["missing"],
        seen["late"],
        seen["overruns"],
        seen["made"] - seen["messages"] - seen["missing"],
        seen["out_of_order"],
        seen["crc_errors"],
        1e9 * seen["process_cpu_s"] / count,
        1e9 * seen["reader_cpu_s"] / count,
        1e3 * seen["stolen_s"],
        1e3 * seen["waited_s"],
    )


def measure_kernels() -> list[KernelResult]:
    """CRC-32C and unpacking of shots that are in no cache, against copying them."""
    random = np.random.default_rng(1)
    shots = random.integers(0, 256, (FRESH_SHOTS, 2 * SHOT_SAMPLES), dtype=np.uint8)
    copies = np.zeros_like(shots)
    out = np.zeros((FRESH_SHOTS, SHOT_SAMPLES), np.int16)
    copy_s = _each_s(lambda index: np.copyto(copies[index], shots[index]))
    results = [KernelResult("copy", 2 * SHOT_SAMPLES / copy_s / 1e9, 1.0)]
    crc_s = _each_s(lambda index: crc32c(shots[index]))
    results.append(KernelResult("crc32c", 2 * SHOT_SAMPLES / crc_s / 1e9, crc_s / copy_s))
    for packing in Packing:
        size = packing.nbytes(SHOT_SAMPLES)

        def run(index: int, packing: Packing = packing, size: int = size) -> None:
            unpack(shots[index, :size], packing, out[index], 1 << 13)

        taken = _each_s(run)
        results.append(KernelResult(packing.name.lower(), 2 * SHOT_SAMPLES / taken / 1e9, taken / copy_s))
    return results


def _each_s(run: Callable[[int], object]) -> float:
    """Seconds for one shot: the best of several passes over all of them."""
    best = float("inf")
    for _ in range(REPEATS):
        begun = time.perf_counter()
        for index in range(FRESH_SHOTS):
            run(index)
        best = min(best, (time.perf_counter() - begun) / FRESH_SHOTS)
    return best
