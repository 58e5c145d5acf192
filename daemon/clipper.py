"""Clips: the last seconds, and the next few, saved while everything goes on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from sonod.daemon.cine.facts import RawFacts
from sonod.daemon.cine.feed import Feed, WriterDied
from sonod.daemon.cine.keeper import CineKeeper
from sonod.daemon.cine.messages import ClipJob, Done, End, Policy
from sonod.daemon.cine.orders import OrderThread, Result
from sonod.daemon.cine.ring import CineRing, Entry
from sonod.daemon.errors import CommandError
from sonod.daemon.marks import Marks
from sonod.daemon.session import Session

# A probe that has given nothing for so long is frozen or away: "before" then counts back from its last frame.
SILENT_NS = 1_000_000_000
# Frames take this long at most from the probe to the ring, once the time of the clip is over.
LATE_S = 0.5
DAEMON_LEFT = "the daemon left"
Attributes = Mapping[str, str | float | int | bool]


@dataclass(frozen=True)
class ClipOutcome:
    """What came of a clip: nothing is left behind when `failed` says why."""

    path: Path
    frames: int
    pictures: int
    complete: bool
    reason: str
    failed: bool

    def block(self) -> Result:
        return {
            "path": str(self.path),
            "frames": self.frames,
            "pictures": self.pictures,
            "complete": self.complete,
            "reason": self.reason,
            "failed": self.failed,
        }


@dataclass
class _Clip:
    """One being made: the frames that arrived from `first_ns` to `last_ns`."""

    path: Path
    feed: Feed
    first_ns: int
    last_ns: int
    asked: Result

    def wants(self, entry: Entry[RawFacts]) -> bool:
        return entry.facts.last_byte_ns <= self.last_ns


class Clipper:
    """Saves clips from the rings, one after the other, each by a process of its own. `facts` gives what the manifest
    says of the daemon; `began` and `ended` are called on this thread.
    """

    def __init__(
        self,
        cine: CineKeeper,
        marks: Marks,
        session: Session,
        policy: Policy,
        attributes: Attributes,
        facts: Callable[[], Result],
        began: Callable[[Path], None],
        ended: Callable[[ClipOutcome], None],
    ) -> None:
        self._cine = cine
        self._marks = marks
        self._session = session
        self._policy = policy
        self._attributes = attributes
        self._facts = facts
        self._began = began
        self._ended = ended
        self._clip: _Clip | None = None
        self._last: ClipOutcome | None = None
        self._log = structlog.get_logger()
        self._orders = OrderThread("sonod-clip", lambda: self._clip is not None, self._advance, self._give_up)

    # -- any thread ------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Begin to serve requests."""
        self._orders.launch()

    def leave(self, timeout_s: float) -> bool:
        """Give up the clip being made and end the thread; False when that took longer than allowed."""
        return self._orders.leave(timeout_s)

    def save(self, path: Path, before_s: float, after_s: float) -> Future[Result]:
        """Begin a clip as the folder `path`; the future fails with a CommandError."""
        now_ns = self._session.monotonic_ns()
        return self._orders.order(lambda: self._start(path, before_s, after_s, now_ns))

    def block(self) -> Result:
        """As `status` shows it."""
        clip, last = self._clip, self._last
        return {
            "active": clip is not None,
            "path": None if clip is None else str(clip.path),
            "last": None if last is None else last.block(),
        }

    # -- the clipper's thread --------------------------------------------------------------------------------------

    def _start(self, path: Path, before_s: float, after_s: float, now_ns: int) -> Result:
        if self._orders.is_leaving():
            raise CommandError("unavailable", "the daemon is leaving")
        if self._clip is not None:
            raise CommandError("busy", f"the clip {self._clip.path} is being saved; wait for it")
        newest = self._cine.raw.newest() or self._cine.pictures.newest()
        if newest is None:
            raise CommandError("unavailable", "the rings hold no frame yet")
        newest_ns = newest.facts.last_byte_ns
        until_ns = now_ns if now_ns - newest_ns < SILENT_NS else newest_ns
        first_ns = until_ns - int(before_s * 1e9)
        raw, pictures = _first_since(self._cine.raw, first_ns), _first_since(self._cine.pictures, first_ns)
        job = ClipJob(path, self._attributes, self._policy)
        try:
            feed = Feed(job, self._cine, raw.serial, pictures.serial)
            refusal = feed.begin(self._orders.is_leaving)
        except (OSError, WriterDied) as error:
            raise CommandError("refused", f"{path}: cannot be saved ({error})") from error
        if refusal:
            feed.process.close()
            raise CommandError("refused", refusal)
        asked: Result = {
            "before_s": before_s,
            "after_s": after_s,
            "rf_held_s": _held_s(raw.first_ns, until_ns, before_s),
            "image_held_s": _held_s(pictures.first_ns, until_ns, before_s),
        }
        self._clip = _Clip(path, feed, first_ns, now_ns + int(after_s * 1e9), asked)
        self._began(path)
        return {"path": str(path), **asked}

    def _advance(self) -> None:
        clip = self._clip
        assert clip is not None
        feed = clip.feed
        try:
            within = feed.advance(clip.wants)
            if feed.done is not None:
                self._conclude(clip, feed.done)
                return
            late = self._session.monotonic_ns() - clip.last_ns
            told = not within or (late > 0 and feed.idle)
            if told and (feed.caught_up() or late > LATE_S * 1e9):
                done = feed.end(End(manifest=self._manifest(clip), missed=feed.missed), self._orders.is_leaving)
                self._conclude(clip, done, DAEMON_LEFT)
        except WriterDied as error:
            self._conclude(clip, None, str(error))

    def _give_up(self) -> None:
        if self._clip is not None:
            self._conclude(self._clip, None, DAEMON_LEFT)

    def _manifest(self, clip: _Clip) -> Result:
        utc = self._session.check()
        return {
            **self._facts(),
            "session": self._session.id,
            "asked": clip.asked,
            "from_ns": clip.first_ns,
            "to_ns": clip.last_ns,
            "from_utc_ns": utc.utc_of(clip.first_ns),
            "to_utc_ns": utc.utc_of(clip.last_ns),
            "utc_steps": utc.steps,
            "marks": [mark.block() for mark in self._marks.between(clip.first_ns, clip.last_ns)],
        }

    def _conclude(self, clip: _Clip, done: Done | None, reason: str = "") -> None:
        process = clip.feed.process
        if done is None:
            process.close()
            # What the process has begun; it had no time to clear it away.
            with contextlib.suppress(OSError):
                shutil.rmtree(clip.path.with_name(f".{clip.path.name}.part-{process.pid}"))
            done = Done((), 0, False, reason)
        else:
            process.close()
        outcome = ClipOutcome(clip.path, done.frames, done.pictures, done.complete, done.reason, not done.paths)
        self._clip, self._last = None, outcome
        self._log.info("clip_ended", **outcome.block())
        self._ended(outcome)


@dataclass(frozen=True)
class _Begin:
    """Where a clip begins in a ring: a serial number, and the arrival of the oldest frame there is from then on."""

    serial: int
    first_ns: int | None


def _first_since(ring: CineRing[Any], first_ns: int) -> _Begin:
    for entry in ring.since(0):
        if entry.facts.last_byte_ns >= first_ns:
            return _Begin(entry.serial, entry.facts.last_byte_ns)
    return _Begin(ring.next_serial, None)


def _held_s(first_ns: int | None, until_ns: int, before_s: float) -> float:
    """Seconds of what was asked that the ring still held."""
    if first_ns is None:
        return 0.0
    return round(min(before_s, max(0, until_ns - first_ns) / 1e9), 3)
