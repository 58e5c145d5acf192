"""Recording at wire speed beside what the disk itself takes, and a clip saved while images stream."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonod.client.control import Control
from sonod.client.subscriber import Subscriber
from sonod.daemon.bench.path import BenchFailed, cpu_s, free_ports
from sonod.daemon.cine.feed import Feed
from sonod.daemon.cine.keeper import MIB, CineKeeper, CineLimits
from sonod.daemon.cine.messages import End, Policy, RecordJob
from sonod.drivers import open_uri
from sonod.drivers.compression import COMPRESSIONS, CompressionName, compression_problem
from sonod.drivers.frame import Configuration, Slot
from sonod.drivers.recording import RecordingWriter
from sonod.drivers.settings import change_settings, default_settings

# Different frames, so that nothing on the way finds them equal.
FRAMES = 8
# Frames that wait in the ring, at most.
AHEAD = 48
# Each way is measured so often, in turns; the quickest counts, for a disk that others use.
TURNS = 3
# Enough that the file's own structures do not count.
COMPRESSED_BYTES = 48 << 20
START_TIMEOUT_S = 30.0
# Of the clip.
RATE_HZ, BEFORE_S, AFTER_S = 60.0, 10.0, 2.0


@dataclass(frozen=True)
class RecordResult:
    """`disk` is a plain file of the same bytes, forced to the disk at its end as the recording is."""

    frame_bytes: int
    frames: int
    recorded_mb_s: float
    disk_mb_s: float
    ratio: float
    writer_ns_byte: float
    complete: bool


@dataclass(frozen=True)
class CompressionResult:
    """One thread, to a file in memory; `ratio` is bytes before over bytes after."""

    filter: str
    ratio: float
    mb_s: float
    cpu_ns_byte: float


@dataclass(frozen=True)
class ClipResult:
    """Images while nothing is saved, and while a clip is; `late` are received minus last byte, 99 % within."""

    rate_hz: float
    rf_mb_s: float
    frames_before: int
    missed_before: int
    late_before_ms: float
    frames_during: int
    missed_during: int
    late_during_ms: float
    lost_by_daemon: int
    clip_frames: int
    clip_pictures: int
    clip_mb: float
    clip_complete: bool
    saving_s: float


def measure_record(seconds: float) -> RecordResult:
    """Frames of the simulated probe through ring and process, as fast as they are taken."""
    configuration, frames = _frames("sim:", {})
    count = max(AHEAD, int(seconds * 300e6 / frames[0].nbytes))
    nbytes = count * frames[0].nbytes
    recorded, disk, cpu, complete = [], [], [], True
    with tempfile.TemporaryDirectory(prefix="sonod-", dir=Path.cwd()) as name:
        for turn in range(TURNS):
            disk.append(_plain(Path(name, f"plain-{turn}"), frames, count))
            elapsed_s, used_s, whole = _recorded(Path(name, f"recorded-{turn}.h5"), configuration, frames, count)
            recorded.append(elapsed_s)
            cpu.append(used_s)
            complete &= whole
    return RecordResult(
        frames[0].nbytes,
        count,
        round(nbytes / min(recorded) / 1e6, 1),
        round(nbytes / min(disk) / 1e6, 1),
        round(min(disk) / min(recorded), 2),
        round(min(cpu) / nbytes * 1e9, 2),
        complete,
    )


def measure_compression(uri: str) -> list[CompressionResult]:
    """What `record.compression` costs on frames of this probe or recording; what needs hdf5plugin where it is here."""
    configuration, frames = _frames(uri, {})
    return [_compressed(name, configuration, frames) for name in COMPRESSIONS if not compression_problem(name)]


def measure_clip() -> ClipResult:
    """A daemon that makes images at RATE_HZ, a subscriber that takes all of them, and a clip in the middle."""
    configuration, frames = _frames("sim:", {"angle_count": 1})
    with tempfile.TemporaryDirectory(prefix="sonod-", dir=Path.cwd()) as name:
        folder = Path(name)
        source = folder / "source.h5"
        with RecordingWriter(source, configuration.acquisition, {"frame_rate_hz": RATE_HZ}) as writer:
            for number, frame in enumerate(frames, start=1):
                writer.append_frame(frame, number=number)
        ports = free_ports(2)
        config = folder / "bench.toml"
        config.write_text(
            f'[driver]\nuri = "replay:{source}?loop=1&rate={RATE_HZ:g}"\n[viewer]\nenabled = false\n'
            f'[publish]\nendpoint = "tcp://127.0.0.1:{ports[0]}"\n[control]\nendpoint = "tcp://127.0.0.1:{ports[1]}"\n'
            "[record]\nkeep_free_mib = 0\n"
        )
        command = [sys.executable, "-m", "sonod", "run", "--config", str(config)]
        daemon = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        try:
            return _clip(f"tcp://127.0.0.1:{ports[0]}", f"tcp://127.0.0.1:{ports[1]}", folder, frames[0].nbytes)
        finally:
            daemon.terminate()
            daemon.wait(10)


def _frames(uri: str, changes: Mapping[str, object]) -> tuple[Configuration, list[NDArray[np.int16]]]:
    """Frames of a simulated probe."""
    driver = open_uri(uri)
    driver.open()
    try:
        knobs = dict(driver.knobs())
        configuration = driver.prepare(change_settings(default_settings(knobs), changes, knobs))
        driver.apply(configuration)
        driver.start()
        slot = Slot(configuration.acquisition.nbytes)
        frames = []
        for _ in range(FRAMES):
            driver.read_into(slot, START_TIMEOUT_S)
            frames.append(slot.data.copy())
        return configuration, frames
    finally:
        driver.close()


def _plain(path: Path, frames: list[NDArray[np.int16]], count: int) -> float:
    """Seconds that the disk itself takes."""
    begun = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for index in range(count):
            file.write(frames[index % FRAMES].data)
        os.fsync(file.fileno())
    elapsed = time.perf_counter() - begun
    path.unlink()
    return elapsed


def _recorded(
    path: Path, configuration: Configuration, frames: list[NDArray[np.int16]], count: int
) -> tuple[float, float, bool]:
    """Seconds that the recording takes, processor time of the process that writes, and whether all is there."""
    acquisition = configuration.acquisition
    limits = CineLimits(raw_s=0.0, raw_bytes=256 * MIB, pictures_s=0.0, pictures_bytes=MIB, queue_frames=2 * AHEAD)
    cine = CineKeeper(limits)
    cine.launch()
    cine.fit(acquisition, RATE_HZ)
    cine.hold()
    slot = Slot(acquisition.nbytes)
    slot.prepare(configuration)
    feed = Feed(RecordJob(path, {}, Policy(), acquisition), cine, 1, 1)
    if refusal := feed.begin():
        raise BenchFailed(refusal)
    begun, used = time.perf_counter(), cpu_s(feed.process.pid)
    for number in range(1, count + 1):
        while number - feed.frames > AHEAD:
            feed.advance(lambda entry: True)
            time.sleep(0.0005)
        slot.number = number
        np.copyto(slot.data, frames[number % FRAMES])
        cine.tap(slot)
    while feed.frames < count and feed.done is None:
        feed.advance(lambda entry: True)
        time.sleep(0.0005)
    used = cpu_s(feed.process.pid) - used
    done = feed.end(End())
    with path.open("rb") as file:
        os.fsync(file.fileno())
    elapsed = time.perf_counter() - begun
    feed.process.close()
    cine.close()
    path.unlink()
    return elapsed, used, done is not None and done.complete and done.frames == count


def _compressed(
    name: CompressionName, configuration: Configuration, frames: list[NDArray[np.int16]]
) -> CompressionResult:
    count = max(1, COMPRESSED_BYTES // frames[0].nbytes)
    nbytes = count * frames[0].nbytes
    elapsed, used = [], []
    with tempfile.TemporaryDirectory(prefix="sonod-", dir="/dev/shm") as folder:
        for turn in range(TURNS):
            path = Path(folder, f"{turn}.h5")
            begun, used_before = time.perf_counter(), time.process_time()
            with RecordingWriter(path, configuration.acquisition, compression=name) as writer:
                for number in range(count):
                    writer.append_frame(frames[number % FRAMES], number=number + 1)
            elapsed.append(time.perf_counter() - begun)
            used.append(time.process_time() - used_before)
            size = path.stat().st_size
            path.unlink()
    return CompressionResult(
        name, round(nbytes / size, 2), round(nbytes / min(elapsed) / 1e6, 1), round(min(used) / nbytes * 1e9, 2)
    )


def _clip(frames_at: str, control_at: str, folder: Path, frame_bytes: int) -> ClipResult:
    seen = _Seen(frames_at)
    with Control(control_at, START_TIMEOUT_S) as control:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not seen.numbers:
            if time.monotonic() > deadline:
                raise BenchFailed(f"replay at {RATE_HZ:g} images a second: no picture came")
            time.sleep(0.05)
        time.sleep(BEFORE_S + 1)
        lost, begun = control.status().losses.total, len(seen.numbers)
        started = time.monotonic()
        control.clip(BEFORE_S, AFTER_S, str(folder / "clip"))
        while control.status().clip.active:
            time.sleep(0.05)
        saving_s = time.monotonic() - started
        status = control.status()
    seen.leave()
    outcome = status.clip.outcome
    if outcome is None or outcome.failed:
        raise BenchFailed(f"the clip failed: {outcome}")
    before, during = seen.part(60, begun), seen.part(begun, len(seen.numbers))
    size = sum(path.stat().st_size for path in (folder / "clip").iterdir())
    return ClipResult(
        RATE_HZ,
        round(RATE_HZ * frame_bytes / 1e6, 1),
        *before,
        *during,
        lost_by_daemon=status.losses.total - lost,
        clip_frames=outcome.frames,
        clip_pictures=outcome.pictures,
        clip_mb=round(size / 1e6, 1),
        clip_complete=outcome.complete,
        saving_s=round(saving_s, 2),
    )


class _Seen:
    """What a subscriber has received, on a thread of its own."""

    def __init__(self, endpoint: str) -> None:
        self.numbers: list[int] = []
        self._late_ns: list[int] = []
        self._leaving = False
        self._endpoint = endpoint
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def leave(self) -> None:
        self._leaving = True
        self._thread.join()

    def part(self, first: int, last: int) -> tuple[int, int, float]:
        """Frames received, missed, and the latency in milliseconds that 99 % keep."""
        numbers = self.numbers[first:last]
        late_ms = float(np.percentile(self._late_ns[first:last], 99)) / 1e6
        return len(numbers), numbers[-1] - numbers[0] + 1 - len(numbers), round(late_ms, 2)

    def _run(self) -> None:
        with Subscriber(self._endpoint) as subscriber:
            for frame in subscriber.frames("bmode", timeout_s=START_TIMEOUT_S):
                self._late_ns.append(frame.received_ns - frame.header.times.last_byte_ns)
                self.numbers.append(frame.header.frame)
                if self._leaving:
                    return
