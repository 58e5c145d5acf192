"""Everything that keeps frames, wired together: the rings, recordings, clips, and marks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from sonod import __version__
from sonod.cext.instruction import instruction_set
from sonod.daemon.cine.keeper import CineKeeper
from sonod.daemon.clipper import ClipOutcome, Clipper
from sonod.daemon.config import Config
from sonod.daemon.marks import Mark, Marks
from sonod.daemon.recorder import Outcome, Recorder
from sonod.daemon.session import Session
from sonod.drivers.frame import Acquisition


class Tell(Protocol):
    """Tells the log and every subscriber of an event."""

    def __call__(self, event: str, message: str, level: str = "info", **facts: Any) -> None: ...


class Keeping:
    """`acquisition` tells what frames are at present, `facts` what manifests say of the probe."""

    def __init__(
        self,
        config: Config,
        session: Session,
        acquisition: Callable[[], Acquisition | None],
        facts: Callable[[], dict[str, Any]],
        tell: Tell,
    ) -> None:
        self._tell = tell
        self._marks = Marks()
        self._facts = facts
        self.cine = CineKeeper(config.cine.limits(config.record.queue_frames))
        policy = config.record.policy()
        # What recordings say of this daemon; `sonod verify` makes the same pictures of them with it.
        attributes = {
            "session": session.id,
            "sonod_version": __version__,
            "instruction_set": instruction_set(),
            "image_options": json.dumps(asdict(config.image.options())),
        }
        self.recorder = Recorder(self.cine, policy, attributes, acquisition, self._recording_ended)
        self.clipper = Clipper(
            self.cine, self._marks, session, policy, attributes, self._manifest, self._clip_began, self._clip_ended
        )

    def launch(self) -> None:
        """Begin to serve requests."""
        self.cine.launch()
        self.recorder.launch()
        self.clipper.launch()

    def mark(self, mark: Mark) -> None:
        """Keep a mark, and tell what may be told of it."""
        self._marks.add(mark)
        self._tell("mark", " ".join(filter(None, (mark.phase, mark.site, mark.side))), **mark.told())

    def _manifest(self) -> dict[str, Any]:
        return {"sonod_version": __version__, "instruction_set": instruction_set(), **self._facts()}

    def _recording_ended(self, outcome: Outcome) -> None:
        message = f"{outcome.frames} frames in {outcome.paths[-1]}"
        if not outcome.complete:
            message = f"incomplete: {outcome.reason}"
        self._tell("recording_ended", message, "info" if outcome.complete else "error", **outcome.block())

    def _clip_began(self, path: Path) -> None:
        self._tell("clip_started", f"saving {path}", path=str(path))

    def _clip_ended(self, outcome: ClipOutcome) -> None:
        if outcome.failed:
            self._tell("clip_failed", f"{outcome.path}: {outcome.reason}", "error", **outcome.block())
            return
        message = f"{outcome.path}: {outcome.frames} raw frames, {outcome.pictures} pictures"
        if not outcome.complete:
            message = f"{message}; {outcome.reason}"
        self._tell("clip_ended", message, "info" if outcome.complete else "warning", **outcome.block())
