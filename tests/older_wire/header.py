"""The second part of a frame message: everything needed to use the payload, with nothing remembered from before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from older_wire.errors import WireError
from older_wire.fields import Fields, compact, shown
from older_wire.geometry import Geometry, geometry_from_block
from older_wire.times import Times
from older_wire.topic import MAJOR_VERSION

Value = float | int | str | tuple[float, ...]

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "complex64")
ENCODING_RAW = "raw"
LITTLE, BIG = "little", "big"
ACOUSTIC_STATUS = ("unknown", "estimated", "measured")


@dataclass(frozen=True)
class Losses:
    """Frames before this one that never became a message, since the session began, by where they were lost:
    in the device or its transport, in the ring because processing was busy, or in processing itself."""

    device: int = 0
    ring: int = 0
    processing: int = 0

    @property
    def total(self) -> int:
        return self.device + self.ring + self.processing

    def block(self) -> dict[str, int]:
        return {"device": self.device, "ring": self.ring, "processing": self.processing}

    @classmethod
    def read(cls, fields: Fields | None) -> Losses:
        if fields is None:
            return cls()
        return cls(fields.integer("device", 0), fields.integer("ring", 0), fields.integer("processing", 0))


@dataclass(frozen=True)
class AcousticIndex:
    """An exposure index and how it is known; `value` is None exactly when it is unknown."""

    status: str = "unknown"
    value: float | None = None

    def __post_init__(self) -> None:
        if self.status not in ACOUSTIC_STATUS or (self.status == "unknown") != (self.value is None):
            raise WireError(
                f"acoustic index: status must be one of {', '.join(ACOUSTIC_STATUS)}, with a value unless unknown; "
                f"got {self.status!r} and {self.value}"
            )

    def block(self) -> dict[str, Any]:
        return {"status": self.status} if self.value is None else {"status": self.status, "value": self.value}

    @classmethod
    def read(cls, fields: Fields | None) -> AcousticIndex:
        return cls() if fields is None else cls(fields.text("status", "unknown"), fields.optional_number("value"))


@dataclass(frozen=True)
class Acoustic:
    """The mechanical and thermal index of the transmission that made this frame."""

    mechanical_index: AcousticIndex = AcousticIndex()
    thermal_index: AcousticIndex = AcousticIndex()

    def block(self) -> dict[str, Any]:
        return {"mechanical_index": self.mechanical_index.block(), "thermal_index": self.thermal_index.block()}

    @classmethod
    def read(cls, fields: Fields | None) -> Acoustic:
        if fields is None:
            return cls()
        return cls(
            AcousticIndex.read(fields.optional_inner("mechanical_index")),
            AcousticIndex.read(fields.optional_inner("thermal_index")),
        )


@dataclass(frozen=True)
class NeedleTruth:
    """Where a simulated needle truly is, in transducer coordinates: tip, a point up the shaft, shaft diameter."""

    tip_m: tuple[float, float, float]
    shaft_m: tuple[float, float, float]
    diameter_m: float


@dataclass(frozen=True)
class Truth:
    """What a simulated scene knows about this frame; a real probe sends none."""

    scene_time_s: float
    needle: NeedleTruth | None = None

    def block(self) -> dict[str, Any]:
        needle = self.needle
        return {
            "scene_time_s": self.scene_time_s,
            "needle": None
            if needle is None
            else {"tip_m": needle.tip_m, "shaft_m": needle.shaft_m, "diameter_m": needle.diameter_m},
        }

    @classmethod
    def read(cls, fields: Fields | None) -> Truth | None:
        if fields is None:
            return None
        needle = fields.optional_inner("needle")
        return cls(
            fields.number("scene_time_s"),
            None
            if needle is None
            else NeedleTruth(needle.vector("tip_m"), needle.vector("shaft_m"), needle.number("diameter_m")),
        )


@dataclass(frozen=True)
class FrameHeader:
    """One product of one frame.

    `frame` counts acquired frames of the session from 1; a gap is a loss or a frame that this subscriber missed.
    `revision` names the settings that made the frame, `settings` gives them all by name.
    `shape`, `dtype`, `byte_order` and `encoding` say how the payload becomes an array in C order.
    """

    product: str
    frame: int
    session: str
    revision: int
    probe: str
    shape: tuple[int, ...]
    dtype: str
    geometry: Geometry
    times: Times
    losses: Losses = Losses()
    settings: Mapping[str, Value] = field(default_factory=dict)
    acoustic: Acoustic = Acoustic()
    truth: Truth | None = None
    byte_order: str = LITTLE
    encoding: str = ENCODING_RAW

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise WireError(f"frame header: dtype: must be one of {', '.join(DTYPES)}; got {shown(self.dtype)}")
        if self.byte_order not in (LITTLE, BIG):
            raise WireError(f"frame header: byte_order: must be little or big; got {shown(self.byte_order)}")
        if not self.shape or min(self.shape) < 1:
            raise WireError(f"frame header: shape: every axis must have length >= 1; got {list(self.shape)}")


def encode_header(header: FrameHeader) -> bytes:
    """The header as UTF-8 JSON."""
    values = {
        "sonod": MAJOR_VERSION,
        "product": header.product,
        "frame": header.frame,
        "session": header.session,
        "revision": header.revision,
        "probe": header.probe,
        "shape": header.shape,
        "dtype": header.dtype,
        "byte_order": header.byte_order,
        "encoding": header.encoding,
        "times": header.times.block(),
        "losses": header.losses.block(),
        "settings": dict(header.settings),
        "acoustic": header.acoustic.block(),
        "truth": None if header.truth is None else header.truth.block(),
    }
    # The geometry keeps its JSON, so that a frame does not pay for it again.
    return f'{compact(values)[:-1]},"geometry":{header.geometry.text}}}'.encode()


def decode_header(data: bytes | memoryview) -> FrameHeader:
    """The header in `data`; WireError names what is wrong. Unknown keys are ignored, optional ones may be missing."""
    fields = Fields.parse(data, "frame header")
    check_version(fields)
    block = fields.inner("geometry")
    try:
        geometry = geometry_from_block(block.values)
    except (ValueError, TypeError, KeyError) as error:
        raise WireError(f"frame header: {error}") from error
    return FrameHeader(
        product=fields.text("product"),
        frame=fields.integer("frame"),
        session=fields.text("session"),
        revision=fields.integer("revision"),
        probe=fields.text("probe"),
        shape=fields.integers("shape"),
        dtype=fields.text("dtype"),
        geometry=geometry,
        times=Times.read(fields.inner("times")),
        losses=Losses.read(fields.optional_inner("losses")),
        settings=values_from(fields.optional_inner("settings")),
        acoustic=Acoustic.read(fields.optional_inner("acoustic")),
        truth=Truth.read(fields.optional_inner("truth")),
        byte_order=fields.text("byte_order", LITTLE),
        encoding=fields.text("encoding", ENCODING_RAW),
    )


def check_version(fields: Fields) -> None:
    """WireError unless the message is of this major version."""
    version = fields.integer("sonod")
    if version != MAJOR_VERSION:
        raise WireError(f"{fields.where}: sonod: this client reads version {MAJOR_VERSION}; got {version}")


def values_from(fields: Fields | None) -> dict[str, Value]:
    """Knob values by name; lists become tuples."""
    values: dict[str, Value] = {}
    for name, value in ({} if fields is None else fields.values).items():
        if isinstance(value, list) and all(isinstance(item, int | float) for item in value):
            values[name] = tuple(float(item) for item in value)
        elif isinstance(value, int | float | str) and not isinstance(value, bool):
            values[name] = value
        # A value of a kind that a later minor version brings is not ours to refuse.
    return values
