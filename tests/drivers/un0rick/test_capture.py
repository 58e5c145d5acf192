"""A captured conversation of the published un0usb package: the emulated board answers every question as it did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.device import Setup
from sonod.drivers.emulated.un0rick import EmulatedUn0rick
from sonod.drivers.un0rick.protocol import Header, Register

CAPTURE = Path(__file__).parents[1] / "captures" / "un0rick-un0usb.txt"
START = "8000500001"


def conversation() -> Iterator[list[str]]:
    for line in CAPTURE.read_text().splitlines():
        if not line.startswith("#"):
            yield line.split()


def answer(board: EmulatedUn0rick, clock: ManualClock, endpoint: int) -> bytes:
    """The next transfer with more in it than status bytes."""
    for _ in range(1000):
        data = board.host_in(endpoint, 512)
        if data is not None and len(data) > 2:
            return data
        clock.advance(0.001)
    raise AssertionError("no answer")


def test_the_emulated_board_answers_as_captured() -> None:
    clock = ManualClock()
    board = EmulatedUn0rick("EMU00001", clock)
    answers = 0
    samples = False
    for kind, *words in conversation():
        if kind == "OUT":
            request_type, request, value, index = (int(word, 16) for word in words)
            board.host_control(Setup(request_type, request, value, index, 0))
        elif kind == "BULK" and words[0] == "OUT":
            data = bytes.fromhex(words[2])
            board.host_bulk_out(int(words[1], 16), data)
            samples = Header(False, False, 96, Register.RAMDATA).encode() in data
            if START in words[2]:
                clock.advance(0.01)
        elif kind == "BULK":
            got, expected = answer(board, clock, int(words[1], 16)), bytes.fromhex(words[2])
            answers += 1
            # What the transducer hears changes from one time to the next; line numbers and length do not.
            assert len(got) == len(expected)
            if samples:
                assert all(byte & 0xFC == 0 for byte in got[2::2])
            else:
                assert got == expected
    assert answers >= 12
    assert board.acquisitions == 1
