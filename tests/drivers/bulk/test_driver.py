"""The bulk driver on an emulated front-end: the suite for every driver, and what is its own."""

from __future__ import annotations

from sonod.drivers.base import Driver
from sonod.drivers.bulk.driver import BulkDriver
from sonod.drivers.conformance import DriverConformance
from sonod.drivers.emulated.bulk import BulkFrontEnd
from sonod.drivers.emulated.memory import Bus, MemoryBackend


class TestBulkConformance(DriverConformance):
    """On the in-memory bus."""

    def make_driver(self) -> Driver:
        self.board = BulkFrontEnd(phantom="wires", probe="phased")
        bus = Bus()
        bus.attach(self.board)
        return BulkDriver("bulk:1209:0001", MemoryBackend(bus))

    def unplug(self, driver: Driver) -> bool:
        self.board.unplug()
        return True

    def silence(self, driver: Driver) -> bool:
        self.board.faults.silent = True
        return True
