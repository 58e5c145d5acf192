"""An emulated board behind a pseudo-terminal: what a program sees as /dev/ttyACM0, without USB and without root.

    with PtyFront(Pic0rick()) as front:
        TtyPort(front.path)

A pseudo-terminal has no DTR: the board sees it go up while somebody has the file open. Unplugging ends the file, as
it does for a real device; after plugging in again there is a new one.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from pathlib import Path

from sonod.drivers.emulated.cdc import CdcBoard
from sonod.drivers.emulated.description import Transfer
from sonod.drivers.emulated.device import BusError, Gone, Stall

# How long the front sleeps when the board has nothing to say; it wakes at once for bytes from the program.
IDLE_S = 0.001
# Taken from the board at once; less than what a pseudo-terminal holds.
CHUNK_BYTES = 2048


class PtyFront:
    """Runs on a thread of its own from `start` to `stop`. `link` is a stable name that follows the device file."""

    def __init__(self, board: CdcBoard, link: Path | None = None) -> None:
        self.board = board
        self._link = link
        self._master = -1
        self._listening: bool | None = None
        self._path = ""
        self._leaving = threading.Event()
        # The life of the board that the device file belongs to.
        self._generation = -1
        self._thread = threading.Thread(target=self._run, name=f"pty-{board.description.product}", daemon=True)
        ends = [end for end in board.description.endpoints if end.transfer is Transfer.BULK]
        self._in = next(end.address for end in ends if end.is_in)
        self._out = next(end.address for end in ends if not end.is_in)

    @property
    def path(self) -> str:
        """The device file; '' while the board is unplugged."""
        return self._path

    def start(self) -> PtyFront:
        """Make the device file and serve it; returns itself."""
        self._open()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Take the device file away. Twice is allowed."""
        self._leaving.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._close()

    def wait_for_path(self, timeout_s: float) -> str:
        """The device file, when a board that was unplugged has been plugged in again; '' when it was not in time."""
        deadline_s = time.monotonic() + timeout_s
        while self._generation != self.board.generation or not self._path:
            if time.monotonic() > deadline_s:
                return ""
            time.sleep(IDLE_S)
        return self._path

    def __enter__(self) -> PtyFront:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    # -- the front's thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        waiting = b""
        while not self._leaving.is_set():
            if self._master < 0:
                if self.board.plugged:
                    self._open()
                else:
                    self._leaving.wait(IDLE_S)
                continue
            try:
                if self._generation != self.board.generation:
                    # Unplugged and plugged in again between two turns.
                    raise Gone
                waiting = self._serve(waiting)
            except Gone:
                waiting = b""
                self._close()

    def _serve(self, waiting: bytes) -> bytes:
        """One turn: bytes from the program, bytes from the board. Returns what the program has no room for yet."""
        poll = select.poll()
        poll.register(self._master, select.POLLIN | (select.POLLOUT if waiting else 0))
        events = dict(poll.poll(IDLE_S * 1000)).get(self._master, 0)
        listening = not events & select.POLLHUP
        if listening is not self._listening:
            # Only then: a board that starts anew forgets DTR, and nobody raises it again.
            self._listening = listening
            self.board.set_dtr(listening)
        if not listening:
            if not self.board.plugged:
                raise Gone
            self._leaving.wait(IDLE_S)
            return b""
        if events & select.POLLIN:
            with contextlib.suppress(OSError, Stall, BusError):
                self.board.host_bulk_out(self._out, os.read(self._master, CHUNK_BYTES))
        if not waiting:
            try:
                waiting = bytes(self.board.host_in(self._in, CHUNK_BYTES) or b"")
                if len(waiting) > CHUNK_BYTES:
                    # An overflow: the kernel's driver throws the transfer away.
                    waiting = b""
            except Stall:
                # The kernel's driver clears a halted endpoint by itself.
                self.board.clear_halt(self._in)
            except BusError:
                waiting = b""
        if waiting:
            with contextlib.suppress(BlockingIOError, OSError):
                sent = os.write(self._master, waiting)
                waiting = waiting[sent:]
        return waiting

    def _open(self) -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        self._path = os.ttyname(slave)
        # Only while a program has it open must the other end be there.
        os.close(slave)
        os.set_blocking(master, False)
        self._master = master
        self._listening = None
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self._path)
        # Last: whoever waits for the device file finds all of it.
        self._generation = self.board.generation

    def _close(self) -> None:
        if self._master < 0:
            return
        self._path = ""
        os.close(self._master)
        self._master = -1
        if self._link is not None:
            self._link.unlink(missing_ok=True)
