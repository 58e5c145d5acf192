"""A probe-to-tracker calibration that knows which pictures it holds for.

A calibration is a matrix from pixels to the frame of something that is tracked. It is right for pictures of the
geometry it was made with, and silently wrong for others: a calibration file therefore carries that geometry, and is
judged against every frame.

    valid      the frame has the very geometry: the matrix holds as it is
    rescaled   the same probe and transducer frame, other pixels (after a change of depth): the matrix follows exactly
    void       another probe, element layout, orientation, image plane or speed of sound: no matrix
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from sonod.client.conventions.matrices import as_array, inverse, product
from sonod.client.errors import ClientError
from sonod.client.wire.errors import WireError
from sonod.client.wire.fields import Fields
from sonod.client.wire.geometry import (
    TRANSDUCER,
    ImageGeometry,
    Matrix,
    NamedTransform,
    geometry_from_block,
)
from sonod.client.wire.header import FrameHeader

FORMAT, VERSION = "sonod-calibration", 1
# The axes of a plane's pixels must span a plane; the smallest true pixels are micrometres.
SMALLEST_AREA_M2 = 1e-16


class CalibrationError(ClientError, ValueError):
    """A calibration file cannot be used; one line says what is wrong."""


class CalibrationState(StrEnum):
    """What a calibration is worth for a frame."""

    VALID = "valid"
    RESCALED = "rescaled"
    VOID = "void"


@dataclass(frozen=True)
class Judgement:
    """A calibration held against one frame. `image_to_target` takes (column, row, 0, 1) of that frame to metres; None
    when the calibration is void, and `reason` says why."""

    state: CalibrationState
    reason: str
    image_to_target: Matrix | None = None


@dataclass(frozen=True)
class Calibration:
    """`image_to_target`: (column, row, 0, 1) of pictures of `geometry`, as published by `probe`, to metres in the frame
    named `target`."""

    name: str
    target: str
    probe: str
    image_to_target: Matrix
    geometry: ImageGeometry
    made_utc: str = ""

    def __post_init__(self) -> None:
        array = as_array(self.image_to_target)
        if not np.isfinite(array).all() or tuple(array[3]) != (0.0, 0.0, 0.0, 1.0):
            raise CalibrationError(
                f"calibration {self.name!r}: matrix: must be finite with last row 0 0 0 1; got {array[3].tolist()}"
            )
        if not np.linalg.norm(np.cross(array[:3, 0], array[:3, 1])) > SMALLEST_AREA_M2:
            raise CalibrationError(f"calibration {self.name!r}: matrix: its first two columns span no plane")
        for key in ("transducer", "sound_speed_m_s"):
            if getattr(self.geometry, key) is None:
                raise CalibrationError(
                    f"calibration {self.name!r}: geometry.{key}: not known, so nothing can be bound to this geometry"
                )

    @property
    def transducer_to_target(self) -> Matrix:
        """The part that does not depend on the pixels: transducer coordinates to the target's, both in metres."""
        return product(self.image_to_target, inverse(self.geometry.image_to_transducer))

    def judge(self, header: FrameHeader) -> Judgement:
        """What the calibration is worth for a frame with this header."""
        geometry = header.geometry
        if not isinstance(geometry, ImageGeometry):
            return _void(f"{header.product} is no picture in a plane ({geometry.kind})")
        if header.probe != self.probe:
            return _void(f"made with probe {self.probe}; the frame is of {header.probe}")
        if geometry.fingerprint == self.geometry.fingerprint:
            return Judgement(CalibrationState.VALID, "the geometry is the one it was made with", self.image_to_target)
        if geometry.computed_fingerprint != geometry.fingerprint:
            return _void("the frame's geometry says more than this version of sonod knows")
        if geometry.transducer != self.geometry.transducer:
            return _void("the element layout is another one")
        if geometry.orientation_letters != self.geometry.orientation_letters:
            return _void(f"orientation {geometry.orientation_letters} instead of {self.geometry.orientation_letters}")
        if geometry.sound_speed_m_s != self.geometry.sound_speed_m_s:
            return _void(
                f"made with {self.geometry.sound_speed_m_s:g} m/s; the frame's depths are "
                + ("of unknown speed" if geometry.sound_speed_m_s is None else f"at {geometry.sound_speed_m_s:g} m/s")
            )
        if geometry.first_pixel_m[1] != self.geometry.first_pixel_m[1]:
            return _void("the image plane has moved in elevation")
        matrix = product(self.transducer_to_target, geometry.image_to_transducer)
        return Judgement(CalibrationState.RESCALED, "other pixels in the same transducer frame", matrix)

    def chained(self, header: FrameHeader) -> ImageGeometry | None:
        """The frame's geometry with the link to the target in its chain of transforms; None when void."""
        if self.judge(header).state is CalibrationState.VOID or not isinstance(header.geometry, ImageGeometry):
            return None
        link = NamedTransform(TRANSDUCER, self.target, self.transducer_to_target)
        return replace(header.geometry, transforms=(*header.geometry.transforms, link))

    def document(self) -> dict[str, Any]:
        """As the file holds it."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "target": self.target,
            "made_utc": self.made_utc,
            "probe": self.probe,
            "image_to_target": self.image_to_target,
            "geometry": json.loads(self.geometry.text),
        }

    def save(self, path: Path) -> None:
        """Write the file; CalibrationError when it is there already, since an old calibration is not replaced by
        accident."""
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(json.dumps(self.document(), indent=2) + "\n")
        except FileExistsError as error:
            raise CalibrationError(f"{path}: is there already; choose another name or remove it") from error
        except OSError as error:
            raise CalibrationError(f"{path}: {error.strerror}") from error


def bind(name: str, target: str, image_to_target: Matrix, header: FrameHeader, made_utc: str = "") -> Calibration:
    """A calibration for pictures like the one with this header; CalibrationError when it is none to bind to."""
    if not isinstance(header.geometry, ImageGeometry):
        raise CalibrationError(f"calibration {name!r}: {header.product} is no picture in a plane")
    return Calibration(name, target, header.probe, image_to_target, header.geometry, made_utc)


def load(path: Path) -> Calibration:
    """The calibration in a file; CalibrationError names what is wrong with it."""
    try:
        fields = Fields.parse(path.read_bytes(), str(path))
        if fields.text("format") != FORMAT or fields.integer("version") != VERSION:
            raise fields.wrong(
                "format" if fields.text("format") != FORMAT else "version", f"{FORMAT}, version {VERSION}"
            )
        block = fields.inner("geometry")
        geometry = geometry_from_block(block.values)
        if not isinstance(geometry, ImageGeometry):
            raise CalibrationError(f"{path}: geometry: must be of kind image; got {geometry.kind}")
        if geometry.computed_fingerprint != block.text("fingerprint"):
            raise CalibrationError(
                f"{path}: geometry: its fingerprint does not belong to it; it was edited, or is of a later version"
            )
        return Calibration(
            fields.text("name"),
            fields.text("target"),
            fields.text("probe"),
            matrix_of(fields.values.get("image_to_target"), f"{path}: image_to_target"),
            geometry,
            fields.text("made_utc", ""),
        )
    except OSError as error:
        raise CalibrationError(
            f"{path}: cannot be read ({error.strerror}); `sonod calibration bind` makes one"
        ) from error
    except WireError as error:
        raise CalibrationError(str(error)) from error
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, CalibrationError):
            raise
        raise CalibrationError(f"{path}: geometry: {error}") from error


def matrix_of(value: Any, where: str) -> Matrix:
    """A matrix from four rows of four numbers, or from sixteen; CalibrationError otherwise."""
    try:
        array = np.array(value, dtype=np.float64)
    except (ValueError, TypeError):
        array = np.empty(0)
    if array.size != 16 or array.shape not in ((4, 4), (16,)):
        raise CalibrationError(f"{where}: must be 16 numbers, rows first; got {value!r:.60}")
    rows = [(float(a), float(b), float(c), float(d)) for a, b, c, d in array.reshape(4, 4)]
    return rows[0], rows[1], rows[2], rows[3]


def _void(reason: str) -> Judgement:
    return Judgement(CalibrationState.VOID, reason)
