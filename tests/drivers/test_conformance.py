"""Our own drivers under the suite that every driver gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_clock import FakeClock
from recordings import write_recording

from sonod.drivers.base import Driver
from sonod.drivers.conformance import DriverConformance
from sonod.drivers.replay.driver import ReplayDriver
from sonod.drivers.simulated.driver import SimulatedDriver


class TestSimulatedLinear(DriverConformance):
    def make_driver(self) -> Driver:
        return SimulatedDriver("sim:wires", FakeClock())


class TestSimulatedNeedle(DriverConformance):
    def make_driver(self) -> Driver:
        return SimulatedDriver("sim:needle?probe=phased", FakeClock())


class TestSimulatedFocused(DriverConformance):
    frame_count = 2

    def make_driver(self) -> Driver:
        return SimulatedDriver("sim:wires?probe=phased&sequence=focused", FakeClock())


class TestReplay(DriverConformance):
    @pytest.fixture(autouse=True)
    def _recording(self, tmp_path: Path) -> None:
        self.path = write_recording(tmp_path / "short.h5", frames=3)

    def make_driver(self) -> Driver:
        return ReplayDriver(f"replay:{self.path}?rate=50", FakeClock())


class TestReplayFromDisk(TestReplay):
    """A recording too large for memory is read frame by frame."""

    @pytest.fixture(autouse=True)
    def _small_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sonod.drivers.replay.driver.RESIDENT_BYTES", 0)
