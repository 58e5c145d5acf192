"""Recordings of raw frames: the thread that tells a process of its own what to write.

The frames are in the cine ring already; nothing is copied for a recording on the thread that reads them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import structlog

from sonod.daemon.cine.facts import RawFacts
from sonod.daemon.cine.feed import PERIOD_S, Feed, WriterDied
from sonod.daemon.cine.keeper import CineKeeper
from sonod.daemon.cine.messages import Done, End, Policy, RecordJob
from sonod.daemon.cine.orders import OrderThread, Result
from sonod.daemon.cine.ring import Entry
from sonod.daemon.errors import CommandError
from sonod.drivers.frame import Acquisition

SUFFIX = ".h5"
# At the end of a recording, how long the pictures of its last frames are waited for.
PICTURE_WAIT_S = 0.3
# When the daemon leaves, how long the process may take; after that it finishes the file by itself.
LEAVE_WAIT_S = 1.0
Attributes = Mapping[str, str | float | int | bool]


@dataclass
class _Recording:
    """One request to record."""

    path: Path
    seconds: float | None
    feed: Feed
    first_ns: int = 0
    last_ns: int = 0

    def wants(self, entry: Entry[RawFacts]) -> bool:
        """Whether the frame belongs to it; the one that comes when its time is over is the last."""
        facts = entry.facts
        if self.first_ns == 0:
            self.first_ns = facts.last_byte_ns
        elif self.over:
            return False
        self.last_ns = facts.last_byte_ns
        return True

    @property
    def over(self) -> bool:
        return self.seconds is not None and self.first_ns > 0 and self.last_ns - self.first_ns >= self.seconds * 1e9


@dataclass(frozen=True)
class Outcome:
    """What came of a recording. `unrecorded`: frames that came during it and are not in its files."""

    paths: tuple[Path, ...]
    frames: int
    complete: bool
    reason: str
    unrecorded: int = 0

    def block(self) -> Result:
        return {
            "paths": [str(path) for path in self.paths],
            "frames": self.frames,
            "complete": self.complete,
            "reason": self.reason,
            "unrecorded": self.unrecorded,
        }


class Recorder:
    """Records every frame or says that it did not: when the disk is too slow, full or fails, the recording is closed as
    incomplete with the reason. `acquisition` tells what frames are at present; `ended` is called on this thread.
    """

    def __init__(
        self,
        cine: CineKeeper,
        policy: Policy,
        attributes: Attributes,
        acquisition: Callable[[], Acquisition | None],
        ended: Callable[[Outcome], None],
    ) -> None:
        self._cine = cine
        self._policy = policy
        self._attributes = attributes
        self._acquisition = acquisition
        self._ended = ended
        self._recording: _Recording | None = None
        self._last: Outcome | None = None
        self.unrecorded = 0
        self._log = structlog.get_logger()
        self._orders = OrderThread("sonod-recorder", lambda: self._recording is not None, self._advance, self._leave)

    # -- any thread ------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Begin to serve requests."""
        self._orders.launch()

    def leave(self, timeout_s: float) -> bool:
        """Finish the recording and end the thread; False when that took longer than allowed."""
        return self._orders.leave(timeout_s)

    def start(self, path: str, seconds: float | None) -> Future[Result]:
        """Record into a new file, until `stop` or for so many seconds; the future fails with a CommandError."""
        return self._orders.order(lambda: self._start(path, seconds))

    def stop(self) -> Future[Result]:
        """End the recording after the frames that have come."""
        return self._orders.order(self._stop)

    @property
    def path(self) -> str | None:
        """The file asked for, while it is written."""
        recording = self._recording
        return None if recording is None else str(recording.path)

    @property
    def process(self) -> int | None:
        """Number of the process that writes."""
        recording = self._recording
        return None if recording is None else recording.feed.process.pid

    def block(self) -> Result:
        """As `status` shows it."""
        recording, last = self._recording, self._last
        feed = None if recording is None else recording.feed
        return {
            "active": feed is not None,
            "path": self.path,
            "frames": 0 if feed is None else feed.frames,
            "flushed": 0 if feed is None else feed.flushed,
            "waiting": 0 if feed is None else max(0, self._cine.raw.next_serial - feed.first_serial - feed.frames),
            "unrecorded": self.unrecorded,
            "last": None if last is None else last.block(),
        }

    # -- the recorder's thread -------------------------------------------------------------------------------------

    def _start(self, text: str, seconds: float | None) -> Result:
        if self._recording is not None:
            raise CommandError("busy", f"recording into {self.path} already; stop it first")
        path = Path(text)
        if not path.is_absolute() or path.suffix != SUFFIX:
            raise CommandError("invalid", f"record: path: must be an absolute path ending in {SUFFIX}; got {text!r}")
        acquisition = self._acquisition()
        if acquisition is None:
            raise CommandError("unavailable", "no probe has been opened yet; there is nothing to record")
        self._cine.hold()
        job = RecordJob(path, self._attributes, self._policy, acquisition)
        try:
            # From now on the ring keeps the frames that the process will write when it has started.
            feed = Feed(job, self._cine, self._cine.raw.next_serial, self._cine.pictures.next_serial)
            refusal = feed.begin(self._orders.is_leaving)
        except (OSError, WriterDied) as error:
            self._cine.release()
            raise CommandError("refused", f"{path}: cannot be recorded ({error})") from error
        if refusal:
            feed.process.close()
            self._cine.release()
            raise CommandError("refused", refusal)
        self._recording = _Recording(path, seconds, feed)
        self._log.info("recording_started", path=text, seconds=seconds)
        return {"path": text}

    def _stop(self) -> Result:
        if self._recording is None:
            if self._last is not None:
                return self._last.block()
            raise CommandError("refused", "nothing is being recorded")
        return self._finish(self._recording).block()

    def _advance(self) -> None:
        recording = self._recording
        assert recording is not None
        feed = recording.feed
        try:
            feed.advance(recording.wants)
        except WriterDied as error:
            self._conclude(recording, None, str(error))
            return
        if feed.done is not None:
            # It has ended by itself, because something is wrong.
            self._conclude(recording, feed.done)
        elif feed.missed or recording.over:
            self._finish(recording)

    def _leave(self) -> None:
        if self._recording is not None:
            self._finish(self._recording)

    def _finish(self, recording: _Recording) -> Outcome:
        """Write what has come, and close the file."""
        feed, last_serial = recording.feed, self._cine.raw.next_serial
        leave_s = time.monotonic() + LEAVE_WAIT_S
        wait_s = time.monotonic() + PICTURE_WAIT_S

        def give_up() -> bool:
            return self._orders.is_leaving() and time.monotonic() > leave_s

        try:
            while feed.done is None and not give_up():
                within = feed.advance(lambda entry: entry.serial < last_serial and recording.wants(entry))
                behind = within and feed.next_serial < last_serial and not feed.missed
                if not behind and (feed.caught_up() or time.monotonic() > wait_s):
                    break
                time.sleep(PERIOD_S)
            if feed.done is None:
                reason = ""
                if feed.missed:
                    reason = (
                        f"{feed.missed} frames were overwritten before they were written: the disk is too slow for the "
                        f"{self._cine.raw.limit_bytes >> 20} MiB of memory"
                    )
                feed.end(End(not reason, reason), give_up)
        except WriterDied as error:
            return self._conclude(recording, None, str(error))
        return self._conclude(recording, feed.done, "the daemon left; the file is finished without it")

    def _conclude(self, recording: _Recording, done: Done | None, reason: str = "") -> Outcome:
        feed = recording.feed
        finished = done is not None or not self._orders.is_leaving()
        if done is None:
            # What was flushed is in the file.
            done = Done((recording.path,), feed.flushed, False, reason)
        came = feed.told if done.complete else self._cine.raw.next_serial - feed.first_serial
        outcome = Outcome(done.paths, done.frames, done.complete, done.reason, max(0, came - done.frames))
        self.unrecorded += outcome.unrecorded
        self._recording, self._last = None, outcome
        feed.process.close(finished=finished)
        self._cine.release()
        self._log.info("recording_ended", **outcome.block())
        self._ended(outcome)
        return outcome
