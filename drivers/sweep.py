"""One element that is moved: where the line of each shot lies, and the lines of one pass as one frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.base import Uri
from sonod.drivers.errors import DeviceNotFound
from sonod.drivers.frame import Acquisition, DataKind, LineGeometry
from sonod.drivers.probe import FloatArray

MOST_LINES = 1024
LONGEST_M, WIDEST_RAD = 1.0, math.pi


@dataclass(frozen=True, eq=False)
class Sweep:
    """Lines of one pass: `origins_m (lines, 3)`, `directions (lines, 3)`; the next pass goes the other way if
    `there_and_back`, else it begins again where the first one did."""

    origins_m: FloatArray
    directions: FloatArray
    radius_m: float = 0.0
    there_and_back: bool = False

    @property
    def line_count(self) -> int:
        return len(self.origins_m)

    @classmethod
    def from_uri(cls, uri: Uri) -> Sweep | None:
        """Option `sweep`: `linear:MILLIMETRES:LINES` or `sector:DEGREES:LINES[:RADIUS_MILLIMETRES]`, and `:back` behind
        it for a motor that goes there and back. None without the option; DeviceNotFound for anything else."""
        text = uri.options.get("sweep")
        if text is None:
            return None
        kind, *rest = text.split(":")
        back = bool(rest) and rest[-1] == "back"
        try:
            numbers = [float(word) for word in (rest[:-1] if back else rest)]
            extent, lines, radius = (*numbers, 0.0)[:3]
            good = kind in ("linear", "sector") and 2 <= len(numbers) <= (3 if kind == "sector" else 2)
        except ValueError:
            extent = lines = radius = math.nan
            good = False
        reach = LONGEST_M * 1e3 if kind == "linear" else math.degrees(WIDEST_RAD)
        if not (good and 0 < extent <= reach and 0 <= radius <= LONGEST_M * 1e3):
            good = False
        if not good or lines != int(lines) or not 2 <= lines <= MOST_LINES:
            raise DeviceNotFound(
                f"driver URI {uri.text!r}: sweep must be linear:MILLIMETRES:LINES or "
                f"sector:DEGREES:LINES[:RADIUS_MILLIMETRES], with 2..{MOST_LINES} lines, got {text!r}"
            )
        make = cls.linear(extent * 1e-3, int(lines)) if kind == "linear" else None
        made = make or cls.sector(math.radians(extent), int(lines), radius * 1e-3)
        return replace(made, there_and_back=back)

    @classmethod
    def linear(cls, length_m: float, lines: int) -> Sweep:
        """Along x, looking down."""
        origins = np.zeros((lines, 3))
        origins[:, 0] = np.linspace(-length_m / 2, length_m / 2, lines)
        return cls(origins, np.tile([0.0, 0.0, 1.0], (lines, 1)))

    @classmethod
    def sector(cls, span_rad: float, lines: int, radius_m: float = 0.0) -> Sweep:
        """Turning about the apex, which is `radius_m` behind the element."""
        angles = np.linspace(-span_rad / 2, span_rad / 2, lines)
        directions = np.stack([np.sin(angles), np.zeros(lines), np.cos(angles)], axis=1)
        return cls(directions * radius_m - np.array([0.0, 0.0, radius_m]), directions, radius_m)

    def line_of(self, shot: int) -> int:
        """The line that shot number `shot` (from 0) of the movement lies on."""
        turn, place = divmod(shot, self.line_count)
        return self.line_count - 1 - place if self.there_and_back and turn % 2 else place

    def acquisition(self, single: Acquisition) -> Acquisition:
        """What a frame of one pass means, when `single` is what one shot means."""
        c, samples = single.sound_speed_m_s, single.shape[2]
        if single.lines is not None:
            first_m, spacing_m = single.lines.first_m, single.lines.spacing_m
        else:
            first_m = (float(single.sequence.t0_s[0]) - single.pulse_delay_s) * c / 2
            spacing_m = c / 2 / single.sampling_hz
        return replace(
            single,
            kind=DataKind.LINES,
            shape=(1, self.line_count, samples, *single.shape[3:]),
            lines=LineGeometry(self.origins_m, self.directions, first_m, spacing_m, samples, self.radius_m),
            slow_time=False,
        )


class PassCollector:
    """Puts shots into passes. A line whose shot was lost is zero; a pass of which nothing came is a lost frame."""

    def __init__(self, sweep: Sweep, single: Acquisition) -> None:
        self._sweep = sweep
        self._lines: NDArray[np.generic] = np.zeros((sweep.line_count, *single.shape[2:]), single.dtype)
        self._shot = 0
        self._pass = 0
        self._delivered = -1
        self.first_byte_ns = 0

    def add(self, line: NDArray[np.generic], lost: int, first_byte_ns: int, out: NDArray[np.generic]) -> int:
        """Take one shot, `lost` shots after the one before. When it completes a pass, or the next one has begun, `out
        (lines, samples)` is filled and the number of lost passes is returned; else -1."""
        shot = self._shot + lost
        self._shot = shot + 1
        number = shot // self._sweep.line_count
        done = -1
        if number != self._pass:
            # The end of the pass before was lost.
            if self._pass > self._delivered and self.first_byte_ns:
                done = self._deliver(out)
            self._pass = number
        if self.first_byte_ns == 0:
            self.first_byte_ns = first_byte_ns
        self._lines[self._sweep.line_of(shot)] = line
        if (shot + 1) % self._sweep.line_count == 0 and done < 0:
            done = self._deliver(out)
            self._pass = number + 1
        return done

    def _deliver(self, out: NDArray[np.generic]) -> int:
        np.copyto(out, self._lines)
        self._lines[:] = 0
        lost = self._pass - self._delivered - 1
        self._delivered = self._pass
        self.first_byte_ns = 0
        return lost
