"""The thread that writes raw frames to a file, without ever holding up the thread that reads them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from sonod import __version__
from sonod.daemon.errors import CommandError
from sonod.drivers.errors import RecordingError
from sonod.drivers.frame import Acquisition, Slot

if TYPE_CHECKING:
    from sonod.drivers.recording import RecordingWriter

SUFFIX = ".h5"
Result = dict[str, Any]


@dataclass
class _Recording:
    """One request to record; a change of settings that alters the data continues it in a further file."""

    paths: list[Path]
    seconds: float | None
    writer: RecordingWriter
    first_ns: int = 0
    earlier_frames: int = 0
    failure: str = ""
    disk_failed: bool = False

    @property
    def frames(self) -> int:
        return self.earlier_frames + self.writer.frame_count


@dataclass(frozen=True)
class Outcome:
    """What came of a recording."""

    paths: tuple[Path, ...]
    frames: int
    complete: bool
    reason: str

    def block(self) -> Result:
        return {
            "paths": [str(path) for path in self.paths],
            "frames": self.frames,
            "complete": self.complete,
            "reason": self.reason,
        }


class Recorder:
    """Records every frame or says that it did not: when its queue is full or the disk fails, the recording is closed
    as incomplete with the reason. `acquisition` tells what frames are at present; `ended` is called on this thread.
    """

    def __init__(
        self,
        queue_frames: int,
        session_id: str,
        acquisition: Callable[[], Acquisition | None],
        ended: Callable[[Outcome], None],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._queue_frames = queue_frames
        self._session_id = session_id
        self._acquisition = acquisition
        self._ended = ended
        self._monotonic_ns = monotonic_ns
        self._free: deque[Slot] = deque()
        self._waiting: deque[Slot] = deque()
        self._orders: deque[tuple[Callable[[], Result], Future[Result]]] = deque()
        self._changed = threading.Condition()
        self._taking = False
        self._leaving = False
        self._recording: _Recording | None = None
        self._last: Outcome | None = None
        self._log = structlog.get_logger()
        self._thread = threading.Thread(target=self._run, name="sonod-recorder")

    # -- any thread ------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Begin to serve requests."""
        self._thread.start()

    def leave(self, timeout_s: float) -> bool:
        """Finish the recording and end the thread; False when that took longer than allowed."""
        with self._changed:
            self._taking = False
            self._leaving = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def start(self, path: str, seconds: float | None) -> Future[Result]:
        """Record into a new file, until `stop` or for so many seconds; the future fails with a CommandError."""
        return self._order(lambda: self._start(path, seconds))

    def stop(self) -> Future[Result]:
        """End the recording after the frames that are waiting."""
        self._taking = False
        return self._order(self._stop)

    def offer(self, slot: Slot) -> None:
        """Copy a frame into the queue; on the reader's thread."""
        if not self._taking:
            return
        with self._changed:
            copy = self._free.popleft() if self._free else None
            if copy is None:
                self._taking = False
                if self._recording is not None:
                    self._recording.failure = (
                        f"the queue of {self._queue_frames} frames overflowed at frame {slot.number}: "
                        "the disk is too slow"
                    )
                self._changed.notify()
                return
        _copy_slot(slot, copy)
        with self._changed:
            self._waiting.append(copy)
            self._changed.notify()

    @property
    def path(self) -> str | None:
        """The file being written."""
        recording = self._recording
        return None if recording is None else str(recording.paths[-1])

    def block(self) -> Result:
        """As `status` shows it."""
        recording, last = self._recording, self._last
        return {
            "active": recording is not None,
            "path": self.path,
            "frames": 0 if recording is None else recording.frames,
            "waiting": len(self._waiting),
            "last": None if last is None else last.block(),
        }

    def _order(self, action: Callable[[], Result]) -> Future[Result]:
        future: Future[Result] = Future()
        with self._changed:
            self._orders.append((action, future))
            self._changed.notify()
        return future

    # -- the recorder's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._orders or self._leaving or self._failed())
                slot = self._waiting.popleft() if self._waiting else None
                order = self._orders.popleft() if slot is None and self._orders else None
            if slot is not None:
                self._write(slot)
                with self._changed:
                    self._free.append(slot)
            elif self._failed():
                self._finish()
            elif order is not None:
                action, future = order
                try:
                    future.set_result(action())
                except (CommandError, RecordingError) as error:
                    future.set_exception(
                        error if isinstance(error, CommandError) else CommandError("refused", str(error))
                    )
            elif self._leaving:
                break
        if self._recording is not None:
            self._finish()

    def _failed(self) -> bool:
        return self._recording is not None and bool(self._recording.failure)

    def _start(self, text: str, seconds: float | None) -> Result:
        if self._recording is not None:
            raise CommandError("busy", f"recording into {self.path} already; stop it first")
        path = Path(text)
        if not path.is_absolute() or path.suffix != SUFFIX:
            raise CommandError("invalid", f"record: path: must be an absolute path ending in {SUFFIX}; got {text!r}")
        acquisition = self._acquisition()
        if acquisition is None:
            raise CommandError("unavailable", "no probe has been opened yet; there is nothing to record")
        self._recording = _Recording([path], seconds, self._open(path, acquisition))
        with self._changed:
            self._free = deque(Slot(acquisition.nbytes) for _ in range(self._queue_frames))
            self._taking = True
        self._log.info("recording_started", path=text, seconds=seconds)
        return {"path": text}

    def _stop(self) -> Result:
        if self._recording is None:
            if self._last is not None:
                return self._last.block()
            raise CommandError("refused", "nothing is being recorded")
        return self._finish().block()

    def _write(self, slot: Slot) -> None:
        recording = self._recording
        if recording is None or recording.disk_failed:
            return
        try:
            assert slot.configuration is not None
            if not recording.writer.can_append(slot.configuration):
                recording.writer.close()
                recording.earlier_frames = recording.frames
                first = recording.paths[0]
                path = first.with_name(f"{first.stem}-{len(recording.paths) + 1}{SUFFIX}")
                recording.writer = self._open(path, slot.configuration.acquisition)
                recording.paths.append(path)
            recording.writer.append(slot)
        except RecordingError as error:
            recording.failure, recording.disk_failed = str(error), True
            self._taking = False
            return
        if recording.first_ns == 0:
            recording.first_ns = slot.last_byte_ns
        if recording.seconds is not None and slot.last_byte_ns - recording.first_ns >= recording.seconds * 1e9:
            self._finish()

    def _finish(self) -> Outcome:
        """Close the file and forget what still waits."""
        recording = self._recording
        assert recording is not None
        self._taking = False
        complete = not recording.failure
        try:
            recording.writer.close(complete=complete, reason=recording.failure)
        except RecordingError as error:
            complete, recording.failure = False, recording.failure or str(error)
        outcome = Outcome(tuple(recording.paths), recording.frames, complete, recording.failure)
        self._recording, self._last = None, outcome
        with self._changed:
            self._waiting.clear()
            self._free.clear()
        self._log.info("recording_ended", **outcome.block())
        self._ended(outcome)
        return outcome

    def _open(self, path: Path, acquisition: Acquisition) -> RecordingWriter:
        # Imported for the first recording: h5py takes a twentieth of the start.
        from sonod.drivers.recording import RecordingWriter

        return RecordingWriter(path, acquisition, {"session": self._session_id, "sonod_version": __version__})


def _copy_slot(source: Slot, target: Slot) -> None:
    assert source.configuration is not None
    target.prepare(source.configuration)
    np.copyto(target.data, source.data)
    for name in (
        "number",
        "transmit_ns",
        "transmit_uncertainty_ns",
        "first_byte_ns",
        "last_byte_ns",
        "device_ticks",
        "lost",
        "truth",
    ):
        setattr(target, name, getattr(source, name))
