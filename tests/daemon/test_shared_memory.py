"""Frames in shared memory: whole or not at all, on every change of size, and gone when the daemon is."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import wire_messages as messages
from daemon_bench import PATIENCE_S, Bench

from sonod.client.errors import RequestRefused
from sonod.client.shared import Segment, SharedFrames
from sonod.client.wire.header import encode_header
from sonod.daemon.shared_ring import FOLDER, PREFIX, SharedRing, remove_stale, supported

pytestmark = pytest.mark.skipif(not supported(), reason="needs /dev/shm on x86-64")
HEADER = encode_header(messages.HEADER)
SOURCE = Path(__file__).parents[2] / "docs" / "shared_memory_reader.c"


@pytest.fixture
def ring() -> Iterator[SharedRing]:
    made = SharedRing(f"{PREFIX}test{os.getpid()}.rf.1", "s" * 32, "rf", 4, len(HEADER), 1 << 20, 0o640)
    yield made
    if (FOLDER / made.name).exists():
        made.close()


def test_message_is_read_as_it_was_written(ring: SharedRing) -> None:
    data = np.arange(3000, dtype=np.int16).reshape(3, 1000)[:, ::2]
    ring.write(7, HEADER, data, 5)
    segment = Segment(ring.name)
    copied = segment.copy(1)
    assert copied is not None
    assert copied[0] == HEADER
    np.testing.assert_array_equal(copied[1].view(np.int16).reshape(3, 500), data)
    assert (segment.newest, segment.successor) == (1, None)


def test_overwritten_message_is_not_returned(ring: SharedRing) -> None:
    for number in range(6):
        ring.write(number, HEADER, np.full(10, number, np.uint8), 0)
    segment = Segment(ring.name)
    assert [segment.copy(number) is not None for number in range(1, 8)] == [False] * 2 + [True] * 4 + [False]


def test_torn_message_is_never_returned(ring: SharedRing) -> None:
    """A writer that never rests; every message that comes out is of one piece."""
    leaving = threading.Event()

    def write() -> None:
        number = 0
        while not leaving.is_set():
            number += 1
            ring.write(number, HEADER, np.full(1 << 20, number % 251, np.uint8), 0)

    thread = threading.Thread(target=write)
    thread.start()
    segment = Segment(ring.name)
    whole = lost = 0
    try:
        while whole < 150:
            number = segment.newest
            copied = segment.copy(number) if number else None
            if copied is None:
                lost += 1
                continue
            assert copied[1][0] == number % 251
            assert (copied[1] == copied[1][0]).all()
            whole += 1
    finally:
        leaving.set()
        thread.join()


def test_segment_is_for_the_owner_and_the_group(ring: SharedRing) -> None:
    assert stat.S_IMODE((FOLDER / ring.name).stat().st_mode) == 0o640


def test_left_over_segments_are_removed_and_living_ones_kept(ring: SharedRing) -> None:
    program = (
        "import os; from sonod.daemon.shared_ring import SharedRing; "
        f"SharedRing('{PREFIX}dead{os.getpid()}.rf.1', 's' * 32, 'rf', 2, 100, 100, 0o600); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    dead = FOLDER / f"{PREFIX}dead{os.getpid()}.rf.1"
    assert dead.exists()
    assert remove_stale() >= 1
    assert not dead.exists()
    assert (FOLDER / ring.name).exists()


def test_c_client_reads_the_same_bytes(ring: SharedRing, tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None, "a C compiler is needed to build sonod, and to test this"
    program = tmp_path / "reader"
    subprocess.run(
        [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE, "-lrt"], check=True, timeout=120
    )
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 255, 1000 + number, dtype=np.uint8) for number in range(4)]
    for number, data in enumerate(frames, 1):
        ring.write(10 + number, HEADER, data, 0)
    result = subprocess.run([program, f"/{ring.name}", "4"], capture_output=True, text=True, check=True, timeout=60)
    lines = [tuple(map(int, line.split())) for line in result.stdout.splitlines()]
    assert lines == [(n, 10 + n, len(data), int(data.sum())) for n, data in enumerate(frames, 1)]
    assert result.stderr == "0 overwritten\n"


def test_pictures_come_through_shared_memory_and_follow_their_size(start: Callable[..., Bench]) -> None:
    bench = start(lambda driver: setattr(driver, "columns", 40))
    with SharedFrames(bench.control, "bmode") as frames:
        bench.driver.deliver()
        first = frames.next(PATIENCE_S)
        bench.control.set({"depth_m": 0.1})
        bench.driver.deliver(2)
        second, third = frames.next(PATIENCE_S), frames.next(PATIENCE_S)
    assert [frame.header.frame for frame in (first, second, third)] == [1, 2, 3]
    assert second.data.shape[0] == 2 * first.data.shape[0]
    assert (first.data == 1).all()
    assert (third.data == 3).all()
    assert frames.losses.total == 0
    name = bench.control.status().values["shared_memory"]["bmode"]["name"]
    assert name.endswith(".bmode.2")


def test_raw_frames_are_those_of_the_wire(start: Callable[..., Bench]) -> None:
    bench = start(driver={"uri": "sim:wires"}, settings={"angle_count": 1, "frame_rate_hz": 10.0})
    wire = bench.frames("rf")
    with SharedFrames(bench.control, "rf") as frames:
        shared = frames.next(PATIENCE_S)
        while shared.header.frame < 3:
            shared = frames.next(PATIENCE_S)
        same = next(frame for frame in wire if frame.header.frame >= shared.header.frame)
        while shared.header.frame < same.header.frame:
            shared = frames.next(PATIENCE_S)
    assert shared.header.geometry == same.header.geometry
    np.testing.assert_array_equal(shared.data, same.data)
    losses = shared.header.losses
    assert shared.header.message is not None
    assert shared.header.frame == shared.header.message + losses.device + losses.unsubscribed


def test_daemon_that_stops_leaves_nothing(start: Callable[..., Bench]) -> None:
    bench = start()
    with SharedFrames(bench.control, "bmode") as frames:
        bench.driver.deliver()
        frames.next(PATIENCE_S)
    session = bench.daemon.session.id[:12]
    assert list(FOLDER.glob(f"{PREFIX}{session}*"))
    bench.daemon.stop()
    assert not list(FOLDER.glob(f"{PREFIX}{session}*"))


def test_unknown_product_is_refused(bench: Bench) -> None:
    with pytest.raises(RequestRefused, match="shared_memory: product: must be one of"):
        SharedFrames(bench.control, "wings")
