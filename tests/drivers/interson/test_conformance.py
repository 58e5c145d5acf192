"""The Interson driver under the suite that every driver gets, against the emulated probe in memory."""

from __future__ import annotations

from sonod.drivers.base import Driver
from sonod.drivers.conformance import DriverConformance
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.interson import EmulatedInterson
from sonod.drivers.emulated.memory import Bus, MemoryBackend
from sonod.drivers.interson.driver import IntersonDriver


class TestInterson(DriverConformance):
    # The emulated probe draws its pictures, of a quarter of a million echoes each, in this process.
    allocation_limit_bytes = 32 << 20
    frame_count = 3

    def make_driver(self) -> Driver:
        clock = ManualClock()
        self.probe = EmulatedInterson("EMU00001", clock)
        bus = Bus()
        bus.attach(self.probe)
        return IntersonDriver("interson:", clock, MemoryBackend(bus))

    def unplug(self, driver: Driver) -> bool:
        self.probe.unplug()
        return True

    def silence(self, driver: Driver) -> bool:
        self.probe.faults.silent = True
        return True
