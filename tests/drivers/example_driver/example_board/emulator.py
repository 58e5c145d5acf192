"""The board, so that its driver can be tested without it: what it answers, and every fault on request."""

from __future__ import annotations

import time

import numpy as np

from example_board import protocol

FRAME_PERIOD_S = 0.02


class Board:
    """Answers commands, and sends frames at its own pace. Faults are attributes; set them at any time."""

    def __init__(self) -> None:
        self.silent = False
        self.unplugged = False
        self.garbage = False
        self.transmitting = False
        self.skip = 0
        self.samples = 0
        self.gain_db = 0
        self._counter = 0
        self._next_s = 0.0
        self._waiting = bytearray()

    def take(self, data: bytes) -> None:
        for name, value in protocol.COMMAND.iter_unpack(data):
            if name == protocol.SAMPLES:
                self.samples = value
            elif name == protocol.GAIN:
                self.gain_db = value
            elif name in (protocol.START, protocol.STOP):
                self.transmitting = name == protocol.START
                self._counter = 0
            # What was on its way was made with the old settings; this board forgets it.
            self._waiting.clear()

    def wait_s(self, count: int) -> float:
        """How long until so many bytes are there."""
        return 0.0 if len(self._waiting) >= count else self._next_s - time.monotonic()

    def give(self, count: int) -> bytes:
        while len(self._waiting) < count:
            self._next_s = time.monotonic() + FRAME_PERIOD_S
            self._counter += 1 + self.skip
            self.skip = 0
            magic = 0 if self.garbage else protocol.MAGIC
            self._waiting += protocol.HEADER.pack(magic, self._counter, self.samples, 1000 * self._counter)
            echoes = np.random.default_rng(self._counter).integers(-500, 500, 16 * self.samples, np.int16)
            self._waiting += echoes.tobytes()
        given = bytes(self._waiting[:count])
        del self._waiting[:count]
        return given


class Link:
    """The wire to one board; raises TimeoutError and ConnectionError as a real one would."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def write(self, data: bytes) -> None:
        if self._board.unplugged:
            raise ConnectionError("no such device")
        self._board.take(data)

    def read_into(self, memory: memoryview, timeout_s: float) -> None:
        if self._board.unplugged:
            raise ConnectionError("no such device")
        wait_s = self._board.wait_s(memory.nbytes)
        if self._board.silent or not self._board.transmitting or wait_s > timeout_s:
            time.sleep(timeout_s)
            raise TimeoutError(f"nothing within {timeout_s:g} s")
        time.sleep(max(wait_s, 0.0))
        memory.cast("B")[:] = self._board.give(memory.nbytes)

    def close(self) -> None:
        self._board.transmitting = False


# Boards that are plugged in, by serial number.
BOARDS = {"17": Board()}


def connect(serial: str) -> Link:
    """The wire to the board of this serial number; ConnectionError when it is not plugged in."""
    if serial not in BOARDS:
        raise ConnectionError(f"no example board {serial!r}")
    return Link(BOARDS[serial])
