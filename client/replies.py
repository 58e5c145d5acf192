"""What the daemon answers, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sonod.client.wire.fields import Fields
from sonod.client.wire.header import Losses, Value, values_from


@dataclass(frozen=True)
class KnobDescription:
    """One setting as `describe` tells it; `minimum` and `maximum` are None where there is no bound, `held_by` is who
    alone may change it at present."""

    name: str
    kind: str
    unit: str
    value: Value
    default: Value
    minimum: float | None
    maximum: float | None
    step: float
    choices: tuple[str, ...]
    points: int
    description: str
    acoustic_output: bool
    applied_by: str
    geometry: bool = False
    needs_lease: bool = False
    held_by: str | None = None

    @classmethod
    def read(cls, fields: Fields) -> KnobDescription:
        values = values_from(fields)
        return cls(
            name=fields.text("name"),
            kind=fields.text("kind"),
            unit=fields.text("unit", ""),
            value=values.get("value", 0.0),
            default=values.get("default", 0.0),
            minimum=fields.optional_number("minimum"),
            maximum=fields.optional_number("maximum"),
            step=fields.number("step", 0.0),
            choices=fields.texts("choices"),
            points=fields.integer("points", 0),
            description=fields.text("description", ""),
            acoustic_output=fields.flag("acoustic_output", False),
            applied_by=fields.text("applied_by", ""),
            geometry=fields.flag("geometry", False),
            needs_lease=fields.flag("needs_lease", False),
            held_by=fields.values.get("held_by"),
        )


@dataclass(frozen=True)
class PresetDescription:
    """A named set of settings: what it changes on this probe, the kinds of probe that it is for (none = any), and why
    it does not fit this one ('' = it fits)."""

    name: str
    description: str
    settings: Mapping[str, Value]
    probes: tuple[str, ...] = ()
    misfit: str = ""


@dataclass(frozen=True)
class Description:
    """What this daemon is and what can be asked of it. `revision` is None before a probe was opened."""

    version: str
    session: str
    driver: str
    state: str
    revision: int | None
    knobs: Mapping[str, KnobDescription]
    products: tuple[str, ...]
    presets: tuple[PresetDescription, ...]
    commands: tuple[str, ...]
    frames: tuple[str, ...]
    control: str
    viewer: str | None
    probe: Mapping[str, Any] | None = None
    latest: str | None = None
    latests: tuple[str, ...] = ()

    @classmethod
    def read(cls, fields: Fields) -> Description:
        knobs = [KnobDescription.read(knob) for knob in fields.inners("knobs")]
        probe = fields.optional_inner("probe")
        return cls(
            version=fields.text("version"),
            session=fields.text("session"),
            driver=fields.text("driver"),
            state=fields.text("state"),
            revision=fields.optional_integer("revision"),
            knobs={knob.name: knob for knob in knobs},
            products=fields.texts("products"),
            presets=tuple(
                PresetDescription(
                    preset.text("name"),
                    preset.text("description", ""),
                    values_from(preset.optional_inner("settings")),
                    preset.texts("probes"),
                    preset.text("misfit", ""),
                )
                for preset in fields.inners("presets")
            ),
            commands=fields.texts("commands"),
            frames=fields.texts("frames"),
            control=fields.text("control", ""),
            viewer=fields.values.get("viewer"),
            probe=None if probe is None else probe.values,
            latest=fields.values.get("latest"),
            latests=fields.texts("latests"),
        )


@dataclass(frozen=True)
class CurrentSettings:
    """The settings in force, and their revision."""

    revision: int
    settings: Mapping[str, Value]

    @classmethod
    def read(cls, fields: Fields) -> CurrentSettings:
        return cls(fields.integer("revision"), values_from(fields.inner("settings")))


@dataclass(frozen=True)
class AppliedSettings:
    """A change that was made: its revision, the first frame that carries it (None = none yet), and what the changed
    knobs read back as. `pending`: the device is away and takes them when it comes back."""

    revision: int
    first_frame: int | None
    applied: Mapping[str, Value]
    pending: bool = False

    @classmethod
    def read(cls, fields: Fields) -> AppliedSettings:
        return cls(
            fields.integer("revision"),
            fields.optional_integer("first_frame"),
            values_from(fields.inner("applied")),
            fields.flag("pending", False),
        )


@dataclass(frozen=True)
class StageDurations:
    """How long a stage took: the last time, on the mean, at most."""

    last_ns: int
    mean_ns: int
    max_ns: int
    count: int


@dataclass(frozen=True)
class RecordingStatus:
    """The recording under way, and what came of the last one."""

    active: bool
    path: str | None
    frames: int
    waiting: int
    last: Mapping[str, Any] | None
    flushed: int = 0
    unrecorded: int = 0


@dataclass(frozen=True)
class ClipStatus:
    """The clip being saved, and what came of the last one; the `folder` of clips without a path (None = there is
    none)."""

    active: bool
    path: str | None
    last: Mapping[str, Any] | None
    folder: str | None = None

    @property
    def outcome(self) -> ClipOutcome | None:
        """What came of the last one."""
        return None if self.last is None else ClipOutcome.read(Fields(self.last, "clip"))


@dataclass(frozen=True)
class CineStatus:
    """What the rings hold: the seconds that they have memory for, that memory, and the frames in them now."""

    rf_s: float = 0.0
    rf_bytes: int = 0
    rf_frames: int = 0
    image_s: float = 0.0
    image_bytes: int = 0
    image_frames: int = 0


@dataclass(frozen=True)
class Status:
    """What the daemon is doing; everything as it came is in `values`."""

    state: str
    reason: str
    driver: str
    probe: str | None
    session: str
    version: str
    revision: int | None
    health: str
    health_reason: str
    frame: int
    frame_rate_hz: float
    uptime_s: float
    recoveries: int
    losses: Losses
    stages: Mapping[str, StageDurations]
    recording: RecordingStatus
    lease_holder: str | None
    values: Mapping[str, Any] = field(repr=False)
    clip: ClipStatus = field(default_factory=lambda: ClipStatus(False, None, None))
    cine: CineStatus = field(default_factory=CineStatus)

    @classmethod
    def read(cls, fields: Fields) -> Status:
        stages = fields.inner("stages")
        recording = fields.inner("recording")
        lease = fields.optional_inner("lease")
        return cls(
            state=fields.text("state"),
            reason=fields.text("reason", ""),
            driver=fields.text("driver", ""),
            probe=fields.values.get("probe"),
            session=fields.text("session"),
            version=fields.text("version", ""),
            revision=fields.optional_integer("revision"),
            health=fields.text("health", ""),
            health_reason=fields.text("health_reason", ""),
            frame=fields.integer("frame", 0),
            frame_rate_hz=fields.number("frame_rate_hz", 0.0),
            uptime_s=fields.number("uptime_s", 0.0),
            recoveries=fields.integer("recoveries", 0),
            losses=Losses.read(fields.optional_inner("losses")),
            stages={name: _durations(stages.inner(name)) for name in stages.values},
            recording=RecordingStatus(
                recording.flag("active", False),
                recording.values.get("path"),
                recording.integer("frames", 0),
                recording.integer("waiting", 0),
                recording.values.get("last"),
                recording.integer("flushed", 0),
                recording.integer("unrecorded", 0),
            ),
            lease_holder=None if lease is None else lease.values.get("holder"),
            values=fields.values,
            clip=_clip_status(fields.optional_inner("clip")),
            cine=_cine_status(fields.optional_inner("cine")),
        )


@dataclass(frozen=True)
class RecordingOutcome:
    """What came of a recording: its files, how many frames, why it is not complete, and how many frames came that are
    not in it."""

    paths: tuple[str, ...]
    frames: int
    complete: bool
    reason: str
    unrecorded: int = 0

    @classmethod
    def read(cls, fields: Fields) -> RecordingOutcome:
        return cls(
            fields.texts("paths"),
            fields.integer("frames", 0),
            fields.flag("complete"),
            fields.text("reason", ""),
            fields.integer("unrecorded", 0),
        )


@dataclass(frozen=True)
class ClipStarted:
    """A clip that is being saved, and the seconds of what was asked that the rings still held."""

    path: str
    before_s: float
    after_s: float
    rf_held_s: float
    image_held_s: float

    @classmethod
    def read(cls, fields: Fields) -> ClipStarted:
        return cls(
            fields.text("path"),
            fields.number("before_s", 0.0),
            fields.number("after_s", 0.0),
            fields.number("rf_held_s", 0.0),
            fields.number("image_held_s", 0.0),
        )


@dataclass(frozen=True)
class ClipOutcome:
    """What came of a clip: its folder, raw frames and pictures in it. `complete`: none were lost on the way; `failed`:
    there is no folder, and `reason` says why."""

    path: str
    frames: int
    pictures: int
    complete: bool
    reason: str
    failed: bool

    @classmethod
    def read(cls, fields: Fields) -> ClipOutcome:
        return cls(
            fields.text("path"),
            fields.integer("frames", 0),
            fields.integer("pictures", 0),
            fields.flag("complete", False),
            fields.text("reason", ""),
            fields.flag("failed", False),
        )


@dataclass(frozen=True)
class Marked:
    """A mark that was made: the newest frame then, and the daemon's monotonic time."""

    frame: int
    monotonic_ns: int

    @classmethod
    def read(cls, fields: Fields) -> Marked:
        return cls(fields.integer("frame", 0), fields.integer("monotonic_ns", 0))


@dataclass(frozen=True)
class Lease:
    """Who may change acoustic output and geometry, and for how long; `token` is given to the holder alone.
    `required`: without a lease nobody may."""

    holder: str | None
    expires_in_s: float | None
    token: str | None = None
    required: bool = False

    @classmethod
    def read(cls, fields: Fields) -> Lease:
        return cls(
            fields.values.get("holder"),
            fields.optional_number("expires_in_s"),
            fields.values.get("token"),
            fields.flag("required", False),
        )


def _clip_status(fields: Fields | None) -> ClipStatus:
    if fields is None:
        return ClipStatus(False, None, None)
    found = fields.values
    return ClipStatus(fields.flag("active", False), found.get("path"), found.get("last"), found.get("folder"))


def _cine_status(fields: Fields | None) -> CineStatus:
    if fields is None:
        return CineStatus()
    return CineStatus(
        fields.number("rf_s", 0.0),
        fields.integer("rf_bytes", 0),
        fields.integer("rf_frames", 0),
        fields.number("image_s", 0.0),
        fields.integer("image_bytes", 0),
        fields.integer("image_frames", 0),
    )


def _durations(fields: Fields) -> StageDurations:
    return StageDurations(
        fields.integer("last_ns"), fields.integer("mean_ns"), fields.integer("max_ns"), fields.integer("count", 0)
    )
