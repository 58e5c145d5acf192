"""A simulated probe that runs in a test, and what is bright in its raw frames."""

from __future__ import annotations

import numpy as np
from fake_clock import FakeClock
from numpy.typing import NDArray

from sonod.drivers.frame import Acquisition, Slot
from sonod.drivers.settings import Settings, change_settings, default_settings
from sonod.drivers.simulated.driver import SimulatedDriver
from sonod.drivers.simulated.wave import arrival_s

PROBES = ("linear", "curvilinear", "phased")


class Running:
    """A started driver with a clock of its own."""

    def __init__(self, uri: str, **changes: object) -> None:
        self.clock = FakeClock()
        self.driver = SimulatedDriver(uri, self.clock)
        self.driver.open()
        self.settings = change_settings(default_settings(self.driver.knobs()), changes, self.driver.knobs())
        self.slot = Slot(0)
        self.apply(self.settings)
        self.driver.start()

    def apply(self, settings: Settings) -> None:
        self.settings = settings
        self.driver.apply(self.driver.prepare(settings))

    def change(self, **changes: object) -> None:
        self.apply(change_settings(self.settings, changes, self.driver.knobs()))

    @property
    def acquisition(self) -> Acquisition:
        assert self.driver.configuration is not None
        return self.driver.configuration.acquisition

    def read(self) -> NDArray[np.int16]:
        self.driver.read_into(self.slot, 1.0)
        return self.slot.data.copy()


def focused_sum(acquisition: Acquisition, data: NDArray[np.int16], x: NDArray[np.float64], z: NDArray[np.float64]):
    """Magnitude of the delayed sum over all elements and transmissions at points (x, z)."""
    probe, c, center = acquisition.probe, acquisition.sound_speed_m_s, acquisition.pulse_frequency_hz
    total = np.zeros(x.shape, complex)
    places = np.arange(data.shape[2])
    for event, traces in zip(acquisition.sequence.events, data, strict=True):
        sent = arrival_s(event, probe, x, z, c)
        for element, trace in zip(probe.element_positions_m, traces, strict=True):
            back = np.hypot(x - element[0], z - element[2]) / c
            time = sent + back + acquisition.pulse_delay_s
            at = (time - event.t0_s) * acquisition.sampling_hz
            mixed = trace * np.exp(-2j * np.pi * center * places / acquisition.sampling_hz)
            smooth = np.convolve(mixed, np.hanning(9) / 4, "same")
            value = np.interp(at, places, smooth.real) + 1j * np.interp(at, places, smooth.imag)
            total += value * np.exp(2j * np.pi * center * (time - event.t0_s))
    return np.abs(total)


def brightest(
    acquisition: Acquisition, data: NDArray[np.int16], x: float, z: float, reach: float
) -> tuple[float, float]:
    step = np.linspace(-reach, reach, 41)
    grid_x, grid_z = np.meshgrid(x + step, z + step)
    at = np.unravel_index(focused_sum(acquisition, data, grid_x, grid_z).argmax(), grid_x.shape)
    return float(grid_x[at]), float(grid_z[at])
