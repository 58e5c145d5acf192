from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
import wire_messages as messages
from hypothesis import given, settings
from hypothesis import strategies as st

from sonod.client.wire.canonical import read_head
from sonod.client.wire.errors import WireError
from sonod.client.wire.fields import Fields
from sonod.client.wire.header import (
    Acoustic,
    AcousticIndex,
    FrameHeader,
    HeaderReader,
    Losses,
    NeedleTruth,
    Truth,
    decode_header,
    encode_header,
    stamp_published,
)


def header_values() -> dict[str, Any]:
    values: dict[str, Any] = json.loads(encode_header(messages.HEADER))
    return values


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("sonod", 2, "frame header: sonod: this client reads version 1; got 2"),
        ("frame", "7", 'frame header: frame: must be a whole number; got "7"'),
        ("frame", None, "frame header: frame: missing; must be a whole number"),
        ("shape", [3, True], "frame header: shape: must be a list of whole numbers; got [3, true]"),
        ("shape", [0, 2], "frame header: shape: every axis must have length >= 1; got [0, 2]"),
        ("dtype", "object", "frame header: dtype: must be one of"),
        ("byte_order", "middle", "frame header: byte_order: must be little or big"),
        ("times", 3, "frame header: times: must be an object; got 3"),
        ("geometry", {"kind": "sphere"}, "frame header: geometry.kind: must be one of"),
        ("geometry", {"kind": "image"}, "frame header: geometry:"),
        ("acoustic", {"mechanical_index": {"status": "unknown", "value": 1}}, "acoustic index: status"),
        ("truth", {"scene_time_s": 1, "needle": {"tip_m": [1, 2]}}, "needle: tip_m: must be a list of three numbers"),
    ],
)
def test_wrong_field_is_named(key: str, value: object, line: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_header(json.dumps(header_values() | {key: value}).encode())
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_optional_keys_take_their_defaults() -> None:
    values = header_values()
    for key in ("losses", "settings", "acoustic", "truth", "byte_order", "encoding"):
        del values[key]
    header = decode_header(json.dumps(values).encode())
    assert header.losses == Losses()
    assert header.settings == {}
    assert header.acoustic == Acoustic()
    assert header.truth is None
    assert (header.byte_order, header.encoding) == ("little", "raw")


def test_unknown_transmit_time_is_none() -> None:
    values = header_values()
    values["times"] |= {"transmit_ns": None, "transmit_uncertainty_ns": None}
    times = decode_header(json.dumps(values).encode()).times
    assert times.transmit_ns is None
    assert times.transmit_uncertainty_ns is None


def test_utc_of_a_monotonic_time() -> None:
    utc = messages.HEADER.times.utc
    assert utc.utc_of(utc.monotonic_ns + 5) == utc.utc_ns + 5


def test_settings_of_a_later_kind_are_left_out() -> None:
    values = header_values()
    values["settings"] |= {"region": {"x": 1}, "flag": True}
    assert decode_header(json.dumps(values).encode()).settings == messages.HEADER.settings


def test_known_index_needs_a_value() -> None:
    with pytest.raises(WireError, match="with a value unless unknown"):
        AcousticIndex("measured")


@given(st.binary(max_size=200))
def test_garbage_is_refused_with_one_line(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode_header(data)
    assert "\n" not in str(caught.value)


@given(
    st.sampled_from(sorted(header_values())),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    ),
)
def test_any_value_in_any_field_is_taken_or_refused(key: str, value: object) -> None:
    data = json.dumps(header_values() | {key: value}).encode()
    with contextlib.suppress(WireError):
        decode_header(data)


headers = st.builds(
    lambda frame, gain, tip, depth: replace(
        messages.HEADER,
        frame=frame,
        settings={"gain_db": gain},
        truth=None if tip is None else Truth(0.5, NeedleTruth((tip, 0.0, 0.0), (0.0, 0.0, 0.0), 1e-3)),
        geometry=replace(messages.HEADER.geometry, spacing_m=(1e-4, depth)),
    ),
    st.integers(1, 99),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([None, 0.01, 0.02]),
    st.sampled_from([1e-4, 2e-4]),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(headers, max_size=8))
def test_reader_of_a_stream_reads_what_the_plain_decoder_reads(stream: list[FrameHeader]) -> None:
    reader = HeaderReader()
    for header in stream:
        data = encode_header(header)
        assert reader.read(data) == decode_header(data) == header


@pytest.mark.parametrize(
    "trick",
    [
        b'{"sonod":1,"x":{"a":1%s}',  # the known end inside another object
        b'{"sonod":1,"x":"%s',  # and inside a text
        b'{"sonod":1%s}',  # and one brace too many
    ],
)
def test_reader_of_a_stream_is_not_misled_by_a_known_end(trick: bytes) -> None:
    reader = HeaderReader()
    data = encode_header(messages.HEADER)
    reader.read(data)
    tail = data[data.rfind(b',"settings":') :]
    with pytest.raises(WireError):
        reader.read(trick.replace(b"%s", tail))


def test_geometry_is_parsed_once_also_when_the_truth_is_another_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a simulated probe, whose headers of raw frames are mostly geometry."""
    reader = HeaderReader()
    headers = [
        replace(messages.HEADER, frame=number, truth=Truth(number / 30, NeedleTruth((0, 0, 0), (0, 0, 1), 1e-3)))
        for number in range(1, 6)
    ]
    assert reader.read(encode_header(headers[0])) == headers[0]
    parsed: list[bytes] = []
    parse = Fields.parse

    def record(data: bytes | memoryview, where: str) -> Fields:
        parsed.append(bytes(data))
        return parse(data, where)

    monkeypatch.setattr(Fields, "parse", record)
    for header in headers[1:]:
        assert reader.read(encode_header(header)) == header
    assert parsed
    assert not any(b"first_pixel_m" in data for data in parsed)


def test_published_time_is_filled_in_last() -> None:
    header = replace(messages.HEADER, times=replace(messages.HEADER.times, published_ns=0))
    assert decode_header(stamp_published(encode_header(header), 77)).times.published_ns == 77


def test_own_headers_are_read_without_a_parser_and_everything_else_is_not() -> None:
    data = encode_header(replace(messages.HEADER, message=7, repeated=False))
    end = data.rfind(b',"settings":')
    head = read_head(data, end)
    assert head is not None
    header = decode_header(data)
    assert (head.frame, head.message, head.times) == (header.frame, 7, header.times)
    assert Losses(*head.losses) == header.losses
    for written, otherwise in (
        (b'"frame":', b'"frame": '),
        (b'"message":7', b'"message":07'),
        (b'"message":7', b'"message":-7'),
        (b'"message":7', b'"message":null'),
        (b'"repeated":false', b'"repeated":true'),
        (b'"sonod":1', b'"sonod":2'),
        (b'"clock":"monotonic"', b'"clock":"atomic"'),
        (b'"skipped":', b'"more":1,"skipped":'),
    ):
        assert written in data
        other = data.replace(written, otherwise, 1)
        assert read_head(other, other.rfind(b',"settings":')) is None
    assert read_head(data, end - 1) is None


@pytest.mark.parametrize(
    "change",
    [
        {"product": "preview"},
        {"session": "another"},
        {"revision": 99},
        {"shape": (2, 3)},
        {"encoding": "lz4"},
        {"message": None},
        {"repeated": True},
        {"losses": Losses(5, 4, 3, 2, 1)},
    ],
)
def test_reader_of_a_stream_sees_what_differs_from_the_header_before(change: dict[str, Any]) -> None:
    first = replace(messages.HEADER, message=7, repeated=False)
    reader = HeaderReader()
    for header in (first, replace(first, **change), replace(first, frame=first.frame + 1, message=8)):
        data = encode_header(header)
        assert reader.read(data) == decode_header(data) == header
