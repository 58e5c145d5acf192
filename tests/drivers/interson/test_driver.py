"""The Interson driver against the emulated probe: where echoes appear, what losses count, when it transmits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from sonod.drivers.base import DriverState
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.interson import EmulatedInterson
from sonod.drivers.emulated.memory import Bus, MemoryBackend
from sonod.drivers.errors import Disconnected, ProtocolError
from sonod.drivers.frame import Slot
from sonod.drivers.interson.driver import IntersonDriver
from sonod.drivers.interson.protocol import frequency_hz
from sonod.drivers.settings import default_settings


@dataclass
class Bench:
    clock: ManualClock
    probe: EmulatedInterson
    backend: MemoryBackend
    driver: IntersonDriver

    def run(self, **settings: object) -> Slot:
        if self.driver.state is DriverState.CLOSED:
            self.driver.open()
        usual = default_settings(self.driver.knobs())
        configuration = self.driver.prepare(replace(usual, **settings))  # type: ignore[arg-type]
        self.driver.apply(configuration)
        if self.driver.state is DriverState.OPEN:
            self.driver.start()
        return Slot(configuration.acquisition.nbytes)


@pytest.fixture
def make() -> Iterator[Callable[..., Bench]]:
    drivers = []

    def build(options: str = "") -> Bench:
        clock, bus = ManualClock(), Bus()
        probe = EmulatedInterson("A1", clock)
        bus.attach(probe)
        backend = MemoryBackend(bus)
        driver = IntersonDriver(f"interson:{options}", clock, backend)
        drivers.append(driver)
        return Bench(clock, probe, backend, driver)

    yield build
    for driver in drivers:
        driver.close()


Make = Callable[..., Bench]


@pytest.mark.parametrize("place", [(0.0, 0.045), (-0.6 * 0.5 * 0.04, 0.04), (0.6 * 0.5 * 0.055, 0.055)])
def test_a_reflector_appears_at_its_angle_and_depth(make: Make, place: tuple[float, float]) -> None:
    bench = make()
    slot = bench.run()
    bench.driver.read_into(slot, 2.0)
    assert slot.configuration is not None
    geometry = slot.configuration.acquisition.lines
    assert geometry is not None
    x, z = place
    angle, distance = np.arctan2(x, z + 0.01), np.hypot(x, z + 0.01) - 0.01
    depths = geometry.first_m + np.arange(geometry.count) * geometry.spacing_m
    window = np.flatnonzero(np.abs(depths - distance) < 0.002)
    near = np.flatnonzero(np.abs(geometry.angles_rad - angle) < 0.1)
    patch = slot.data[0][np.ix_(near, window)].astype(float)
    loud = patch >= patch.max() - 2
    lines, samples = np.nonzero(loud)
    assert geometry.angles_rad[near[lines]].mean() == pytest.approx(angle, abs=0.01)
    assert depths[window[samples]].mean() == pytest.approx(distance, abs=3e-4)


def test_what_the_probe_does_reads_back(make: Make) -> None:
    bench = make()
    bench.driver.open()
    asked = replace(default_settings(bench.driver.knobs()), transmit_frequency_hz=5.1e6, frame_rate_hz=11.0)
    real = bench.driver.prepare(asked).settings
    assert real.transmit_frequency_hz == frequency_hz(9)
    assert real.frame_rate_hz == 10.0


def test_output_level_zero_is_dark(make: Make) -> None:
    bench = make()
    bright = bench.run()
    bench.driver.read_into(bright, 2.0)
    dark = bench.run(output_level=0.0)
    bench.driver.read_into(dark, 2.0)
    assert dark.data[0][:, 300:500].max() < bright.data[0][:, 300:500].max() - 50


@pytest.mark.parametrize(
    ("fault", "lost"),
    [({"drop_frames": 2}, 4), ({"corrupt_frames": 1}, 2), ({"bus_errors": 3}, 0), ({"halt": {0x82}}, 0)],
)
def test_missing_frames_are_counted_by_their_numbers(make: Make, fault: dict[str, object], lost: int) -> None:
    bench = make()
    slot = bench.run()
    bench.driver.read_into(slot, 2.0)
    for _ in range(2):
        for name, value in fault.items():
            setattr(bench.probe.faults, name, value)
        for _ in range(5):
            bench.driver.read_into(slot, 2.0)
    assert bench.driver.counters.lost == lost
    assert slot.number == 11 + lost


def test_a_reader_that_pauses_loses_frames_and_knows_how_many(make: Make) -> None:
    bench = make()
    slot = bench.run()
    for _ in range(3):
        bench.driver.read_into(slot, 2.0)
    # Seven frames are made meanwhile; the probe and the driver hold some of them, in parts.
    bench.clock.advance(7 / 15)
    begun = bench.clock.now_ns()
    for _ in range(5):
        bench.driver.read_into(slot, 2.0)
    elapsed = (bench.clock.now_ns() - begun) / 1e9
    assert bench.driver.counters.lost >= 5
    assert bench.driver.counters.lost + 8 == pytest.approx(10 + elapsed * 15, abs=2)


def test_a_short_packet_costs_one_frame(make: Make) -> None:
    bench = make()
    slot = bench.run()
    bench.driver.read_into(slot, 2.0)
    bench.probe.faults.short_packets = 1
    for _ in range(4):
        bench.driver.read_into(slot, 2.0)
    assert bench.driver.counters.lost == 1


def test_unplugged_in_the_middle_of_a_frame(make: Make) -> None:
    bench = make()
    slot = bench.run()
    bench.driver.read_into(slot, 2.0)
    bench.probe.faults.unplug_after_bytes = 100_000
    with pytest.raises(Disconnected):
        bench.driver.read_into(slot, 2.0)
    bench.driver.close()
    assert bench.backend.open_handles == 0


def test_a_stream_without_numbers_is_a_protocol_error(make: Make) -> None:
    bench = make()
    slot = bench.run()
    bench.probe.faults.garbage_bytes = 1 << 24
    with pytest.raises(ProtocolError, match="no numbers where they should"):
        bench.driver.read_into(slot, 20.0)


def test_high_voltage_and_motor_are_on_only_while_running(make: Make) -> None:
    bench = make()
    bench.driver.open()
    assert not bench.probe.transmitting
    slot = bench.run()
    assert bench.probe.transmitting
    assert bench.probe.turning
    bench.driver.read_into(slot, 2.0)
    bench.driver.stop()
    assert not bench.probe.transmitting
    assert not bench.probe.turning
    bench.driver.start()
    bench.driver.close()
    assert not bench.probe.transmitting
    assert bench.probe._registers[0x0200] == 0


def test_the_name_says_that_the_geometry_is_assumed_until_it_is_given(make: Make) -> None:
    assumed, given = make(), make("?sector_rad=1.2&radius_m=0.012&range_m=0.08")
    for bench in (assumed, given):
        bench.driver.open()
    assert "geometry assumed" in assumed.driver.probe.name
    assert "assumed" not in given.driver.probe.name
    acquisition = given.driver.prepare(default_settings(given.driver.knobs())).acquisition
    assert acquisition.lines is not None
    assert np.ptp(acquisition.lines.angles_rad) == pytest.approx(1.2)
