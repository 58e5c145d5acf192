"""The worked examples of docs/bulk-rf-protocol.md are what the protocol module reads and writes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sonod.cext import reference
from sonod.cext.wire import crc32c
from sonod.drivers.bulk.protocol import (
    HEADER_BYTES,
    Capabilities,
    Fault,
    Flag,
    Format,
    Geometry,
    Header,
    Layout,
    State,
    Status,
    self_test_samples,
)
from sonod.drivers.bulk.table import NOT_CONNECTED, SILENT, Table
from sonod.drivers.errors import ProtocolError

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "bulk-rf-protocol.md").read_text()


def example(name: str) -> bytes:
    """The bytes of the dump under a heading."""
    section = PAGE.split(f"### Example: {name}\n", 1)[1].split("\n#", 1)[0]
    return bytes.fromhex("".join(re.findall(r"^    [0-9a-f]{4}  ([0-9a-f ]+)$", section, re.MULTILINE)))


def test_shot() -> None:
    data = example("shot")
    header = Header.from_bytes(data)
    samples = np.array([[0, 1, -1, 2], [100, -100, 32767, -32768]], "<i2")
    assert data[HEADER_BYTES:] == samples.tobytes()
    assert header == Header(
        7, 16, 1, 3, 123456789, Format.I16, Layout.CHANNELS, 2, 4, -25, 40_000_000, 150, 16, Flag.LAST_SHOT, 2,
        crc32c(samples.tobytes()),
    )  # fmt: skip
    assert header.to_bytes() == data[:HEADER_BYTES]
    assert header.true_sampling_hz == pytest.approx(40_000_060)


def test_status() -> None:
    status = Status(State.ARMED, Fault.NONE, 3, 3, 1000, 7, 2, 123456789)
    assert Status.from_bytes(example("status")) == status
    assert status.to_bytes() == example("status")


def test_table() -> None:
    table = Table.from_bytes(example("table"))
    assert table.to_bytes() == example("table")
    assert (table.number, table.samples, table.frame_us, table.gain_centi_db) == (3, 4, 33333, (0, 600, 1200))
    assert [shot.delay_ticks.tolist() for shot in table.shots] == [[0, SILENT], [SILENT, -10]]
    assert [shot.receive.tolist() for shot in table.shots] == [[0, 1], [0, NOT_CONNECTED]]
    assert [shot.start_ticks for shot in table.shots] == [-25, 0]


def test_capabilities() -> None:
    own = Capabilities.from_bytes(example("capabilities"))
    assert own.to_bytes() == example("capabilities")
    assert (own.geometry, own.element_count, own.channels) == (Geometry.LINEAR, 2, 2)
    assert own.formats == {Format.I16, Format.PACKED_12}
    assert (own.name, own.firmware, own.bits, own.sampling_hz) == ("two elements", "1.0", 14, 40_000_000)
    np.testing.assert_allclose(own.elements_m[:, 0], [-0.00015, 0.00015])


@pytest.mark.parametrize(("bits", "samples"), [(10, "1 -1 511 -512"), (12, "1 -1 2047 -2048"), (14, "1 -1 8191 -8192")])
def test_packed_samples(bits: int, samples: str) -> None:
    dumped = re.search(rf"`{samples}` in format \d\s+are\s+`([0-9a-f ]+)`", PAGE)
    assert dumped is not None
    assert reference.pack([int(one) for one in samples.split()], bits).tobytes() == bytes.fromhex(dumped[1])


def test_self_test_pattern() -> None:
    assert self_test_samples(7, 2, 3, 14).tolist() == [[91, 92, 93], [122, 123, 124]]
    iq = self_test_samples(7, 1, 1, 16, iq=True)
    assert iq[0, 0].tolist() == [91, ~91]


def test_every_flipped_bit_of_a_header_is_noticed() -> None:
    data = example("shot")[:HEADER_BYTES]
    for bit in range(8 * HEADER_BYTES):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError):
            Header.from_bytes(bytes(wrong))


@pytest.mark.parametrize("name", ["table", "capabilities"])
@pytest.mark.parametrize("at", [0, 8, 20, 60, -1])
def test_damage_and_cut_ends_are_noticed(name: str, at: int) -> None:
    kind = Table if name == "table" else Capabilities
    data = bytearray(example(name))
    data[at] ^= 0x20
    with pytest.raises(ProtocolError):
        kind.from_bytes(bytes(data))
    for length in (0, 10, len(data) // 2, len(data) - 1):
        with pytest.raises(ProtocolError):
            kind.from_bytes(example(name)[:length])
