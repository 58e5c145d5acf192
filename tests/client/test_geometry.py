"""The geometry block: what it says, its fingerprint in any language, its orientations."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import wire_messages as messages
from hypothesis import given
from hypothesis import strategies as st

from sonod.client.wire.geometry import (
    GEOMETRIES,
    ORIENTATIONS,
    ImageGeometry,
    NamedTransform,
    Sector,
    canonical,
    fingerprint_of,
    geometry_from_block,
)

VECTORS = Path(__file__).parent / "vectors" / "fingerprints.json"
LENGTHS = st.floats(1e-6, 1e-2)
PLACES = st.floats(-0.1, 0.1)


@st.composite
def images(draw: st.DrawFn) -> ImageGeometry:
    return ImageGeometry(
        (draw(st.integers(1, 900)), draw(st.integers(1, 900))),
        (draw(LENGTHS), draw(LENGTHS)),
        (draw(PLACES), draw(PLACES), draw(PLACES)),
        draw(st.none() | st.just(Sector((0.0, 0.0, -0.06), 0.06, 0.12, -0.5, 0.5))),
        draw(st.sampled_from(ORIENTATIONS)),
        draw(st.none() | st.floats(1400, 1600)),
        draw(st.none() | st.just("sha256:0123")),
    )


@given(images())
def test_block_gives_the_geometry_back(geometry: ImageGeometry) -> None:
    read = geometry_from_block(json.loads(geometry.text))
    assert read == geometry
    assert read.fingerprint == read.computed_fingerprint == geometry.fingerprint


@given(images(), st.integers(0, 900), st.integers(0, 900))
def test_keys_of_the_block_agree(geometry: ImageGeometry, row: int, column: int) -> None:
    block = json.loads(geometry.text)
    x, y, z = geometry.point_m(row, column)
    matrix = block["image_to_transducer"]
    assert [sum(a * b for a, b in zip(line, (column, row, 0, 1), strict=True)) for line in matrix] == pytest.approx(
        [x, y, z, 1]
    )
    assert block["transforms"][0] == {"from": "image", "to": "transducer", "matrix": matrix}
    origin_row, origin_column = block["transducer_origin_pixel"]
    assert geometry.point_m(origin_row, origin_column)[::2] == pytest.approx((0, 0), abs=1e-12)
    assert geometry.pixel((x, y, z)) == pytest.approx((row, column), abs=1e-6)


@given(images(), st.sampled_from(ORIENTATIONS))
def test_turned_picture_keeps_every_pixel_where_it_is(geometry: ImageGeometry, letters: str) -> None:
    turned = geometry.oriented(letters)
    rows, columns = geometry.shape
    row = 0 if letters[1] == geometry.orientation_letters[1] else rows - 1
    column = 0 if letters[0] == geometry.orientation_letters[0] else columns - 1
    assert turned.point_m(0, 0) == pytest.approx(geometry.point_m(row, column))
    back = turned.oriented(geometry.orientation_letters)
    assert back.first_pixel_m == pytest.approx(geometry.first_pixel_m)


def test_published_pictures_are_uf() -> None:
    assert ImageGeometry((2, 2), (1e-4, 1e-4), (0.0, 0.0, 0.0)).orientation_letters == "UF"


def test_wrong_orientation_is_refused() -> None:
    with pytest.raises(ValueError, match="orientation_letters: must be one of UF, UN, MF, MN; got 'FU'"):
        ImageGeometry((2, 2), (1e-4, 1e-4), (0.0, 0.0, 0.0), orientation_letters="FU")


def test_fingerprint_covers_what_defines_the_geometry_and_nothing_else() -> None:
    geometry = ImageGeometry((3, 2), (1e-4, 2e-4), (0.0, 0.0, 0.0), None, "UF", 1540.0, "sha256:1")
    others = [
        replace(geometry, shape=(3, 3)),
        replace(geometry, spacing_m=(1e-4, 2.0000001e-4)),
        replace(geometry, first_pixel_m=(0.0, 1e-9, 0.0)),
        replace(geometry, sector=Sector((0.0, 0.0, -0.06), 0.06, 0.12, -0.5, 0.5)),
        replace(geometry, orientation_letters="MF"),
        replace(geometry, sound_speed_m_s=1541.0),
        replace(geometry, transducer="sha256:2"),
    ]
    assert len({other.fingerprint for other in (geometry, *others)}) == 8
    link = NamedTransform(
        "transducer", "probe", ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    )
    chained = replace(geometry, transforms=(link,))
    assert chained.fingerprint == geometry.fingerprint
    assert geometry_from_block(json.loads(chained.text)) == chained


def test_fingerprint_of_a_message_is_what_it_says() -> None:
    block = json.loads(messages.HEADER.geometry.text) | {"later_key_that_defines": 1, "fingerprint": "sha256:later"}
    geometry = geometry_from_block(block)
    assert geometry.fingerprint == "sha256:later"
    assert geometry.computed_fingerprint == messages.HEADER.geometry.fingerprint


def test_matrix_that_is_none_is_refused() -> None:
    block = json.loads(messages.HEADER.geometry.text)
    block["transforms"] = [{"from": "transducer", "to": "probe", "matrix": [[1, 2], [3, 4]]}]
    with pytest.raises(ValueError, match="must be 4 x 4 numbers"):
        geometry_from_block(block)


# -- the recipe, written a second time from docs/geometry.md -----------------------------------------------------------


def second_opinion(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f'"{k}":{second_opinion(v)}' for k, v in sorted(value.items()) if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ",".join(second_opinion(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + value + '"'
    return f"{struct.unpack('>Q', struct.pack('>d', float(value) if value else 0.0))[0]:016x}"


def cases() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(VECTORS.read_text())
    return loaded


def defining(block: dict[str, Any]) -> dict[str, Any]:
    derived = {
        "fingerprint",
        "array_order",
        "image_to_transducer",
        "transducer_origin_pixel",
        "orientation",
        "transforms",
    }
    return {key: value for key, value in block.items() if key not in derived}


@pytest.mark.parametrize("name", cases())
def test_published_test_vectors_hold(name: str) -> None:
    case = cases()[name]
    values = defining(case["block"])
    assert canonical(values) == second_opinion(values) == case["canonical"]
    digest = "sha256:" + hashlib.sha256(case["canonical"].encode()).hexdigest()[:32]
    assert fingerprint_of(values) == digest == case["block"]["fingerprint"]
    assert geometry_from_block(case["block"]).computed_fingerprint == digest


def test_there_is_a_vector_for_every_kind() -> None:
    assert {case["block"]["kind"] for case in cases().values()} == set(GEOMETRIES)


@pytest.mark.node
def test_published_test_vectors_hold_in_javascript() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; the recipe was not tried in JavaScript")
    program = Path(__file__).parent / "independent" / "fingerprint.mjs"
    done = subprocess.run([node, str(program), str(VECTORS)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: case["block"]["fingerprint"] for name, case in cases().items()}


@pytest.mark.parametrize("value", [True, {"a": False}, object()])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="canonical form"):
        canonical(value)
