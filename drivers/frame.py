"""What a driver delivers: the meaning of its samples, and the frames themselves."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.clock import ClockLine
from sonod.drivers.probe import AnyFloatArray, FloatArray, Probe, frozen_array
from sonod.drivers.sequence import Sequence
from sonod.drivers.settings import Settings


class DataKind(StrEnum):
    """Where a raw frame enters the pipeline."""

    CHANNEL = "channel"  # (transmits, channels, samples): one trace per receive channel
    LINES = "lines"  # (transmits, lines, samples): already beamformed
    IMAGE = "image"  # (rows, columns): a finished picture


class SampleFormat(StrEnum):
    RF = "rf"
    IQ = "iq"  # last axis has two entries, I and Q
    ENVELOPE = "envelope"  # linear magnitude
    LOG8 = "log8"  # 8 bit, already log-compressed


@dataclass(frozen=True, eq=False)
class LineGeometry:
    """Where scan lines lie: sample j of line i is at origins_m[i] + directions[i] * (first_m + j * spacing_m).

    `origins_m (lines, 3)`, `directions (lines, 3)` of unit length; `angles_rad (lines,)` from the z axis towards +x.
    `radius_m` is the distance from the apex to the line origins of a curvilinear or sector geometry, else 0.
    """

    origins_m: FloatArray
    directions: FloatArray
    first_m: float
    spacing_m: float
    count: int
    radius_m: float = 0.0

    def __post_init__(self) -> None:
        origins = frozen_array(self.origins_m, "lines.origins_m", (None, 3))
        directions = frozen_array(self.directions, "lines.directions", (len(origins), 3))
        object.__setattr__(self, "origins_m", origins)
        object.__setattr__(self, "directions", directions)
        if len(origins) == 0 or not (np.isfinite(origins).all() and np.isfinite(directions).all()):
            raise ValueError("lines: needs at least one line, all coordinates finite")
        if np.abs(np.linalg.norm(directions, axis=1) - 1).max() > 1e-6:
            raise ValueError("lines.directions: must have unit length")
        if not (math.isfinite(self.first_m) and 0 < self.spacing_m < math.inf and self.count >= 1):
            raise ValueError(f"lines: first_m, spacing_m and count are {self.first_m}, {self.spacing_m}, {self.count}")

    @property
    def line_count(self) -> int:
        return len(self.origins_m)

    @property
    def angles_rad(self) -> FloatArray:
        return np.arctan2(self.directions[:, 0], self.directions[:, 2])

    @property
    def shape(self) -> tuple[int, int]:
        """(lines, samples)"""
        return self.line_count, self.count


@dataclass(frozen=True)
class PixelGrid:
    """Square or rectangular pixels in the x-z plane (y = y_m): pixel (row, column) has its centre at
    x = first_x_m + column * spacing_x_m, z = first_z_m + row * spacing_z_m."""

    rows: int
    columns: int
    first_x_m: float
    first_z_m: float
    spacing_x_m: float
    spacing_z_m: float
    y_m: float = 0.0

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise ValueError(f"pixel grid: needs rows and columns >= 1, got {self.rows} x {self.columns}")
        if not (self.spacing_x_m > 0 and self.spacing_z_m > 0):
            raise ValueError("pixel grid: spacing must be > 0")

    @property
    def x_m(self) -> FloatArray:
        """Pixel centres (columns,)."""
        return self.first_x_m + np.arange(self.columns, dtype=np.float64) * self.spacing_x_m

    @property
    def z_m(self) -> FloatArray:
        """Pixel centres (rows,)."""
        return self.first_z_m + np.arange(self.rows, dtype=np.float64) * self.spacing_z_m


@dataclass(frozen=True)
class Layer:
    """One horizontal layer of a layered object, counted from the face down."""

    thickness_m: float
    sound_speed_m_s: float


@dataclass(frozen=True, eq=False)
class Acquisition:
    """What the samples of a raw frame mean; constant until the settings change.

    `shape` and `dtype` are those of one raw frame: `channel` (transmits, channels, samples), `lines`
    (transmits, lines, samples), with a last axis of 2 for IQ; `image` (rows, columns).
    `demodulation_hz` is 0 for RF. `sample_scale` turns a sample into `sample_unit`.
    `pulse_delay_s`: lag from firing to the envelope peak.
    `sound_speed_m_s`: what the device or file assumes; the setting may differ.
    `center_frequency_hz`: of the pulse that was sent; 0 = the probe's.
    `reference_amplitude`: beamformed envelope that is shown white at 0 dB gain; 0 = not known, to be found in the data.
    `lines` is given for line data, `image` for images; `layers` for a layered object.
    `slow_time` says that frames are one ensemble or history of the same view (M-mode, Doppler) rather than a film.
    """

    probe: Probe
    sequence: Sequence
    kind: DataKind
    sample_format: SampleFormat
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    sampling_hz: float
    sound_speed_m_s: float
    demodulation_hz: float = 0.0
    center_frequency_hz: float = 0.0
    pulse_delay_s: float = 0.0
    sample_scale: float = 1.0
    sample_unit: str = "counts"
    reference_amplitude: float = 0.0
    lines: LineGeometry | None = None
    image: PixelGrid | None = None
    layers: tuple[Layer, ...] = ()
    slow_time: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        for name in ("sampling_hz", "sound_speed_m_s", "sample_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"acquisition.{name}: must be > 0, got {getattr(self, name)}")
        wanted = 2 if self.kind is DataKind.IMAGE else 3 + (self.sample_format is SampleFormat.IQ)
        if len(self.shape) != wanted or min(self.shape) < 1:
            raise ValueError(
                f"acquisition.shape: {self.kind} {self.sample_format} needs {wanted} axes of length >= 1, "
                f"got {self.shape}"
            )
        if self.sample_format is SampleFormat.IQ and (self.shape[-1] != 2 or not self.demodulation_hz > 0):
            raise ValueError("acquisition: IQ needs a last axis of 2 and demodulation_hz > 0")
        if self.kind is DataKind.CHANNEL:
            events, channels = len(self.sequence.events), self.sequence.channel_count
            if self.shape[:2] != (events, channels):
                raise ValueError(
                    f"acquisition.shape: the sequence has {events} transmits and {channels} channels, got {self.shape}"
                )
            if self.sequence.element_count != self.probe.element_count:
                raise ValueError(
                    f"acquisition: the sequence drives {self.sequence.element_count} elements, "
                    f"the probe has {self.probe.element_count}"
                )
            if self.sample_format not in (SampleFormat.RF, SampleFormat.IQ):
                raise ValueError(f"acquisition: channel data is RF or IQ, got {self.sample_format}")
        if self.kind is DataKind.LINES and (self.lines is None or self.lines.shape != self.shape[1:3]):
            raise ValueError("acquisition.lines: line data needs a line geometry of the same lines and samples")
        if self.kind is DataKind.IMAGE and (self.image is None or (self.image.rows, self.image.columns) != self.shape):
            raise ValueError("acquisition.image: an image needs a pixel grid of the same shape")

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def pulse_frequency_hz(self) -> float:
        """Centre frequency of the echoes; NaN when nobody knows it."""
        return self.demodulation_hz or self.center_frequency_hz or self.probe.center_frequency_hz

    def depth_at_m(self, two_way_time_s: float, sound_speed_m_s: float) -> float:
        """Depth reached straight down and back in `two_way_time_s`: through the layers where there are any (the speed
        given replaces that of the first), else at the speed given."""
        left, depth = two_way_time_s / 2, 0.0
        speed = sound_speed_m_s
        for index, layer in enumerate(self.layers):
            speed = sound_speed_m_s if index == 0 else layer.sound_speed_m_s
            if left * speed <= layer.thickness_m or index == len(self.layers) - 1:
                break
            left -= layer.thickness_m / speed
            depth += layer.thickness_m
        return depth + left * speed


@dataclass(frozen=True)
class NeedlePose:
    """Where the needle truly is, in transducer coordinates: the tip, a point up the shaft, and the shaft's diameter."""

    tip_m: tuple[float, float, float]
    shaft_m: tuple[float, float, float]
    diameter_m: float


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Which tissue is where: `raster (rows, columns)` of indices into `names`, on square steps in the x-z plane; the
    first name stands for everything outside it."""

    names: tuple[str, ...]
    raster: NDArray[np.uint8]
    first_x_m: float
    first_z_m: float
    spacing_m: float

    def at(self, x_m: AnyFloatArray, z_m: AnyFloatArray) -> NDArray[np.uint8]:
        """The index at each place, of the shape that `x_m` and `z_m` have together; 0 outside the raster."""
        rows, columns = self.raster.shape
        column = np.rint((x_m - self.first_x_m) / self.spacing_m).astype(np.intp)
        row = np.rint((z_m - self.first_z_m) / self.spacing_m).astype(np.intp)
        known = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        found = self.raster[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]
        return np.asarray(np.where(known, found, 0), dtype=np.uint8)


@dataclass(frozen=True)
class Injectate:
    """Fluid that has been injected: an ellipse in the image plane, its radii (along x, along z)."""

    center_m: tuple[float, float]
    radii_m: tuple[float, float]


@dataclass(frozen=True)
class GroundTruth:
    """What a simulated scene knows and a real one does not. `scene_time_s` is the time inside the scene, `transmit_ns`
    when the sound truly left, on the host's monotonic clock.

    `tissues` lie in scene coordinates, in which the middle of the probe's face is at x = `probe_x_m`; the rest is in
    transducer coordinates.
    """

    scene_time_s: float
    needle: NeedlePose | None = None
    transmit_ns: int | None = None
    tissues: LabelMap | None = field(default=None, compare=False)
    injectate: Injectate | None = None
    probe_x_m: float = 0.0


@dataclass(frozen=True, eq=False)
class Configuration:
    """Settings, and what the driver will deliver under them. `detail` is the driver's own and nobody else's.

    `applied` names the knobs that the device has acted on, so that processing leaves them alone; the base class of
    drivers fills it in.
    """

    settings: Settings
    acquisition: Acquisition
    detail: object = None
    applied: frozenset[str] = frozenset()


@dataclass
class Slot:
    """One place of the fixed pool into which raw frames are read.

    The memory is an `array('B')`, because pyusb reads into nothing else; `data` views it with the acquisition's
    shape and dtype. Times are host monotonic nanoseconds; `transmit_ns` is when the sound of the first event left,
    with `transmit_uncertainty_ns` (-1 = not known). `lost` counts the frames that the device lost before this one.
    `device_ticks` is the device's own time of the first event (-1 = it has none), `device_clock` how that clock relates
    to the host's as of this frame.
    `settling` tells that the device had not yet come to rest after a change of its settings.
    """

    capacity: int
    memory: array[int] = field(init=False, repr=False)
    configuration: Configuration | None = None
    number: int = 0
    transmit_ns: int = 0
    transmit_uncertainty_ns: int = -1
    first_byte_ns: int = 0
    last_byte_ns: int = 0
    device_ticks: int = -1
    device_clock: ClockLine | None = None
    lost: int = 0
    settling: bool = False
    truth: GroundTruth | None = None
    _data: NDArray[Any] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.memory = array("B", bytes(self.capacity))

    def prepare(self, configuration: Configuration) -> None:
        """Make the slot fit the configuration; allocates only when it is larger than any before."""
        if configuration is self.configuration:
            return
        acquisition = configuration.acquisition
        if acquisition.nbytes > self.capacity:
            self._data = None
            self.capacity = acquisition.nbytes
            self.memory = array("B", bytes(self.capacity))
        view = np.frombuffer(self.memory, dtype=np.uint8, count=acquisition.nbytes)
        self._data = view.view(acquisition.dtype).reshape(acquisition.shape)
        self.configuration = configuration

    @property
    def data(self) -> NDArray[Any]:
        """The frame's samples, a writable view of the slot's memory; before `prepare`, ValueError."""
        if self._data is None:
            raise ValueError("slot: prepare() comes first")
        return self._data
