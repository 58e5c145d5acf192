"""Shots out of the dongle's bytes, put together into images; every missing one counted by its number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.transports.byte_port import ByteBuffer, BytePort
from sonod.drivers.wulpus import protocol
from sonod.drivers.wulpus.protocol import FRAME_BYTES, HEADER_BYTES, MAGIC, SHOT_NUMBERS, FrameHeader


class ShotStream:
    """`next` gives the header of the next shot, `place` where it belongs in its image.

    Counters: `lost_shots` numbers that never came, `duplicates` shots that came twice, `broken_images` images given up
    because one of their shots is missing, `skipped_bytes` bytes that belong to no frame.
    """

    def __init__(self, port: BytePort) -> None:
        self._port = port
        self._buffer = ByteBuffer(port, 4 * FRAME_BYTES)
        self._used = 0
        self._locked = False
        self.samples: NDArray[np.int16] = np.frombuffer(self._buffer.data, "<i2", protocol.SAMPLES, HEADER_BYTES)
        self.first_byte_ns = 0
        self.shot_number = -1
        self.lost_shots = 0
        self.duplicates = 0
        self.broken_images = 0
        self._shots = 1
        self._expected = 0
        self._image = -1
        # Number of the shot that began the present image.
        self._begun = 0

    @property
    def skipped_bytes(self) -> int:
        return self._buffer.skipped

    def begin(self, shots: int) -> None:
        """A configuration of so many settings has been sent: numbers begin again at 0."""
        self._buffer.clear()
        self._used = 0
        self._shots = shots
        self.shot_number = -1
        self._expected = 0
        self._image = -1
        self._begun = 0

    def drain(self, until_ns: int) -> None:
        """Throw away what comes until then."""
        clock = self._port.clock
        while clock.now_ns() < until_ns:
            self._buffer.clear()
            self._buffer.more(until_ns)
        self._buffer.clear()
        self._used = 0

    def next(self, deadline_ns: int) -> FrameHeader | None:
        """The next shot, its samples in `samples` until the next call; None when the time is over."""
        buffer = self._buffer
        if self._used:
            buffer.take(self._used)
            self._used = 0
        while True:
            if not self._fill(FRAME_BYTES, deadline_ns):
                return None
            header = protocol.parse_frame_header(buffer.data)
            if header is not None and header.setting < self._shots:
                # The magic may occur inside samples: once out of step, the next frame must begin right behind.
                if not self._locked:
                    if not self._fill(FRAME_BYTES + len(MAGIC), deadline_ns):
                        # The last frame of a stream has nothing behind it; whoever waits on will see.
                        return None
                    self._locked = buffer.data.startswith(MAGIC, FRAME_BYTES, buffer.length)
                if self._locked:
                    self._used = FRAME_BYTES
                    return header
            self._locked = False
            found = buffer.data.find(MAGIC, 1, buffer.length)
            buffer.skip(found if found >= 0 else buffer.length - len(MAGIC) + 1)

    def place(self, shot: FrameHeader) -> int | None:
        """The index of a shot in its image, or None when it is of no use: it came twice, or the image is not whole."""
        number = shot.shot if self.shot_number < 0 else self.shot_number + _ahead(shot.shot, self.shot_number)
        if number <= self.shot_number:
            self.duplicates += 1
            return None
        self.lost_shots += number - self.shot_number - 1
        self.shot_number = number
        if shot.setting == 0:
            self._expected = 0
        elif shot.setting != self._expected or number - shot.setting != self._begun:
            self._expected = -1
            return None
        if shot.setting == 0:
            self._begun = number
        self._expected = shot.setting + 1
        return shot.setting

    def lost_images(self) -> int:
        """Images lost between the last whole one and the one that has just become whole."""
        image = self._begun // self._shots
        lost = max(image - self._image - 1, 0)
        self._image = image
        self.broken_images += lost
        return lost

    def _fill(self, wanted: int, deadline_ns: int) -> bool:
        there = self._buffer.length
        done = self._buffer.fill(wanted, deadline_ns)
        if there == 0 and self._buffer.length:
            self.first_byte_ns = self._port.clock.now_ns()
        return done


def _ahead(number: int, known: int) -> int:
    """How far a 16-bit number is ahead of a known one, negative when it is behind."""
    step = (number - known) % SHOT_NUMBERS
    return step if step < SHOT_NUMBERS // 2 else step - SHOT_NUMBERS
