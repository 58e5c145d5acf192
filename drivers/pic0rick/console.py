"""The text firmware of pic0rick: command lines, their echoes, and the hexadecimal dump of one shot; no I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.errors import ProtocolError

# The only reliable end of a reply; it has no newline.
PROMPT = b"run> "
SAMPLES = 8000
SAMPLING_HZ = 60e6
# Offset binary: this code is no signal.
MIDDLE = 512
LARGEST_CODE = 1023
# Pulse times are cut to multiples of this; the loop that makes them runs once more than asked.
TICK_NS = 8
# At most three digits and a comma a value, and the lines around them.
LONGEST_DUMP = 4 * SAMPLES + 256
# Kept characters of a command line.
LONGEST_COMMAND = 127
ACQUISITION_TIMEOUT = b"ADC timeout occured"

_SHOT_BEGUN, _SHOT_ENDED = b"Acquisition of %d samples started\r\n" % SAMPLES, b"Acquisition ended\r\n"
_BEGIN = b"----------Start of ACQ----------"
_END = b"-----------End of ACQ-----------"
_COMMA = ord(",")
_NOT_HEX = 255
_ESCAPES = re.compile(rb"\r\n|\n|\r")


def pulse_length_ns(asked_ns: int) -> int:
    """How long a pulse asked for as `asked_ns` really is."""
    return (asked_ns // TICK_NS + 1) * TICK_NS


def asked_pulse_ns(wanted_ns: float) -> int:
    """What to ask for so that the pulse comes nearest to `wanted_ns`; at least one tick is made whatever is asked."""
    return max(round(wanted_ns / TICK_NS) - 1, 0) * TICK_NS


def shot_command(positive_ns: int, negative_ns: int, damping_ns: int) -> bytes:
    """One shot. The firmware checks nothing, so this does: whole nanoseconds >= 0, else ValueError."""
    for name, value in (("positive_ns", positive_ns), ("negative_ns", negative_ns), ("damping_ns", damping_ns)):
        if not 0 <= value <= 1_000_000:
            raise ValueError(f"{name}: must be in 0..1000000, got {value}")
    return b"start acq %d %d %d\n" % (positive_ns, negative_ns, damping_ns)


def gain_command(code: int) -> bytes:
    """Set the gain converter. A higher code would corrupt its control bits: ValueError."""
    if not 0 <= code <= LARGEST_CODE:
        raise ValueError(f"gain code: must be in 0..{LARGEST_CODE}, got {code}")
    return b"write dac %d\n" % code


def multiplexer_command(switches: int) -> bytes:
    """Set the 16 switches of an optional MAX14866 board."""
    if not 0 <= switches <= 0xFFFF:
        raise ValueError(f"multiplexer switches: must be in 0..65535, got {switches}")
    return b"write mux %04X\n" % switches


def reply_lines(reply: bytes, command: bytes) -> list[str]:
    """The lines of a complete reply without the echo of the command and without the prompt; else ProtocolError."""
    if not reply.endswith(PROMPT):
        raise ProtocolError(f"pic0rick: a reply must end with {PROMPT!r}, got {reply[-20:]!r}")
    body = reply[: -len(PROMPT)]
    echo = command.rstrip(b"\r\n")
    place = body.find(echo)
    if place < 0:
        raise ProtocolError(f"pic0rick: the echo of {echo.decode()!r} is missing from {body[:60]!r}")
    lines = [line.decode("ascii", "replace") for line in _ESCAPES.split(body[place + len(echo) :]) if line]
    for line in lines:
        if line.startswith("Unknown command"):
            raise ProtocolError(f"pic0rick: refused {echo.decode()!r}: {line}")
    return lines


def confirms_shot(reply: bytes) -> bool:
    """Whether all of the answer to `start acq` is there, time-out or not."""
    begin = reply.find(_SHOT_BEGUN)
    return begin >= 0 and reply.find(_SHOT_ENDED, begin) >= 0


def dump(samples: Sequence[int] | NDArray[np.integer]) -> bytes:
    """The reply to `read` between echo and prompt, as the firmware prints it."""
    values = b"".join(b"%X," % int(value) for value in samples)
    return _BEGIN + b"\r\n" + values + b"\r\n" + _END + b"\r\n"


class DumpParser:
    """Hexadecimal dump to int16 samples around zero, through buffers made once."""

    def __init__(self, samples: int = SAMPLES) -> None:
        self._samples = samples
        length = 4 * samples + 256
        table = bytearray([_NOT_HEX] * 256)
        for digits in (b"0123456789ABCDEF", b"0123456789abcdef"):
            for value, digit in enumerate(digits):
                table[digit] = value
        table[_COMMA] = 0
        self._table = bytes(table)
        self._is_comma = np.zeros(length, np.bool_)
        self._gap = np.zeros(samples, np.int64)
        self._index = np.zeros(samples, np.int64)
        self._value = np.zeros(samples, np.int16)
        self._term = np.zeros(samples, np.int16)
        self._digit = np.zeros(samples, np.uint8)
        self._has = np.zeros(samples, np.bool_)

    def parse(self, reply: bytearray | bytes, length: int, out: NDArray[np.int16]) -> None:
        """Samples of the reply in `reply[:length]` into `out (samples,)`; ProtocolError when it is not complete.

        The firmware drops characters silently when nobody reads for long, so that every comma is counted.
        """
        begin = reply.find(_BEGIN, 0, length)
        end = reply.find(_END, 0, length)
        if begin < 0 or end < begin:
            raise ProtocolError(f"pic0rick: no complete dump in a reply of {length} bytes")
        first, last = begin + len(_BEGIN), end
        while first < last and reply[first] in b"\r\n":
            first += 1
        while last > first and reply[last - 1] in b"\r\n":
            last -= 1
        count = last - first
        if not 2 * self._samples <= count <= 4 * self._samples or reply[last - 1] != _COMMA:
            raise ProtocolError(
                f"pic0rick: a dump has {2 * self._samples}..{4 * self._samples} characters, got {count}"
            )
        text = np.frombuffer(reply, np.uint8, count, first)
        # Looking digits up with NumPy would make an index of eight bytes for each.
        digits = np.frombuffer(reply.translate(self._table), np.uint8, count, first)
        is_comma = self._is_comma[:count]
        if digits.max() == _NOT_HEX:
            raise ProtocolError("pic0rick: a dump holds characters that are neither digits nor commas")
        np.equal(text, _COMMA, out=is_comma)
        ends = np.flatnonzero(is_comma)
        if len(ends) != self._samples:
            raise ProtocolError(f"pic0rick: a dump must hold {self._samples} values, got {len(ends)}")
        gap, index, value, term = self._gap, self._index, self._value, self._term
        gap[0] = ends[0] + 1
        np.subtract(ends[1:], ends[:-1], out=gap[1:])
        if gap.min() < 2 or gap.max() > 4:
            raise ProtocolError("pic0rick: every value of a dump has one to three digits")
        value.fill(-MIDDLE)
        for place in range(3):
            # A short value's missing digits are those of its neighbour: they count as nothing.
            np.subtract(ends, place + 1, out=index)
            np.take(digits, index, out=self._digit, mode="clip")
            np.greater(gap, place + 1, out=self._has)
            np.multiply(self._digit, self._has, out=term, casting="unsafe")
            np.left_shift(term, 4 * place, out=term)
            np.add(value, term, out=value)
        np.copyto(out, value)
