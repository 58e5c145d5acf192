"""Formats, losses and arming of the bulk driver, on a clock that moves only when somebody waits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import fault_table
import numpy as np
import pytest

from sonod.drivers.bulk.conformance import BulkConformance
from sonod.drivers.bulk.driver import BulkDriver
from sonod.drivers.bulk.protocol import Fault, Format, Layout, State
from sonod.drivers.emulated.bulk import BulkFrontEnd
from sonod.drivers.emulated.clock import ManualClock
from sonod.drivers.emulated.device import Data, Setup
from sonod.drivers.emulated.memory import Bus, MemoryBackend
from sonod.drivers.emulated.server import change
from sonod.drivers.errors import DeviceNotFound, Disconnected, DriverError, DriverTimeout, SettingsRefused
from sonod.drivers.frame import Slot
from sonod.drivers.settings import change_settings, default_settings

SHOTS = 3


class Bench:
    """One driver on one emulated front-end, running."""

    def __init__(self, options: str = "") -> None:
        self.clock = ManualClock()
        self.board = BulkFrontEnd(clock=self.clock, phantom="wires", probe="phased")
        bus = Bus()
        bus.attach(self.board)
        self.backend = MemoryBackend(bus)
        self.driver = BulkDriver(f"bulk:1209:0001{options}", self.backend, self.clock)
        self.driver.open()
        self.driver.apply(self.driver.prepare(default_settings(self.driver.knobs())))
        self.driver.start()
        assert self.driver.configuration is not None
        self.slot = Slot(self.driver.configuration.acquisition.nbytes)

    def read(self, count: int = 1) -> None:
        for _ in range(count):
            self.driver.read_into(self.slot, 1.0)


@contextmanager
def running(options: str = "") -> Iterator[Bench]:
    bench = Bench(options)
    try:
        yield bench
    finally:
        bench.driver.close()
        assert bench.backend.open_handles == 0


@pytest.mark.parametrize("layout", [layout.name.lower() for layout in Layout])
@pytest.mark.parametrize("form", [form.name.lower() for form in Format if form is not Format.IQ16])
def test_every_format_brings_the_same_echoes(form: str, layout: str) -> None:
    with running() as plain:
        plain.read()
        wanted = plain.slot.data.copy()
    with running(f"?format={form}&layout={layout}") as packed:
        packed.read()
        lost_bits = {"packed_10": 4, "packed_12": 2}.get(form, 0)
        np.testing.assert_array_equal(packed.slot.data, wanted >> lost_bits)


def test_a_format_that_the_front_end_lacks_is_refused() -> None:
    with pytest.raises(DeviceNotFound, match="iq16"):
        Bench("?format=iq16")


@pytest.mark.parametrize("row", fault_table.rows(), ids=lambda row: row.command)
def test_every_fault_does_what_the_table_says(row: fault_table.Row) -> None:
    with running() as bench:
        fault_table.hold(row, bench.driver, bench.slot, lambda command: change(bench.board, command), 1.0)


def test_a_host_that_sleeps_loses_what_the_device_says_it_dropped() -> None:
    with running() as bench:
        bench.read(2)
        made = bench.board.fired
        # Less than the watchdog's time, more than the memory holds.
        bench.board.shrink_memory(2 * SHOTS)
        bench.clock.advance(0.8)
        bench.read(20)
        counters = bench.driver.stream_counters
        assert counters.lost == 0
        assert counters.device_drops > 0
        assert bench.driver.counters.lost >= counters.device_drops // SHOTS
        assert bench.board.fired > made


def test_a_timeout_in_mid_frame_keeps_the_shots_for_another_slot() -> None:
    with running() as bench:
        configuration = bench.driver.configuration
        assert configuration is not None
        # Thirty-two shots take several milliseconds.
        wish = {"angle_count": 32, "frame_rate_hz": 10.0}
        settings = change_settings(configuration.settings, wish, bench.driver.knobs())
        bench.driver.apply(bench.driver.prepare(settings))
        bench.driver.stop()
        bench.driver.start()
        bench.read()
        wanted = bench.slot.data.copy()
        bench.driver.stop()
        bench.driver.start()
        slots = [Slot(bench.slot.capacity) for _ in range(2)]
        with pytest.raises(DriverTimeout):
            bench.driver.read_into(slots[0], 0.002)
        assert bench.driver.stream_counters.messages > 34
        bench.driver.read_into(slots[1], 1.0)
        np.testing.assert_array_equal(slots[1].data, wanted)
        assert bench.driver.counters.lost == 0


def test_a_front_end_that_hears_nothing_disarms_itself_and_the_driver_says_so() -> None:
    with running() as bench:
        bench.read()
        bench.clock.advance(3.0)
        with pytest.raises(DriverError, match=r"stopped by itself \(idle, watchdog\)"):
            bench.read()


@pytest.mark.parametrize("end", ["stop", "close", "unplug"])
def test_transmission_ends_with_the_driver(end: str) -> None:
    with running() as bench:
        bench.read()
        assert bench.board.state is State.RUNNING
        if end == "unplug":
            bench.board.unplug()
            with pytest.raises(Disconnected):
                bench.read()
        elif end == "stop":
            bench.driver.stop()
            assert bench.board.state is State.IDLE
        else:
            bench.driver.close()
            assert bench.board.state is State.IDLE


def test_left_running_by_a_dead_program_it_is_stopped_by_open() -> None:
    bench = Bench()
    bench.read()
    again = BulkDriver("bulk:1209:0001", bench.backend, bench.clock)
    again.open()
    assert bench.board.state is State.IDLE
    again.close()


def test_settings_act_and_frames_say_which_they_are_of() -> None:
    with running() as bench:
        bench.read()
        loud = float(np.abs(bench.slot.data).mean())
        configuration = bench.driver.configuration
        assert configuration is not None
        quieter = change_settings(configuration.settings, {"gain_db": -12.0}, bench.driver.knobs())
        bench.driver.apply(bench.driver.prepare(quieter))
        bench.read()
        assert float(np.abs(bench.slot.data).mean()) < 0.4 * loud
        assert bench.driver.counters.lost == 0


def test_too_fast_for_the_depth_is_refused_with_the_fastest_rate() -> None:
    with running() as bench:
        configuration = bench.driver.configuration
        assert configuration is not None
        # The general rule refuses less: it knows sound, not what the front-end needs between transmissions.
        settings = replace(configuration.settings, frame_rate_hz=200.0, angle_count=128)
        with pytest.raises(SettingsRefused, match=r"frame_rate_hz.*at most"):
            bench.driver.prepare(settings)


def test_many_times_unplugged_and_plugged_in() -> None:
    """In memory; two hundred times over libusb in tests/libusb_tier/campaign_replug.py."""
    bench = Bench()
    addresses = set()
    for _ in range(40):
        bench.board.unplug()
        with pytest.raises(Disconnected):
            bench.read()
        bench.driver.close()
        assert bench.backend.open_handles == 0
        bench.board.plug()
        bench.driver.open()
        bench.driver.apply(bench.driver.prepare(default_settings(bench.driver.knobs())))
        bench.driver.start()
        addresses.add(bench.driver.front_end.identity.address)
    assert len(addresses) == 40
    bench.read()
    bench.driver.close()


class Careless(BulkFrontEnd):
    """Breaks two rules of the protocol."""

    def control(self, setup: Setup, data: bytes) -> bytes:
        if setup.request == 0x7F:
            return b""
        return super().control(setup, data)

    def _stop(self, fault: Fault) -> None:
        super()._stop(Fault.NONE)


def test_the_checker_finds_what_a_careless_front_end_does_wrong() -> None:
    clock = ManualClock()
    bus = Bus()
    bus.attach(Careless(clock=clock, phantom="wires", probe="phased"))
    driver = BulkDriver("bulk:1209:0001", MemoryBackend(bus), clock)
    driver.open()
    findings = {finding.check: finding.problem for finding in BulkConformance(driver.front_end, clock).run()}
    driver.close()
    wrong = {check for check, problem in findings.items() if problem}
    assert wrong == {"unknown requests stall (section 1)", "the watchdog disarms with fault 5 (section 1)"}


class Endless(BulkFrontEnd):
    """Ends no transfer whose last packet is full."""

    def bulk_in(self, endpoint: int, length: int) -> Data | None:
        part = super().bulk_in(endpoint, length)
        self._empty_packet = False
        return part


class Forgetful(BulkFrontEnd):
    """Begins to count anew with every STOP."""

    def _stop(self, fault: Fault) -> None:
        super()._stop(fault)
        self._sequence = 0


class Scrambled(BulkFrontEnd):
    """A wrong CRC in every header."""

    def _write_message(self, fired: Any) -> int:
        length = super()._write_message(fired)
        self._message[60] ^= 1
        return length


class Hasty(BulkFrontEnd):
    """Keeps what it has of a table over STOP."""

    def control(self, setup: Setup, data: bytes) -> bytes:
        kept = bytes(self._incoming)
        answer = super().control(setup, data)
        self._incoming[:] = kept
        return answer


@pytest.mark.parametrize(
    ("kind", "rule", "answer"),
    [
        (Endless, "a transfer ends when nothing more is there (section 5)", "an empty packet after a full"),
        (
            Forgetful,
            "sequence numbers and device time go on over STOP and START (section 5)",
            "a number above",
        ),
        (
            Scrambled,
            "self-test in format I16, layout CHANNELS (sections 5, 6)",
            "got 53 52 46 31 .* CRC of bytes 0..59 must be 0x",
        ),
        (Hasty, "STOP throws away a table that has arrived in part (section 4)", "expected table"),
    ],
)
def test_the_checker_names_the_rule_its_section_and_what_came(kind: type[BulkFrontEnd], rule: str, answer: str) -> None:
    clock = ManualClock()
    bus = Bus()
    bus.attach(kind(clock=clock, phantom="wires", probe="phased"))
    driver = BulkDriver("bulk:1209:0001", MemoryBackend(bus), clock)
    driver.open()
    for finding in BulkConformance(driver.front_end, clock).run():
        if finding.check == rule:
            assert re.search(answer, finding.problem)
            break
        assert finding.problem == ""
    else:
        pytest.fail(f"no check {rule}")
    driver.close()


@pytest.mark.parametrize(
    "uri", ["bulk:xyz:1", "bulk:1209:99999", "bulk:1209:0001?format=i17", "bulk:1209:0001?gain=1"], ids=str
)
def test_bad_uris_are_refused_with_the_remedy(uri: str) -> None:
    with pytest.raises(DeviceNotFound, match="bulk:"):
        BulkDriver(uri)


def test_settings_that_are_refused_leave_a_frame_of_which_half_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as bench:
        configuration = bench.driver.configuration
        assert configuration is not None
        usual = change_settings(
            configuration.settings, {"angle_count": 32, "frame_rate_hz": 10.0}, bench.driver.knobs()
        )
        bench.driver.apply(bench.driver.prepare(usual))
        bench.driver.stop()
        bench.driver.start()
        with pytest.raises(DriverTimeout):
            bench.driver.read_into(bench.slot, 0.002)
        shallow = change_settings(usual, {"depth_m": 0.03}, bench.driver.knobs())
        prepared = bench.driver.prepare(shallow)

        def refuse(number: int) -> None:
            raise DriverError("the device refused it (stall)")

        with monkeypatch.context() as patch:
            patch.setattr(bench.driver._device, "select", refuse)
            with pytest.raises(DriverError, match="refused"):
                bench.driver.apply(prepared)
        bench.read(2)
        assert bench.driver.stream_counters.lost == 0


def test_cleanup_after_a_failed_open(monkeypatch: pytest.MonkeyPatch) -> None:
    board = BulkFrontEnd(clock=ManualClock(), phantom="wires", probe="phased")
    bus = Bus()
    bus.attach(board)
    backend = MemoryBackend(bus)
    refuse: Callable[[], None] = lambda: setattr(board.faults, "stall_control", 5)  # noqa: E731
    refuse()
    driver = BulkDriver("bulk:1209:0001", backend, board.clock)
    with pytest.raises(DriverError):
        driver.open()
    assert backend.open_handles == 0
    board.faults.clear()
    driver.open()
    driver.close()
