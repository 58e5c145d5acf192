"""Shots out of the dongle's bytes, put together into images; every missing one counted by its number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.errors import DriverTimeout
from sonod.drivers.transports.byte_port import BytePort
from sonod.drivers.transports.port_stream import PortStream
from sonod.drivers.transports.resync import Framing, Resynchroniser, StreamCounters, Verdict
from sonod.drivers.wulpus import protocol
from sonod.drivers.wulpus.protocol import FRAME_BYTES, HEADER_BYTES, MAGIC, SHOT_NUMBERS, FrameHeader


class ShotFraming(Framing):
    """A magic and a fixed length, no checksum. The magic may occur inside samples: out of step, a frame is believed
    only when another one begins right behind it."""

    least_bytes = FRAME_BYTES

    def __init__(self) -> None:
        self.settings = protocol.MOST_SETTINGS
        self._in_step = False

    def look(self, head: bytes) -> Verdict:
        header = protocol.parse_frame_header(head)
        if header is None or header.setting >= self.settings:
            self._in_step = False
            return Verdict(skip=_to_magic(head))
        inside = head.find(MAGIC, 1, FRAME_BYTES) >= 0
        if inside or not self._in_step:
            # Cut short, perhaps, with the next frame inside.
            if len(head) < FRAME_BYTES + len(MAGIC):
                return Verdict(need=FRAME_BYTES + len(MAGIC))
            self._in_step = head.startswith(MAGIC, FRAME_BYTES)
            if not self._in_step:
                return Verdict(skip=_to_magic(head))
        return Verdict(message=FRAME_BYTES)


class ShotStream:
    """`next` gives the header of the next shot, `place` where it belongs in its image.

    `counters.lost` are shots whose numbers never came; `broken_images` images given up because a shot is missing.
    """

    def __init__(self, port: BytePort) -> None:
        self.counters = StreamCounters()
        self.broken_images = 0
        self._clock = port.clock
        self._stream = PortStream(port, 4 * FRAME_BYTES)
        self._framing = ShotFraming()
        self._resync = Resynchroniser(self._stream, self._framing, self.counters, port.clock.now_ns)
        self._frame = bytearray(FRAME_BYTES)
        self.samples: NDArray[np.int16] = np.frombuffer(self._frame, "<i2", protocol.SAMPLES, HEADER_BYTES)
        self.first_byte_ns = 0
        self.shot_number = -1
        self._shots = 1
        self._expected = 0
        self._image = -1
        # Number of the shot that began the present image.
        self._begun = 0

    def begin(self, shots: int) -> None:
        """A configuration of so many settings is about to be sent: numbers begin again at 0."""
        self._stream.clear()
        self._framing.settings = self._shots = shots
        self.shot_number = -1
        self._expected = 0
        self._image = -1
        self._begun = 0

    def drain(self, until_ns: int) -> None:
        """Throw away what comes until then."""
        self._stream.drain(until_ns)

    def next(self, deadline_ns: int) -> FrameHeader | None:
        """The next shot, its samples in `samples` until the next call; None when the time is over."""
        try:
            self._resync.next((deadline_ns - self._clock.now_ns()) / 1e9)
        except DriverTimeout:
            return None
        self.first_byte_ns = self._stream.first_byte_ns
        self._stream.read_into(memoryview(self._frame))
        return protocol.parse_frame_header(self._frame)

    def place(self, shot: FrameHeader) -> int | None:
        """The index of a shot in its image, or None when it is of no use: it came twice, or the image is not whole."""
        number = shot.shot if self.shot_number < 0 else self.shot_number + _ahead(shot.shot, self.shot_number)
        if number <= self.shot_number:
            self.counters.duplicates += 1
            return None
        self.counters.lost += number - self.shot_number - 1
        self.shot_number = number
        if shot.setting == 0:
            self._begun = number
        elif shot.setting != self._expected or number - shot.setting != self._begun:
            self._expected = -1
            return None
        self._expected = shot.setting + 1
        return shot.setting

    def lost_images(self) -> int:
        """Images lost between the last whole one and the one that has just become whole."""
        image = self._begun // self._shots
        lost = max(image - self._image - 1, 0)
        self._image = image
        self.broken_images += lost
        return lost


def _to_magic(head: bytes) -> int:
    """Bytes before the next place where a frame may begin."""
    found = head.find(MAGIC, 1)
    return found if found >= 0 else len(head) - len(MAGIC) + 1


def _ahead(number: int, known: int) -> int:
    """How far a 16-bit number is ahead of a known one, negative when it is behind."""
    step = (number - known) % SHOT_NUMBERS
    return step if step < SHOT_NUMBERS // 2 else step - SHOT_NUMBERS
