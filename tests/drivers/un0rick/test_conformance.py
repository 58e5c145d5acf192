"""The un0rick driver under the suite that every driver gets, against the emulated board in memory."""

from __future__ import annotations

from sonod.drivers.base import Driver
from sonod.drivers.conformance import DriverConformance
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.memory import Bus, MemoryBackend
from sonod.drivers.emulated.un0rick import EmulatedUn0rick
from sonod.drivers.un0rick.driver import Un0rickDriver


class TestUn0rick(DriverConformance):
    options = ""
    # The emulated board computes its lines, 16384 samples each, in this process.
    allocation_limit_bytes = 4 << 20

    def make_driver(self) -> Driver:
        clock = ManualClock()
        self.board = EmulatedUn0rick("EMU00001", clock)
        bus = Bus()
        bus.attach(self.board)
        return Un0rickDriver(f"un0rick:{self.options}", clock, MemoryBackend(bus))

    def unplug(self, driver: Driver) -> bool:
        self.board.unplug()
        return True

    def silence(self, driver: Driver) -> bool:
        self.board.faults.silent = True
        return True


class TestDoubleRate(TestUn0rick):
    options = "?double=1"


class TestSweep(TestUn0rick):
    options = "?lines=4&sweep_rad=0.5&apex_m=0.01"
    frame_count = 2


class TestSummedLines(TestUn0rick):
    options = "?lines=3"
    frame_count = 3
