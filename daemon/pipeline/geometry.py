"""The wire's description of what plans make."""

from __future__ import annotations

import numpy as np

from sonod.client.wire.geometry import (
    ChannelGeometry,
    ImageGeometry,
    LinesGeometry,
    Sector,
    Vector,
    fingerprint_of,
)
from sonod.drivers.frame import Acquisition, LineGeometry, PixelGrid
from sonod.drivers.probe import FloatArray, Probe

# Positions that differ by less come from rounding, not from another layout.
LAYOUT_DECIMALS = 9


def image_geometry(
    grid: PixelGrid, probe: Probe, sound_speed_m_s: float, sector: Sector | None = None
) -> ImageGeometry:
    """A pixel grid of this probe, made with this speed of sound."""
    first = (grid.first_x_m, grid.y_m, grid.first_z_m)
    return ImageGeometry(
        (grid.rows, grid.columns),
        (grid.spacing_z_m, grid.spacing_x_m),
        first,
        sector,
        sound_speed_m_s=sound_speed_m_s,
        transducer=transducer_fingerprint(probe),
    )


def transducer_fingerprint(probe: Probe) -> str:
    """The same for two probes exactly when kind, radius and element positions (to a nanometre) are."""
    positions = np.round(probe.element_positions_m, LAYOUT_DECIMALS)
    return fingerprint_of(
        {
            "kind": probe.kind.value,
            "radius_m": round(probe.radius_m, LAYOUT_DECIMALS),
            "element_positions_m": positions.tolist(),
        }
    )


def lines_geometry(lines: LineGeometry) -> LinesGeometry:
    """Scan lines."""
    return LinesGeometry(
        lines.shape, vectors(lines.origins_m), vectors(lines.directions), lines.first_m, lines.spacing_m
    )


def channel_geometry(acquisition: Acquisition) -> ChannelGeometry:
    """Raw traces, with all that a client needs to beamform them."""
    sequence = acquisition.sequence
    first, second, third = acquisition.shape[:3]
    # Only what fires: a scan of thousands of single elements would otherwise describe millions of silent ones.
    firing = [np.flatnonzero(np.isfinite(event.delays_s)) for event in sequence.events]
    return ChannelGeometry(
        shape=(first, second, third),
        transmit_kind=sequence.events[0].kind.value,
        element_positions_m=vectors(acquisition.probe.element_positions_m),
        transmit_elements=tuple(tuple(elements.tolist()) for elements in firing),
        delays_s=tuple(
            tuple(event.delays_s[elements].tolist()) for event, elements in zip(sequence.events, firing, strict=True)
        ),
        origins_m=vectors(sequence.origins_m),
        angles_rad=tuple(sequence.angles_rad.tolist()),
        receive_elements=tuple(tuple(event.receive_elements.tolist()) for event in sequence.events),
        t0_s=tuple(sequence.t0_s.tolist()),
        sampling_hz=acquisition.sampling_hz,
        demodulation_hz=acquisition.demodulation_hz,
        sound_speed_m_s=acquisition.sound_speed_m_s,
        pulse_delay_s=acquisition.pulse_delay_s,
        sample_scale=acquisition.sample_scale,
        sample_unit=acquisition.sample_unit,
    )


def vectors(points: FloatArray) -> tuple[Vector, ...]:
    """Rows of an (n, 3) array as tuples."""
    return tuple((x, y, z) for x, y, z in points.tolist())
