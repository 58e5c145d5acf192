"""What a front-end's capabilities mean: its probe, and the settings with its own ranges."""

from __future__ import annotations

import math

import numpy as np

from sonod.drivers.bulk.protocol import Capabilities, Geometry
from sonod.drivers.directivity import natural_f_number
from sonod.drivers.errors import ProtocolError
from sonod.drivers.probe import ArrayKind, Probe
from sonod.drivers.settings import KNOBS, Knob
from sonod.drivers.simulated.scan import Scan

SOUND_SPEED_M_S = 1540.0
KINDS = {
    Geometry.LINEAR: ArrayKind.LINEAR,
    Geometry.CURVILINEAR: ArrayKind.CURVILINEAR,
    Geometry.PHASED: ArrayKind.PHASED,
    Geometry.OTHER: ArrayKind.ARBITRARY,
}
# Echoes come back from up to this much farther than straight up, at an f-number of 1.5; and the pulse takes time.
LONGEST_WAY_BACK = 1.06


def probe_of(own: Capabilities) -> Probe:
    """The transducer that the capabilities describe; ProtocolError when there can be none such."""
    kind = KINDS[own.geometry]
    if own.element_count == 1:
        kind = ArrayKind.SINGLE
    try:
        return Probe(
            own.name or "bulk RF front-end",
            kind,
            own.elements_m.astype(np.float64),
            own.center_frequency_hz,
            own.fractional_bandwidth,
            own.element_width_m,
            own.element_height_m,
            own.elevation_focus_m if own.elevation_focus_m > 0 else math.inf,
            own.radius_m,
            own.normals.astype(np.float64),
        )
    except ValueError as error:
        raise ProtocolError(f"capabilities: no usable probe: {error}") from error


def knobs_of(own: Capabilities, probe: Probe, scan: Scan) -> dict[str, Knob]:
    """Ranges from the capabilities; the front-end acts on those of the transmission and gain."""
    deepest = own.most_samples / own.sampling_hz * SOUND_SPEED_M_S / 2 / LONGEST_WAY_BACK * 0.9
    center = min(max(own.center_frequency_hz, own.least_frequency_hz), own.most_frequency_hz)
    shots = min(own.most_shots, int(KNOBS["angle_count"].maximum))
    every = scan in (Scan.FOCUSED, Scan.SYNTHETIC)
    count = min(shots, 32 if every else 3)
    least, most = own.least_gain_centi_db / 100, own.most_gain_centi_db / 100
    depth = KNOBS["depth_m"]
    deepest = min(deepest, depth.maximum)
    usual_depth = min(200 * SOUND_SPEED_M_S / center, deepest)
    sector = math.radians(60) if own.geometry is not Geometry.LINEAR else math.radians(20)
    knobs = [
        depth.on_device(minimum=min(0.005, deepest), maximum=deepest, default=usual_depth),
        KNOBS["transmit_frequency_hz"].on_device(
            minimum=float(own.least_frequency_hz), maximum=float(own.most_frequency_hz), default=center
        ),
        KNOBS["focus_depth_m"].on_device(maximum=max(deepest, 0.002), default=usual_depth / 2),
        KNOBS["angle_count"].on_device(maximum=shots, default=count),
        KNOBS["angle_span_rad"].on_device(default=sector),
        KNOBS["gain_db"].on_device(minimum=least / 2, maximum=most / 2),
        KNOBS["tgc_db"].on_device(minimum=least / 2, maximum=most / 2),
        KNOBS["frame_rate_hz"].on_device(
            minimum=max(0.1, 1e6 / own.most_frame_us), maximum=200.0, default=8.0 if every else 30.0
        ),
        KNOBS["output_level"].on_device(),
        KNOBS["f_number"].narrowed(default=natural_f_number(probe, SOUND_SPEED_M_S)),
        *(KNOBS[name] for name in ("dynamic_range_db", "apodization", "sound_speed_m_s", "persistence", "grey_map")),
    ]
    return {knob.name: knob for knob in knobs}
