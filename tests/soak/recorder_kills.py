"""The process that writes recordings is killed at random moments: every frame flushed is readable, with the right hash.

    python tests/soak/recorder_kills.py [--rounds 30] [--seed 1] [--folder FOLDER] [--full-mib 0]

Each round records frames of 1.7 MB, 60 a second, with a picture of each, kills the process with SIGKILL after a time
that the seed decides, and looks at what is left: at least the frames that were said to be flushed, in order, each the
bytes that were put in, by a SHA-256 that the file has nothing to do with. Then what `sonod repair` does closes the
file, and plain HDF5 reads the same. With `--full-mib` a file system of so many MiB is mounted (which needs the right
to) and filled by a recording, with and without the guard of free space. Exit code 0 when all was there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sonod.client.wire.geometry import ImageGeometry
from sonod.daemon.cine.facts import PictureFacts
from sonod.daemon.cine.keeper import CineKeeper, CineLimits
from sonod.daemon.cine.messages import Policy
from sonod.daemon.log import configure_logging
from sonod.daemon.recorder import Outcome, Recorder
from sonod.drivers import open_uri
from sonod.drivers.digests import PictureRow
from sonod.drivers.frame import Configuration, Slot
from sonod.drivers.recording import Recording
from sonod.drivers.recording.repair import repair_recording
from sonod.drivers.settings import default_settings

RATE_HZ = 60.0
# From the first frame to the kill, at most.
LONGEST_S = 1.5
# A process on a busy machine has started by then.
PATIENCE_S = 30.0
POLL_S = 0.001
MIB = 1 << 20


class Round:
    """One recording, from its first frame to what came of it."""

    def __init__(self, configuration: Configuration, path: Path, policy: Policy) -> None:
        self._configuration = configuration
        self._path = path
        self.hashes: dict[int, str] = {}
        self.outcome: Outcome | None = None
        self.flushed = 0
        self._ended = threading.Event()
        self._cine = CineKeeper(CineLimits(raw_s=2.0, raw_bytes=512 * MIB, pictures_s=0.0, pictures_bytes=MIB))
        self._cine.launch()
        self._cine.fit(configuration.acquisition, RATE_HZ)
        acquisition = configuration.acquisition
        self._recorder = Recorder(self._cine, policy, {"session": "kills"}, lambda: acquisition, self._end)

    def run(self, random_: random.Random, kill: bool) -> str:
        """What is wrong, '' = nothing."""
        self._recorder.launch()
        self._recorder.start(str(self._path), None).result(PATIENCE_S)
        process = self._recorder.process
        assert process is not None
        kill_s = time.monotonic() + (random_.uniform(0, LONGEST_S) if kill else PATIENCE_S)
        slot = Slot(0)
        slot.prepare(self._configuration)
        noise = np.random.default_rng(random_.getrandbits(32))
        base = noise.integers(-2000, 2000, slot.data.shape, np.int16)
        number, next_s = 0, time.monotonic()
        while time.monotonic() < kill_s and not self._ended.is_set():
            if time.monotonic() >= next_s:
                number, next_s = number + 1, next_s + 1 / RATE_HZ
                slot.data[:] = base + number
                slot.number = number
                self.hashes[number] = hashlib.sha256(slot.data).hexdigest()
                self._put(slot)
            self.flushed = max(self.flushed, self._recorder.block()["flushed"])
            time.sleep(POLL_S)
        if kill:
            self.flushed = max(self.flushed, self._recorder.block()["flushed"])
            os.kill(process, 9)
        if not self._ended.wait(PATIENCE_S):
            return "the end of the recording was not told"
        left = self._recorder.leave(PATIENCE_S)
        self._cine.close()
        assert self.outcome is not None
        if not left:
            return "the thread did not end"
        if kill and (self.outcome.complete or self.outcome.reason != "the writing process ended (SIGKILL)"):
            return f"the end was told as {self.outcome}"
        told = self.outcome.frames + self.outcome.unrecorded
        # What came after the end of the recording is nobody's loss.
        if told != number if kill else told > number:
            return f"{number} frames came; told were {self.outcome}"
        return ""

    def look(self) -> tuple[int, str]:
        """Frames in the file that are what was put in, and what is wrong ('' = nothing)."""
        if not self.flushed and not _has_frames(self._path):
            return 0, ""
        with Recording(self._path) as recording:
            count, numbers = recording.frame_count, recording.numbers.tolist()
            if count < self.flushed:
                return count, f"{self.flushed} frames were flushed, {count} are in the file"
            if numbers != list(range(1, count + 1)):
                return count, f"frame numbers are {numbers}"
            frame = np.empty(recording.acquisition.shape, recording.acquisition.dtype)
            for index, number in enumerate(numbers):
                if not recording.whole(index, frame):
                    return index, f"frame {number} is not what its digest says"
                if hashlib.sha256(frame).hexdigest() != self.hashes[number]:
                    return index, f"frame {number} is not what was put in"
        repaired = repair_recording(self._path)
        with h5py.File(self._path) as file:
            plain = file["rf"].shape[0]
        if repaired.damaged or plain < count:
            return count, f"after the repair: {repaired}, {plain} frames for plain HDF5"
        return count, ""

    def _put(self, slot: Slot) -> None:
        self._cine.tap(slot)
        row = PictureRow(slot.number, 0, slot.number - 1, 1.0, {"compress": bytes(range(1, 17))})
        geometry = ImageGeometry((1, 1), (1.0, 1.0), (0.0, 0.0, 0.0), None)
        facts = PictureFacts(self._configuration, slot.number, 0, geometry, row, 0, 0)
        self._cine.pictures.put(np.zeros(0, np.uint8), facts)

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._ended.set()


def run(rounds: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kills; the report has one line for each round."""
    random_ = random.Random(seed)
    configuration = _configuration()
    told: list[dict[str, Any]] = []
    for number in range(1, rounds + 1):
        path = folder / f"kill-{number}.h5"
        one = Round(configuration, path, Policy(flush_s=0.05, fsync_s=0.2))
        wrong = one.run(random_, kill=True)
        found, problem = (0, "") if wrong else one.look()
        path.unlink(missing_ok=True)
        told.append({"round": number, "flushed": one.flushed, "found": found, "wrong": wrong or problem})
    good = sum(not line["wrong"] for line in told)
    frames = sum(line["found"] for line in told)
    return {"rounds": rounds, "good": good, "frames_found": frames, "seed": seed, "lines": told}


def fill(folder: Path, keep_free_mib: int, seed: int) -> dict[str, Any]:
    """A recording until the file system is full, or nearly."""
    path = folder / f"full-{keep_free_mib}.h5"
    one = Round(_configuration(), path, Policy(0.05, 0.0, keep_free_mib * MIB))
    wrong = one.run(random.Random(seed), kill=False)
    status = os.statvfs(folder)
    found, problem = one.look()
    outcome = None if one.outcome is None else one.outcome.block()
    path.unlink()
    free_mib = status.f_bavail * status.f_frsize / MIB
    return {
        "keep_free_mib": keep_free_mib,
        "free_mib": round(free_mib, 1),
        "flushed": one.flushed,
        "found": found,
        "wrong": wrong or problem,
        "outcome": outcome,
    }


def _configuration() -> Configuration:
    driver = open_uri("sim:")
    driver.open()
    try:
        return driver.prepare(default_settings(driver.knobs()))
    finally:
        driver.close()


def _has_frames(path: Path) -> bool:
    try:
        with Recording(path):
            return True
    except Exception:  # noqa: BLE001  killed before there was a frame
        return False


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Kills the process that writes recordings.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--full-mib", type=int, default=0)
    options = parser.parse_args(arguments)
    # Standard output is for the report.
    configure_logging("error", "json", sys.stderr)
    with tempfile.TemporaryDirectory(prefix="sonod-", dir=options.folder) as name:
        folder = Path(name)
        report = run(options.rounds, options.seed, folder)
        report["full"] = []
        if options.full_mib:
            small = folder / "small"
            small.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={options.full_mib}m", "tmpfs", str(small)]
            subprocess.run(mount, check=True)
            try:
                report["full"] = [fill(small, keep_free_mib, options.seed) for keep_free_mib in (0, 16)]
            finally:
                subprocess.run(["umount", str(small)], check=True)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    wrong = any(line["wrong"] for line in report["full"])
    return int(report["good"] != options.rounds or wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
