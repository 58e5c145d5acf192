"""The same probe, pulse, scatterers and transmission in sonod's simulation and in SIMUS of the package pymust."""

from __future__ import annotations

import importlib
import math

import numpy as np

from sonod.cext.pulse import Pulse
from sonod.cext.simulate import EchoModel, EchoSimulator, Meeting, Reflectors
from sonod.drivers.probe import ArrayKind, Probe
from sonod.drivers.sequence import TransmitEvent, TransmitKind
from sonod.drivers.simulated.wave import arrival_s

PROBES = ("L11-5v", "C5-2v")
KINDS = ("plane", "diverging", "focused")


class Twin:
    """One of pymust's probes in both programs, in the image plane alone. Attenuation in dB/cm/MHz."""

    def __init__(self, name: str, attenuation: float = 0.0) -> None:
        self.pymust = importlib.import_module("pymust")
        param = self.pymust.getparam(name)
        param.c, param.attenuation, param.fs = 1540.0, attenuation, 4 * param.fc
        # In the image plane alone, as both can do exactly.
        param.height = param.focus = math.inf
        x, z, angle, apothem = (np.asarray(part, float).ravel() for part in param.getElementPositions())
        positions = np.stack([x, np.zeros_like(x), z], axis=1)
        normals = np.stack([np.sin(angle), np.zeros_like(x), np.cos(angle)], axis=1)
        frequency = np.linspace(0.25, 1.75, 601) * param.fc
        omega = 2 * np.pi * frequency
        # What SIMUS writes down for its pulse, in the sign of its transform.
        spectrum = np.conj(param.getPulseSpectrumFunction(None)(omega)) * param.getProbeFunction()(omega) ** 2
        peak = abs(spectrum.sum() * (frequency[1] - frequency[0]))
        pulse = Pulse(float(param.fc), frequency, spectrum / peak)
        convex = math.isfinite(param.radius)
        self.param = param
        self.probe = Probe(
            name,
            ArrayKind.CURVILINEAR if convex else ArrayKind.LINEAR,
            positions,
            float(param.fc),
            element_width_m=float(param.width),
            radius_m=float(param.radius) if convex else 0.0,
            element_normals=normals,
        )
        self.apothem = float(apothem[0])
        self.model = EchoModel(
            positions_m=positions,
            normals=normals,
            element_width_m=float(param.width),
            sound_speed_m_s=1540.0,
            attenuation_np_m_hz=attenuation * 100 / 1e6 / 8.69,
            farthest_m=0.4,
            sampling_hz=float(param.fs),
            pulse=pulse,
        )

    def theirs(
        self, x: np.ndarray, z: np.ndarray, delays: np.ndarray, *, split: bool, strength: np.ndarray | None = None
    ) -> np.ndarray:
        """(channels, samples)"""
        param = self.pymust.utils.Param()
        param.update(self.param)
        param.TXapodization = np.where(np.isnan(delays), 0.0, 1.0)
        options = self.pymust.utils.Options()
        options.dBThresh = -100
        if not split:
            options.ElementSplitting = 1
        rf, _ = self.pymust.simus(
            x, z, np.ones_like(x) if strength is None else strength, np.nan_to_num(delays)[None], param, options
        )
        # Its transform back divides by the length of the record, which depends on where the farthest scatterer is.
        return np.asarray(rf, float).T * len(rf)

    def ours(
        self, event: TransmitEvent, x: np.ndarray, z: np.ndarray, samples: int, strength: np.ndarray | None = None
    ) -> np.ndarray:
        """(channels, samples)"""
        simulator = EchoSimulator(self.model)
        own = Reflectors.points(x, z, np.ones_like(x) if strength is None else strength)
        arrival = arrival_s(event, self.probe, x, z, 1540.0)[None]
        weights = np.where(np.isnan(event.delays_s), 0.0, 1.0)[None]
        amplitude = simulator.amplitude(own.x_m, own.z_m, event.delays_s[None], weights, arrival)
        meeting = Meeting(arrival, amplitude, np.zeros_like(arrival, np.float32))
        start = np.array([np.nanmean(event.delays_s)])
        return np.asarray(simulator.echoes(own, meeting, np.zeros(1), samples, start)[0], float)

    def event(self, kind: str) -> TransmitEvent:
        """A transmission whose first element fires at 0, as SIMUS counts."""
        positions = self.probe.element_positions_m
        count = len(positions)
        receive = np.arange(count, dtype=np.int32)
        if kind == "single":
            delays = np.full(count, np.nan)
            delays[count // 3] = 0.0
            return TransmitEvent(TransmitKind.SINGLE_ELEMENT, delays, positions[count // 3], receive)
        if kind == "plane":
            delays = (positions[:, 0] * math.sin(0.1) + positions[:, 2] * math.cos(0.1)) / 1540
            origin, own = np.zeros(3), TransmitKind.PLANE
        elif kind == "diverging":
            origin, own = np.array([0.0, 0.0, -25e-3]), TransmitKind.DIVERGING
            delays = np.linalg.norm(positions - origin, axis=1) / 1540
        else:
            depth = 30e-3 if self.probe.kind is ArrayKind.LINEAR else 60e-3
            origin, own = np.array([2e-3, 0.0, depth]), TransmitKind.FOCUSED
            delays = -np.linalg.norm(positions - origin, axis=1) / 1540
        # A plane wave keeps its own time zero, which `arrival_s` counts from.
        shift = delays.min()
        if kind == "plane":
            return TransmitEvent(own, delays - shift, origin, receive, 0.1, shift)
        return TransmitEvent(own, delays - shift, origin, receive)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / math.sqrt((a**2).sum() * (b**2).sum()))


def amplitude_ratio_db(ours: np.ndarray, theirs: np.ndarray, unit: float) -> float:
    return 20 * math.log10(float((ours * theirs).sum() / (theirs * theirs).sum()) / unit)


def targets(twin: Twin) -> tuple[np.ndarray, np.ndarray]:
    """Places in front of the probe, near and far, in the middle and aside."""
    if twin.probe.kind is ArrayKind.LINEAR:
        x, z = np.meshgrid([-12e-3, 0.0, 7e-3], [12e-3, 25e-3, 45e-3])
        return x.ravel(), z.ravel()
    angle, radius = np.meshgrid([-0.35, 0.0, 0.2], float(twin.param.radius) + np.array([25e-3, 60e-3, 110e-3]))
    return (radius * np.sin(angle)).ravel(), (radius * np.cos(angle)).ravel() - twin.apothem


def counted_from_zero(event: TransmitEvent, twin: Twin) -> TransmitEvent:
    """The event as `arrival_s` needs it: a plane wave with a virtual source far behind."""
    if event.kind is not TransmitKind.PLANE:
        return event
    far = 50.0
    origin = -far * np.array([math.sin(event.angle_rad), 0.0, math.cos(event.angle_rad)])
    return TransmitEvent(TransmitKind.DIVERGING, event.delays_s, origin, event.receive_elements)


def image_of_point(
    twin: Twin, event: TransmitEvent, rf: np.ndarray, x: float, z: float, wavelength: float
) -> tuple[float, float, float, float]:
    """-6 dB width and depth of the point's picture and the place of its brightest spot."""
    step = wavelength / 12
    across = x + np.arange(-36, 37) * step
    down = z + np.arange(-24, 25) * step
    size = image(twin, event, rf, *np.meshgrid(across, down), z / 3)
    row, column = np.unravel_index(size.argmax(), size.shape)
    return width(size[row]) * step, width(size[:, column]) * step, float(across[column]), float(down[row])


def image(
    twin: Twin, event: TransmitEvent, rf: np.ndarray, x: np.ndarray, z: np.ndarray, half_aperture: float | np.ndarray
) -> np.ndarray:
    """Delay and sum of analytic traces over the elements within `half_aperture` of each place: magnitude."""
    sent = arrival_s(counted_from_zero(event, twin), twin.probe, x, z, 1540.0)
    fine, count = 8, rf.shape[1]
    spectrum = np.fft.fft(rf, axis=1)
    padded = np.zeros((len(rf), fine * count), complex)
    padded[:, : count // 2] = 2 * fine * spectrum[:, : count // 2]
    total = np.zeros(x.shape, complex)
    for element, trace in zip(twin.probe.element_positions_m, np.fft.ifft(padded, axis=1), strict=True):
        time = sent + np.hypot(x - element[0], z - element[2]) / 1540
        at = np.clip(np.rint(time * twin.model.sampling_hz * fine).astype(int), 0, fine * count - 1)
        total += trace[at] * (np.abs(element[0] - x) <= half_aperture)
    return np.abs(total)


def width(profile: np.ndarray) -> float:
    """Full width at half of the highest value, in steps."""
    fine = np.interp(np.linspace(0, len(profile) - 1, 20 * len(profile)), np.arange(len(profile)), profile)
    return float((fine > fine.max() / 2).sum()) / 20
