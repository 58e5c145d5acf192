"""The daemon's end of a writing process: starts it, tells it of frames, hears what came of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sonod.daemon.cine.messages import (
    Answer,
    Batch,
    Begun,
    ClipJob,
    Done,
    End,
    Progress,
    RecordJob,
    Refused,
    Sender,
    Told,
)

if TYPE_CHECKING:
    from sonod.daemon.cine.facts import RawFacts
    from sonod.daemon.cine.keeper import CineKeeper
    from sonod.daemon.cine.ring import Entry

MODULE = "sonod.daemon.cine.writer"
# Frames told at once, and how many times before an answer: what fits into the pipe, so that telling never waits.
BATCH_FRAMES, BATCHES_AHEAD = 16, 4
PIPE_BYTES = 1 << 20
BEGIN_TIMEOUT_S = 10.0
# How often the thread that tells looks for news.
PERIOD_S = 0.01
# A disk that takes nothing for so long is given up.
END_TIMEOUT_S = 60.0


class WriterDied(Exception):
    """The process ended without saying why; the message says what is known."""


class WriterProcess:
    """A child that carries out one job. WriterDied when it cannot be told any more."""

    def __init__(self, job: RecordJob | ClipJob, raw: int, pictures: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE_BYTES)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the child writes
        command = [sys.executable, "-m", MODULE, str(raw), str(pictures)]
        try:
            self._child = subprocess.Popen(
                command,
                pass_fds=(raw, pictures),
                stdin=theirs.fileno(),
                stdout=self._errors,
                stderr=self._errors,
            )
        finally:
            theirs.close()
        # Imported here: a daemon streams before it writes.
        from multiprocessing.connection import Connection

        self._connection = Connection(ours.detach())
        self._sender = Sender(self._connection)
        self.send(job)

    @property
    def pid(self) -> int:
        return self._child.pid

    def send(self, message: Told) -> None:
        try:
            self._sender.send(message)
        except OSError as error:
            raise WriterDied(self._death()) from error

    def answers(self, timeout_s: float = 0.0) -> list[Answer]:
        """What it has said, waiting for the first word so long."""
        found: list[Answer] = []
        try:
            while self._connection.poll(timeout_s if not found else 0):
                found.append(self._connection.recv())
        except (EOFError, OSError) as error:
            if not found:
                raise WriterDied(self._death()) from error
        return found

    def kill(self) -> None:
        self._child.kill()

    def close(self, *, finished: bool = True) -> None:
        """Let go of it: one that has `finished` is ended, another goes on until it has."""
        self._connection.close()
        self._errors.close()
        if finished:
            self._child.kill()
            self._child.wait()

    def _death(self) -> str:
        try:
            code = self._child.wait(1.0)
        except subprocess.TimeoutExpired:
            return "the writing process closed its pipe"
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 4096))
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        said = f": {lines[-1].strip()}" if lines else ""
        return f"the writing process ended ({how}){said}"


class Feed:
    """Tells a writing process of the frames from given serial numbers on, in order, while they are in the rings."""

    def __init__(self, job: RecordJob | ClipJob, keeper: CineKeeper, raw_serial: int, picture_serial: int) -> None:
        self._keeper = keeper
        self.first_serial = raw_serial
        self._raw_serial = raw_serial
        self._picture_serial = picture_serial
        self._ahead = 0
        self._last_number = 0
        self.frames = 0
        self.flushed = 0
        # Overwritten before they could be told of.
        self.missed = 0
        # Whether the last look found nothing new.
        self.idle = False
        self.done: Done | None = None
        self.process = WriterProcess(job, keeper.raw.descriptor, keeper.pictures.descriptor)

    @property
    def told(self) -> int:
        """Frames since the first, whether they were written or not."""
        return self._raw_serial - self.first_serial

    @property
    def next_serial(self) -> int:
        """Of the raw frame that is told of next."""
        return self._raw_serial

    def begin(self, give_up: Callable[[], bool] = lambda: False) -> str:
        """Wait until it can write: '' or the reason why not."""
        deadline_s = time.monotonic() + BEGIN_TIMEOUT_S
        while time.monotonic() < deadline_s and not give_up():
            try:
                answers = self.process.answers(PERIOD_S)
            except WriterDied as error:
                return str(error)
            for answer in answers:
                if isinstance(answer, Begun):
                    return ""
                if isinstance(answer, Refused):
                    return answer.reason
        self.process.kill()
        return f"the writing process has not begun within {BEGIN_TIMEOUT_S:g} s, or the daemon leaves"

    def advance(self, wanted: Callable[[Entry[RawFacts]], bool]) -> bool:
        """Hear what was written and tell of further frames, as long as they are `wanted`; False when one was not."""
        self.hear()
        within, self.idle = True, False
        while self._ahead < BATCHES_AHEAD:
            raw, within = self._next_raw(wanted)
            pictures = self._next_pictures()
            if not raw and not pictures:
                self.idle = True
                break
            self.process.send(Batch(raw, pictures))
            self._ahead += 1
        return within

    def hear(self, timeout_s: float = 0.0) -> None:
        """Take in what it has said."""
        for answer in self.process.answers(timeout_s):
            if isinstance(answer, Progress):
                self._ahead -= 1
                self.frames, self.flushed = answer.frames, answer.flushed
            elif isinstance(answer, Done):
                self.done = answer

    def caught_up(self) -> bool:
        """Whether the pictures of all frames told of have been told of, too."""
        if not self._keeper.makes_pictures or self._last_number == 0:
            return True
        waiting = self._keeper.pictures.since(self._picture_serial)
        newest = waiting[0] if waiting else self._keeper.pictures.newest()
        if newest is None:
            return False
        return newest.facts.number > self._last_number if waiting else newest.facts.number >= self._last_number

    def end(self, end: End, give_up: Callable[[], bool] = lambda: False) -> Done | None:
        """Have it finish; None when `give_up` says so before it has. WriterDied as ever."""
        self.process.send(end)
        deadline_s = time.monotonic() + END_TIMEOUT_S
        while self.done is None:
            self.hear(PERIOD_S)
            if give_up():
                return None
            if time.monotonic() > deadline_s:
                self.process.kill()
                raise WriterDied(f"the disk took nothing for {END_TIMEOUT_S:g} s")
        return self.done

    def _next_raw(self, wanted: Callable[[Entry[RawFacts]], bool]) -> tuple[list[Entry[RawFacts]], bool]:
        entries = self._keeper.raw.since(self._raw_serial)[:BATCH_FRAMES]
        if entries and entries[0].serial > self._raw_serial:
            self.missed += entries[0].serial - self._raw_serial
            self._raw_serial = entries[0].serial
        count = next((i for i, entry in enumerate(entries) if not wanted(entry)), len(entries))
        if count:
            self._raw_serial = entries[count - 1].serial + 1
            self._last_number = entries[count - 1].facts.number
        return entries[:count], count == len(entries)

    def _next_pictures(self) -> list[Entry]:  # type: ignore[type-arg]
        """Those of frames that have been told of: a picture is noted in the file that holds its frame."""
        entries = self._keeper.pictures.since(self._picture_serial)[:BATCH_FRAMES]
        if self._keeper.keeps_raw:
            entries = [entry for entry in entries if entry.facts.number <= self._last_number]
        if entries:
            self._picture_serial = entries[-1].serial + 1
        return entries
