"""What a recording says of its acquisition: root attributes, and the geometry of probe, transmissions and lines."""

from __future__ import annotations

import math

import h5py
import numpy as np

from sonod.drivers.frame import Acquisition, DataKind, SampleFormat

Attribute = str | float | int | bool


def describe(acquisition: Acquisition) -> dict[str, Attribute]:
    """The root attributes that an acquisition determines."""
    probe = acquisition.probe
    attributes: dict[str, Attribute] = {
        "title": f"Recording of {probe.name}",
        "data_kind": _data_kind(acquisition),
        "measured": True,
        "sampling_frequency_hz": acquisition.sampling_hz,
        "center_frequency_hz": probe.center_frequency_hz,
        "fractional_bandwidth": probe.fractional_bandwidth,
        "fractional_bandwidth_percent": probe.fractional_bandwidth * 100,
        "speed_of_sound_m_s": acquisition.sound_speed_m_s,
        "pulse_delay_s": acquisition.pulse_delay_s,
        "pulse_frequency_hz": acquisition.center_frequency_hz,
        "sample_scale": acquisition.sample_scale,
        "sample_unit": acquisition.sample_unit,
        "reference_amplitude": acquisition.reference_amplitude,
        "slow_time": acquisition.slow_time,
        "probe_name": probe.name,
        "probe_kind": str(probe.kind),
        "probe_radius_m": probe.radius_m,
        "element_width_m": probe.element_width_m,
        "element_height_m": probe.element_height_m,
    }
    if math.isfinite(probe.elevation_focus_m):
        attributes["elevation_focus_m"] = probe.elevation_focus_m
    if acquisition.demodulation_hz > 0:
        attributes["demodulation_frequency_hz"] = acquisition.demodulation_hz
    return attributes


def write_geometry(file: h5py.File, acquisition: Acquisition) -> None:
    probe, sequence = acquisition.probe, acquisition.sequence
    file["element_positions_m"] = probe.element_positions_m
    file["element_normals"] = probe.element_normals
    transmit = file.create_group("transmit")
    kinds = [event.kind for event in sequence.events]
    transmit.attrs["type"] = str(kinds[0])
    if len(set(kinds)) > 1:
        transmit.create_dataset("types", data=[str(kind) for kind in kinds], dtype=h5py.string_dtype())
    transmit["t0_s"] = sequence.t0_s
    transmit["origins_m"] = sequence.origins_m
    transmit["angles_rad"] = sequence.angles_rad
    delays = sequence.delays_s
    # A scanned element has one firing position per transmit: mostly NaN, which compresses to nothing.
    transmit.create_dataset("delays_s", data=delays, compression="gzip" if delays.size > 1 << 16 else None)
    if acquisition.kind is DataKind.CHANNEL:
        receive = sequence.receive_elements
        transmit["receive_elements"] = receive
        transmit["receive_mask"] = (receive >= 0).astype(np.uint8)
    else:
        transmit.attrs["focus_depth_m"] = float(sequence.events[0].origin_m[2])
    if acquisition.lines is not None:
        lines = file.create_group("lines")
        lines["origins_m"] = acquisition.lines.origins_m
        lines["directions"] = acquisition.lines.directions
        lines["angles_rad"] = acquisition.lines.angles_rad
        lines.attrs["first_sample_m"] = acquisition.lines.first_m
        lines.attrs["sample_spacing_m"] = acquisition.lines.spacing_m
        lines.attrs["apex_distance_m"] = acquisition.lines.radius_m
    if acquisition.image is not None:
        image = file.create_group("image")
        for name in ("first_x_m", "first_z_m", "spacing_x_m", "spacing_z_m", "y_m"):
            image.attrs[name] = getattr(acquisition.image, name)
    if acquisition.layers:
        layers = file.create_group("layers")
        layers["speed_of_sound_m_s"] = [layer.sound_speed_m_s for layer in acquisition.layers]
        layers["thickness_m"] = [layer.thickness_m for layer in acquisition.layers]


def _data_kind(acquisition: Acquisition) -> str:
    if acquisition.kind is DataKind.LINES:
        return "lines_u8" if acquisition.sample_format is SampleFormat.LOG8 else "lines"
    if (
        acquisition.kind is DataKind.CHANNEL
        and acquisition.shape[:2] == (1, 1)
        and acquisition.probe.element_count == 1
    ):
        return "single"
    return str(acquisition.kind)
