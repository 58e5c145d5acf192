"""What one sample of a product is, and where: the geometry block of a frame header.

Coordinates are transducer coordinates in metres: x lateral from the marked side, y elevation, z depth, origin at the
centre of the array face. Each geometry has a fingerprint over everything it says, so that a calibration can be bound
to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

Vector = tuple[float, float, float]
Vectors = tuple[Vector, ...]


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
        """`sha256:` and 32 hexadecimal digits over the block as canonical JSON: sorted keys, no spaces."""
        canonical = json.dumps(self._block(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()[:32]

    def _block(self) -> dict[str, Any]:
        return {"kind": self.kind, "axes": self.axes, **asdict(self)}


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
class ImageGeometry(Geometry):
    """A picture in a plane of constant y. Pixel [row, column] has its centre at
    x = first_pixel_m[0] + column * spacing_m[1], y = first_pixel_m[1], z = first_pixel_m[2] + row * spacing_m[0]."""

    kind = "image"
    axes = ("z", "x")

    spacing_m: tuple[float, float]
    first_pixel_m: Vector
    sector: Sector | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not min(self.spacing_m) > 0:
            raise ValueError(f"geometry.spacing_m: must be > 0, got {self.spacing_m}")

    @property
    def transducer_origin_pixel(self) -> tuple[float, float]:
        """(row, column) of the centre of the array face; may lie outside the picture."""
        return -self.first_pixel_m[2] / self.spacing_m[0], -self.first_pixel_m[0] / self.spacing_m[1]

    @property
    def image_to_transducer(self) -> tuple[tuple[float, float, float, float], ...]:
        """4 x 4: (column, row, 0, 1) in pixels to (x, y, z, 1) in metres."""
        dz, dx = self.spacing_m
        x, y, z = self.first_pixel_m
        return ((dx, 0.0, 0.0, x), (0.0, 0.0, 1.0, y), (0.0, dz, 0.0, z), (0.0, 0.0, 0.0, 1.0))

    def point_m(self, row: float, column: float) -> Vector:
        """Where a pixel (or a place between pixels) is, in transducer coordinates."""
        x, y, z = self.first_pixel_m
        return x + column * self.spacing_m[1], y, z + row * self.spacing_m[0]

    def pixel(self, point_m: Vector) -> tuple[float, float]:
        """(row, column) of a point, its elevation ignored."""
        row = (point_m[2] - self.first_pixel_m[2]) / self.spacing_m[0]
        return row, (point_m[0] - self.first_pixel_m[0]) / self.spacing_m[1]

    def _block(self) -> dict[str, Any]:
        return {
            **super()._block(),
            "image_to_transducer": self.image_to_transducer,
            "transducer_origin_pixel": self.transducer_origin_pixel,
            "orientation": {"rows": "increasing depth", "columns": "from the marked side"},
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
    if geometry is ImageGeometry and values.get("sector") is not None:
        sector = block["sector"]
        values["sector"] = Sector(**{name: _frozen(sector[name]) for name in (field.name for field in fields(Sector))})
    try:
        return geometry(**values)
    except TypeError as error:
        raise ValueError(f"geometry: {error}") from error


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
