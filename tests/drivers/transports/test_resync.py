"""Resynchronisation: every message found again, every byte and number accounted for."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonod.drivers.errors import DriverTimeout
from sonod.drivers.transports.resync import (
    Framing,
    MagicFixed,
    MagicLengthCrc,
    MarkerStride,
    Resynchroniser,
    SequenceCheck,
    StreamCounters,
    TextLines,
)
from sonod.drivers.transports.stream import FedStream

MAGIC = b"\xaaUS\x55"


def message(number: int, size: int) -> bytes:
    body = random.Random(number).randbytes(size)
    head = MAGIC + number.to_bytes(4, "little") + size.to_bytes(4, "little")
    return head + body + zlib.crc32(head + body).to_bytes(4, "little")


def length(header: bytes) -> int | None:
    return 16 + int.from_bytes(header[8:12], "little")


def check(whole: bytes) -> bool:
    return zlib.crc32(whole[:-4]) == int.from_bytes(whole[-4:], "little")


def framing() -> Framing:
    return MagicLengthCrc(MAGIC, 12, length, 5000, check)


def run(framing: Framing, data: bytes, piece: int = 1 << 30) -> tuple[list[bytes], StreamCounters]:
    stream = FedStream(1 << 16)
    resynchroniser = Resynchroniser(stream, framing)
    found = []
    for start in range(0, len(data), piece):
        stream.feed(data[start : start + piece])
        found += resynchroniser.all()
    return found, resynchroniser.counters


@pytest.mark.parametrize("piece", [1, 7, 64, 4096])
def test_messages_come_out_whatever_the_pieces(piece: int) -> None:
    messages = [message(number, 10 * number) for number in range(20)]
    found, counters = run(framing(), b"".join(messages), piece)
    assert found == messages
    assert (counters.messages, counters.bytes_skipped, counters.crc_errors) == (20, 0, 0)


def test_garbage_between_messages_is_skipped_to_the_byte() -> None:
    one, two = message(1, 50), message(2, 60)
    found, counters = run(framing(), b"noise" + one + MAGIC[:2] + b"x" * 9000 + two)
    assert found == [one, two]
    assert counters.bytes_skipped == 5 + 2 + 9000


def test_a_flipped_bit_costs_one_message_and_counts_one_crc_error() -> None:
    messages = [message(number, 100) for number in range(5)]
    damaged = bytearray(b"".join(messages))
    damaged[2 * len(messages[0]) + 40] ^= 4
    found, counters = run(framing(), bytes(damaged))
    assert found == messages[:2] + messages[3:]
    assert counters.crc_errors == 1
    assert counters.bytes_skipped == len(messages[2])


def test_bytes_lost_inside_a_message_do_not_cost_the_next_one() -> None:
    messages = [message(number, 200) for number in range(4)]
    data = messages[0] + messages[1][:100] + messages[2] + messages[3]
    found, counters = run(framing(), data)
    assert found == [messages[0], messages[2], messages[3]]
    assert counters.bytes_skipped == 100


@given(
    st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 80)), max_size=12),
    st.integers(1, 300),
    st.binary(max_size=30),
)
def test_every_byte_is_in_a_message_or_skipped_or_still_waiting(
    parts: list[tuple[bytes, int]], piece: int, tail: bytes
) -> None:
    data = b"".join(noise + message(number, size) for number, (noise, size) in enumerate(parts)) + tail
    stream = FedStream(1 << 16)
    resynchroniser = Resynchroniser(stream, framing())
    taken = 0
    for start in range(0, len(data), piece):
        stream.feed(data[start : start + piece])
        taken += sum(map(len, resynchroniser.all()))
    assert taken + resynchroniser.counters.bytes_skipped + stream.available == len(data)


def test_fixed_length_messages_behind_a_magic() -> None:
    frames = [b"\x5a\xa5" + bytes([number]) * 30 for number in range(4)]
    found, counters = run(MagicFixed(b"\x5a\xa5", 32), b"\x5a" + frames[0] + b"zz\x5a" + frames[1] + frames[2], 5)
    assert found == frames[:3]
    assert counters.bytes_skipped == 1 + 3


def test_marker_at_stride_is_not_fooled_by_the_marker_inside_data() -> None:
    lines = [b"\xff" + bytes([number]) * 7 + b"\xff" + bytes(7) for number in range(1, 6)]
    found, counters = run(MarkerStride(b"\xff", 16), bytes(3) + b"".join(lines), 11)
    # The last one waits for the marker after it.
    assert found == lines[:-1]
    assert counters.bytes_skipped == 3


def test_text_lines_and_a_line_that_never_ends() -> None:
    found, counters = run(TextLines(100), b"one\r\ntwo\n" + b"x" * 250 + b"\nthree\npart", 13)
    assert found[:2] == [b"one\r\n", b"two\n"]
    assert found[-1] == b"three\n"
    assert counters.bytes_skipped == 200


def test_nothing_there_is_a_timeout_and_a_later_call_goes_on() -> None:
    stream = FedStream()
    resynchroniser = Resynchroniser(stream, framing())
    whole = message(3, 40)
    stream.feed(whole[:30])
    with pytest.raises(DriverTimeout):
        resynchroniser.read(0.0)
    stream.feed(whole[30:])
    assert resynchroniser.read(0.0) == whole


def test_gaps_are_the_devices_own_as_far_as_it_says_so() -> None:
    counters = StreamCounters()
    sequence = SequenceCheck(counters, 1 << 32)
    assert sequence.follow(0xFFFFFFFE, 10) == 0
    assert sequence.follow(3, 13) == 4
    assert (counters.device_drops, counters.lost) == (3, 1)
    assert sequence.follow(3, 13) == -1
    assert sequence.follow(4, 13) == 0
    assert (counters.duplicates, counters.lost) == (1, 1)


def test_a_stream_that_nobody_reads_overruns_and_says_how_much() -> None:
    stream = FedStream(100)
    stream.feed(bytes(80))
    stream.feed(bytes(30))
    assert (stream.available, stream.counters.overrun_bytes, stream.counters.overruns) == (100, 10, 1)
