"""The device's clock against the host's: the stated uncertainty holds, and nothing jumps."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from sonod.drivers.clock import ClockFit
from sonod.drivers.device_time import DeviceTime
from sonod.drivers.frame import Slot
from sonod.drivers.settings import change_settings, default_settings
from sonod.drivers.simulated.driver import SimulatedDriver


@dataclass
class Device:
    """A clock that is wrong by a constant rate and has its own zero."""

    drift: float
    tick_ns: float
    zero_ns: int = 0

    def ticks(self, host_ns: int) -> int:
        return int((host_ns - self.zero_ns) * (1 + self.drift) // self.tick_ns)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-150e-6, 150e-6),
    st.sampled_from([1.0, 8.0, 100.0, 1000.0]),
    st.integers(0, 1 << 48),
    st.integers(0, 1 << 30),
)
def test_true_time_lies_within_the_stated_uncertainty(drift: float, tick_ns: float, zero: int, seed: int) -> None:
    r = random.Random(seed)
    now = (1 << 49) + r.randrange(1 << 40)
    device, fit = Device(drift, tick_ns, now - zero // 4), ClockFit(tick_ns)
    for _ in range(100):
        # Frames, exchanges now and then late, and pauses as from a freeze.
        now += int(r.choice([0.05e9, 0.3e9, 1e9, 20e9 if r.random() < 0.05 else 0.1e9]))
        if fit.line is None or r.random() < 0.3:
            trip = int(r.expovariate(1 / (5e6 if r.random() < 0.1 else 1e5))) + 20_000
            fit.observe(device.ticks(now - int(trip * r.random())), now - trip, now)
        fired = now - int(r.uniform(1e5, 3e6))
        ticks = device.ticks(fired)
        fit.observe(ticks, None, fired + int(r.expovariate(1 / 2e5)) + 10_000)
        assert fit.line is not None
        estimate, uncertainty = fit.line.at(ticks)
        assert abs(estimate - fired) <= uncertainty
    assert fit.line.epoch == 0


def test_line_finds_the_rate_and_shrinks() -> None:
    device, fit = Device(40e-6, 100.0), ClockFit(100.0)
    r = random.Random(3)
    for second in range(1, 60):
        now = second * 1_000_000_000
        fit.observe(device.ticks(now - r.randrange(150_000)), now - 150_000, now)
    assert fit.line is not None
    assert fit.line.ns_per_tick == pytest.approx(100 / (1 + 40e-6), rel=3e-6)
    assert fit.line.uncertainty_ns < 75_000


def test_clock_that_begins_anew_has_a_new_epoch() -> None:
    device, fit = Device(0, 1.0), ClockFit(1.0)
    for second in range(1, 5):
        fit.observe(device.ticks(second * 10**9), second * 10**9 - 1000, second * 10**9)
    device.zero_ns = 20 * 10**9
    for second in range(21, 24):
        fit.observe(device.ticks(second * 10**9), second * 10**9 - 1000, second * 10**9)
        assert fit.line is not None
        estimate, uncertainty = fit.line.at(device.ticks(second * 10**9))
        assert abs(estimate - second * 10**9) <= uncertainty
    assert fit.line.epoch == 1


def test_arrivals_alone_give_no_line() -> None:
    fit = ClockFit(1.0)
    for now in range(1, 100):
        fit.observe(now * 10**7, None, now * 10**7 + 5)
    assert fit.line is None


def test_simulated_ledger_keeps_its_word_through_freezes_and_settings() -> None:
    """2000 frames of the simulated probe against the true transmit times: 99.9 % within the stated uncertainty."""
    clock = FakeClock()
    driver = SimulatedDriver("sim:wires?probe=linear", clock)
    driver.open()
    knobs = driver.knobs()
    usual = change_settings(
        default_settings(knobs), {"depth_m": knobs["depth_m"].minimum, "angle_count": 1, "frame_rate_hz": 25.0}, knobs
    )
    quicker = change_settings(usual, {"frame_rate_hz": 40.0}, knobs)
    driver.apply(driver.prepare(usual))
    slot, stamps, outside = Slot(0), [], 0
    for part in range(20):
        driver.start()
        for index in range(100):
            if index == 50:
                driver.apply(driver.prepare(quicker if part % 2 else usual))
            driver.read_into(slot, 5.0)
            assert slot.truth is not None
            assert slot.truth.transmit_ns is not None
            error = abs(slot.transmit_ns - slot.truth.transmit_ns)
            outside += error > slot.transmit_uncertainty_ns
            stamps.append((slot.transmit_ns, slot.truth.transmit_ns, slot.transmit_uncertainty_ns))
        driver.stop()
        clock.pass_time(3.0)
    driver.close()
    assert outside <= len(stamps) // 1000
    for (one, true_one, _), (two, true_two, uncertainty) in itertools.pairwise(stamps):
        assert two > one, "never back"
        assert abs((two - one) - (true_two - true_one)) <= 2 * max(uncertainty, 1) + 300_000, "never a jump"
    # An hour of exchanges with a trip of about 0.2 ms: the clock is known to a small part of it.
    assert sorted(uncertainty for _, _, uncertainty in stamps)[len(stamps) // 2] < 50_000


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 40), st.integers(0, 1 << 62), st.floats(-150e-6, 150e-6), st.integers(0, 1 << 30))
def test_ticks_go_on_over_the_end_of_their_counter(bits: int, first: int, drift: float, seed: int) -> None:
    """Microseconds on a counter of any width, through pauses in which it goes round many times."""
    r = random.Random(seed)
    time = DeviceTime(1000.0, bits)
    range_ns = 1000 << bits
    now, at = 1 << 50, 0
    met: int | None = None
    for _ in range(100):
        # Through a pause, the host's clock must know the counter's turn in spite of the drift.
        pause = r.choice([0.01, 0.1, 1, 20]) * range_ns * r.random()
        now, at = now + int(pause), at + int(pause * (1 + drift))
        true = first + at // 1000
        found = time.unwrapped(true % (1 << bits), now + int(range_ns * 0.1 * r.random()))
        met = true - found if met is None else met
        assert found == true - met


def test_a_frame_has_ticks_and_no_time_of_transmission_until_clocks_were_compared() -> None:
    time, slot = DeviceTime(1000.0, 32), Slot(0)
    time.begin_anew()
    time.stamp(slot, 77, 10**9)
    assert (slot.device_ticks, slot.device_clock, slot.transmit_uncertainty_ns) == (77, None, -1)
    time.compare(1_000_077, 2 * 10**9 - 60_000, 2 * 10**9)
    time.stamp(slot, 1_010_077, 2 * 10**9 + 11_000_000)
    assert slot.device_clock is not None
    assert abs(slot.transmit_ns - (2 * 10**9 + 10_000_000 - 30_000)) <= slot.transmit_uncertainty_ns < 50_000


def test_counter_of_no_or_too_many_bits_is_refused() -> None:
    for bits in (0, 63):
        with pytest.raises(ValueError, match=r"bits: must be in 1\.\.62"):
            DeviceTime(1.0, bits)
