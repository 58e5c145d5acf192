"""An FTDI FT2232H as SPI master: its vendor requests, its status bytes, and the few MPSSE commands that are needed.

    channel = FtdiChannel(link, 2, in_endpoint=0x83, out_endpoint=0x04)
    spi = MpsseSpi(channel, outputs=0x8B, idle=0x08, select=0x08, divisor=3)
    spi.open()
    spi.write(message)
    spi.read_into(message, answer, timeout_s)

Own code rather than pyftdi: a page of commands, reading into memory that exists already, and deadlines everywhere.
Source: the maker's application notes AN_108 (MPSSE commands) and AN_135 (MPSSE basics).
"""

from __future__ import annotations

from array import array
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.errors import DriverTimeout, ProtocolError
from sonod.drivers.pacing import Clock
from sonod.drivers.transports.usb import TransferFailed

PACKET_BYTES = 512
# Modem and line status in front of each packet; they are not data.
STATUS_BYTES = 2
PAYLOAD_BYTES = PACKET_BYTES - STATUS_BYTES
# Overrun, parity, framing and receive-FIFO error in the line status.
LINE_ERRORS = 0x8E
# One read asks for this much at most: a line of 16384 words with its status bytes, and room for a split packet.
READ_PACKETS = 66

HOST_TO_DEVICE, DEVICE_TO_HOST = 0x40, 0xC0
RESET, FLOW_CONTROL, BAUD_RATE, EVENT_CHARACTER, ERROR_CHARACTER = 0x00, 0x02, 0x03, 0x06, 0x07
LATENCY, BIT_MODE, READ_PINS = 0x09, 0x0B, 0x0C
MODE_RESET, MODE_BIT_BANG, MODE_MPSSE = 0x00, 0x01, 0x02

# Without data the chip sends its status alone, this often: the time that a short answer may take.
LATENCY_MS = 2
# 60 MHz base, no adaptive clock, no loopback.
CLOCK_SET_UP = bytes((0x8A, 0x97, 0x85))
BASE_HZ = 60e6
# A command that does not exist is answered by FA and itself: proof that both sides are in step.
NONSENSE, BAD_COMMAND = 0xAA, 0xFA
SHORT_TIMEOUT_S = 0.25
LONGEST_MESSAGE = 0x10000


class Unexpected(TransferFailed):
    """What came is not what was asked for: bytes too many, or bits that slipped."""


class UsbLink(Protocol):
    """What is needed of an open USB device; all raise DriverError."""

    def control_out(self, request_type: int, request: int, value: int, index: int, data: bytes = b"") -> None: ...

    def control_in(self, request_type: int, request: int, value: int, index: int, length: int) -> bytes: ...

    def write(self, endpoint: int, data: bytes) -> None: ...

    def read_into(self, endpoint: int, buffer: array[int], timeout_s: float) -> int: ...

    def clear_halt(self, endpoint: int) -> None: ...


class FtdiChannel:
    """One half of the chip; `number` is 1 for A and 2 for B. Any call may raise what the link raises."""

    def __init__(self, link: UsbLink, clock: Clock, number: int, in_endpoint: int, out_endpoint: int) -> None:
        self.number = number
        self.line_errors = 0
        self._link = link
        self._clock = clock
        self._in, self._out = in_endpoint, out_endpoint
        self._memory = array("B", bytes(READ_PACKETS * PACKET_BYTES))
        self._raw: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)

    def request(self, request: int, value: int, high_index: int = 0) -> None:
        self._link.control_out(HOST_TO_DEVICE, request, value, high_index << 8 | self.number)

    def read_pins(self) -> int:
        return self._link.control_in(DEVICE_TO_HOST, READ_PINS, 0, self.number, 1)[0]

    def purge(self) -> None:
        """Drop what is under way in both directions, and let halted endpoints go on. The makers of drivers disagree
        about which number is which direction; both are sent."""
        self._link.clear_halt(self._in)
        self._link.clear_halt(self._out)
        self.request(RESET, 1)
        self.request(RESET, 2)

    def set_mode(self, mode: int, outputs: int) -> None:
        self.request(BIT_MODE, mode << 8 | outputs)

    def write(self, data: bytes) -> None:
        self._link.write(self._out, data)

    def read_into(self, target: NDArray[np.uint8], timeout_s: float) -> None:
        """Fill `target` with payload; DriverTimeout when it does not come in time, Unexpected when more comes."""
        deadline_ns = self._clock.now_ns() + int(timeout_s * 1e9)
        filled = 0
        while filled < len(target):
            remaining_s = (deadline_ns - self._clock.now_ns()) / 1e9
            if remaining_s <= 0:
                raise DriverTimeout(
                    f"FT2232H channel {self.number}: {filled} of {len(target)} bytes in {timeout_s:g} s"
                )
            # Room for more than is due costs nothing: the chip ends the transfer with a short packet.
            got = self._link.read_into(self._in, self._memory, remaining_s)
            filled += self._strip(got, target[filled:])

    def _strip(self, got: int, target: NDArray[np.uint8]) -> int:
        """Copy the payload of `got` bytes of packets; how much that was."""
        full, rest = divmod(got, PACKET_BYTES)
        payload = full * PAYLOAD_BYTES + max(rest - STATUS_BYTES, 0)
        if payload > len(target):
            raise Unexpected(f"FT2232H channel {self.number}: {payload} bytes came where {len(target)} were due")
        for start in range(0, got - 1, PACKET_BYTES):
            self.line_errors += bool(self._memory[start + 1] & LINE_ERRORS)
        if full:
            packets = self._raw[: full * PACKET_BYTES].reshape(full, PACKET_BYTES)
            np.copyto(target[: full * PAYLOAD_BYTES].reshape(full, PAYLOAD_BYTES), packets[:, STATUS_BYTES:])
        if rest > STATUS_BYTES:
            target[full * PAYLOAD_BYTES : payload] = self._raw[full * PACKET_BYTES + STATUS_BYTES : got]
        return payload


class MpsseSpi:
    """SPI mode 0, most significant bit first, with sampling on the falling edge (late slaves).

    `outputs`: pins of the channel's low byte that are driven; `idle`: their levels at rest; `select`: the pin that is
    low during an exchange. SCK, MOSI and MISO are pins 0, 1 and 2, as the chip has it. `divisor`: 30 MHz / (n + 1).
    """

    def __init__(self, channel: FtdiChannel, *, outputs: int, idle: int, select: int, divisor: int) -> None:
        self._channel = channel
        self._outputs, self._idle, self._select = outputs, idle, select
        self._divisor = divisor
        self._begin = bytes((0x80, idle & ~select, outputs))
        self._end = bytes((0x80, idle, outputs))

    @property
    def clock_hz(self) -> float:
        return BASE_HZ / (2 * (self._divisor + 1))

    def open(self) -> None:
        """From any state to a working master with its pins at rest; ProtocolError when the chip does not answer."""
        channel = self._channel
        channel.request(RESET, 0)
        channel.purge()
        channel.request(LATENCY, LATENCY_MS)
        channel.request(EVENT_CHARACTER, 0)
        channel.request(ERROR_CHARACTER, 0)
        channel.set_mode(MODE_RESET, 0)
        channel.set_mode(MODE_MPSSE, self._outputs)
        channel.write(CLOCK_SET_UP + bytes((0x86, self._divisor & 0xFF, self._divisor >> 8)) + self._end)
        self.synchronise()

    def close(self) -> None:
        """Let go of the pins."""
        self._channel.set_mode(MODE_RESET, 0)

    def synchronise(self) -> None:
        """Drop everything under way and make sure that the chip answers; DriverTimeout, ProtocolError."""
        channel = self._channel
        channel.set_mode(MODE_RESET, 0)
        channel.set_mode(MODE_MPSSE, self._outputs)
        channel.purge()
        channel.write(CLOCK_SET_UP + bytes((0x86, self._divisor & 0xFF, self._divisor >> 8)) + self._end)
        channel.write(bytes((NONSENSE, 0x87)))
        answer = np.zeros(2, np.uint8)
        channel.read_into(answer, SHORT_TIMEOUT_S)
        if answer.tobytes() != bytes((BAD_COMMAND, NONSENSE)):
            raise ProtocolError(
                f"FT2232H channel {channel.number}: answers {answer.tobytes().hex(' ')} to a command that does not "
                f"exist, not fa aa; plug it in again"
            )

    def set_pins(self, levels: int) -> None:
        """Drive the output pins to these levels until the next exchange or `set_pins`."""
        self._channel.write(bytes((0x80, levels, self._outputs)))

    def write(self, message: bytes) -> None:
        """Clock a message out within one selection; nothing acknowledges it."""
        self._channel.write(self._begin + _clock_out(message) + self._end)

    def read_into(self, message: bytes, target: NDArray[np.uint8], timeout_s: float = SHORT_TIMEOUT_S) -> None:
        """Clock a message out and `target` in. `timeout_s` is on top of the time that the clock takes."""
        size = len(target)
        if not 1 <= size <= LONGEST_MESSAGE:
            raise ValueError(f"target: must have 1..{LONGEST_MESSAGE} bytes, got {size}")
        clock_in = b"\x24" + (size - 1).to_bytes(2, "little") + b"\x87"
        self._channel.write(self._begin + _clock_out(message) + clock_in + self._end)
        self._channel.read_into(target, timeout_s + 8 * size / self.clock_hz)


def _clock_out(message: bytes) -> bytes:
    if not 1 <= len(message) <= LONGEST_MESSAGE:
        raise ValueError(f"message: must have 1..{LONGEST_MESSAGE} bytes, got {len(message)}")
    return b"\x11" + (len(message) - 1).to_bytes(2, "little") + message
