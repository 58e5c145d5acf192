"""The pool: the same results for every number of threads, series of kernels, and workers that sleep when idle."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sonod.cext.das import DelayAndSum
from sonod.cext.detect import Envelope
from sonod.cext.threads import Series, set_thread_count, thread_count

SOUND_SPEED_M_S, CENTER_HZ, SAMPLING_HZ, SAMPLES = 1540.0, 5e6, 20e6, 900
PATIENCE_S = 10.0


def operator(transmits: int, lines: int) -> DelayAndSum:
    """Plane waves on columns over 40 elements."""
    elements = np.zeros((40, 3))
    elements[:, 0] = (np.arange(40) - 19.5) * 0.3e-3
    origins, directions = np.zeros((lines, 3)), np.tile([0.0, 0.0, 1.0], (lines, 1))
    origins[:, 0] = np.linspace(-6.1e-3, 5.9e-3, lines)
    depths = 2e-3 + np.arange(333) * 75e-6
    angles = np.linspace(-0.1, 0.1, transmits)
    time_s = np.cos(angles)[:, None, None] * depths + np.sin(angles)[:, None, None] * origins[:, 0, None]
    return DelayAndSum(
        origins_m=origins,
        directions=directions,
        first_m=depths[0],
        spacing_m=75e-6,
        count=len(depths),
        element_positions_m=elements,
        element_normals=np.tile([0.0, 0.0, 1.0], (40, 1)),
        receive_elements=np.tile(np.arange(40, dtype=np.int32), (transmits, 1)),
        transmit_time_s=time_s / SOUND_SPEED_M_S,
        sampling_hz=SAMPLING_HZ,
        t0_s=np.zeros(transmits),
        samples=SAMPLES,
        demodulation_hz=CENTER_HZ,
        sound_speed_m_s=SOUND_SPEED_M_S,
        f_number=1.2,
    )


def channel_data(transmits: int) -> NDArray[np.float32]:
    data = np.random.default_rng(transmits).normal(size=(transmits, 40, SAMPLES, 2)).astype(np.float32)
    data[0, 3, 100] = np.nan
    # So quiet that its samples are rounded more finely than those of the others.
    data[-1, 7] *= 1e-4
    return data


@pytest.mark.parametrize(("transmits", "lines"), [(1, 3), (1, 200), (5, 150)])
def test_lines_have_the_same_bits_for_every_number_of_threads(each_set: str, transmits: int, lines: int) -> None:
    made, data = operator(transmits, lines), channel_data(transmits)
    set_thread_count(1)
    expected = np.zeros((lines, 333, 2), np.float32)
    made.run(data, expected)
    assert np.isfinite(expected).all()
    assert expected.any()
    for count in (2, 3, 8, 64):
        set_thread_count(count)
        out = np.full_like(expected, 7)
        made.run(data, out)
        assert np.array_equal(out, expected), (each_set, count)


def test_a_way_back_that_is_computed_in_passing_has_the_same_bits_for_every_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = operator(2, 70)
    monkeypatch.setattr("sonod.cext.blocks.TABLE_BYTES", 0)
    passing, data = operator(2, 70), channel_data(2)
    assert passing.table_bytes < held.table_bytes
    expected, out = np.zeros((2, 70, 333, 2), np.float32)
    held.run(data, expected)
    for count in (1, 2, 5):
        set_thread_count(count)
        passing.run(data, out)
        assert np.array_equal(out, expected), count


def test_kernels_of_series_of_several_threads_give_their_results_while_the_pool_changes() -> None:
    set_thread_count(min(3, os.cpu_count() or 1))
    failures = []

    def work(seed: int) -> None:
        iq = np.random.default_rng(seed).normal(size=(100_000, 2)).astype(np.float32)
        expected = Envelope().run(iq).copy()
        for _ in range(30):
            with Series(), Series():
                for _ in range(5):
                    if not np.array_equal(Envelope().run(iq), expected):
                        failures.append(seed)

    callers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for caller in callers:
        caller.start()
    changes = 0
    while any(caller.is_alive() for caller in callers):
        # Between their series.
        set_thread_count(1 + changes % 4)
        changes += 1
    for caller in callers:
        caller.join()
    assert not failures


def test_the_thread_count_stays_within_a_series_and_changes_after_it() -> None:
    set_thread_count(2)
    with Series(), pytest.raises(OSError, match="series"):
        set_thread_count(1)
    set_thread_count(3)
    assert thread_count() == 3


@pytest.mark.parametrize("count", [2, 8])
def test_nobody_works_when_there_is_nothing_to_do(count: int) -> None:
    # The second one has more threads than most machines have processors.
    set_thread_count(count)
    iq = np.ones((200_000, 2), np.float32)
    Envelope().run(iq)
    with Series():
        Envelope().run(iq)
    spent = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - spent < 0.02
    # Nor does anybody wait awake for long within a series.
    with Series():
        Envelope().run(iq)
        spent = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - spent < 0.02


def test_a_fork_within_a_series_has_a_pool_of_its_own() -> None:
    script = (
        "import os, sys, numpy as np\n"
        "from sonod.cext.threads import Series, set_thread_count\n"
        "from sonod.cext.detect import Envelope\n"
        "set_thread_count(2)\n"
        "iq = np.ones((100000, 2), np.float32)\n"
        "with Series():\n"
        "    Envelope().run(iq)\n"
        "    child = os.fork()\n"
        "    Envelope().run(iq)\n"
        "set_thread_count(3)\n"
        "with Series():\n"
        "    Envelope().run(iq)\n"
        "if not child: os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60)


def sleeps(task: int) -> bool:
    return Path(f"/proc/self/task/{task}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_workers_are_woken_on_other_processors_than_the_callers() -> None:
    """Some kernels wake them where the caller runs though others are idle, and then they wait until it is done."""
    allowed = os.sched_getaffinity(0)
    made, data = operator(1, 200), channel_data(1)
    set_thread_count(1)
    before = set(os.listdir("/proc/self/task"))
    set_thread_count(2)
    (worker,) = (int(task) for task in set(os.listdir("/proc/self/task")) - before)
    try:
        for own in sorted(allowed)[:2]:
            os.sched_setaffinity(0, {own})
            deadline_s = time.monotonic() + PATIENCE_S
            while not sleeps(worker) and time.monotonic() < deadline_s:
                time.sleep(0.001)
            made.run(data)
            # Where there is no other one, they stay.
            assert os.sched_getaffinity(worker) == (allowed - {own} or allowed)
    finally:
        os.sched_setaffinity(0, allowed)
        set_thread_count(1)
