"""Delay and sum of the common work, hot: milliseconds and active points per second, one line for each case.

    python tests/bench/das.py [--transmits 1 11] [--threads 1 2] [--quality fast default exact] [--json]

Common work: 128 elements of 0.3 mm, baseband at 20 MS/s of 5 MHz echoes, 1536 samples, 384 x 607 points from 5 to
50 mm, f-number 1.75, rectangular window, plane waves. Times include everything from float32 baseband of the channels to
float32 baseband of the image. An active point is one point x element x transmission inside the aperture.
"""

from __future__ import annotations

import argparse
import json
import platform
import time

import numpy as np

from sonod.cext.das import DelayAndSum
from sonod.cext.instruction import instruction_set, instruction_sets, select_instruction_set
from sonod.cext.threads import set_thread_count

SPEED = 1540.0
F_NUMBER = 1.75


def common_work(transmits: int, quality: str, columns: int = 384, rows: int = 607) -> tuple[DelayAndSum, np.ndarray]:
    x = (np.arange(128) - 63.5) * 0.3e-3
    elements = np.stack([x, 0 * x, 0 * x], axis=1)
    origins = np.zeros((columns, 3))
    origins[:, 0] = np.linspace(-19.05e-3, 19.05e-3, columns)
    depths = np.linspace(5e-3, 50e-3, rows)
    angles = np.radians(np.linspace(-8, 8, transmits)) if transmits > 1 else np.zeros(1)
    times = np.stack([(depths[None] * np.cos(a) + origins[:, :1] * np.sin(a)) / SPEED for a in angles])
    operator = DelayAndSum(
        element_positions_m=elements,
        element_normals=np.tile([0.0, 0.0, 1.0], (128, 1)),
        receive_elements=np.tile(np.arange(128, dtype=np.int32), (transmits, 1)),
        transmit_time_s=times,
        sampling_hz=20e6,
        t0_s=np.zeros(transmits),
        samples=1536,
        demodulation_hz=5e6,
        sound_speed_m_s=SPEED,
        f_number=F_NUMBER,
        quality=quality,
        origins_m=origins,
        directions=np.tile([0.0, 0.0, 1.0], (columns, 1)),
        first_m=5e-3,
        spacing_m=depths[1] - depths[0],
        count=rows,
    )
    data = np.random.default_rng(1).normal(size=(transmits, 128, 1536, 2)).astype(np.float32)
    return operator, data


def active_points(transmits: int, columns: int = 384, rows: int = 607) -> int:
    x = (np.arange(128) - 63.5) * 0.3e-3
    lateral = np.abs(np.linspace(-19.05e-3, 19.05e-3, columns)[:, None] - x)
    half = np.linspace(5e-3, 50e-3, rows) / (2 * F_NUMBER)
    return transmits * int(sum((lateral <= h).sum() for h in half))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transmits", type=int, nargs="+", default=[1, 11])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quality", nargs="+", default=["fast", "default"])
    parser.add_argument("--set", default=instruction_set(), choices=instruction_sets())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    select_instruction_set(options.set)
    results = []
    for transmits in options.transmits:
        points = active_points(transmits)
        for quality in options.quality:
            begin = time.perf_counter()
            operator, data = common_work(transmits, quality)
            plan_ms = 1e3 * (time.perf_counter() - begin)
            out = np.zeros(operator.output_shape, np.float32)
            for threads in options.threads:
                set_thread_count(threads)
                operator.run(data, out)
                times = []
                for _ in range(options.rounds):
                    begin = time.perf_counter()
                    operator.run(data, out)
                    times.append(time.perf_counter() - begin)
                median = float(np.median(times))
                result = {
                    "transmits": transmits,
                    "quality": quality,
                    "threads": threads,
                    "set": instruction_set(),
                    "plan_ms": round(plan_ms, 1),
                    "median_ms": round(1e3 * median, 3),
                    "best_ms": round(1e3 * min(times), 3),
                    "active_points_per_s": points / median,
                    "machine": platform.processor() or platform.machine(),
                }
                results.append(result)
                if not options.json:
                    print(
                        f"{transmits:3d} tx  {quality:8s} {threads} threads  {options.set:5s}  "
                        f"{1e3 * median:8.2f} ms (best {1e3 * min(times):.2f})  {points / median / 1e9:.2f} "
                        f"G active/s  plan {plan_ms:.0f} ms"
                    )
    if options.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
