"""The front-end's clock on the host's: what the driver states holds against the true times of firing."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from sonod.drivers.bulk.driver import BulkDriver
from sonod.drivers.device_time import MOST_BITS
from sonod.drivers.emulated.bulk import BulkFrontEnd
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.device import Data, Setup
from sonod.drivers.emulated.memory import Bus, MemoryBackend
from sonod.drivers.errors import DriverTimeout
from sonod.drivers.frame import Slot
from sonod.drivers.settings import change_settings, default_settings

# Where a counter of 64 bits ends.
END = 1 << 64
# What of it the driver keeps.
KEPT = 1 << MOST_BITS


class SlowLink(BulkFrontEnd):
    """Requests and data take a while, now and then a long one."""

    def __init__(self, seed: int, drift: float, first_ns: int, clock: ManualClock) -> None:
        self.random = random.Random(seed)
        super().__init__(clock=clock, phantom="wires", probe="phased", drift=drift, first_ns=first_ns)

    def control(self, setup: Setup, data: bytes) -> bytes:
        self._pass(40e-6, 100e-6)
        answer = super().control(setup, data)
        self._pass(20e-6, 100e-6)
        return answer

    def bulk_in(self, endpoint: int, length: int) -> Data | None:
        self._pass(10e-6, 50e-6)
        return super().bulk_in(endpoint, length)

    def _pass(self, least_s: float, usual_s: float) -> None:
        late = 4e-3 if self.random.random() < 0.05 else usual_s
        self.clock.sleep_until(self.clock.now_ns() + int((least_s + self.random.expovariate(1 / late)) * 1e9))


@dataclass
class Stamp:
    """One frame's times."""

    ticks: int
    transmit_ns: int
    uncertainty_ns: int
    true_ns: int
    epoch: int


class Bench:
    """A driver on a front-end behind a slow link."""

    def __init__(self, seed: int, drift: float, first_ns: int) -> None:
        self.clock = ManualClock(1 << 50)
        self.board = SlowLink(seed, drift, first_ns, self.clock)
        bus = Bus()
        bus.attach(self.board)
        self.driver = BulkDriver("bulk:1209:0001", MemoryBackend(bus), self.clock)
        self.slot = Slot(0)
        self.stamps: list[Stamp] = []
        self._rate_hz = 40.0

    def open(self) -> None:
        self.driver.open()
        self.change_settings()

    def change_settings(self) -> None:
        knobs = self.driver.knobs()
        self._rate_hz = 65.0 - self._rate_hz
        wish = {"depth_m": knobs["depth_m"].minimum, "angle_count": 1, "frame_rate_hz": self._rate_hz}
        self.driver.apply(self.driver.prepare(change_settings(default_settings(knobs), wish, knobs)))

    def read(self, count: int) -> None:
        for _ in range(count):
            self.driver.read_into(self.slot, 5.0)
            slot, true = self.slot, {ticks % KEPT: host_ns for ticks, host_ns in self.board.true_times}
            assert slot.device_clock is not None
            at, uncertainty_ns = slot.device_clock.at(slot.device_ticks)
            assert slot.transmit_ns == min(at, slot.first_byte_ns)
            assert slot.transmit_uncertainty_ns == uncertainty_ns
            self.stamps.append(
                Stamp(
                    slot.device_ticks,
                    slot.transmit_ns,
                    uncertainty_ns,
                    true[slot.device_ticks % KEPT],
                    slot.device_clock.epoch,
                )
            )

    def outside(self) -> int:
        """Frames whose true time is farther away than stated."""
        return sum(abs(stamp.transmit_ns - stamp.true_ns) > stamp.uncertainty_ns for stamp in self.stamps)

    def assert_no_jumps(self) -> None:
        for one, two in itertools.pairwise(self.stamps):
            assert two.transmit_ns > one.transmit_ns, "never back"
            error = (two.transmit_ns - one.transmit_ns) - (two.true_ns - one.true_ns)
            assert abs(error) <= one.uncertainty_ns + two.uncertainty_ns, "never a jump"


@contextmanager
def front_end(seed: int = 1, drift: float = 31e-6, first_ns: int = 0) -> Iterator[Bench]:
    bench = Bench(seed, drift, first_ns)
    bench.open()
    bench.driver.start()
    yield bench
    bench.driver.close()


def test_stated_uncertainty_holds_for_999_of_1000_frames() -> None:
    with front_end(drift=-87e-6) as bench:
        for part in range(20):
            bench.read(50)
            bench.change_settings()
            bench.read(50)
            if part % 5 == 4:
                # Frozen.
                bench.driver.stop()
                bench.clock.advance(7.0)
                bench.driver.start()
        assert bench.outside() <= len(bench.stamps) // 1000
        bench.assert_no_jumps()
        assert {stamp.epoch for stamp in bench.stamps} == {0}
        # A request takes 0.2 ms or so; a few minutes of them know the clock to a part of it.
        last = sorted(stamp.uncertainty_ns for stamp in bench.stamps[-500:])
        assert last[len(last) // 2] < 60_000
        line = bench.slot.device_clock
        assert line is not None
        assert abs(line.ns_per_tick - 1 / (1 - 87e-6)) < 3e-6


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 1 << 30),
    st.floats(-150e-6, 150e-6),
    # The counter ends and begins again while frames come, or is somewhere else.
    st.one_of(st.integers(END - 4_000_000_000, END - 1), st.integers(0, END - 1)),
    st.lists(st.sampled_from(["read", "freeze", "settings", "reconnect", "late"]), min_size=3, max_size=8),
)
def test_it_holds_whatever_happens(seed: int, drift: float, first_ns: int, steps: list[str]) -> None:
    with front_end(seed, drift, first_ns) as bench:
        for step in steps:
            bench.read(30)
            if step == "freeze":
                bench.driver.stop()
                bench.clock.advance(bench.board.random.uniform(0.1, 100))
                bench.driver.start()
            elif step == "settings":
                bench.change_settings()
            elif step == "reconnect":
                bench.driver.close()
                # Powered off and on again: the clock begins anew.
                bench.clock.advance(2.0)
                bench.board.unplug()
                bench.board.plug()
                bench.open()
                bench.driver.start()
            elif step == "late":
                # Nobody reads for a while; what waited is stamped with when it was fired.
                bench.clock.advance(0.3)
        bench.read(30)
        assert bench.outside() == 0
        bench.assert_no_jumps()
        assert bench.stamps[-1].epoch == steps.count("reconnect")
        within = [pair for pair in itertools.pairwise(bench.stamps) if pair[0].epoch == pair[1].epoch]
        assert all(two.ticks > one.ticks for one, two in within), "ticks go on over the counter's end"


def test_device_whose_clock_begins_anew_in_the_middle_is_found_out() -> None:
    with front_end() as bench:
        bench.read(100)
        bench.board.reset_clock()
        # Until it is asked the next time.
        for _ in range(40):
            bench.driver.read_into(bench.slot, 5.0)
        bench.stamps.clear()
        bench.read(200)
        assert bench.outside() == 0
        assert {stamp.epoch for stamp in bench.stamps} == {1}


def test_frame_finished_in_another_slot_keeps_its_times() -> None:
    with front_end() as bench:
        bench.read(5)
        configuration = bench.driver.configuration
        assert configuration is not None
        knobs = bench.driver.knobs()
        wish = {"angle_count": 32, "frame_rate_hz": 10.0}
        bench.driver.apply(bench.driver.prepare(change_settings(configuration.settings, wish, knobs)))
        bench.stamps.clear()
        slots = [Slot(0), Slot(0)]
        bench.driver.read_into(slots[0], 5.0)
        whole = bench.driver.stream_counters.messages
        while bench.driver.stream_counters.messages == whole:
            with suppress(DriverTimeout):
                # The shots of one frame take some milliseconds.
                bench.driver.read_into(slots[0], 0.002)
        assert bench.driver.stream_counters.messages < whole + 32
        bench.slot = slots[1]
        bench.read(1)
        assert bench.outside() == 0
