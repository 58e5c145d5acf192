"""What one sample of a product is, and where: the geometry block of a frame header.

Coordinates are transducer coordinates in metres: x lateral from the marked side, y elevation, z depth, origin at the
centre of the array face. Each geometry has a fingerprint over everything that defines it, so that a calibration can be
bound to it; `fingerprint_of` is the recipe, made so that any language computes the same.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

Vector = tuple[float, float, float]
Vectors = tuple[Vector, ...]
Row = tuple[float, float, float, float]
# 4 x 4, rows first, for column vectors: (x', y', z', 1) = matrix (x, y, z, 1).
Matrix = tuple[Row, Row, Row, Row]

# Which way columns and rows run, as PLUS names it: an axis has the letter of the side that it increases towards,
# U unmarked, M marked, F far from the face, N near.
ORIENTATIONS = ("UF", "UN", "MF", "MN")
# The last axis of a payload varies fastest, as in a C array.
ARRAY_ORDER = "row-major"
IMAGE, TRANSDUCER = "image", "transducer"
_ROW_WORDS = {"F": "increasing depth", "N": "decreasing depth"}
_COLUMN_WORDS = {"U": "from the marked side", "M": "towards the marked side"}


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces, in which a number is the 16 hexadecimal digits of its IEEE 754 double (most
    significant first, -0 as 0) and keys whose value is null are left out: the same text in every language."""
    if isinstance(value, Mapping):
        inner = (f"{json.dumps(key)}:{canonical(value[key])}" for key in sorted(value) if value[key] is not None)
        return "{" + ",".join(inner) + "}"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Sequence):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"canonical form: there is none of {value!r}")
    return struct.pack(">d", value + 0.0).hex()


def fingerprint_of(values: Mapping[str, Any]) -> str:
    """`sha256:` and the first 32 hexadecimal digits of the SHA-256 of the canonical form in ASCII."""
    return "sha256:" + hashlib.sha256(canonical(values).encode("ascii")).hexdigest()[:32]


@dataclass(frozen=True)
class Geometry:
    """What all geometries share. `shape` is that of the payload, `axes` names its axes in order."""

    kind: ClassVar[str]
    axes: ClassVar[tuple[str, ...]]

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.axes) or min(self.shape) < 1:
            raise ValueError(f"geometry: {self.kind} needs {len(self.axes)} axes of length >= 1, got {self.shape}")

    @cached_property
    def text(self) -> str:
        """The block as JSON, fingerprint included; made once."""
        return json.dumps({**self._block(), "fingerprint": self.fingerprint}, separators=(",", ":"))

    @cached_property
    def fingerprint(self) -> str:
        """Of the keys that define the geometry; what merely follows from them is not in it. Of a geometry that came in
        a message, what the message said."""
        return self.computed_fingerprint

    @property
    def computed_fingerprint(self) -> str:
        """The fingerprint by the recipe; differs from that in a message whose block defines more than we know."""
        return fingerprint_of(self._defining())

    def _defining(self) -> dict[str, Any]:
        return {"kind": self.kind, "axes": self.axes, **asdict(self)}

    def _block(self) -> dict[str, Any]:
        return self._defining()


@dataclass(frozen=True)
class Sector:
    """The insonified sector inside a scan-converted picture; outside it pixels are 0 and mean nothing.

    Angles from the z axis towards +x, seen from the apex; radii from the apex.
    """

    apex_m: Vector
    first_radius_m: float
    last_radius_m: float
    first_angle_rad: float
    last_angle_rad: float


@dataclass(frozen=True)
class NamedTransform:
    """One link of the chain: a point of the frame `source` in that of `target`, by a matrix in metres (for the frame
    `image`, from pixels)."""

    source: str
    target: str
    matrix: Matrix

    def block(self) -> dict[str, Any]:
        return {"from": self.source, "to": self.target, "matrix": self.matrix}


@dataclass(frozen=True)
class ImageGeometry(Geometry):
    """A picture in a plane of constant y. Pixel [row, column] has its centre at
    x = first_pixel_m[0] + column * spacing_m[1], y = first_pixel_m[1], z = first_pixel_m[2] + row * spacing_m[0]
    in the orientation UF, the only one that is published; columns run the other way for M, rows for N.

    `sound_speed_m_s` turned echo times into depths; `transducer` is the fingerprint of the element layout, the same for
    all frames whose transducer coordinates mean the same place on the probe; None = not known. `transforms` are links
    beyond the transducer.
    """

    kind = "image"
    axes = ("z", "x")

    spacing_m: tuple[float, float]
    first_pixel_m: Vector
    sector: Sector | None = None
    orientation_letters: str = "UF"
    sound_speed_m_s: float | None = None
    transducer: str | None = None
    transforms: tuple[NamedTransform, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not min(self.spacing_m) > 0:
            raise ValueError(f"geometry.spacing_m: must be > 0, got {self.spacing_m}")
        if self.orientation_letters not in ORIENTATIONS:
            raise ValueError(
                f"geometry.orientation_letters: must be one of {', '.join(ORIENTATIONS)}; "
                f"got {self.orientation_letters!r}"
            )

    @property
    def steps_m(self) -> tuple[float, float]:
        """(z to the next row, x to the next column), signed."""
        dz, dx = self.spacing_m
        return (
            dz if self.orientation_letters[1] == "F" else -dz,
            dx if self.orientation_letters[0] == "U" else -dx,
        )

    @property
    def transducer_origin_pixel(self) -> tuple[float, float]:
        """(row, column) of the centre of the array face; may lie outside the picture."""
        return self.pixel((0.0, 0.0, 0.0))

    @property
    def image_to_transducer(self) -> Matrix:
        """(column, row, 0, 1) in pixels to (x, y, z, 1) in metres; the third axis is elevation, in metres."""
        dz, dx = self.steps_m
        x, y, z = self.first_pixel_m
        return ((dx, 0.0, 0.0, x), (0.0, 0.0, 1.0, y), (0.0, dz, 0.0, z), (0.0, 0.0, 0.0, 1.0))

    @property
    def chain(self) -> tuple[NamedTransform, ...]:
        """Every link that is known, from the pixels outwards."""
        return NamedTransform(IMAGE, TRANSDUCER, self.image_to_transducer), *self.transforms

    def point_m(self, row: float, column: float) -> Vector:
        """Where a pixel (or a place between pixels) is, in transducer coordinates."""
        x, y, z = self.first_pixel_m
        dz, dx = self.steps_m
        return x + column * dx, y, z + row * dz

    def pixel(self, point_m: Vector) -> tuple[float, float]:
        """(row, column) of a point, its elevation ignored."""
        dz, dx = self.steps_m
        return (point_m[2] - self.first_pixel_m[2]) / dz, (point_m[0] - self.first_pixel_m[0]) / dx

    def oriented(self, letters: str) -> ImageGeometry:
        """The geometry of the same picture with its array turned to another orientation; see `conventions.turned`."""
        turned = replace(self, orientation_letters=letters)
        x, y, z = self.first_pixel_m
        dz, dx = self.steps_m
        if letters[0] != self.orientation_letters[0]:
            x += (self.shape[1] - 1) * dx
        if letters[1] != self.orientation_letters[1]:
            z += (self.shape[0] - 1) * dz
        return replace(turned, first_pixel_m=(x, y, z))

    def _defining(self) -> dict[str, Any]:
        return {key: value for key, value in super()._defining().items() if key != "transforms"}

    def _block(self) -> dict[str, Any]:
        return {
            **self._defining(),
            "array_order": ARRAY_ORDER,
            "image_to_transducer": self.image_to_transducer,
            "transducer_origin_pixel": self.transducer_origin_pixel,
            "orientation": {
                "rows": _ROW_WORDS[self.orientation_letters[1]],
                "columns": _COLUMN_WORDS[self.orientation_letters[0]],
            },
            "transforms": [link.block() for link in self.chain],
        }


@dataclass(frozen=True)
class MotionGeometry(Geometry):
    """M-mode: one line of sight over time. Row r lies at depth first_z_m + r * spacing_m; the last column is the
    newest frame, and columns are `column_period_s` apart (0 = irregular or not known)."""

    kind = "motion"
    axes = ("z", "time")

    spacing_m: float
    first_z_m: float
    column_period_s: float
    line_origin_m: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class LinesGeometry(Geometry):
    """Scan lines: sample j of line i lies at origins_m[i] + directions[i] * (first_m + j * spacing_m)."""

    kind = "lines"
    axes = ("line", "sample")

    origins_m: Vectors
    directions: Vectors
    first_m: float
    spacing_m: float


@dataclass(frozen=True)
class ChannelGeometry(Geometry):
    """Raw traces. Sample n of transmit i was taken at t0_s[i] + n / sampling_hz after that transmit's time zero.

    `delays_s[i][j]` is when element `transmit_elements[i][j]` fires; `receive_elements[i][c]` the element of channel c
    (-1 = not measured). `demodulation_hz` is 0 for RF; an IQ payload has one more axis behind these three, I and Q.
    """

    kind = "channel"
    axes = ("transmit", "channel", "sample")

    transmit_kind: str
    element_positions_m: Vectors
    transmit_elements: tuple[tuple[int, ...], ...]
    delays_s: tuple[tuple[float, ...], ...]
    origins_m: Vectors
    angles_rad: tuple[float, ...]
    receive_elements: tuple[tuple[int, ...], ...]
    t0_s: tuple[float, ...]
    sampling_hz: float
    demodulation_hz: float
    sound_speed_m_s: float
    pulse_delay_s: float
    sample_scale: float
    sample_unit: str


GEOMETRIES: Mapping[str, type[Geometry]] = {
    geometry.kind: geometry for geometry in (ImageGeometry, MotionGeometry, LinesGeometry, ChannelGeometry)
}


def geometry_from_block(block: Mapping[str, Any]) -> Geometry:
    """The geometry a header's block describes; ValueError when it does not describe one. Unknown keys are ignored."""
    kind = block.get("kind")
    geometry = GEOMETRIES.get(str(kind))
    if geometry is None:
        raise ValueError(f"geometry.kind: must be one of {', '.join(GEOMETRIES)}; got {kind!r}")
    names = {field.name for field in fields(geometry)}
    values = {name: _frozen(value) for name, value in block.items() if name in names}
    if geometry is ImageGeometry:
        values = {name: value for name, value in values.items() if value is not None}
        if "sector" in values:
            values["sector"] = Sector(
                **{name: _frozen(block["sector"][name]) for name in (field.name for field in fields(Sector))}
            )
        # The first link is that of the other keys.
        values["transforms"] = tuple(
            NamedTransform(link["from"], link["to"], _matrix(link["matrix"]))
            for link in block.get("transforms") or ()
            if link["from"] != IMAGE
        )
    try:
        made = geometry(**values)
    except TypeError as error:
        raise ValueError(f"geometry: {error}") from error
    if isinstance(said := block.get("fingerprint"), str):
        vars(made)["fingerprint"] = said
    return made


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _matrix(value: Any) -> Matrix:
    rows = _frozen(value)
    if len(rows) != 4 or any(len(row) != 4 or not all(isinstance(n, int | float) for n in row) for row in rows):
        raise ValueError(f"geometry.transforms: a matrix must be 4 x 4 numbers, rows first; got {value!r:.60}")
    first, second, third, last = rows
    return first, second, third, last
