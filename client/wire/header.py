"""The second part of a frame message: everything needed to use the payload, with nothing remembered from before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from sonod.client.wire.canonical import read_head
from sonod.client.wire.errors import WireError
from sonod.client.wire.fields import Fields, compact, shown
from sonod.client.wire.geometry import Geometry, geometry_from_block
from sonod.client.wire.times import Times
from sonod.client.wire.topic import MAJOR_VERSION

Value = float | int | str | tuple[float, ...]

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "complex64")
ENCODING_RAW, ENCODING_LZ4 = "raw", "lz4"
LITTLE, BIG = "little", "big"
# Our own headers end with the geometry.
SETTINGS_KEY, GEOMETRY_KEY = b',"settings":', b',"geometry":'
_CONSTANT = itemgetter("product", "session", "revision", "probe", "shape", "dtype", "byte_order", "encoding")
_VARIABLE = itemgetter("frame", "message", "repeated", "times", "losses")
_LOSSES = itemgetter("device", "ring", "processing", "unsubscribed", "skipped")
# Filled in when everything else stands: no time passes between it and the socket.
_PUBLISHED = b'"published_ns":0,'
ACOUSTIC_STATUS = ("unknown", "estimated", "measured")


@dataclass(frozen=True)
class Losses:
    """Frames before this one that never became a message of its stream, since the session began, by why:
    lost in the device or its transport, in the ring because processing was busy, or in processing itself and on the way
    out; not made because nobody subscribed to the stream; left out by the stream's policy."""

    device: int = 0
    ring: int = 0
    processing: int = 0
    unsubscribed: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        return self.device + self.ring + self.processing + self.unsubscribed + self.skipped

    def block(self) -> dict[str, int]:
        return {
            "device": self.device,
            "ring": self.ring,
            "processing": self.processing,
            "unsubscribed": self.unsubscribed,
            "skipped": self.skipped,
        }

    @classmethod
    def read(cls, fields: Fields | None) -> Losses:
        if fields is None:
            return cls()
        return cls(
            fields.integer("device", 0),
            fields.integer("ring", 0),
            fields.integer("processing", 0),
            fields.integer("unsubscribed", 0),
            fields.integer("skipped", 0),
        )


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
    """What a simulated scene knows about this frame; a real probe sends none.

    `labels` names the values of a `labels` product, 0 first; other products do not carry it.
    """

    scene_time_s: float
    needle: NeedleTruth | None = None
    transmit_ns: int | None = None
    labels: tuple[str, ...] = ()

    def block(self) -> dict[str, Any]:
        needle = self.needle
        named = {"labels": list(self.labels)} if self.labels else {}
        return named | {
            "scene_time_s": self.scene_time_s,
            "transmit_ns": self.transmit_ns,
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
            fields.optional_integer("transmit_ns"),
            tuple(name for name in fields.values.get("labels", ()) if isinstance(name, str)),
        )


@dataclass(frozen=True)
class FrameHeader:
    """One product of one frame.

    `frame` counts acquired frames of the session from 1; a gap is a loss or a frame that this subscriber missed.
    `revision` names the settings that made the frame, `settings` gives them all by name.
    `settling` tells that the device had not yet come to rest after a change of its settings.
    `shape`, `dtype`, `byte_order` and `encoding` say how the payload becomes an array in C order.
    `message` counts the messages of this stream (topic without the probe) in the session from 1, None = not told; then
    `frame == message + losses.total`. `repeated`: sent before, and sent again for a newcomer.
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
    message: int | None = None
    repeated: bool = False
    settling: bool = False

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
        "message": header.message,
        "repeated": header.repeated,
        "times": header.times.block(),
        "losses": header.losses.block(),
        "settings": dict(header.settings),
        "settling": header.settling,
        "acoustic": header.acoustic.block(),
        "truth": None if header.truth is None else header.truth.block(),
    }
    # The geometry keeps its JSON, so that a frame does not pay for it again.
    return f"{compact(values)[:-1]}{GEOMETRY_KEY.decode()}{header.geometry.text}}}".encode()


def stamp_published(data: bytes, published_ns: int) -> bytes:
    """An encoded header whose time of publishing is 0, with that time."""
    return data.replace(_PUBLISHED, b'"published_ns":%d,' % published_ns, 1)


def decode_header(data: bytes | memoryview) -> FrameHeader:
    """The header in `data`; WireError names what is wrong. Unknown keys are ignored, optional ones may be missing."""
    fields = Fields.parse(data, "frame header")
    check_version(fields)
    block = fields.inner("geometry")
    try:
        geometry = geometry_from_block(block.values)
    except (ValueError, TypeError, KeyError) as error:
        raise WireError(f"frame header: {error}") from error
    return _header(fields, geometry)


class HeaderReader:
    """Reads the headers of a stream; what stands at the end in the same bytes as before is not read again."""

    def __init__(self) -> None:
        # From the settings on, and the geometry alone, should something before it differ each time.
        self._whole: tuple[bytes, FrameHeader] | None = None
        # What stays the same before the settings.
        self._constant: tuple[bytes, bytes] | None = None
        self._part: tuple[bytes, FrameHeader] | None = None

    def read(self, data: bytes | memoryview) -> FrameHeader:
        """As `decode_header`."""
        data = bytes(data)
        if self._whole is not None and data.endswith(self._whole[0]):
            tail, known = self._whole
            head = read_head(data, len(data) - len(tail))
            if head is not None and head.constant == self._constant:
                return _varied(known, head.frame, head.message, head.times, Losses(*head.losses))
            fields = _head(data, tail)
            return _like(fields.values, known) or _header(fields, known.geometry, known)
        end = b""
        if self._part is not None and data.endswith(self._part[0]):
            end, known = self._part
            header = _header(_head(data, end), known.geometry)
        else:
            header = decode_header(data)
            self._part = _tail(data, GEOMETRY_KEY, header)
        self._whole = _tail(data, SETTINGS_KEY, header, end)
        head = None if self._whole is None else read_head(data, len(data) - len(self._whole[0]))
        self._constant = None if head is None else head.constant
        return header


def _like(values: Mapping[str, Any], known: FrameHeader) -> FrameHeader | None:
    """The header when it differs from the known one in what differs between any two frames only; None when it differs
    in more, or something in it is not as usual: then it is read field by field."""
    try:
        product, session, revision, probe, shape, dtype, byte_order, encoding = _CONSTANT(values)
        frame, message, repeated, times, losses = _VARIABLE(values)
        counts = _LOSSES(losses)
    except (KeyError, TypeError):
        return None
    same = (
        (product, session, revision, probe) == (known.product, known.session, known.revision, known.probe)
        and (dtype, byte_order, encoding) == (known.dtype, known.byte_order, known.encoding)
        and shape == list(known.shape)
        and type(revision) is int
    )
    quick = Times.quick(times)
    if not same or quick is None or repeated is not False or set(map(type, (frame, message, *counts))) != {int}:
        return None
    return _varied(known, frame, message, quick, Losses(*counts))


def _varied(known: FrameHeader, frame: int, message: int, times: Times, losses: Losses) -> FrameHeader:
    """The known header of another frame."""
    # What the constructor would check has been checked for the known one.
    header = object.__new__(FrameHeader)
    header.__dict__.update(known.__dict__)
    header.__dict__.update(frame=frame, message=message, repeated=False, times=times, losses=losses)
    return header


def _head(data: bytes, tail: bytes) -> Fields:
    """The keys before a tail that is known to be whole keys and the end of the object."""
    fields = Fields.parse(data[: -len(tail)] + b"}", "frame header")
    check_version(fields)
    return fields


def _tail(data: bytes, key: bytes, header: FrameHeader, end: bytes = b"") -> tuple[bytes, FrameHeader] | None:
    """The bytes from a key on, when they are whole keys of the outermost object: each side is an object by itself. Of
    the `end` this is known already; it is the longest part of a raw frame's header."""
    last = len(data) - len(end)
    begin = data.rfind(key, 0, last)
    if begin < 0:
        return None
    try:
        Fields.parse(data[:begin] + b"}", "head")
        Fields.parse(b"{" + data[begin + 1 : last] + (b"}" if end else b""), "tail")
    except WireError:
        return None
    return data[begin:], header


def _header(fields: Fields, geometry: Geometry, known: FrameHeader | None = None) -> FrameHeader:
    """`known`: what stands from the settings on is that of this header."""
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
        settings=values_from(fields.optional_inner("settings")) if known is None else known.settings,
        acoustic=Acoustic.read(fields.optional_inner("acoustic")) if known is None else known.acoustic,
        truth=Truth.read(fields.optional_inner("truth")) if known is None else known.truth,
        byte_order=fields.text("byte_order", LITTLE),
        encoding=fields.text("encoding", ENCODING_RAW),
        message=fields.optional_integer("message"),
        repeated=fields.flag("repeated", False),
        settling=fields.flag("settling", False) if known is None else known.settling,
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
