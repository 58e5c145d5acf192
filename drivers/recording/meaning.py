"""From the objects of a recording to an Acquisition: what its samples mean."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.errors import RecordingError
from sonod.drivers.frame import Acquisition, DataKind, Layer, LineGeometry, PixelGrid, SampleFormat
from sonod.drivers.probe import ArrayKind, FloatArray, Probe
from sonod.drivers.recording.layout import KIND_OF, MAX_FRAME_BYTES, SAMPLES
from sonod.drivers.recording.source import RecordingSource
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind


def read_acquisition(source: RecordingSource) -> tuple[Acquisition, str, int]:
    """The acquisition, the name of the object with the samples, and the number of frames."""
    try:
        return _read(source)
    except ValueError as error:
        raise RecordingError(f"{source.path}: {error}") from error


def _read(source: RecordingSource) -> tuple[Acquisition, str, int]:
    name, stated = _samples(source)
    fixed, sample_format, dtype, axes = SAMPLES[name]
    kind = KIND_OF[stated]
    if fixed is not None and fixed is not kind:
        raise source.fail("attribute data_kind", f"is {stated!r}, but {name} holds {fixed}")
    dataset = source.dataset(name)
    assert dataset is not None
    if dataset.dtype.kind != dtype.kind or dataset.dtype.itemsize != dtype.itemsize:
        raise source.fail(name, f"must be {dtype.name}, is {dataset.dtype}")
    frames, *rest = dataset.shape or (0,)
    shape = tuple(int(length) for length in rest)
    if len(shape) != axes or any(length < 1 for length in shape):
        raise source.fail(name, f"must have {axes + 1} axes, all but the first of length >= 1, has {dataset.shape}")
    if frames < 1:
        raise source.fail(name, "holds no frames")
    if math.prod(shape) * dtype.itemsize > MAX_FRAME_BYTES:
        raise source.fail(name, f"one frame of shape {shape} is larger than the {MAX_FRAME_BYTES} bytes allowed")
    if sample_format is SampleFormat.IQ and shape[-1] != 2:
        raise source.fail(name, f"the last axis must be 2 (I, Q), shape is {dataset.shape}")

    speed = source.number("speed_of_sound_m_s", above=0)
    lines = image = None
    if kind is DataKind.CHANNEL:
        probe, sequence = _channel_geometry(source, stated, shape, speed)
    elif kind is DataKind.LINES:
        lines = _lines(source, shape)
        probe, sequence = _line_geometry(source, lines, shape[0])
    else:
        image = _pixels(source, shape)
        probe, sequence = _image_geometry(source, image)
    center = probe.center_frequency_hz
    acquisition = Acquisition(
        probe=probe,
        sequence=sequence,
        kind=kind,
        sample_format=sample_format,
        shape=shape,
        dtype=dtype,
        sampling_hz=source.number("sampling_frequency_hz", above=0, default=None if image is None else 1.0),
        sound_speed_m_s=speed,
        demodulation_hz=(
            source.number("demodulation_frequency_hz", above=0, default=center if center > 0 else None)
            if sample_format is SampleFormat.IQ
            else 0.0
        ),
        pulse_delay_s=source.number("pulse_delay_s", default=0.0),
        sample_scale=source.number("sample_scale", above=0, default=1.0),
        sample_unit=source.text("sample_unit", default="counts"),
        reference_amplitude=source.number("reference_amplitude", default=0.0),
        lines=lines,
        image=image,
        layers=_layers(source),
        slow_time=_slow_time(source, stated),
        center_frequency_hz=source.number("pulse_frequency_hz", default=0.0),
    )
    return acquisition, name, int(frames)


def _samples(source: RecordingSource) -> tuple[str, str]:
    """Name of the object with the samples, and `data_kind`."""
    found = [name for name in SAMPLES if name in source.file]
    if len(found) != 1:
        have = ", ".join(found) or "none of them"
        raise source.fail("samples", f"needs exactly one of {', '.join(SAMPLES)}; has {have}")
    stated = source.text("data_kind")
    if stated not in KIND_OF:
        raise source.fail("attribute data_kind", f"must be one of {', '.join(KIND_OF)}, got {stated!r}")
    return found[0], stated


def _slow_time(source: RecordingSource, stated: str) -> bool:
    said = source.attribute("slow_time")
    if said is not None:
        return bool(said)
    return (
        stated == "single"
        or source.attribute("frame_axis") is not None
        or source.attribute("frame_period_s") is not None
    )


# -- channel data ----------------------------------------------------------------------------------------------------


def _channel_geometry(
    source: RecordingSource, stated: str, shape: tuple[int, ...], speed: float
) -> tuple[Probe, Sequence]:
    transmits, channels = shape[:2]
    positions = source.table(
        "element_positions_m", (None, 3), what="channel data needs the element positions (elements, 3) in metres"
    )
    assert positions is not None
    if len(positions) == 0:
        raise source.fail("element_positions_m", "must hold at least one element")
    kinds = _kinds(source, transmits)
    t0 = source.table("transmit/t0_s", (transmits,), what="give the time of the first sample of each transmit")
    assert t0 is not None
    origins = source.table("transmit/origins_m", (transmits, 3))
    delays = source.table(
        "transmit/delays_s",
        (transmits, len(positions)),
        what="give the firing time of each element in each transmit (NaN = silent)",
        nan=True,
    )
    assert delays is not None
    silent = np.flatnonzero(np.isnan(delays).all(axis=1))
    if silent.size:
        raise source.fail("transmit/delays_s", f"transmit {silent[0]} fires no element; give at least one delay")
    if stated == "single_scan":
        return _scanned_element(source, shape, origins, delays[:, 0], t0)
    if origins is None:
        if TransmitKind.DIVERGING in kinds or TransmitKind.FOCUSED in kinds:
            raise source.fail("transmit/origins_m", "missing; give the virtual source or focus of each transmit")
        origins = np.zeros((transmits, 3))
        for index, kind in enumerate(kinds):
            if kind is TransmitKind.SINGLE_ELEMENT:
                origins[index] = positions[np.nanargmin(delays[index])]
    angles = source.table("transmit/angles_rad", (transmits,))
    if angles is None:
        angles = np.array(
            [
                _plane_angle(positions, row, speed) if kind is TransmitKind.PLANE else 0.0
                for kind, row in zip(kinds, delays, strict=True)
            ]
        )
    receive = _receive_elements(source, transmits, channels, len(positions))
    events = tuple(
        TransmitEvent(kinds[i], delays[i], origins[i], receive[i], float(angles[i]), float(t0[i]))
        for i in range(transmits)
    )
    return _probe(source, positions), Sequence(events)


def _scanned_element(
    source: RecordingSource,
    shape: tuple[int, ...],
    origins: FloatArray | None,
    delays: FloatArray,
    t0: FloatArray,
) -> tuple[Probe, Sequence]:
    """One element moved from place to place: an array whose elements are the places, each hearing only itself."""
    transmits, channels = shape[:2]
    if origins is None:
        raise source.fail("transmit/origins_m", "missing; give the position of the element in each transmit")
    if channels != 1:
        raise source.fail("samples", f"single_scan has one channel, shape is {shape}")
    # Equal delays, the usual case, share one row with the firing element in its middle: the full table of an
    # m-position scan would hold m * m numbers.
    shared: dict[float, FloatArray] = {}
    events = []
    for index in range(transmits):
        delay = float(delays[index])
        row = shared.get(delay)
        if row is None:
            row = np.full(2 * transmits - 1, np.nan)
            row[transmits - 1] = delay
            row.flags.writeable = False
            if len(shared) < 16:
                shared[delay] = row
        events.append(
            TransmitEvent(
                TransmitKind.SINGLE_ELEMENT,
                row[transmits - 1 - index : 2 * transmits - 1 - index],
                origins[index],
                np.array([index], dtype=np.int32),
                0.0,
                float(t0[index]),
            )
        )
    return _probe(source, origins), Sequence(tuple(events))


def _kinds(source: RecordingSource, transmits: int) -> list[TransmitKind]:
    dataset = source.dataset("transmit/types")
    if dataset is None:
        texts = [source.text("type", "transmit")] * transmits
    else:
        if dataset.shape != (transmits,):
            raise source.fail("transmit/types", f"must have shape ({transmits},), has {dataset.shape}")
        texts = [str(text) for text in dataset.asstr()[...]]
    known = [kind.value for kind in TransmitKind]
    for text in texts:
        if text not in known:
            raise source.fail("attribute transmit@type", f"must be one of {', '.join(known)}, got {text!r}")
    return [TransmitKind(text) for text in texts]


def _plane_angle(positions: FloatArray, delays: FloatArray, speed: float) -> float:
    """Steering angle of a plane wave from the slope of its delays along x."""
    firing = ~np.isnan(delays)
    x = positions[firing, 0]
    if firing.sum() < 2 or np.ptp(x) == 0:
        return 0.0
    slope = float(np.polyfit(x, delays[firing] * speed, 1)[0])
    return math.asin(min(max(slope, -1.0), 1.0))


def _receive_elements(source: RecordingSource, transmits: int, channels: int, elements: int) -> NDArray[np.int32]:
    """(transmits, channels): which element each channel hears, -1 where nothing was measured."""
    explicit = source.table("transmit/receive_elements", (transmits, channels))
    if explicit is not None:
        if (explicit != np.round(explicit)).any() or explicit.min() < -1 or explicit.max() >= elements:
            raise source.fail("transmit/receive_elements", f"must be whole numbers in -1..{elements - 1}")
        receive = explicit.astype(np.int32)
    elif channels != elements:
        raise source.fail(
            "samples",
            f"{channels} channels but {elements} element positions; give transmit/receive_elements for each channel",
        )
    else:
        receive = np.tile(np.arange(elements, dtype=np.int32), (transmits, 1))
    mask = source.table("transmit/receive_mask", (transmits, channels))
    if mask is not None:
        receive[mask == 0] = -1
    return receive


def _probe(source: RecordingSource, positions: FloatArray) -> Probe:
    """The probe that the root attributes describe, its kind recognised from the positions unless it is stated."""
    try:
        recognised = Probe.from_positions("", positions, 1.0)
    except ValueError as error:
        raise source.fail("element_positions_m", str(error)) from error
    kind, radius = recognised.kind, recognised.radius_m
    stated = source.text("probe_kind")
    if stated:
        if stated not in {value.value for value in ArrayKind}:
            raise source.fail("attribute probe_kind", f"must be one of {', '.join(ArrayKind)}, got {stated!r}")
        kind = ArrayKind(stated)
        radius = source.number("probe_radius_m", default=radius)
    width = source.number("element_width_m", default=source.number("element_diameter_m", default=0.0))
    percent = source.number("fractional_bandwidth_percent", above=0, default=60.0)
    focus = source.attribute("elevation_focus_m")
    normals = source.table("element_normals", (len(positions), 3))
    return Probe(
        source.text("probe_name", default="unnamed probe"),
        kind,
        positions,
        source.number("center_frequency_hz", above=0, default=math.nan, nan=True),
        source.number("fractional_bandwidth", above=0, default=percent / 100),
        width,
        source.number("element_height_m", default=0.0),
        math.inf if focus is None else source.number("elevation_focus_m", above=0),
        radius,
        np.empty((0, 3)) if normals is None else normals,
    )


# -- lines and images ------------------------------------------------------------------------------------------------


def _lines(source: RecordingSource, shape: tuple[int, ...]) -> LineGeometry:
    if "lines" not in source.file:
        raise source.fail("lines", "missing; line data needs origins_m, directions, first_sample_m, sample_spacing_m")
    count = shape[1]
    origins = source.table("lines/origins_m", (count, 3), what="give the start of each line in metres")
    directions = source.table("lines/directions", (count, 3), what="give the unit direction of each line")
    assert origins is not None
    assert directions is not None
    first = source.number("first_sample_m", "lines")
    apex = source.attribute("apex_m", "lines")
    radius = 0.0
    if apex is not None:
        point = np.asarray(apex, dtype=np.float64).reshape(-1)
        if point.shape != (3,) or not np.isfinite(point).all():
            raise source.fail("attribute lines@apex_m", f"must be three finite numbers, got {apex!r}")
        radius = float(np.median(np.linalg.norm(origins - point, axis=1)))
    else:
        radius = source.number("apex_distance_m", "lines", default=0.0)
    return LineGeometry(
        origins, directions, first, source.number("sample_spacing_m", "lines", above=0), shape[2], radius
    )


def _line_geometry(source: RecordingSource, lines: LineGeometry, transmits: int) -> tuple[Probe, Sequence]:
    """Probe and sequence behind lines: stated element positions, or the places where the lines begin."""
    positions = source.table("element_positions_m", (None, 3))
    probe = _probe(source, lines.origins_m if positions is None else positions)
    kinds = _kinds(source, transmits) if "transmit" in source.file else [TransmitKind.FOCUSED] * transmits
    t0 = source.table("transmit/t0_s", (transmits,))
    # Angles are per line where the transmits are not resolved; the line geometry has them.
    focus = source.number("focus_depth_m", "transmit", default=0.0) if "transmit" in source.file else 0.0
    events = tuple(
        TransmitEvent(
            kinds[index],
            np.zeros(probe.element_count),
            np.array([0.0, 0.0, focus]),
            np.zeros(0, dtype=np.int32),
            0.0,
            0.0 if t0 is None else float(t0[index]),
        )
        for index in range(transmits)
    )
    return probe, Sequence(events)


def _pixels(source: RecordingSource, shape: tuple[int, ...]) -> PixelGrid:
    if "image" not in source.file:
        raise source.fail("image", "missing; images need first_x_m, first_z_m, spacing_x_m and spacing_z_m")
    return PixelGrid(
        shape[0],
        shape[1],
        source.number("first_x_m", "image"),
        source.number("first_z_m", "image"),
        source.number("spacing_x_m", "image", above=0),
        source.number("spacing_z_m", "image", above=0),
        source.number("y_m", "image", default=0.0),
    )


def _image_geometry(source: RecordingSource, image: PixelGrid) -> tuple[Probe, Sequence]:
    positions = source.table("element_positions_m", (None, 3))
    probe = _probe(source, np.zeros((1, 3)) if positions is None else positions)
    event = TransmitEvent(TransmitKind.FOCUSED, np.zeros(probe.element_count), np.zeros(3), np.zeros(0, dtype=np.int32))
    return probe, Sequence((event,))


def _layers(source: RecordingSource) -> tuple[Layer, ...]:
    """The group `layers` is a statement about the picture; attributes about layers are remarks, and change nothing."""
    speeds = source.table("layers/speed_of_sound_m_s", (None,))
    thicknesses = source.table("layers/thickness_m", (None,))
    if speeds is None and thicknesses is None:
        return ()
    if speeds is None or thicknesses is None or len(speeds) != len(thicknesses):
        raise source.fail("layers", "need speeds and thicknesses of the same number of layers")
    if not (np.isfinite(speeds).all() and (speeds > 0).all() and (thicknesses > 0).all()):
        raise source.fail("layers", "speeds and thicknesses must be > 0")
    return tuple(Layer(float(thickness), float(speed)) for thickness, speed in zip(thicknesses, speeds, strict=True))
