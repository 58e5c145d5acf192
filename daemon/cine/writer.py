"""The process that writes recordings and clips: `python -m sonod.daemon.cine.writer RAW_RING PICTURE_RING`, its
standard input a socket to the daemon.

It is a process of its own because HDF5 takes its process down on a full disk, and because the disk may hang: neither is
felt by the daemon. When the daemon goes away, what has been written is closed as incomplete.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from multiprocessing.connection import Connection

from sonod.daemon.cine.bundle import ClipWriter
from sonod.daemon.cine.messages import (
    Answer,
    Batch,
    Begun,
    ClipJob,
    Configured,
    Done,
    End,
    Policy,
    Progress,
    Receiver,
    RecordJob,
    Refused,
)
from sonod.daemon.cine.ring import RingView
from sonod.daemon.cine.sink import RawSink
from sonod.daemon.cine.space import require_space
from sonod.drivers.errors import RecordingError

DAEMON_GONE = "the daemon ended during the recording"
# Standard input.
PIPE = 0
# A clip yields to what is on time; a recording is on time itself.
CLIP_NICENESS = 5


class RecordWriter:
    """Carries out a RecordJob."""

    def __init__(self, job: RecordJob, raw: RingView) -> None:
        self._policy = job.policy
        self._folder = job.path.parent
        if self._folder.is_dir():
            require_space(self._folder, 0, job.policy)
        self.sink = RawSink(job.path, job.attributes, raw, job.policy.compression)
        self.sink.begin(job.acquisition)
        self._flushed_s = self._synced_s = time.monotonic()

    def write(self, batch: Batch) -> None:
        """RecordingError when a frame cannot be written any more."""
        for entry in batch.raw:
            # While there is still room to close the file.
            require_space(self._folder, entry.nbytes, self._policy)
            if not self.sink.write(entry):
                raise RecordingError(
                    f"frame {entry.facts.number} was overwritten before it was written: the disk is too slow"
                )
        for picture in batch.pictures:
            self.sink.picture(picture.facts.row)
        self.tick()

    def tick(self) -> None:
        """Flush when it is time."""
        now_s = time.monotonic()
        if now_s - self._flushed_s < self._policy.flush_s:
            return
        sync = 0 < self._policy.fsync_s <= now_s - self._synced_s
        self.sink.flush(sync)
        self._flushed_s = now_s
        if sync:
            self._synced_s = now_s

    def close(self, complete: bool, reason: str) -> Done:
        self.sink.close(complete, reason)
        return Done(tuple(self.sink.paths), self.sink.flushed, complete, reason)


def serve(connection: Connection, raw: RingView, pictures: RingView) -> None:
    """One job, from its message to its end."""

    def answer(message: Answer) -> None:
        # A daemon that is gone needs no answer.
        try:
            connection.send(message)
        except OSError:
            return

    receiver = Receiver(connection)
    job = receiver.receive()
    try:
        if isinstance(job, RecordJob):
            writer: RecordWriter | ClipWriter = RecordWriter(job, raw)
        else:
            assert isinstance(job, ClipJob)
            # As a hardened service it may not; then the clip is as urgent as everything else.
            with contextlib.suppress(OSError):
                os.nice(CLIP_NICENESS)
            writer = ClipWriter(job, raw, pictures)
    except (RecordingError, OSError) as error:
        answer(Refused(str(error)))
        return
    answer(Begun())
    end = End(False, DAEMON_GONE)
    try:
        while True:
            if not connection.poll(writer_pause_s(job.policy)):
                writer.tick()
                continue
            message = receiver.receive()
            if isinstance(message, Batch):
                writer.write(message)
                answer(Progress(writer.sink.frames, writer.sink.flushed))
            elif isinstance(message, End):
                end = message
                break
            else:
                assert isinstance(message, Configured)
    except EOFError:
        pass
    except (RecordingError, OSError) as error:
        end = End(False, str(error))
    try:
        if isinstance(writer, ClipWriter):
            answer(writer.finish(end))
        else:
            answer(writer.close(end.complete, end.reason))
    except (RecordingError, OSError) as error:
        answer(Done(tuple(writer.sink.paths), writer.sink.flushed, False, end.reason or str(error)))
    # The daemon may be telling of more; it hears first what came of it.
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.recv_bytes()


def writer_pause_s(policy: Policy) -> float:
    """How long to wait for frames before a flush may be due."""
    return max(0.01, policy.flush_s / 2)


def main() -> None:
    # Ctrl+C is for the daemon, which then says what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raw, pictures = map(int, sys.argv[1:3])
    try:
        serve(Connection(PIPE), RingView(raw), RingView(pictures))
    except BaseException:  # noqa: BLE001  said, and then the same end
        traceback.print_exc()
        os._exit(1)
    # Not by way of HDF5, which would touch files that a full disk has spoilt.
    os._exit(0)


if __name__ == "__main__":
    main()
