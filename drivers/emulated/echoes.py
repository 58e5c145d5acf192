"""Echoes for emulated array front-ends: what the simulated probe would hear after the firings of a sequence table."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sonod.drivers.bulk.protocol import TICK_S, Geometry
from sonod.drivers.bulk.table import NOT_CONNECTED, SILENT, Shot, Table
from sonod.drivers.probe import ArrayKind, FloatArray, Probe
from sonod.drivers.probe_file import ProbeFile, load_probe
from sonod.drivers.sequence import Sequence, TransmitEvent, TransmitKind
from sonod.drivers.simulated.driver import SimulatedDriver
from sonod.drivers.simulated.render import Renderer
from sonod.drivers.simulated.scene_file import load_scene

# Delays of a plane wave lie on a plane to within rounding.
PLANE_TOLERANCE_S = 5e-9
SOUND_SPEED_M_S = 1540.0
# A front-end's own time gain makes up for the attenuation of tissue (0.5 dB/cm/MHz, both ways) up to this much.
MOST_TIME_GAIN_DB = 60.0
GEOMETRIES = {
    ArrayKind.LINEAR: Geometry.LINEAR,
    ArrayKind.CURVILINEAR: Geometry.CURVILINEAR,
    ArrayKind.PHASED: Geometry.PHASED,
}


class SimulatedScene:
    """A scene of the simulated probe, by name or file, before one of the simulated probes; "" = that of the scene."""

    def __init__(self, phantom: str = "needle", probe: str = "") -> None:
        self._driver = SimulatedDriver(f"sim:{phantom}?probe={probe}" if probe else f"sim:{phantom}")
        self._driver.open()
        self.file: ProbeFile = load_probe(probe or load_scene(phantom).scene.probe)

    @property
    def probe(self) -> Probe:
        return self.file.probe

    def renderer(self, table: Table) -> Renderer:
        """Frames of all shots of a table, `(shots, elements, samples)`; takes a fraction of a second."""
        sequence = Sequence(tuple(self._event(shot) for shot in table.shots))
        time_s = np.arange(table.samples) / table.sampling_hz
        frequency = float(table.shots[0].frequency_hz)
        own = 100 * time_s * SOUND_SPEED_M_S * frequency / 1e6 * 0.5
        decibels = np.minimum(own, MOST_TIME_GAIN_DB)
        if table.gain_centi_db:
            points_s = np.arange(len(table.gain_centi_db)) * table.gain_spacing_ns * 1e-9
            decibels = decibels + np.interp(time_s, points_s, np.array(table.gain_centi_db) / 100)
        gain = np.asarray(10 ** (decibels / 20), dtype=np.float32)
        level = float(np.mean([shot.amplitude for shot in table.shots])) / 0xFFFF
        return self._driver.renderer_for(sequence, frequency, table.samples, gain, level, float(table.sampling_hz))

    def _event(self, shot: Shot) -> TransmitEvent:
        delays = np.where(shot.delay_ticks == SILENT, np.nan, shot.delay_ticks * TICK_S)
        receive = np.arange(len(delays), dtype=np.int32)
        kind, origin, angle = recognise(delays, self.probe)
        return TransmitEvent(kind, delays, origin, receive, angle, shot.start_ticks * TICK_S)


def channels_of(frame: NDArray[np.int16], shot: Shot, index: int, out: NDArray[np.int16]) -> None:
    """The channels that a shot keeps into `out (channels, samples)`; a channel that is not connected hears nothing."""
    frame[index].take(shot.receive, axis=0, out=out, mode="clip")
    out[shot.receive == NOT_CONNECTED] = 0


def recognise(delays_s: FloatArray, probe: Probe) -> tuple[TransmitKind, FloatArray, float]:
    """Kind, origin (3,) and angle of the wave that these delays (NaN = silent) make in a medium of 1540 m/s."""
    c = SOUND_SPEED_M_S
    firing = np.isfinite(delays_s)
    places, delays = probe.element_positions_m[firing], delays_s[firing]
    if len(places) == 1:
        return TransmitKind.SINGLE_ELEMENT, places[0], 0.0
    x, z = places[:, 0], places[:, 2]
    slope = float(np.polyfit(x, delays, 1)[0])
    angle = math.asin(max(-1.0, min(1.0, slope * c)))
    plane = (x * math.sin(angle) + z * math.cos(angle)) / c
    if firing.all() and np.abs(delays - plane).max() < PLANE_TOLERANCE_S:
        return TransmitKind.PLANE, np.zeros(3), angle
    # c (t - t0) = +-|e - o| squared is linear in t0, o and one more constant.
    rows = np.stack([2 * c * c * delays, -2 * x, -2 * z, np.ones(len(x))], axis=1)
    scale = np.abs(rows).max(axis=0)
    scale[scale == 0] = 1.0
    found = np.linalg.lstsq(rows / scale, (c * delays) ** 2 - x**2 - z**2, rcond=None)[0] / scale
    t0, across, constant = float(found[0]), float(found[1]), float(found[3])
    if np.ptp(z) > 1e-6:
        depth = float(found[2])
    else:
        depth = math.sqrt(max(constant + (c * t0) ** 2 - across**2, 1e-12))
        # Outer elements that fire later make a wave that spreads from behind the face.
        depth = -depth if np.polyfit(x, delays, 2)[0] > 0 else depth
    origin = np.array([across, 0.0, depth])
    behind = float(np.mean(delays - np.linalg.norm(places - origin, axis=1) / c))
    ahead = float(np.mean(delays + np.linalg.norm(places - origin, axis=1) / c))
    spread_behind = np.abs(delays - np.linalg.norm(places - origin, axis=1) / c - behind).max()
    spread_ahead = np.abs(delays + np.linalg.norm(places - origin, axis=1) / c - ahead).max()
    return (TransmitKind.DIVERGING if spread_behind <= spread_ahead else TransmitKind.FOCUSED), origin, 0.0
