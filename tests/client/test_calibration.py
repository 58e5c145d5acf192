"""A calibration is never silently wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wire_messages as messages
from hypothesis import given
from hypothesis import strategies as st

from sonod.client.calibration import Calibration, CalibrationError, CalibrationState, bind, load, matrix_of
from sonod.client.conventions.matrices import applied, as_array, as_matrix
from sonod.client.wire.geometry import ImageGeometry, Matrix, MotionGeometry, Sector
from sonod.client.wire.header import FrameHeader, decode_header, encode_header

GEOMETRY = ImageGeometry((300, 200), (1e-4, 2e-4), (-0.0199, 0.0, 5e-5), None, "UF", 1540.0, "sha256:layout")


def header(geometry: object = GEOMETRY, probe: str = "linear-128") -> FrameHeader:
    assert isinstance(geometry, ImageGeometry | MotionGeometry)
    return replace(messages.HEADER, geometry=geometry, shape=geometry.shape, probe=probe)


def rigid(angles: tuple[float, float, float], shift: tuple[float, float, float], scale: float = 1.0) -> np.ndarray:  # type: ignore[type-arg]
    """A turn about x, y and z, a scale and a shift."""
    matrix = np.eye(4)
    for axis, angle in enumerate(angles):
        turn, (a, b) = np.eye(4), [other for other in range(3) if other != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    matrix[:3, :3] *= scale
    matrix[:3, 3] = shift
    return matrix


TRUE_TO_TARGET = rigid((0.3, -0.2, 1.1), (0.01, -0.02, 0.05))


def calibration(to_target: np.ndarray = TRUE_TO_TARGET, geometry: ImageGeometry = GEOMETRY) -> Calibration:  # type: ignore[type-arg]
    matrix = as_matrix(to_target @ as_array(geometry.image_to_transducer))
    return bind("knee", "Marker", matrix, header(geometry), "2026-01-02T03:04:05Z")


def test_the_very_geometry_is_valid() -> None:
    judged = calibration().judge(header())
    assert judged.state is CalibrationState.VALID
    assert judged.image_to_target == calibration().image_to_target


def test_other_depth_is_rescaled_exactly() -> None:
    deeper = replace(GEOMETRY, shape=(500, 180), spacing_m=(2e-4, 2.5e-4), first_pixel_m=(-0.022, 0.0, 1e-4))
    judged = calibration().judge(header(deeper))
    assert judged.state is CalibrationState.RESCALED
    assert judged.image_to_target is not None
    # The same point of tissue, from a pixel of either picture.
    point = (0.004, 0.0, 0.017)
    row, column = deeper.pixel(point)
    wanted = TRUE_TO_TARGET @ np.array([*point, 1.0])
    np.testing.assert_allclose(applied(judged.image_to_target, (column, row, 0.0)), wanted[:3], rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"transducer": "sha256:other"}, "the element layout is another one"),
        ({"transducer": None}, "the element layout is another one"),
        ({"orientation_letters": "MF"}, "orientation MF instead of UF"),
        ({"sound_speed_m_s": 1500.0}, "made with 1540 m/s; the frame's depths are at 1500 m/s"),
        ({"sound_speed_m_s": None}, "made with 1540 m/s; the frame's depths are of unknown speed"),
        ({"first_pixel_m": (-0.0199, 0.001, 5e-5)}, "the image plane has moved in elevation"),
    ],
)
def test_what_no_matrix_can_follow_is_void(change: dict[str, object], reason: str) -> None:
    judged = calibration().judge(header(replace(GEOMETRY, **change)))  # type: ignore[arg-type]
    assert (judged.state, judged.reason, judged.image_to_target) == (CalibrationState.VOID, reason, None)


def test_other_probe_or_product_is_void() -> None:
    assert (
        calibration().judge(header(probe="curved-64")).reason == "made with probe linear-128; the frame is of curved-64"
    )
    motion = MotionGeometry((300, 200), 1e-4, 0.0, 0.05)
    assert calibration().judge(header(motion)).state is CalibrationState.VOID


def test_geometry_that_says_more_than_we_know_is_void() -> None:
    values = json.loads(encode_header(header(replace(GEOMETRY, shape=(301, 200)))))
    values["shape"] = [301, 200]
    values["geometry"] |= {"lens": 1, "fingerprint": "sha256:of-more"}
    judged = calibration().judge(decode_header(json.dumps(values).encode()))
    assert judged.state is CalibrationState.VOID
    assert "more than this version" in judged.reason


lengths = st.floats(1e-5, 1e-3)
places = st.floats(-0.05, 0.05)
pictures = st.builds(
    lambda shape, spacing, x, z, sector, speed, layout, letters, y: replace(
        GEOMETRY,
        shape=shape,
        spacing_m=spacing,
        first_pixel_m=(x, y, z),
        sector=sector,
        sound_speed_m_s=speed,
        transducer=layout,
        orientation_letters=letters,
    ),
    st.tuples(st.integers(1, 1000), st.integers(1, 1000)),
    st.tuples(lengths, lengths),
    places,
    places,
    st.none() | st.just(Sector((0.0, 0.0, -0.06), 0.06, 0.12, -0.5, 0.5)),
    st.sampled_from([1540.0, 1540.0, 1540.0, 1500.0]),
    st.sampled_from(["sha256:layout", "sha256:layout", "sha256:layout", "sha256:other"]),
    st.sampled_from(["UF", "UF", "UF", "MF"]),
    st.sampled_from([0.0, 0.0, 0.0, 0.001]),
)


@given(
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    st.floats(0.9, 1.1),
    pictures,
    pictures,
    st.tuples(places, places),
)
def test_no_frame_claims_a_calibration_with_wrong_scale(
    angles: tuple[float, float, float],
    shift: tuple[float, float, float],
    scale: float,
    made: ImageGeometry,
    seen: ImageGeometry,
    place: tuple[float, float],
) -> None:
    """Whatever the pictures: a matrix that is given takes a point of tissue to where the tracker truly sees it."""
    to_target = rigid(angles, shift, scale)
    judged = calibration(to_target, made).judge(header(seen))
    same = all(
        getattr(made, name) == getattr(seen, name) for name in ("sound_speed_m_s", "transducer", "orientation_letters")
    )
    if judged.state is CalibrationState.VOID:
        assert judged.image_to_target is None
        assert not same or made.first_pixel_m[1] != seen.first_pixel_m[1]
        return
    assert same
    assert (judged.state is CalibrationState.VALID) == (made.fingerprint == seen.fingerprint)
    assert judged.image_to_target is not None
    point = (place[0], seen.first_pixel_m[1], place[1])
    row, column = seen.pixel(point)
    wanted = to_target @ np.array([*point, 1.0])
    np.testing.assert_allclose(applied(judged.image_to_target, (column, row, 0.0)), wanted[:3], rtol=0, atol=1e-11)


def test_chain_ends_at_the_target() -> None:
    chained = calibration().chained(header())
    assert chained is not None
    assert [(link.source, link.target) for link in chained.chain] == [("image", "transducer"), ("transducer", "Marker")]
    np.testing.assert_allclose(as_array(chained.chain[-1].matrix), TRUE_TO_TARGET, atol=1e-15)
    assert calibration().chained(header(probe="other")) is None


# -- files -------------------------------------------------------------------------------------------------------------


def test_file_gives_the_calibration_back(tmp_path: Path) -> None:
    path = tmp_path / "knee.json"
    calibration().save(path)
    assert load(path) == calibration()
    with pytest.raises(CalibrationError, match="is there already"):
        calibration().save(path)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"format": "other"}, "format: must be sonod-calibration"),
        ({"version": 2}, "version: must be sonod-calibration, version 1; got 2"),
        ({"image_to_target": [[1, 2], [3, 4]]}, "image_to_target: must be 16 numbers"),
        ({"image_to_target": None}, "image_to_target: must be 16 numbers"),
        ({"image_to_target": [[0] * 4] * 3 + [[0, 0, 0, 1]]}, "its first two columns span no plane"),
        ({"image_to_target": [1] * 16}, "last row 0 0 0 1"),
        ({"probe": None}, "probe: missing"),
        ({"geometry": {"kind": "sphere"}}, "geometry.kind"),
    ],
)
def test_wrong_file_is_one_line(tmp_path: Path, change: dict[str, object], line: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(calibration().document() | change))
    with pytest.raises(CalibrationError) as caught:
        load(path)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_edited_geometry_is_refused(tmp_path: Path) -> None:
    document = calibration().document()
    document["geometry"]["spacing_m"] = [2e-4, 2e-4]
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(document))
    with pytest.raises(CalibrationError, match="its fingerprint does not belong to it"):
        load(path)


def test_what_is_not_known_cannot_be_bound_to() -> None:
    with pytest.raises(CalibrationError, match=r"geometry\.transducer: not known"):
        calibration(geometry=replace(GEOMETRY, transducer=None))


def test_matrix_from_sixteen_numbers() -> None:
    identity: Matrix = matrix_of([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], "x")
    np.testing.assert_array_equal(identity, np.eye(4))
    with pytest.raises(CalibrationError, match=r"x: must be 16 numbers, rows first; got \['a'\]"):
        matrix_of(["a"], "x")
