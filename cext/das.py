"""Delay and sum for any array, grid and transmission."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonod.cext import _native
from sonod.cext.aperture import Aperture
from sonod.cext.arrays import FloatArray, OutputBuffer, Scalar, checked_input, finite, positive
from sonod.cext.blocks import BlockPlan, preferred_input_hz
from sonod.cext.points import PointPlan
from sonod.cext.prepare import Demodulator, baseband_rate_hz
from sonod.cext.prepare import half_bandwidth_hz as usual_half

__all__ = ["QUALITIES", "DelayAndSum", "preferred_input_hz"]

# The narrowest band of RF that is brought to baseband, half of it over the sampling rate.
LEAST_HALF_BAND = 0.005

QUALITIES = ("exact", "default", "fast")


class DelayAndSum:
    """Delay and sum: `run(data (T, C, M, 2)) -> float32 (L, N, 2)`, or (T, C, M) -> (L, N) for RF.

    The points are those of a line grid, point j of line i at origins_m[i] + directions[i] * (first_m + j * spacing_m),
    or any `points_m (L, N, 3)`. The result is the sum over transmissions t and channels c of

        w_tx(t, p) * w_rx(p, e) * data[t, c]((tau - t0_s[t]) * sampling_hz) * exp(+2j*pi*f0*tau) / (T * C),
        tau = transmit_time_s[t, p] + |p - e| / c + time_offset_s,   e = receive_elements[t, c],

    that is, the analytic RF signal at p; not divided by the weights. `demodulation_hz` is f0; 0 means RF input.
    Elements of -1 were not measured; a transmit time of NaN means the transmission does not see the point; samples
    outside the record count as 0. `receive_time_s (E, L, N)` replaces |p - e| / c, for layered media.

    The receive aperture and its window are those of `aperture.Aperture`. `quality`:

    - `exact` computes every delay in double and interpolates linearly between the samples given; it agrees with
      `reference.delay_and_sum` to -80 dB. Linear interpolation itself is about -38 dB from the band-limited signal for
      baseband at four times the centre frequency. Single points of a record of more than some ten thousand samples are
      always done so, and RF without `center_hz`.
    - `default` resamples baseband to a rate that fits the points (`blocks.BlockPlan`) and sums in 16-bit integers:
      better than -45 dB from the band-limited signal for usual apertures and waves, -40 dB for the worst of the tests.
    - `fast` is the same with fewer samples, never worse than -37 dB.

    `half_bandwidth_hz` is half the band of the echoes, for `default` and `fast`; 0.6 f0 when not given. RF is brought
    to baseband for these, at `center_hz`, the middle of its band, and the real part of the sum is taken; without it RF
    is beamformed as it is. Samples that are NaN or infinite count as 0.
    """

    def __init__(
        self,
        *,
        element_positions_m: ArrayLike,
        element_normals: ArrayLike,
        receive_elements: ArrayLike,
        transmit_time_s: ArrayLike,
        sampling_hz: float,
        t0_s: ArrayLike,
        samples: int,
        demodulation_hz: float,
        sound_speed_m_s: float,
        f_number: float,
        apodization: str = "rectangular",
        transmit_weight: ArrayLike | None = None,
        time_offset_s: float = 0.0,
        receive_time_s: ArrayLike | None = None,
        quality: str = "default",
        half_bandwidth_hz: float | None = None,
        center_hz: float | None = None,
        origins_m: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        first_m: float = 0.0,
        spacing_m: float = 0.0,
        count: int = 0,
        points_m: ArrayLike | None = None,
    ) -> None:
        if quality not in QUALITIES:
            raise ValueError(f"quality: must be one of {', '.join(QUALITIES)}, got {quality!r}")
        self._aperture = Aperture(
            element_positions_m,
            element_normals,
            f_number=f_number,
            apodization=apodization,
            origins_m=origins_m,
            directions=directions,
            first_m=first_m,
            spacing_m=spacing_m,
            count=count,
            points_m=points_m,
        )
        lines, points = self._aperture.lines, self._aperture.count
        self._receive = np.ascontiguousarray(receive_elements, dtype=np.int32)
        elements = self._aperture.elements
        if self._receive.ndim != 2 or self._receive.size == 0:
            raise ValueError(f"receive_elements: must be (transmits, channels), got shape {self._receive.shape}")
        if self._receive.min() < -1 or self._receive.max() >= elements:
            raise ValueError(f"receive_elements: must be in -1..{elements - 1}")
        transmits, channels = self._receive.shape
        if samples < 1:
            raise ValueError(f"samples: must be >= 1, got {samples}")
        self._samples = samples
        self._sampling_hz = positive(sampling_hz, "sampling_hz")
        if not (math.isfinite(demodulation_hz) and demodulation_hz >= 0):
            raise ValueError(f"demodulation_hz: must be finite and >= 0 (0: RF), got {demodulation_hz}")
        if not math.isfinite(time_offset_s):
            raise ValueError(f"time_offset_s: must be finite, got {time_offset_s}")
        self._demodulation_hz = float(demodulation_hz)
        self._slowness = 1 / positive(sound_speed_m_s, "sound_speed_m_s")
        self._time_offset_s = float(time_offset_s)
        self._t0_s = finite(t0_s, "t0_s", (transmits,))
        grid = (transmits, lines, points)
        self._time32: NDArray[np.float32] | None = None
        self._time64: FloatArray | None = None
        if np.asarray(transmit_time_s).dtype == np.float32:
            self._time32 = _table(transmit_time_s, "transmit_time_s", grid, np.float32)
        else:
            self._time64 = _table(transmit_time_s, "transmit_time_s", grid, np.float64)
        self._weight = None
        if transmit_weight is not None:
            self._weight = _table(transmit_weight, "transmit_weight", grid, np.float32)
        self._receive_time = None
        if receive_time_s is not None:
            self._receive_time = _table(receive_time_s, "receive_time_s", (elements, lines, points), np.float32)
        self._plan: BlockPlan | PointPlan | None = None
        self._analytic: NDArray[np.float32] | None = None
        if half_bandwidth_hz is not None:
            positive(half_bandwidth_hz, "half_bandwidth_hz")
        self._demodulator = self._make_demodulator(quality, half_bandwidth_hz, center_hz)
        if quality != "exact" and (self._demodulation_hz or self._demodulator is not None):
            self._plan = self._make_plan(quality, half_bandwidth_hz)
        if self._plan is not None:
            self._time32 = self._time64 = self._weight = self._receive_time = None
        pairs = () if self._demodulation_hz == 0 else (2,)
        self.input_shape = (transmits, channels, samples, *pairs)
        self.output_shape = (lines, points, *pairs)
        self._output = OutputBuffer(self.output_shape, np.float32)

    @property
    def block_points(self) -> tuple[int, ...]:
        """Points of a line that are worked on together, 16 or 32, in each depth part of a line grid from the first
        point on; empty with single points and with the exact kernel."""
        return self._plan.block_points if isinstance(self._plan, BlockPlan) else ()

    @property
    def table_bytes(self) -> int:
        """Memory of the plan, its resampled data included; 0 for `exact`, which has none."""
        return 0 if self._plan is None else self._plan.table_bytes

    def run(self, data: NDArray[Any], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Beamformed `data`, into `out` or an array that the next call overwrites."""
        data = checked_input(data, self.input_shape, np.float32, "data")
        target = self._output.take(out)
        if self._plan is None:
            self._run_exact(data, target)
        elif self._demodulator is None or self._analytic is None:
            self._plan.run(data, target)
        else:
            self._plan.run(self._demodulator.run(data), self._analytic)
            np.copyto(target, self._analytic[..., 0])
        return target

    def _make_demodulator(
        self, quality: str, half_bandwidth_hz: float | None, center_hz: float | None
    ) -> Demodulator | None:
        """What brings RF to baseband for the kernels that are faster than `exact`."""
        if center_hz is None:
            return None
        positive(center_hz, "center_hz")
        if self._demodulation_hz:
            raise ValueError(f"center_hz: is for RF; the data are baseband at {self._demodulation_hz:g} Hz")
        if quality == "exact":
            return None
        sampling_hz = self._sampling_hz
        half = usual_half(center_hz, sampling_hz, half_bandwidth_hz)
        if half < LEAST_HALF_BAND * sampling_hz:
            raise ValueError(
                f"center_hz: at {sampling_hz:g} samples/s the band round {center_hz:g} Hz is its own mirror image; "
                "leave it out or take quality exact"
            )
        transmits, channels = self._receive.shape
        self._analytic = np.zeros((self._aperture.lines, self._aperture.count, 2), np.float32)
        return Demodulator(
            (transmits, channels, self._samples),
            np.float32,
            sampling_hz=sampling_hz,
            demodulation_hz=center_hz,
            half_bandwidth_hz=half,
            t0_s=self._t0_s,
            remove_offset=False,
            output_hz=baseband_rate_hz(sampling_hz, half),
        )

    def _make_plan(self, quality: str, half_bandwidth_hz: float | None) -> BlockPlan | PointPlan | None:
        """The plan of the block kernel for lines, of the point kernel for all else; None where that cannot do it."""
        baseband = self._demodulator
        common: dict[str, Any] = {
            "time": _one_of(self._time32, self._time64),
            "weight": self._weight,
            "sampling_hz": self._sampling_hz if baseband is None else baseband.output_hz,
            "t0_s": self._t0_s,
            "samples": self._samples if baseband is None else baseband.output_shape[2],
            "demodulation_hz": self._demodulation_hz if baseband is None else baseband.demodulation_hz,
            "slowness": self._slowness,
            "time_offset_s": self._time_offset_s,
            "half_bandwidth_hz": half_bandwidth_hz,
            "quality": quality,
        }
        if self._aperture.points_m is None and self._receive_time is None:
            return BlockPlan(self._aperture, self._receive, **common)
        try:
            return PointPlan(self._aperture, self._receive, receive_time=self._receive_time, **common)
        except OverflowError:
            return None

    def _run_exact(self, data: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        aperture = self._aperture
        transmits, channels = self._receive.shape
        _native.das_exact(
            aperture.origins_m,
            aperture.directions,
            aperture.first_m,
            aperture.spacing_m,
            aperture.count,
            aperture.feet_m,
            aperture.points_m,
            aperture.heights_m,
            aperture.element_positions_m,
            aperture.element_normals,
            aperture.lateral_m,
            self._receive,
            self._time32,
            self._time64,
            self._weight,
            self._receive_time,
            seen_lines(_one_of(self._time32, self._time64)),
            self._t0_s,
            self._sampling_hz,
            self._demodulation_hz,
            self._slowness,
            self._time_offset_s,
            aperture.per_half,
            aperture.least_half_m,
            aperture.window,
            1.0 / (transmits * channels),
            self._samples,
            data.reshape(-1),
            out.reshape(-1),
        )


def _one_of(time32: NDArray[np.float32] | None, time64: FloatArray | None) -> NDArray[np.float32] | FloatArray:
    if time32 is not None:
        return time32
    if time64 is None:
        raise ValueError("transmit_time_s: is missing")
    return time64


def seen_lines(transmit_time_s: NDArray[Any] | None) -> NDArray[np.uint8]:
    """1 for every (transmission, line) of which any point is seen."""
    if transmit_time_s is None:
        raise ValueError("transmit_time_s: is missing")
    return np.asarray(np.isfinite(transmit_time_s).any(axis=2), dtype=np.uint8)


def _table(values: ArrayLike, name: str, shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
    """`values` in C order as `dtype`; ValueError for another shape."""
    own = np.ascontiguousarray(values, dtype=dtype)
    if own.shape != shape:
        raise ValueError(f"{name}: must have shape {shape}, got {own.shape}")
    return own
